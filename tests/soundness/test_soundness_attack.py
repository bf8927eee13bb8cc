"""Each gate on the search's own results and gradients fails for its own reason; efforts are compared upwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import contexts
import pytest
import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.inference.types import ARMS
from dmmcheck.models.base import Classifier
from dmmcheck.soundness import SoundnessContext, assess, attack


def better(classifier: Classifier, x: Tensor, y: Tensor, **arguments: Any) -> Crossing:
    found = boundary_search(classifier, x, y, **arguments)
    return replace(found, distance=0.7 * found.distance)


def confirmed_elsewhere(context: SoundnessContext) -> SoundnessContext:
    free = context.crossings["free"]
    return replace(context, crossings={**context.crossings, "free": replace(free, point=context.x)})


TAMPERED = {
    "labels-confirmed": (attack.labels_confirmed, confirmed_elsewhere),
    "gradients": (
        attack.gradients,
        lambda context: contexts.with_forward(context, contexts.Masked(contexts.network(), after=lambda z: z.round())),
    ),
    "finite-differences": (
        attack.finite_differences,
        lambda context: contexts.with_forward(
            context, contexts.Masked(contexts.network(), lambda x: x + 0.02 * torch.sin(400 * x))
        ),
    ),
    "found-free": (attack.found, lambda context: contexts.lost(context, "free")),
    "effort": (attack.effort, lambda context: replace(context, search=better)),
    "nesting": (attack.nesting, lambda context: contexts.stretched(context, 0.5, "tangent")),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_gate_fails_for_its_own_reason_and_passes_without(name: str):
    contexts.assert_fails_for_its_own_reason(name, *TAMPERED[name])


@pytest.mark.parametrize(
    ("effort", "next_effort", "article"),
    [("quick", "thorough", "a"), ("default", "thorough", "a"), ("thorough", "exhaustive", "an")],
)
def test_the_effort_is_compared_with_the_next_higher_one(effort: str, next_effort: str, article: str):
    given: list[str] = []

    def recording(classifier: Classifier, x: Tensor, y: Tensor, *, effort: str, **arguments: Any) -> Crossing:
        given.append(effort)
        return better(classifier, x, y, effort="quick", **arguments)

    context = replace(contexts.plain(), effort=effort, search=recording)
    item = contexts.asked(attack.effort, context)["effort"]
    assert given == [next_effort] * 9  # 4 inputs in each arm, 4 and 8 more, since the first have shorter distances
    assert item.message.startswith(f"{article} {next_effort} search shortens the median distance ")
    assert item.ok is False


def test_the_gate_of_effort_stops_after_four_inputs_whose_distances_hold():
    searched: list[int] = []

    def recording(classifier: Classifier, x: Tensor, y: Tensor, **arguments: Any) -> Crossing:
        searched.append(len(x))
        return boundary_search(classifier, x, y, **arguments)

    item = contexts.asked(attack.effort, replace(contexts.plain(), search=recording))["effort"]
    assert item.ok is True
    assert searched == [4, 4, 4]
    assert "4 inputs" in item.message


@pytest.mark.parametrize(("shortfall", "ok"), [(0.01, True), (0.1, None), (0.24, None), (0.26, False)])
def test_a_bounded_shortfall_widens_intervals_in_place_of_a_veto(shortfall, ok):
    def shorter(classifier: Classifier, x: Tensor, y: Tensor, **arguments: Any) -> Crossing:
        found = boundary_search(classifier, x, y, **arguments)
        return replace(found, distance=(1 - shortfall) * found.distance)

    item = contexts.asked(attack.effort, replace(contexts.plain(), search=shorter))["effort"]
    assert (item.ok, item.widens) == (ok, ok is None)
    assert item.value == pytest.approx(shortfall, abs=0.005)
    assert ("intervals include what that search changes" in item.message) is item.widens


def test_an_exhaustive_search_takes_more_gradients_than_a_thorough_one_and_finds_the_same():
    found: list[Crossing] = []

    def recording(classifier: Classifier, x: Tensor, y: Tensor, **arguments: Any) -> Crossing:
        found.append(boundary_search(classifier, x, y, **arguments))
        return found[-1]

    thorough = contexts.digits_context(contexts.network(), 8, effort="thorough")
    item = contexts.asked(attack.effort, replace(thorough, search=recording))["effort"]
    for arm, exhaustive in zip(ARMS, found, strict=True):
        assert int(exhaustive.backwards.sum()) > int(thorough.crossings[arm].backwards.sum())
    assert item.ok is True
    assert item.message.startswith("an exhaustive search shortens the median distance")


def test_the_remedy_of_a_search_that_has_not_converged_depends_on_its_effort():
    remedies = {
        effort: contexts.asked(
            attack.nesting, replace(contexts.stretched(contexts.plain(), 0.5, "normal"), effort=effort)
        )["nesting"].message
        for effort in ("quick", "default", "thorough")
    }
    for effort in ("quick", "default"):
        assert "a run raises the effort of its search by itself, unless it is fast" in remedies[effort]
    assert "no setting gives more effort, so a smoother model is needed" in remedies["thorough"]


def test_informational_items_have_no_verdict():
    context = contexts.lost(contexts.plain(), "tangent")
    gates = (attack.found, attack.kkt, attack.flatness, attack.box, attack.gradients)
    said = {name: item for gate in gates for name, item in contexts.asked(gate, context).items()}
    assert said["found-tangent"].ok is None
    assert said["found-tangent"].message.endswith("0% of inputs; the rest is censored at the search radius")
    for name in ("kkt", "flatness", "box", "gradients-tangent", "gradients-normal", "found-normal"):
        assert said[name].ok is None, name


def test_without_any_crossing_there_is_nothing_to_confirm():
    context = contexts.plain()
    for arm in ("free", "tangent", "normal"):
        context = contexts.lost(context, arm)
    item = contexts.asked(attack.labels_confirmed, context)["labels-confirmed"]
    assert (item.ok, item.message) == (None, "no label change was found that could be confirmed")


def test_without_a_box_there_is_no_item_on_it():
    assert contexts.asked(attack.box, replace(contexts.plain(), bounds=None)) == {}
    assert 0 <= contexts.asked(attack.box, contexts.plain())["box"].value < 1


def test_a_model_that_does_not_change_in_a_subspace_is_not_called_masked():
    generator = torch.Generator().manual_seed(0)
    flat = contexts.Flat(torch.zeros(20), torch.linalg.qr(torch.randn(20, 4, generator=generator)).Q)
    w = flat.basis[:, 0]
    x, examples = (torch.randn(200, 20, generator=generator) @ flat.basis @ flat.basis.T for _ in range(2))
    y, labels = (x @ w > 0).long(), (examples @ w > 0).long()
    context = contexts.context_of(lambda v: torch.stack([-(v @ w), v @ w], 1), x, y, flat, pool=(examples, labels))
    items = contexts.by_name(assess(context))
    assert contexts.failed(items.values()) == set()
    assert items["gradients-normal"].value == 1
    assert items["found-normal"].value == 0
    assert items["flatness"].value == pytest.approx(0, abs=1e-3)
    assert items["kkt"].value == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("dim", "size"), [(30, 1e-3), (2, 1e3)])
def test_a_curved_boundary_of_any_size_is_sound(dim: int, size: float):
    generator = torch.Generator().manual_seed(0)
    flat = contexts.Flat(torch.zeros(dim), torch.eye(dim)[:, :1])
    x, examples = (size * torch.randn(300, dim, generator=generator) for _ in range(2))
    radius = size * dim**0.5

    def ball(v: Tensor) -> Tensor:
        inside = radius - v.norm(dim=1)
        return torch.stack([inside, -inside], 1)

    y, labels = (x.norm(dim=1) > radius).long(), (examples.norm(dim=1) > radius).long()
    context = contexts.context_of(ball, x, y, flat, pool=(examples, labels))
    assert contexts.failed(assess(context)) - {"label-agreement"} == set()
