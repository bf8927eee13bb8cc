"""Soundness contexts built by hand: of digit networks, of masked ones, and with measurements that were changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dmmcheck import geometry
from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.effort import EFFORTS
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.manifolds import Subspace
from dmmcheck.models.base import Classifier, flat
from dmmcheck.models.torch import adapt
from dmmcheck.report.model import Soundness
from dmmcheck.soundness import SoundnessContext, assess
from dmmcheck.subject import Subject
from examples.digits import data, training

DIM = 8
INPUTS = 64
ARMS = {"free": (False, False), "tangent": (True, False), "normal": (True, True)}


@dataclass(frozen=True, eq=False)
class Flat:
    """An affine subspace as a manifold."""

    origin: Tensor
    basis: Tensor

    @property
    def dim(self) -> int:
        return self.basis.shape[1]

    def project_point(self, x: Tensor) -> Tensor:
        return self.origin + (x - self.origin) @ self.basis @ self.basis.T

    def tangent_basis(self, x: Tensor) -> Tensor:
        return self.basis


class Masked(nn.Module):
    """A network that applies one function to its input and another to its logits."""

    def __init__(
        self,
        network: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.network(self.before(x)))


def noise(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return Masked(network, after=lambda z: z + 0.1 * torch.randn(z.shape, generator=generator))


@cache
def digits() -> data.Split:
    return data.load()


@cache
def network(seed: int = 0) -> nn.Module:
    train = digits().train
    return training.fit(train.x, train.y, seed, recipe=training.Recipe(epochs=8))


@cache
def pca() -> Flat:
    x = digits().train.x.flatten(1)
    return Flat(x.mean(0), torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:DIM].T)


def searched(
    classifier: Classifier, x: Tensor, y: Tensor, basis: Tensor, effort: str = "default"
) -> dict[str, Crossing]:
    found = {}
    for arm, (restricted, normal) in ARMS.items():
        generator = torch.Generator().manual_seed(0)
        subspace = basis if restricted else None
        found[arm] = boundary_search(
            classifier, x, y, subspace=subspace, normal=normal, effort=effort, generator=generator
        )
    return found


def context_of(
    model: Any,
    x: Tensor,
    y: Tensor,
    manifold: Flat,
    *,
    pool: tuple[Tensor, Tensor],
    n: int = INPUTS,
    effort: str = "default",
) -> SoundnessContext:
    classifier = adapt(model, x)
    points = flat(classifier, x)
    with classifier.evaluation(), torch.no_grad():
        correct = classifier.logits(points).argmax(1) == y
    x, y = points[correct][:n], y[correct][:n]
    return SoundnessContext(
        classifier=classifier,
        was_training=False,
        x=x,
        y=y,
        accuracy=float(correct.double().mean()),
        majority=float(torch.bincount(y).max()) / len(y),
        labelled=len(correct),
        x_pool=flat(classifier, pool[0]),
        y_pool=pool[1],
        bounds=(0.0, 1.0),
        basis=manifold.basis,
        manifold=manifold,
        training_points=flat(classifier, pool[0]),
        crossings=searched(classifier, x, y, manifold.basis, effort),
        search=boundary_search,
        seed=0,
        effort=effort,
    )


def digits_context(model: Any, n: int = INPUTS, effort: str = "default") -> SoundnessContext:
    split = digits()
    pool = (split.train.x, split.train.y)
    return context_of(model, split.test.x, split.test.y, pca(), pool=pool, n=n, effort=effort)


@cache
def plain() -> SoundnessContext:
    return digits_context(network(), 32)


@cache
def sound() -> dict[str, Soundness]:
    return by_name(assess(plain()))


def by_name(items: Iterable[Soundness]) -> dict[str, Soundness]:
    return {item.name: item for item in items}


def failed(items: Iterable[Soundness]) -> set[str]:
    return {item.name for item in items if item.ok is False}


def asked(gate: Callable[[SoundnessContext], Any], context: SoundnessContext) -> dict[str, Soundness]:
    """The items of one gate, by name."""
    with context.classifier.evaluation():
        found = gate(context)
        return by_name([found] if isinstance(found, Soundness) else found)


def missed(context: SoundnessContext, factor: float, arm: str) -> SoundnessContext:
    """A context whose search finds distances of an arm too long by a factor, whatever its effort."""

    def longer(*arguments: Any, **options: Any) -> Crossing:
        found = boundary_search(*arguments, **options)
        return replace(found, distance=factor * found.distance)

    return replace(stretched(context, factor, arm), search=longer)


def stretched(context: SoundnessContext, factor: float, *arms: str) -> SoundnessContext:
    """The context with distances as a worse or better search would have given them."""
    changed = {arm: replace(context.crossings[arm], distance=factor * context.crossings[arm].distance) for arm in arms}
    return replace(context, crossings={**context.crossings, **changed})


def first(context: SoundnessContext, n: int) -> SoundnessContext:
    """The context of the first n inputs."""
    crossings = {
        arm: Crossing(**{name: value[:n] for name, value in vars(crossing).items()})
        for arm, crossing in context.crossings.items()
    }
    return replace(context, x=context.x[:n], y=context.y[:n], crossings=crossings)


def lost(context: SoundnessContext, arm: str) -> SoundnessContext:
    """The context of a search that found nothing in one arm."""
    found = context.crossings[arm]
    nothing = replace(
        found,
        point=context.x,
        distance=torch.full_like(found.distance, torch.inf),
        found=torch.zeros_like(found.found),
    )
    return replace(context, crossings={**context.crossings, arm: nothing})


def with_forward(context: SoundnessContext, forward: Any) -> SoundnessContext:
    """The context with another function as the model, and the crossings as they are."""
    return replace(context, classifier=replace(context.classifier, forward=forward))


def assert_fails_for_its_own_reason(
    name: str, gate: Callable[[SoundnessContext], Any], tamper: Callable[[SoundnessContext], SoundnessContext]
) -> None:
    """The item fails, with a remedy, in the changed context, and passes in the plain one."""
    item = asked(gate, tamper(plain()))[name]
    assert item.ok is False
    finding, _, remedy = item.message.partition("; ")
    assert finding
    assert remedy
    assert sound()[name].ok is True
    assert remedy not in sound()[name].message


class Waves(nn.Module):
    """A rugged function, whose boundaries a weak search misses."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.frequencies = 3.0 * torch.randn(12, 64, generator=generator)
        self.phases = 6.28 * torch.rand(64, generator=generator)
        self.weights = torch.randn(64, 4, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cos(x @ self.frequencies + self.phases) @ self.weights


def waves() -> Subject:
    generator = torch.Generator().manual_seed(9)
    x, x_train = (torch.randn(n, 12, generator=generator) for n in (64, 256))
    basis = geometry.random_basis(12, 3, generator=generator)
    x, x_train = (points @ basis @ basis.T for points in (x, x_train))
    y, y_train = (Waves()(points).argmax(1) for points in (x, x_train))
    return Subject(model=Waves(), x=x, y=y, manifold=Subspace(basis), x_train=x_train, y_train=y_train)


def weaken_the_default_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave little of the search with default effort, so that it falls short on `waves`; more effort does not."""
    weak = replace(EFFORTS["default"], nearest_classes=1, candidates=1, hlrf_steps=0, stages=())
    monkeypatch.setitem(EFFORTS, "default", weak)
    monkeypatch.setattr(
        "dmmcheck.attacks.minimal_norm.search.label_starts",
        lambda oracle, rows, candidates, rays, scale, *, reading: Candidates(rows[:0], candidates.delta[:0]),
    )
