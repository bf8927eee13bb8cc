"""Classes masked by a constant far below the others change no gate."""

from __future__ import annotations

from dataclasses import replace

import contexts
import pytest
import torch
from contexts import Masked

from dmmcheck.attacks.margins import within_reach
from dmmcheck.attacks.search_space import Everywhere
from dmmcheck.attacks.torchattacks.coordinates import Coordinates
from dmmcheck.models.torch import adapt
from dmmcheck.soundness import attack, model, probes


def with_masked_classes(mask, after=lambda z: z):
    """The plain context of a model that has two more classes, which are masked."""
    plain = contexts.plain()
    masked = Masked(contexts.network(), after=lambda z: torch.cat([after(z), torch.full_like(z[:, :2], mask)], 1))
    return replace(plain, classifier=adapt(masked, contexts.digits().test.x))


@pytest.mark.parametrize("mask", [-1e9, -1e30, -1e5])
def test_scales_of_logits_leave_masked_classes_out(mask):
    context = with_masked_classes(mask)
    assert context.classes_in_reach.tolist() == [True] * 10 + [False] * 2
    assert context.logit_spread == pytest.approx(contexts.plain().logit_spread)
    for gate in (model.deterministic, model.batch_independent, model.not_constant, attack.labels_confirmed):
        (item,) = contexts.asked(gate, context).values()
        assert item.ok is True
        assert item.value == pytest.approx(contexts.sound()[item.name].value, abs=1e-6)


def test_noise_is_seen_beside_masked_classes():
    generator = torch.Generator().manual_seed(0)
    context = with_masked_classes(-1e9, lambda z: z + 0.1 * torch.randn(z.shape, generator=generator))
    assert contexts.asked(model.deterministic, context)["deterministic"].ok is False


def test_a_second_attack_works_beside_masked_classes():
    item = contexts.asked(probes.independent_attack, contexts.first(with_masked_classes(-1e9), 8))["independent-attack"]
    assert item.ok is True
    plain, masked = (
        Coordinates(one.classifier, one.x[:4], one.y[:4], scale=torch.tensor(8.0), space=Everywhere())
        for one in (contexts.plain(), with_masked_classes(-1e9))
    )
    scaled = [cube(cube.start())[:, :10] for cube in (plain, masked)]
    differences = [z - z[:, :1] for z in scaled]
    assert torch.allclose(*differences, atol=0.02)


def test_no_class_of_an_ordinary_network_is_out_of_reach():
    assert bool(contexts.plain().classes_in_reach.all())
    assert bool(within_reach(torch.zeros(3, 4)).all())
    assert bool(within_reach(torch.tensor([[0.0, 5.0], [3.0, 0.0]])).all())
