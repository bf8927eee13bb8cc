"""Each gate that probes the search from outside fails for its own reason."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import contexts
import pytest
import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.inference.types import ARMS, ArmName
from dmmcheck.models.base import Classifier
from dmmcheck.soundness import SoundnessContext, probes


def nowhere(classifier: Classifier, x: Tensor, y: Tensor, **_: Any) -> Crossing:
    nothing = contexts.lost(contexts.plain(), "free").crossings["free"]
    return Crossing(**{name: value[: len(x)] for name, value in vars(nothing).items()})


def without_search(context: SoundnessContext) -> SoundnessContext:
    return replace(context, search=nowhere)


TAMPERED = {
    "segment": (probes.segment_probe, lambda context: contexts.stretched(context, 10, "free")),
    "random-rays": (probes.random_ray_probe, lambda context: contexts.stretched(context, 50, "normal")),
    "transfer": (probes.transfer, lambda context: contexts.stretched(context, 10, "free")),
    "independent-attack": (probes.independent_attack, lambda context: contexts.missed(context, 1.1, "normal")),
    "planted-tangent": (probes.planted_boundaries, without_search),
    "planted-normal": (probes.planted_boundaries, without_search),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_gate_fails_for_its_own_reason_and_passes_without(name: str):
    contexts.assert_fails_for_its_own_reason(name, *TAMPERED[name])


def test_the_arm_in_which_a_probe_does_best_is_named():
    context = contexts.stretched(contexts.plain(), 50, "normal")
    assert "in the normal space" in contexts.asked(probes.random_ray_probe, context)["random-rays"].message
    context = contexts.missed(contexts.plain(), 1.1, "tangent")
    message = contexts.asked(probes.independent_attack, context)["independent-attack"].message
    assert message.startswith("torchattacks' FAB is nearer by ")
    assert "in the median in the tangent space (limit 2%, 32 inputs)" in message


@pytest.mark.parametrize(("ahead", "inputs"), [(0, 4), (1, 8), (2, 32)])
def test_the_second_attack_takes_more_inputs_in_the_arm_whose_first_distances_do_not_hold(
    monkeypatch: pytest.MonkeyPatch, ahead: int, inputs: int
):
    """The message names the arm in which the attack is ahead the most, by 1 % here, and its inputs."""
    attacked = dict.fromkeys(ARMS, 0)

    def ahead_of_few(context: SoundnessContext, attack: Any, arm: ArmName, rows: slice) -> Tensor:
        distance = context.distance(arm)[rows] * (0.99 if arm == "tangent" else 1.0)
        distance[: ahead if arm == "tangent" and not attacked[arm] else 0] *= 0.5
        attacked[arm] += len(distance)
        return distance

    monkeypatch.setattr(probes, "_attacked", ahead_of_few)
    item = contexts.asked(probes.independent_attack, contexts.plain())["independent-attack"]
    assert attacked == {"free": 4, "tangent": inputs, "normal": 4}
    assert item.ok is True
    assert f"in the tangent space (limit 2%, {inputs} inputs)" in item.message


@pytest.mark.parametrize(
    ("beaten", "tried", "share"),
    [([], 32, 0.0), ([40, 50, 60, 63], 32, 0.0), ([3], 64, 1 / 64), ([3, 40, 50, 60], 64, 4 / 64)],
)
def test_random_rays_are_tried_at_all_inputs_where_they_beat_the_search_at_one_of_the_first(
    monkeypatch: pytest.MonkeyPatch, beaten: list[int], tried: int, share: float
):
    """Four of all 64 inputs are more than the limit of 5 %."""
    context = contexts.digits_context(contexts.network(), 64)
    most = dict.fromkeys(ARMS, 0)
    arms = iter(ARMS)

    def rays(classifier: Classifier, x: Tensor, y: Tensor, *, radius: Tensor, space: Any, **_: Any) -> Any:
        if torch.equal(x[0], context.x[0]):
            rays.arm = next(arms)
        start = int((context.x == x[0]).all(1).nonzero()[0])
        assert len(space.project(x)) == len(x) == len(radius)
        most[rays.arm] = start + len(x)
        nearer = torch.tensor([rays.arm == "normal" and start + row in beaten for row in range(len(x))])
        return SimpleNamespace(distance=torch.where(nearer, 0.5, 2.0) * context.distance(rays.arm)[start:][: len(x)])

    monkeypatch.setattr(probes, "random_rays", rays)
    item = contexts.asked(probes.random_ray_probe, context)["random-rays"]
    assert most == {"free": 32, "tangent": 32, "normal": tried}
    assert item.value == pytest.approx(share)
    assert item.ok is (share <= 0.05)


def test_what_the_second_attack_and_more_effort_both_find_widens_intervals():
    item = contexts.asked(probes.independent_attack, contexts.stretched(contexts.plain(), 1.1, "tangent"))
    assert (item["independent-attack"].ok, item["independent-attack"].widens) == (None, True)
    assert item["independent-attack"].value == pytest.approx(1 - 1 / 1.1, abs=0.01)
    assert "but not nearer than a thorough search" in item["independent-attack"].message


def test_without_the_library_no_second_attack_confirms_the_search(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    item = probes.independent_attack(contexts.plain())
    assert item.ok is None
    assert item.message.startswith("no second attack has confirmed the search: ")
    assert "pip install 'dmmcheck[attacks]'" in item.message


def test_without_examples_of_another_class_segments_and_plants_are_left_out():
    context = contexts.plain()
    alone = replace(context, x_pool=context.x[:1], y_pool=context.y[:1])
    one_class = replace(alone, x=context.x[context.y == context.y[0]], y=context.y[context.y == context.y[0]])
    item = contexts.asked(probes.segment_probe, one_class)["segment"]
    assert item.ok is None
    assert item.message.startswith("not probed: the model recognises no example of another class near the inputs; give")
    n = len(one_class.x)
    crossings = {
        arm: Crossing(**{name: value[:n] for name, value in vars(crossing).items()})
        for arm, crossing in context.crossings.items()
    }
    items = contexts.asked(probes.planted_boundaries, replace(one_class, crossings=crossings))
    assert [item.ok for item in items.values()] == [None, None]


@pytest.mark.parametrize(
    ("misses", "still", "ok", "widens"),
    [
        ([], [], True, False),
        ([1.1], [1.1], True, False),  # one miss of 32 proves nothing
        ([1.1, 1.2, 1.3], [1.1], None, True),  # three misses, each by at most a third
        ([1.1, 1.2, 1.3], [1.1, 1.2, 1.3], False, False),  # a more thorough search does not show what is missed
        ([1.1] * 9, [], None, True),  # 23 of 32 found: the median crossing is shown to be the planted one
        ([1.1] * 10, [], False, False),  # the median crossing is not shown to be the planted one
        ([1.1, 1.4, 1.4], [], None, True),  # two misses by more than a third do not show that these are above 2 %
        ([1.4] * 3, [], False, False),
        ([math.inf] * 3, [], False, False),
    ],
)
def test_missed_plants_widen_intervals_where_the_shortfall_is_bounded(
    monkeypatch: pytest.MonkeyPatch, misses: list[float], still: list[float], ok: bool | None, widens: bool
):
    context = contexts.plain()
    n = min(probes.PLANTED_INPUTS, len(context.x))

    def crossed(context: SoundnessContext, arm: str, count: int, effort: str) -> tuple[Tensor, Tensor]:
        missed = misses if effort == context.effort else still
        return torch.tensor([*missed, *[1.0] * (n - len(missed))]), torch.ones(n, dtype=torch.bool)

    monkeypatch.setattr(probes, "_planted", crossed)
    item = contexts.asked(probes.planted_boundaries, context)["planted-normal"]
    assert (item.ok, item.widens) == (ok, widens)
    assert item.value == pytest.approx(1 - len(misses) / n)
    if widens:
        assert item.message.endswith("intervals include what a thorough search changes")


@pytest.mark.parametrize("order", [1, -1], ids=["nearer-first", "nearer-last"])
def test_the_nearer_of_the_ways_to_a_surrogate_counts(monkeypatch, order):
    context = contexts.stretched(contexts.plain(), 2, "free")
    step = context.crossings["free"].point - context.x
    ways = [(slice(0, len(step)), way) for way in (step, torch.zeros_like(step))][::order]
    monkeypatch.setattr(probes, "surrogate_directions", lambda context: iter(ways))
    assert probes.transfer(context).value > 0.9
