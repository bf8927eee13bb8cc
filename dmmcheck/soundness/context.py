"""What soundness looks at, and how an item is put into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.margins import margin_gradient
from dmmcheck.attacks.probe import segment
from dmmcheck.attacks.torchattacks.coordinates import Space
from dmmcheck.models.torch import TorchClassifier
from dmmcheck.report.model import Soundness
from dmmcheck.seeding import seeded

Family = Literal["model", "attack", "manifold"]
ARMS = ("free", "tangent", "normal")
WHERE = {"free": "anywhere", "tangent": "in the tangent space", "normal": "in the normal space"}
BEATEN = 0.98  # a probe beats the search where it comes nearer by more than 2 %


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """A measurement, laid open.

    Attributes:
        classifier: The model under test.
        was_training: The model was given in training mode.
        x: (n, D) inputs, all classified correctly.
        y: (n,) their labels.
        accuracy: Share of all labelled inputs classified correctly.
        majority: Share of the most frequent class among them.
        labelled: How many they are.
        x_pool: (m, D) examples in which neighbours are looked up.
        y_pool: (m,) their labels.
        bounds: Box of the inputs, where the user gave one. The searches are unboxed.
        basis: Tangent bases of the inputs, (D, k) or (n, D, k).
        manifold: The manifold estimate.
        training_points: What it was fitted on, where that is known.
        crossings: ``"free"``, ``"tangent"``, ``"normal"`` at the run's effort.
        search: `dmmcheck.boundary_search`.
        seed: Of the run.
    """

    classifier: TorchClassifier
    was_training: bool
    x: Tensor
    y: Tensor
    accuracy: float
    majority: float
    labelled: int
    x_pool: Tensor
    y_pool: Tensor
    bounds: tuple[float, float] | None
    basis: Tensor
    manifold: Any
    training_points: Tensor | None
    crossings: Mapping[str, Crossing]
    search: Callable[..., Crossing]
    seed: int

    @cached_property
    def logits(self) -> Tensor:
        """(n, C) at the inputs."""
        with torch.no_grad():
            return self.classifier.logits(self.x)

    @cached_property
    def logit_spread(self) -> float:
        """Standard deviation of the logits about their mean in each input: the unit of changes in them."""
        return float((self.logits - self.logits.mean(1, keepdim=True)).double().std())

    @cached_property
    def margin_gradient(self) -> tuple[Tensor, Tensor]:
        """Margin (n,) and its gradient (n, D) at the inputs."""
        return margin_gradient(self.classifier, self.x, self.y)

    @cached_property
    def segments(self) -> Crossing:
        """The label change on the way to the nearest example of another class: a distance without gradients."""
        return segment(self.classifier, self.x, self.y, self.x_pool, self.y_pool)

    @cached_property
    def length(self) -> Tensor:
        """A typical distance to the boundary: the smaller of the search's and the (label-only) segment's."""
        distance = torch.minimum(self.distance("free"), self.segments.distance)
        known = distance[torch.isfinite(distance) & (distance > 0)]
        return known.median() if len(known) else self.x.norm(dim=1).median().clamp_min(1e-30)

    def distance(self, arm: str, n: int | None = None) -> Tensor:
        """Distances (n,) of an arm, inf where nothing was found."""
        return self.crossings[arm].distance[:n].to(self.x)

    def space(self, arm: str, rows: slice | Tensor = slice(None)) -> Space:
        """Where an arm searches, for some of the inputs."""
        return Space() if arm == "free" else Space(self.basis, arm == "normal").rows(rows)

    def searched(self, classifier: TorchClassifier, arm: str, rows: slice | Tensor, effort: str) -> Crossing:
        """An arm searched anew for some of the inputs."""
        space = self.space(arm, rows)
        return self.search(
            classifier,
            self.x[rows],
            self.y[rows],
            subspace=space.basis,
            normal=space.normal,
            effort=effort,
            generator=self.random(effort, arm),
        )

    def random(self, *names: str) -> torch.Generator:
        """A stream of its own for one purpose."""
        return seeded(self.seed, "soundness", *names)


def informs(name: str, family: Family, message: str, value: float | None = None) -> Soundness:
    """An item that fails nothing."""
    return Soundness(name=name, family=family, ok=None, value=value, limit=None, message=message)


def gate(
    name: str,
    family: Family,
    value: float,
    *,
    most: float | None = None,
    least: float | None = None,
    finding: str,
    remedy: str,
) -> Soundness:
    """An item that fails where the value is above `most` or below `least`, or is no number."""
    limit = most if most is not None else least
    if limit is None:
        raise ValueError(f"gate {name!r} has no limit")
    ok = value <= limit if most is not None else value >= limit
    return judged(name, family, ok, value, limit, finding=finding, remedy=remedy)


def judged(
    name: str, family: Family, ok: bool, value: float, limit: float | None, *, finding: str, remedy: str
) -> Soundness:
    """An item that passes or fails; the remedy is named where it fails."""
    message = finding if ok else f"{finding}; {remedy}"
    return Soundness(name=name, family=family, ok=bool(ok), value=value, limit=limit, message=message)


def median(x: Tensor) -> float:
    """Median of finite and infinite numbers, NaN left out; NaN of none."""
    kept = x[~torch.isnan(x)]
    return float(kept.double().quantile(0.5, interpolation="lower")) if len(kept) else float("nan")


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """One distance over another: 1 where both are infinite, 0 where only b is."""
    both = torch.isinf(a) & torch.isinf(b)
    return torch.where(both, torch.ones_like(a), a / b)


def times(value: float) -> str:
    """A percentage without false precision."""
    return f"{value:.0%}" if value >= 0.1 or value == 0 else f"{value:.1%}"
