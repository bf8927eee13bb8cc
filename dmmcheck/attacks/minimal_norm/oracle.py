"""Logit margins and projected gradients at x + delta: all that a search needs of the model, with passes counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dmmcheck.attacks.margins import largest_other, logit_margin
from dmmcheck.attacks.minimal_norm.ends import Ends
from dmmcheck.attacks.minimal_norm.input_gradients import InputGradients
from dmmcheck.attacks.search_space import Everywhere, SearchSpace, basis_of
from dmmcheck.attacks.waiting import may_have
from dmmcheck.models.base import Classifier, called, input_gradient
from dmmcheck.models.boxed import Box
from dmmcheck.models.differences import calls_of_a_gradient, projected_gradients, step_lengths_of
from dmmcheck.models.memory import batch_results

MARGIN_ROUNDING = 4  # margins below this many rounding errors of the larger logit count as rounding
PROJECTION_ROUNDING = 100  # projections below this many rounding errors of the gradient count as rounding


@dataclass(frozen=True, eq=False)
class NearestClasses:
    """The classes whose boundaries are nearest to each input, to first order, sorted by distance.

    Attributes:
        classes: (m, c) the classes.
        distances: (m, c) first-order distances of their boundaries in the search space; inf where the gradient is zero.
        margins: (m, c) logit margins towards the classes.
        gradients: (m, c, D) gradients of these margins, projected onto the search space.
        scale: (m,) first-order distance of the nearest boundary without the restriction to the search space: the length
            scale of the input.
        noise: (m,) rounding errors of the margins at the inputs, in units of the logits.
    """

    classes: Tensor
    distances: Tensor
    margins: Tensor
    gradients: Tensor
    scale: Tensor
    noise: Tensor


@dataclass(frozen=True, eq=False)
class RowCache:
    """Inputs, labels and search spaces of the rows of a call, kept for the next call with the same rows.

    Attributes:
        rows: (m,) the rows.
        x: (m, D) their inputs.
        own: (m,) their labels; their target classes if there are targets.
        spaces: For each search space, the positions of its rows among these rows, and the spaces of their inputs.
    """

    rows: Tensor
    x: Tensor
    own: Tensor
    spaces: list[tuple[Tensor, SearchSpace]]


class MarginOracle:
    """Margins and gradients for every pair of a search space and an input.

    A row is such a pair: row = (number of the space) * n + (number of the input). Methods take perturbations delta
    (m, D) and the rows (m,) that they belong to; a row may occur several times.

    Args:
        classifier: The model, in evaluation mode while the oracle is in use.
        x: Inputs (n, D).
        y: Labels (n,).
        targets: Classes (n,) to reach, or None for any other class.
        spaces: Search spaces of the n inputs.
        bounds: Box (lo, hi) of the inputs, two numbers or two tensors (D,); or None.
        batch: Most rows in one model call; halved where memory runs out.
        farthest_entry: Largest entry of a perturbation; see `points`.
        ends: Examples of other classes near the inputs, or None.
        known: The gradients at the inputs; computed where None, and for inputs where they lack one that is needed.

    Attributes:
        forwards: Forward passes of each row so far, those of finite differences included.
        backwards: Gradient evaluations of each row so far.
    """

    def __init__(
        self,
        classifier: Classifier,
        x: Tensor,
        y: Tensor,
        *,
        targets: Tensor | None,
        spaces: Sequence[SearchSpace],
        bounds: Box | None,
        batch: int = 512,
        farthest_entry: float = math.inf,
        ends: Ends | None = None,
        known: InputGradients | None = None,
    ) -> None:
        self.classifier = classifier
        self.ends, self.known = ends, known
        self.x, self.y, self.targets, self.spaces, self.bounds = x, y, targets, list(spaces), bounds
        self.batch, self.farthest_entry = batch, farthest_entry
        self.n = len(x)
        self.rows = torch.arange(self.n * len(self.spaces), device=x.device)
        self.forwards = torch.zeros_like(self.rows)
        self.backwards = torch.zeros_like(self.rows)
        self._cache: RowCache | None = None
        self._lengths, self._calls = step_lengths_of(classifier), calls_of_a_gradient(classifier)

    def part(self, inputs: slice, batch: int) -> MarginOracle:
        """Return a new oracle for some of the inputs, with the same number of rows in one model call."""
        return MarginOracle(
            self.classifier,
            self.x[inputs],
            self.y[inputs],
            targets=None if self.targets is None else self.targets[inputs],
            spaces=[space.rows(inputs) for space in self.spaces],
            bounds=self.bounds,
            batch=batch,
            farthest_entry=self.farthest_entry,
            ends=None if self.ends is None else self.ends.rows(inputs),
            known=None if self.known is None else self.known.rows(inputs),
        )

    @cached_property
    def _bases(self) -> list[Tensor | None]:
        """For each search space the basis that gradients are taken along; None where they are taken whole."""
        return [None if self._lengths is None else basis_of(space) for space in self.spaces]

    @property
    def unrestricted(self) -> bool:
        """Whether all search spaces are the whole space."""
        return all(isinstance(space, Everywhere) for space in self.spaces)

    def margin(self, delta: Tensor, rows: Tensor) -> Tensor:
        """Return the logit margin (m,) at x + delta, which is negative where the label has changed.

        With targets, it is negative where the label is the target.
        """
        self._count(self.forwards, rows)
        cache = self.at(rows)

        def call(part: slice) -> tuple[Tensor]:
            with torch.no_grad():
                return (self._margin(self._logits(self.points(cache.x[part], delta[part])), cache.own[part]),)

        return self._in_batches(len(rows), call)[0]

    def gradient(self, delta: Tensor, rows: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logit margins, the margins towards given classes, and the projected gradients of the latter.

        Args:
            delta: Perturbations (m, D).
            rows: (m,) their rows.
            classes: (m,) the classes; -1 for the class with the largest other logit, as for all rows where None.

        Returns:
            Margins (m,), margins towards the classes (m,) and gradients (m, D). A gradient that is not finite, or whose
            projection is within the rounding of the gradient, is zero.
        """
        self._count(self.backwards, rows)
        if all(basis is None for basis in self._bases):
            margin, toward, raw = self._whole_gradient(delta, rows, classes)
        else:
            margin, toward, raw = self._gradient_by_space(delta, rows, classes)
        return margin, toward, self.project(raw, rows)

    def _gradient_by_space(self, delta: Tensor, rows: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `gradient` does, with gradients that are not projected yet.

        They are finite differences along the basis of each search space that has one.
        """
        members, found = [], []
        for number, basis in enumerate(self._bases):
            here = (rows // self.n == number).nonzero().squeeze(1)
            if not len(here):
                continue
            given = delta[here], rows[here], None if classes is None else classes[here]
            members.append(here)
            found.append(self._whole_gradient(*given) if basis is None else self._gradient_along(*given, basis))
        order = torch.cat(members).argsort()
        margin, toward, raw = (torch.cat(column)[order] for column in zip(*found, strict=True))
        return margin, toward, raw

    def _gradient_along(
        self, delta: Tensor, rows: Tensor, classes: Tensor | None, basis: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `gradient` does, for rows of one search space, by finite differences along its basis.

        The basis is (D, d), or (n, D, d) where each input has its own.
        """
        assert self._lengths is not None
        self._count(self.forwards, rows, 1 + basis.shape[-1])
        cache, inputs, lengths = self.at(rows), rows % self.n, self._lengths

        def call(part: slice) -> tuple[Tensor, Tensor, Tensor]:
            own, points = cache.own[part], self.points(cache.x[part], delta[part])
            logits = self._logits(points)
            nearest = self._likely_classes(logits, own, 1).squeeze(1)
            to = nearest if classes is None else torch.where(classes[part] < 0, nearest, classes[part])
            toward = self._toward(logits, own, to)

            def value(moved: Tensor, row: Tensor) -> Tensor:
                return self._toward(self._logits(moved), own[row], to[row])

            g = projected_gradients(value, points, toward, basis=basis, which=inputs[part], lengths=lengths)
            return self._margin(logits, own), toward, g

        with torch.no_grad():
            margin, toward, g = self._in_batches(len(rows), call)
        return margin, toward, g

    def _whole_gradient(self, delta: Tensor, rows: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `gradient` does, with gradients that are not projected yet, by one gradient of the model."""
        self._count(self.forwards, rows, 1 + self._calls)
        cache = self.at(rows)

        def call(part: slice) -> tuple[Tensor, Tensor, Tensor]:
            own = cache.own[part]
            with torch.enable_grad():
                points = self.points(cache.x[part], delta[part]).requires_grad_(True)
                logits = self._logits(points)
                margin = toward = self._margin(logits, own)
                if classes is not None:
                    named = self._toward(logits, own, classes[part].clamp_min(0))
                    toward = torch.where(classes[part] < 0, margin, named)
                return margin.detach(), toward.detach(), self._gradient(toward, points)

        margin, toward, raw = self._in_batches(len(rows), call)
        return margin, toward, raw

    def nearest_classes(self, rows: Tensor, count: int, kept: int) -> tuple[Tensor, NearestClasses]:
        """Return the margins at the inputs, and the classes whose boundaries are nearest to them.

        The gradients at an input are the same in each search space: unless they are known, they are computed once for
        all rows of the input, and counted for its row in the first space.

        Args:
            rows: (m,) the rows.
            count: Number of classes, those with the largest logits, whose boundaries are compared.
            kept: Number of classes, the nearest of these, that are returned.

        Returns:
            Logit margins (m,), and the nearest classes.
        """
        inputs, which = torch.unique(rows % self.n, return_inverse=True)
        own = (self.y if self.targets is None else self.targets)[inputs]
        logits, classes, raw = self._known_or_computed(inputs, own, count)
        towards = torch.stack([self._toward(logits, own, j) for j in classes.unbind(1)], 1)
        found = (self._margin(logits, own), self._noise(logits, own), classes, towards, raw)
        margin, noise, classes, towards, raw = (column[which] for column in found)
        scale = (towards.abs() / raw.norm(dim=2)).nan_to_num(nan=torch.inf).amin(1)
        g = torch.stack([self.project(one, rows) for one in raw.unbind(1)], 1)
        distances = (towards.abs() / g.norm(dim=2)).nan_to_num(nan=torch.inf)
        order = distances.argsort(dim=1, stable=True)[:, :kept]
        gradients = g[torch.arange(len(g), device=g.device)[:, None], order]
        classes, distances, towards = (column.gather(1, order) for column in (classes, distances, towards))
        return margin, NearestClasses(classes, distances, towards, gradients, scale, noise)

    def at_inputs(self, inputs: Tensor, own: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits at inputs, their likely classes, and the gradients of the margins towards these.

        Args:
            inputs: (m,) the inputs.
            own: (m,) their labels; their target classes if there are targets.
            count: Number of classes.

        Returns:
            Logits (m, C), classes (m, c) and gradients (m, c, D).
        """

        def call(part: slice) -> tuple[Tensor, Tensor, Tensor]:
            with torch.enable_grad():
                points = self.x[inputs[part]].clone().requires_grad_(True)
                logits = self._logits(points)
                classes = self._likely_classes(logits.detach(), own[part], count)
                towards = [self._toward(logits, own[part], j) for j in classes.unbind(1)]
                raw = [self._gradient(toward, points, keep=True) for toward in towards]
            return logits.detach(), classes, torch.stack(raw, 1)

        logits, classes, raw = self._in_batches(len(inputs), call)
        self._count(self.forwards, inputs, 1 + self._calls)
        self._count(self.backwards, inputs, classes.shape[1])
        return logits, classes, raw

    def _known_or_computed(self, inputs: Tensor, own: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same as `at_inputs`, computed for those inputs alone whose gradients are not known."""
        if self.known is None:
            return self.at_inputs(inputs, own, count)
        known = self.known.rows(inputs)
        classes = self._likely_classes(known.logits, own, count)
        raw, is_known = known.toward(self.y[inputs], own, classes)
        found = known.logits, classes, raw if self.targets is None else -raw
        left = torch.nonzero(~is_known).squeeze(1)
        if not len(left):
            return found
        anew = self.at_inputs(inputs[left], own[left], count)
        logits, classes, raw = (one.index_copy(0, left, other) for one, other in zip(found, anew, strict=True))
        return logits, classes, raw

    def project(self, v: Tensor, rows: Tensor) -> Tensor:
        """Return the projections of vectors v (m, D) onto the search spaces of rows (m,).

        A projection is zero where only rounding errors of v are left of it.
        """
        length = v.norm(dim=1, keepdim=True)
        known = torch.isfinite(length)
        result = torch.where(known, v, 0.0) if may_have(~known) else v
        for members, space in self.at(rows).spaces:
            if isinstance(space, Everywhere) or not len(members):
                continue
            whole = len(members) == len(rows)
            part, size = (result, length) if whole else (result[members], length[members])
            inside = space.project(part)
            nothing = inside.norm(dim=1) <= PROJECTION_ROUNDING * torch.finfo(v.dtype).eps * size.squeeze(1)
            if may_have(nothing):
                inside = torch.where(nothing[:, None], 0.0, inside)
            result = inside if whole else result.index_copy(0, members, inside)
        return result

    def feasible(self, delta: Tensor, rows: Tensor, rounds: int = 8) -> Tensor:
        """Return the perturbations (m, D) near the given ones that lie in the search spaces and in the box, if any.

        Args:
            delta: Perturbations (m, D) in the search spaces.
            rows: (m,) their rows.
            rounds: Number of alternating projections onto box and search space. Then the perturbations are scaled down
                until they lie in the box.
        """
        if self.bounds is None:
            return delta
        x = self.at(rows).x
        low, high = self.bounds[0] - x, self.bounds[1] - x
        if self.unrestricted:
            return delta.clamp(low, high)
        for _ in range(rounds):
            delta = self.project(delta.clamp(low, high), rows)
        return delta * _room(delta, low, high)[:, None]

    def points(self, x: Tensor, delta: Tensor) -> Tensor:
        """Return the points x + delta (m, D), clamped to the box, which they may leave by rounding errors.

        A perturbation with an entry that is not finite or exceeds `farthest_entry` counts as none, so that the
        model is never called there: its margin is that of the input, which is no label change.
        """
        most = min(self.farthest_entry, torch.finfo(delta.dtype).max)
        within = delta.abs().amax(1) <= most  # a norm of order inf takes ten times as long
        if may_have(~within):
            delta = torch.where(within[:, None], delta, 0.0)
        return x + delta if self.bounds is None else (x + delta).clamp(*self.bounds)

    def at(self, rows: Tensor) -> RowCache:
        """Return the inputs, labels and search spaces of rows (m,)."""
        if self._cache is None or self._cache.rows is not rows:
            inputs = rows % self.n
            own = (self.y if self.targets is None else self.targets)[inputs]
            spaces = [self._members(number, space, rows) for number, space in enumerate(self.spaces)]
            self._cache = RowCache(rows, self.x[inputs], own, spaces)
        return self._cache

    def _members(self, number: int, space: SearchSpace, rows: Tensor) -> tuple[Tensor, SearchSpace]:
        """Return the positions of the rows of one search space among rows (m,), and the spaces of their inputs."""
        if isinstance(space, Everywhere):
            return rows[:0], space
        members = torch.nonzero(rows // self.n == number).reshape(-1)
        return members, space.rows(rows[members] % self.n)

    def _in_batches(self, rows: int, call: Callable[[slice], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Return the results of a call for slices of the rows, joined; batches are halved where memory runs out."""
        parts, self.batch = batch_results(rows, self.batch, call)
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    @staticmethod
    def _count(passes: Tensor, rows: Tensor, times: int = 1) -> None:
        """Add passes of rows (m,), in which a row may occur several times."""
        passes.index_add_(0, rows, torch.ones_like(rows), alpha=times)

    def _logits(self, points: Tensor) -> Tensor:
        return called(self.classifier, points)

    def _gradient(self, toward: Tensor, points: Tensor, *, keep: bool = False) -> Tensor:
        return input_gradient(toward.sum(), points, keep=keep, role=self.classifier.role)

    def _margin(self, logits: Tensor, own: Tensor) -> Tensor:
        """Return z_y - max of the others, or with targets max of the others - z_target; (m,) in the dtype of x."""
        difference = logit_margin(logits, own).to(self.x.dtype)
        return difference if self.targets is None else -difference

    def _noise(self, logits: Tensor, own: Tensor) -> Tensor:
        """Return the rounding errors (m,) of the margins, from the sizes of the two logits that a margin subtracts."""
        largest = torch.maximum(logits.gather(1, own[:, None]).squeeze(1).abs(), largest_other(logits, own).abs())
        coarser = max(torch.finfo(logits.dtype).eps, torch.finfo(self.x.dtype).eps)
        return (MARGIN_ROUNDING * coarser * largest).to(self.x.dtype).nan_to_num(nan=0.0, posinf=0.0)

    def _toward(self, logits: Tensor, own: Tensor, classes: Tensor) -> Tensor:
        """Return z_y - z_class, or with targets z_class - z_target; (m,) in the dtype of x."""
        difference = (logits.gather(1, own[:, None]) - logits.gather(1, classes[:, None])).squeeze(1).to(self.x.dtype)
        return difference if self.targets is None else -difference

    @staticmethod
    def _likely_classes(logits: Tensor, own: Tensor, count: int) -> Tensor:
        """Return the classes (m, c) with the largest logits, without the label (or target) of the row."""
        others = logits.scatter(1, own[:, None], -torch.inf)
        return others.topk(min(count, logits.shape[1] - 1), dim=1).indices


def _room(delta: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the largest share (m,), at most 1, of each perturbation that lies between low and high."""
    limit = torch.where(delta > 0, high, low)
    share = torch.where(delta != 0, limit / delta, torch.inf)
    return share.nan_to_num(nan=torch.inf).amin(1).clamp(0, 1)
