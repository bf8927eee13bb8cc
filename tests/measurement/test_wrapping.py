"""In a boxed run no model is called outside the bounds, and the report says that its distances are boxed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn

import dmmcheck
from dmmcheck import Crossing, Settings
from dmmcheck.errors import CheckError, ConfigError, ModelError
from dmmcheck.measurement.units import in_units
from dmmcheck.measurement.wrapping import in_box
from dmmcheck.run import Run
from dmmcheck.soundness import attack
from dmmcheck.soundness.attack import are_masked, finite_differences, found
from dmmcheck.soundness.collect import _context
from dmmcheck.soundness.probes import planted_boundaries

BOX = (0.0, 1.0)
CENTRES = torch.tensor([[0.25, 0.4, 0.5, 0.5], [0.75, 0.6, 0.5, 0.5]])


def data(n: int, seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (n,), generator=g)
    noise = torch.randn((n, 4), generator=g) * torch.tensor([0.1, 0.1, 0.02, 0.02])
    return (CENTRES[y] + noise).clamp(*BOX), y


class Strict(nn.Module):
    """Two classes with a boundary near x_0 = 1/2; raises outside of [0, 1]."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        turned = 0.1 * torch.randn(4, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(torch.tensor([4.0, 0.5, 0.0, 0.0]) + turned)

    def forward(self, x: Tensor) -> Tensor:
        if not bool(((x >= BOX[0]) & (x <= BOX[1])).all()):
            raise ValueError("expected values from 0 to 1")
        z = torch.tanh((x - 0.5) @ self.weight) + 0.3 * (x[:, 1] - 0.5).square()
        return torch.stack([-z, z], 1)


@cache
def subject(**others: object) -> dmmcheck.Subject:
    (x, y), (x_train, y_train) = data(64, 1), data(160, 2)
    manifold = dmmcheck.manifolds.PCA(dim=2).fit(x_train)
    return dmmcheck.Subject(
        model=Strict(), x=x, y=y, x_train=x_train, y_train=y_train, manifold=manifold, bounds=BOX, **others
    )


run = partial(dmmcheck.run, samples=16, fast=True, checks=["off-manifold-energy"])


@pytest.mark.parametrize("units", ["input", "standard"])
def test_a_trainer_gets_points_of_the_box_alone(units):
    seen = []

    def trainer(x, y, seed):
        seen.append(x)
        return Strict(seed)

    there = in_units(in_box(subject(trainer=trainer, units=units)))
    moved = there.x_train + torch.where(torch.arange(4) % 2 == 0, 3.0, -3.0)
    there.trainer(moved, there.y_train, 0)
    assert seen[0].min() == 0
    assert seen[0].max() == 1


@pytest.mark.heavy
def test_a_model_that_refuses_points_outside_is_measured_in_a_boxed_run():
    report = run(subject(), boxed=True)
    assert report.box == BOX
    assert report.findings[0].verdict in {"supported", "refuted", "inconclusive"}
    assert report.findings[0].n == 16
    assert [item.message for item in report.soundness if item.ok is False] == []


def test_without_boxed_the_model_that_refuses_points_outside_is_told_of_it():
    with pytest.raises(ModelError, match=r"set bounds and boxed = true \(--dmm-boxed\)"):
        run(subject())


def test_boxed_without_bounds_is_an_error_that_names_them():
    with pytest.raises(ConfigError, match=r"boxed is true, but bounds are not given.*set bounds = \[lo, hi\]"):
        run(dmmcheck.worlds.hyperplane(angle=85, seed=0).subject, boxed=True)


@pytest.mark.parametrize("units", [None, "standard"])
def test_all_arms_stay_in_the_box_in_all_units(units):
    measure = Run(subject(units=units), Settings(samples=16, boxed=True)).measure
    own = getattr(measure.classifier, "scale", None)
    for arm in ("free", "tangent", "normal"):
        crossing = measure.crossings(16, arm)
        point = crossing.point if own is None else own.own(crossing.point)
        assert point.min() >= BOX[0] - 1e-6
        assert point.max() <= BOX[1] + 1e-6
        assert arm != "free" or bool(crossing.found.all())


@pytest.mark.parametrize("role", ["robust", "reference", "baseline_model"])
def test_the_other_models_of_a_subject_are_boxed_too(role):
    given = replace(subject(), **{role: Strict(1)})
    session = Run(given, Settings(samples=16, boxed=True))
    name = {"robust": "robust", "reference": "standard", "baseline_model": "baseline"}[role]
    other = session.measure.paired_model(name)
    assert other is not session.measure
    assert other.classifier.search_box == BOX
    assert other.crossings(16, "free").found.all()


def own_attack(model, x, y, *, space, bounds=None, generator):
    far = x.clone()
    far[:, 0] = torch.where(y == 0, bounds[1], bounds[0])
    return Crossing.at(far, model, x, y)


def careless_attack(model, x, y, *, space, bounds=None, generator):
    return Crossing.at(x + 9 * torch.where(y == 0, 1, -1)[:, None], model, x, y)


def test_an_own_attack_gets_the_box_and_must_keep_to_it():
    measure = Run(subject(), Settings(samples=16, boxed=True, attacks=[own_attack, careless_attack])).measure
    assert measure.crossings(16, "free", "own-attack").found.all()
    with pytest.raises(CheckError, match=r"careless-attack left the box for \d+ of 16 inputs; return points within"):
        measure.crossings(16, "free", "careless-attack")


@cache
def corner_context():
    """A soundness context whose inputs are corners of the box, where no step can be taken both ways."""
    session = Run(subject(), Settings(samples=16, boxed=True, effort="quick"))
    measure = session.measure
    context = _context(session.subject, measure, 16, {arm: measure.crossings(16, arm) for arm in measure_arms()})
    return replace(context, x=context.x.round())


def measure_arms() -> tuple[str, ...]:
    return ("free", "tangent", "normal")


def test_an_error_that_is_not_a_number_masks_gradients_unless_there_is_a_box(monkeypatch):
    context = corner_context()
    monkeypatch.setattr(attack, "_worst_error", lambda context: float("nan"))
    assert not are_masked(context)
    assert are_masked(replace(context, classifier=context.classifier.inner))


def test_gates_say_what_a_corner_of_the_box_has_no_room_for():
    context = corner_context()
    item = finite_differences(context)
    assert (item.ok, item.message) == (
        None,
        "not compared: in the box, no input has room for a step along its gradient",
    )
    assert not are_masked(context)
    far = replace(
        context, crossings={arm: replace(one, distance=one.distance + 9) for arm, one in context.crossings.items()}
    )
    messages = [item.message for item in planted_boundaries(far)]
    assert messages == [
        "not planted: every boundary that could be planted in the tangent space would lie outside the box",
        "not planted: every boundary that could be planted in the normal space would lie outside the box",
    ]


def test_a_free_search_that_finds_nothing_in_the_box_says_so():
    context = corner_context()
    lost = {arm: replace(one, found=torch.zeros_like(one.found)) for arm, one in context.crossings.items()}
    item = next(item for item in found(replace(context, crossings=lost)) if item.name == "found-free")
    assert item.ok is False
    assert item.message.endswith(
        "or the box may hold no point of another class near the input: set boxed = false to measure without the box"
    )


@pytest.mark.heavy
def test_no_check_calls_a_model_outside_the_box():
    others = {
        "robust": Strict(1),
        "factory": lambda seed: Strict(seed + 5),
        "checkpoints": [(step, Strict(step + 2)) for step in range(5)],
        "trainer": lambda x, y, seed: Strict(seed + 3),
        "augment": lambda x, seed: x + 0.01,
    }
    report = dmmcheck.run(replace(subject(), **others), samples=8, effort="quick", boxed=True, alpha=0.5)
    assert not report.errors
    assert report.complete
