"""The input of the soundness gates, and the functions that make their items."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.margins import margin_gradient, within_reach
from dmmcheck.attacks.probe import segment
from dmmcheck.attacks.search_space import Everywhere, SearchSpace, spanned
from dmmcheck.inference.types import ARMS, ArmName, SearchEffort
from dmmcheck.manifolds.computed_spaces import ComputedSpaces
from dmmcheck.manifolds.operators import TangentSpaces
from dmmcheck.manifolds.protected import answer_and_change
from dmmcheck.measurement.independence import Independence
from dmmcheck.measurement.measure import NEXT_EFFORT
from dmmcheck.models.base import Classifier, called, is_differentiable
from dmmcheck.report.model import Soundness
from dmmcheck.seeding import seeded

WHERE = {"free": "anywhere", "tangent": "in the tangent space", "normal": "in the normal space"}
BEATEN = 0.98  # a probe beats the search where its distance is more than 2 % shorter
TOLERATED = 0.02  # a shortfall of the search, in the median, that intervals need not include
FIRST_STEPS = ((4, 0), (8, 1))  # inputs of a second search, and how many may have a shorter distance where it stops
CHANCE_ALPHA = 0.01  # error rate of the tests against chance


@dataclass(frozen=True, kw_only=True, eq=False)
class SoundnessContext:
    """A measurement of a fixed part of the sample, as the gates see it; it can also be built by hand.

    Attributes:
        classifier: The model under test.
        was_training: Whether the model was given in training mode.
        x: (n, D) inputs, all classified correctly.
        y: (n,) their labels.
        accuracy: Share of all labelled inputs that are classified correctly.
        majority: Share of the most frequent class among all labelled inputs.
        labelled: Number of labelled inputs.
        x_pool: (m, D) examples in which neighbours are looked up.
        y_pool: (m,) their labels.
        bounds: Box of the inputs, where the user gave one. Searches stay inside it in a boxed
            run only.
        basis: Tangent bases of the inputs, (D, k) or (n, D, k); None where `spaces` are given instead.
        manifold: The manifold estimate.
        training_points: (m, D) points that it was fitted on; None where they are not known.
        crossings: The crossings of the arms ``"free"``, ``"tangent"`` and ``"normal"``.
        search: `dmmcheck.boundary_search`, or a function with its arguments.
        seed: Seed of the run.
        effort: Effort of the searches that found the crossings.
        independence: How many inputs are independent of each other and of the training data, where it is known.
        x_train: (p, D) training data, where they are given and the model under test is the subject's own.
        y_train: (p,) their labels.
        units: The units of distances that the user chose: ``"input"``, ``"standard"``, or None for no choice.
        spaces: Tangent spaces that are known by their projection alone, or whose bases are too large to be kept.
    """

    classifier: Classifier
    was_training: bool
    x: Tensor
    y: Tensor
    accuracy: float
    majority: float
    labelled: int
    x_pool: Tensor
    y_pool: Tensor
    bounds: tuple[float, float] | None
    basis: Tensor | None
    manifold: Any
    training_points: Tensor | None
    crossings: Mapping[str, Crossing]
    search: Callable[..., Crossing]
    seed: int
    effort: SearchEffort = "default"
    independence: Independence | None = None
    x_train: Tensor | None = None
    y_train: Tensor | None = None
    units: str | None = None
    spaces: TangentSpaces | None = None

    @cached_property
    def logits(self) -> Tensor:
        """(n, C) at the inputs."""
        with torch.no_grad():
            return called(self.classifier, self.x)

    @cached_property
    def classes_in_reach(self) -> Tensor:
        """(C,) bool: classes that are not masked by a constant far below the others; see `margins.within_reach`."""
        return within_reach(self.logits)

    @cached_property
    def logit_spread(self) -> float:
        """Standard deviation of the logits in reach about their mean in each input, the unit for changes of logits."""
        logits = self.logits[:, self.classes_in_reach].double()
        return float((logits - logits.mean(1, keepdim=True)).std())

    @cached_property
    def margin_gradient(self) -> tuple[Tensor, Tensor]:
        """Margin (n,) and its gradient (n, D) at the inputs."""
        return margin_gradient(self.classifier, self.x, self.y)

    @cached_property
    def segments(self) -> Crossing:
        """Label changes on the straight way to the nearest example of another class, found without gradients."""
        return segment(self.classifier, self.x, self.y, self.x_pool, self.y_pool)

    @cached_property
    def length(self) -> Tensor:
        """A typical distance to the boundary: the median of the smaller of the searched and the segment's distance."""
        distance = torch.minimum(self.distance("free"), self.segments.distance)
        known = distance[torch.isfinite(distance) & (distance > 0)]
        return known.median() if len(known) else self.x.norm(dim=1).median().clamp_min(1e-30)

    @cached_property
    def projected(self) -> Tensor:
        """The inputs projected onto the manifold estimate, (n, D)."""
        return self.answer("project_point")[0].to(self.x)  # type: ignore[no-any-return]

    @cached_property
    def _answers(self) -> dict[str, tuple[Any, bool]]:
        return {}

    def answer(self, method: str) -> tuple[Any, bool]:
        """Return what a method of the manifold answers at the inputs, and whether it changes the points that it gets.

        The method is asked once for all gates. An answer that is a tensor is kept without the graph of its gradients.

        Raises:
            ManifoldError: The method raises.
        """
        if method not in self._answers:
            answer, has_changed = answer_and_change(self.manifold, method, self.x)
            self._answers[method] = answer.detach() if isinstance(answer, Tensor) else answer, has_changed
        return self._answers[method]

    @property
    def has_large_bases(self) -> bool:
        """Whether the manifold gives bases that are too large to be kept for all inputs."""
        return isinstance(self.spaces, ComputedSpaces)

    @property
    def tangent_method(self) -> str:
        """The name of the manifold's method that gives tangent spaces."""
        return "tangent_basis" if self.spaces is None or self.has_large_bases else "tangent_spaces"

    @property
    def why_no_bases(self) -> str:
        """Why there are no bases to compare, in words."""
        if self.has_large_bases:
            return "the bases of the tangent spaces are too large to be kept in memory together"
        return "the tangent spaces are known by their projection alone"

    def is_changing_points(self, method: str) -> bool:
        """Return whether a method of the manifold changes the points that it gets.

        It is asked at the inputs, and where bases are large, at few of them.

        Raises:
            ManifoldError: The method raises.
        """
        if method == "tangent_basis" and isinstance(self.spaces, ComputedSpaces):
            return answer_and_change(self.manifold, method, self.x[: self.spaces.beside_kept])[1]
        return self.answer(method)[1]

    def distance(self, arm: str, n: int | None = None) -> Tensor:
        """Return the distances (n,) of an arm, of the first n inputs; inf where no crossing was found."""
        return self.crossings[arm].distance[:n].to(self.x)

    def space(self, arm: str, rows: slice | Tensor = slice(None)) -> SearchSpace:
        """Return the search space of an arm, for some of the inputs."""
        tangent = self.basis if self.spaces is None else self.spaces
        return Everywhere() if arm == "free" else spanned(tangent, normal=arm == "normal").rows(rows)

    def searched(self, classifier: Classifier, arm: str, rows: slice | Tensor, effort: str) -> Crossing:
        """Return the crossings of another search of an arm, for some of the inputs, with an effort of the search."""
        return self.search(
            classifier,
            self.x[rows],
            self.y[rows],
            space=self.space(arm, rows),
            examples=(self.x_pool, self.y_pool),
            effort=effort,
            generator=self.random(effort, arm),
        )

    def random(self, *names: str) -> torch.Generator:
        """Return a random stream for one purpose, which no other gate draws from."""
        return seeded(self.seed, "soundness", *names)


def in_steps(context: SoundnessContext, n: int, distances: Callable[[ArmName, slice], Tensor]) -> dict[ArmName, Tensor]:
    """Return the distances that a second search finds, by arm: at the first 4, the first 8, or all n inputs.

    The second search of an arm ends after 4 inputs if it shortens none of their distances by over 2 %, and after 8
    inputs if it shortens at most one of the 8. If it shortened the median distance by as much, it would end after the
    4 with a probability of at most 1/16, and after the 8 with one of at most 1/64. So the shortfall of an arm is missed
    with a probability of at most 8 %.

    Args:
        context: The context, whose distances are compared.
        n: Most inputs.
        distances: From an arm and rows of the inputs to the distances of the second search.
    """

    def stepped(arm: ArmName) -> Tensor:
        found = context.x.new_empty(0)
        for size, most in (*FIRST_STEPS, (n, n)):
            more = distances(arm, slice(len(found), min(size, n)))
            found = torch.cat([found, more.to(found)])
            shorter = int((ratio(found, context.distance(arm, len(found))) < 1 - TOLERATED).sum())
            if len(found) == n or shorter <= most:
                break
        return found

    return {arm: stepped(arm) for arm in ARMS}


def info(name: str, message: str, value: float | None = None) -> Soundness:
    """Return an informational item, which cannot fail.

    Args:
        name: Its public name.
        message: What was found.
        value: What was measured, where there is a number.
    """
    return Soundness(name=name, family="", ok=None, value=value, limit=None, message=message)


def widening(name: str, value: float, limit: float, message: str) -> Soundness:
    """Return an item that does not fail, but widens the intervals that rest on searched distances by its error.

    Args:
        name: Its public name.
        value: What was measured.
        limit: The limit that the value breaks.
        message: What was found.
    """
    return Soundness(name=name, family="", ok=None, value=value, limit=limit, message=message, widens=True)


def bounded(
    name: str,
    value: float,
    *,
    most: float | None = None,
    least: float | None = None,
    finding: str,
    remedy: str,
) -> Soundness:
    """Return an item that fails where its value is above `most`, below `least`, or NaN.

    Args:
        name: Its public name.
        value: What was measured.
        most: Largest value that passes.
        least: Smallest value that passes, where `most` is not given.
        finding: What was found, with the limit.
        remedy: What to do; part of the message where the item fails.

    Raises:
        ValueError: Neither limit is given.
    """
    limit = most if most is not None else least
    if limit is None:
        raise ValueError(f"the item {name!r} has no limit; give most or least")
    ok = value <= limit if most is not None else value >= limit
    return judged(name, ok, value, limit, finding=finding, remedy=remedy)


def judged(name: str, ok: bool, value: float, limit: float | None, *, finding: str, remedy: str) -> Soundness:
    """Return an item that passes or fails by a test of the gate.

    Args:
        name: Its public name.
        ok: Whether it passes.
        value: What was measured.
        limit: What it was compared with; None where there is no single number.
        finding: What was found, with the limit.
        remedy: What to do; part of the message where the item fails.
    """
    message = finding if ok else f"{finding}; {remedy}"
    return Soundness(name=name, family="", ok=bool(ok), value=value, limit=limit, message=message)


def more_thorough(context: SoundnessContext) -> str:
    """Return the words for a search with the next effort, e.g. ``a thorough search``."""
    effort = NEXT_EFFORT[context.effort]
    return f"{'an' if effort == 'exhaustive' else 'a'} {effort} search"


def more_effort(context: SoundnessContext) -> str:
    """Return the remedy for a search that has not converged."""
    if not is_differentiable(context.classifier):
        return "set queries to a larger number (or --dmm-queries)"
    if context.effort == "thorough":
        return (
            "no setting gives more effort, so a smoother model is needed (for example softplus in place of ReLU, "
            "average pooling in place of max pooling)"
        )
    return (
        "a run raises the effort of its search by itself, unless it is fast or another check of model or gradients "
        "fails: leave out fast (or --dmm-fast), or mend first what that check names"
    )


def too_few(n: int, chance: float) -> str:
    """Return a message where n inputs, even all right, cannot be told from chance, with the number that can; or "".

    Args:
        n: Number of inputs.
        chance: Share of them that is right by chance.
    """
    if not 0 < chance < 1 or chance**n <= CHANCE_ALPHA:
        return ""
    needed = math.ceil(math.log(CHANCE_ALPHA) / math.log(chance))
    return f"{n} inputs are too few to tell: even if all were right, chance could explain it; give at least {needed}"


def median(x: Tensor) -> float:
    """Return the median of finite and infinite numbers, without NaN; NaN where there are none."""
    kept = x[~torch.isnan(x)]
    return float(kept.double().quantile(0.5, interpolation="lower")) if len(kept) else float("nan")


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """Return one distance over another: 1 where both are infinite, 0 where only b is."""
    both = torch.isinf(a) & torch.isinf(b)
    return torch.where(both, torch.ones_like(a), a / b)


def changes(function: Callable[[Tensor], object], x: Tensor) -> bool:
    """Return whether a function changes points (n, D) that are passed to it; the function gets a copy."""
    points = x.clone()
    with torch.no_grad():
        function(points)
    return not torch.equal(points, x)


def percent(value: float, limit: float | None = None) -> str:
    """Return a share in per cent, with one decimal where it is below 10 %.

    Beside a limit that it differs from, it has as many decimals, up to four, as tell it from the limit.

    Example:
        >>> from dmmcheck.soundness.context import percent
        >>> percent(0.947), percent(0.947, limit=0.95), percent(0.0104, limit=0.01)
        ('95%', '94.7%', '1.04%')
    """
    decimals = 0 if value >= 0.1 or value == 0 else 1
    while limit is not None and value != limit and decimals < 4 and f"{value:.{decimals}%}" == f"{limit:.{decimals}%}":
        decimals += 1
    return f"{value:.{decimals}%}"
