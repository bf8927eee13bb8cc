"""The search problem: rows to search, each an input in one arm; margins and restricted gradients, counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ModelError
from dmmcheck.models.memory import out_of_memory
from dmmcheck.models.torch import TorchClassifier

BASES = 1 << 24  # values of bases that are copied, one a row
CANCELLED = 0.7  # a normal part below this share of the whole is projected twice, for its rounding (Kahan's criterion)
ROUNDING = 4  # of the larger logit, in its rounding errors: margins below are none
NOISE = 100  # a projection below this many rounding errors of the gradient is none


@dataclass(frozen=True, eq=False)
class Arm:
    """Where to search: everywhere, in x + span(subspace), or in its orthogonal complement.

    Attributes:
        subspace: Orthonormal basis, (D, k) shared or (n, D, k) one an input; None for everywhere.
        normal: The complement of the span.
    """

    subspace: Tensor | None = None
    normal: bool = False


@dataclass(frozen=True, eq=False)
class Rivals:
    """The classes nearest to each row's input, to first order, by rising distance.

    Attributes:
        classes: (m, c).
        distances: (m, c) inf where the gradient says nothing.
        margins: (m, c) towards them.
        gradients: (m, c, D) of those, restricted to the row's subspace.
        scale: (m,) first-order distance to any class, anywhere: a length scale of the problem.
        noise: (m,) rounding of the margins at the inputs, in units of the logits.
    """

    classes: Tensor
    distances: Tensor
    margins: Tensor
    gradients: Tensor
    scale: Tensor
    noise: Tensor


@dataclass(frozen=True, eq=False)
class Place:
    """What the rows of a call ask for, kept while they stay the same.

    Attributes:
        rows: (m,).
        x: (m, D) their inputs.
        own: (m, 1) their labels; their targets where there are any.
        bases: For each arm the places of its rows among these, and their bases.
    """

    rows: Tensor
    x: Tensor
    own: Tensor
    bases: list[tuple[Tensor, Tensor | None]]


class Problem:
    """Rows of all arms, arm after arm: row = arm * n + input. Steps are (m, D), rows (m,) indices.

    Args:
        classifier: In evaluation mode while the problem is in use.
        x: Inputs (n, D).
        y: Labels (n,).
        targets: Classes to reach (n,), or None for any other class.
        arms: Where to search.
        bounds: Box of the inputs, or None.
        batch: Most rows in one model call; halved when memory runs out.
    """

    def __init__(
        self,
        classifier: TorchClassifier,
        x: Tensor,
        y: Tensor,
        *,
        targets: Tensor | None,
        arms: Sequence[Arm],
        bounds: tuple[float, float] | None,
        batch: int = 512,
    ) -> None:
        self.classifier = classifier
        self.x, self.y, self.targets, self.arms, self.bounds = x, y, targets, list(arms), bounds
        self.batch = batch
        self.n = len(x)
        self.rows = torch.arange(self.n * len(self.arms), device=x.device)
        self.forwards = torch.zeros_like(self.rows)
        self.backwards = torch.zeros_like(self.rows)
        self._place: Place | None = None

    def margin(self, step: Tensor, rows: Tensor) -> Tensor:
        """Margin (m,) at x + step: negative where the label has changed (to the target, where there is one)."""
        self._count(self.forwards, rows)
        place = self.at(rows)

        def call(part: slice) -> tuple[Tensor]:
            with torch.no_grad():
                return (self._margin(self._logits(self.points(place.x[part], step[part])), place.own[part]),)

        return self._in_batches(len(rows), call)[0]

    def gradient(self, step: Tensor, rows: Tensor, rivals: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Margin (m,), the margin towards a rival class (m,) and the restricted gradient of the latter (m, D).

        Where no rivals (m,) are named, or -1, both margins are the same. A gradient that is not finite, or whose
        projection is rounding noise, is zero.
        """
        self._count(self.forwards, rows)
        self._count(self.backwards, rows)
        place = self.at(rows)

        def call(part: slice) -> tuple[Tensor, Tensor, Tensor]:
            own = place.own[part]
            with torch.enable_grad():
                points = self.points(place.x[part], step[part]).requires_grad_(True)
                logits = self._logits(points)
                margin = toward = self._margin(logits, own)
                if rivals is not None:
                    named = self._toward(logits, own, rivals[part].clamp_min(0))
                    toward = torch.where(rivals[part] < 0, margin, named)
                return margin.detach(), toward.detach(), _gradient(toward, points)

        margin, toward, raw = self._in_batches(len(rows), call)
        return margin, toward, self.restrict(raw, rows)

    def rivals(self, rows: Tensor, count: int, kept: int) -> tuple[Tensor, Rivals]:
        """Margins (m,) and the `kept` classes nearest at the inputs, of the `count` with the largest logits."""
        place = self.at(rows)

        def call(part: slice) -> tuple[Tensor, ...]:
            own = place.own[part]
            with torch.enable_grad():
                points = place.x[part].clone().requires_grad_(True)
                logits = self._logits(points)
                classes = self._candidates(logits.detach(), own, count)
                towards = [self._toward(logits, own, j) for j in classes.unbind(1)]
                raw = [_gradient(toward, points, retain=True) for toward in towards]
            margin, noise = self._margin(logits.detach(), own), self._noise(logits.detach(), own)
            return margin, noise, classes, torch.stack(towards, 1).detach(), torch.stack(raw, 1)

        margin, noise, classes, towards, raw = self._in_batches(len(rows), call)
        self._count(self.forwards, rows)
        self._count(self.backwards, rows, classes.shape[1])
        scale = (towards.abs() / raw.norm(dim=2)).nan_to_num(nan=torch.inf).amin(1)
        g = torch.stack([self.restrict(one, rows) for one in raw.unbind(1)], 1)
        distances = (towards.abs() / g.norm(dim=2)).nan_to_num(nan=torch.inf)
        order = distances.argsort(dim=1, stable=True)[:, :kept]
        gradients = g[torch.arange(len(g), device=g.device)[:, None], order]
        classes, distances, towards = (column.gather(1, order) for column in (classes, distances, towards))
        return margin, Rivals(classes, distances, towards, gradients, scale, noise)

    def restrict(self, v: Tensor, rows: Tensor) -> Tensor:
        """Part (m, D) of vectors inside each row's subspace."""
        length = v.norm(dim=1, keepdim=True)
        known = torch.isfinite(length)
        result = v if bool(known.all()) else torch.where(known, v, 0.0)
        for arm, (members, basis) in zip(self.arms, self.at(rows).bases, strict=True):
            if arm.subspace is None or not len(members):
                continue
            whole = len(members) == len(rows)
            part, size = (result, length) if whole else (result[members], length[members])
            inside = self._tangent_part(part, arm, members, rows, basis)
            if arm.normal:
                inside = part - inside
                cancelled = inside.norm(dim=1, keepdim=True) < CANCELLED * size
                if bool(cancelled.any()):
                    again = self._tangent_part(inside, arm, members, rows, basis)
                    inside = torch.where(cancelled, inside - again, inside)
            nothing = inside.norm(dim=1) <= NOISE * torch.finfo(v.dtype).eps * size.squeeze(1)
            if bool(nothing.any()):
                inside = torch.where(nothing[:, None], 0.0, inside)
            result = inside if whole else result.index_copy(0, members, inside)
        return result

    def _tangent_part(self, v: Tensor, arm: Arm, members: Tensor, rows: Tensor, basis: Tensor | None) -> Tensor:
        """Projection (m, D) onto the members' bases; input after input where one basis a row would be too large."""
        if basis is not None:
            return geometry.project_tangent(v, basis)
        result = torch.empty_like(v)
        inputs = rows[members] % self.n
        for i in sorted(set(inputs.tolist())):
            here = (inputs == i).nonzero().squeeze(1)
            result[here] = geometry.project_tangent(v[here], arm.subspace[i])  # type: ignore[index]  # per input
        return result

    def feasible(self, step: Tensor, rows: Tensor, rounds: int = 8) -> Tensor:
        """A step (m, D) near the given one that stays in subspace and box; the step itself where there is no box."""
        if self.bounds is None:
            return step
        x = self.at(rows).x
        low, high = self.bounds[0] - x, self.bounds[1] - x
        if all(arm.subspace is None for arm in self.arms):
            return step.clamp(low, high)
        for _ in range(rounds):
            step = self.restrict(step.clamp(low, high), rows)
        return step * _room(step, low, high)[:, None]

    def points(self, x: Tensor, step: Tensor) -> Tensor:
        """Inputs and steps added up (m, D), and clamped to the box: feasible steps may leave it by a rounding error."""
        return x + step if self.bounds is None else (x + step).clamp(*self.bounds)

    def _in_batches(self, rows: int, call: Callable[[slice], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """A call for so many rows, in batches that memory holds."""
        while True:
            try:
                parts = [call(slice(at, at + self.batch)) for at in range(0, rows, self.batch)]
                return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))
            except (RuntimeError, MemoryError) as error:
                if min(self.batch, rows) == 1 or not out_of_memory(error):
                    raise
                self.batch = max(1, min(self.batch, rows) // 2)

    @staticmethod
    def _count(passes: Tensor, rows: Tensor, times: int = 1) -> None:
        """A row may be there several times."""
        passes.index_add_(0, rows, torch.ones_like(rows), alpha=times)

    def _logits(self, points: Tensor) -> Tensor:
        try:
            return self.classifier.logits(points)
        except Exception as error:
            if out_of_memory(error):
                raise
            shape = (len(points), *self.classifier.input_shape)
            raise ModelError(
                f"the model raised {type(error).__name__} in forward on a batch of shape {shape}: {error}; "
                "it must accept batches of any size"
            ) from error

    def _margin(self, logits: Tensor, own: Tensor) -> Tensor:
        """z_y - max of the rest; with targets: max of the rest - z_target. In the dtype of x, whatever the logits'."""
        rest = logits.scatter(1, own, -torch.inf).amax(1)
        difference = (logits.gather(1, own).squeeze(1) - rest).to(self.x.dtype)
        return difference if self.targets is None else -difference

    def _noise(self, logits: Tensor, own: Tensor) -> Tensor:
        """Rounding of the margins (m,), by the two logits that they are the difference of."""
        largest = torch.maximum(
            logits.gather(1, own).squeeze(1).abs(), logits.scatter(1, own, -torch.inf).amax(1).abs()
        )
        coarser = max(torch.finfo(logits.dtype).eps, torch.finfo(self.x.dtype).eps)
        return (ROUNDING * coarser * largest).to(self.x.dtype).nan_to_num(nan=0.0, posinf=0.0)

    def _toward(self, logits: Tensor, own: Tensor, rivals: Tensor) -> Tensor:
        """z_y - z_rival; with targets: z_rival - z_target."""
        difference = (logits.gather(1, own) - logits.gather(1, rivals[:, None])).squeeze(1).to(self.x.dtype)
        return difference if self.targets is None else -difference

    @staticmethod
    def _candidates(logits: Tensor, own: Tensor, count: int) -> Tensor:
        """Classes (m, c) with the largest logits, the row's own (or target) class left out."""
        return logits.scatter(1, own, -torch.inf).topk(min(count, logits.shape[1] - 1), dim=1).indices

    def at(self, rows: Tensor) -> Place:
        """What these rows ask for."""
        if self._place is None or self._place.rows is not rows:
            inputs = rows % self.n
            own = (self.y if self.targets is None else self.targets)[inputs][:, None]
            bases = [self._basis(number, arm, rows) for number, arm in enumerate(self.arms)]
            self._place = Place(rows, self.x[inputs], own, bases)
        return self._place

    def _basis(self, number: int, arm: Arm, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Places of an arm's rows; the shared basis, or one a place (m, D, k), None where that would be too large."""
        if arm.subspace is None:
            return rows[:0], None
        members = torch.nonzero(rows // self.n == number).reshape(-1)
        if arm.subspace.ndim == 2:
            return members, arm.subspace
        if len(members) * arm.subspace[0].numel() > BASES:
            return members, None
        return members, arm.subspace[rows[members] % self.n]


def _gradient(margin: Tensor, points: Tensor, *, retain: bool = False) -> Tensor:
    """Gradient of the margins' sum in the points; zero where the model does not depend on them."""
    if not margin.requires_grad:
        return torch.zeros_like(points)
    (raw,) = torch.autograd.grad(margin.sum(), points, retain_graph=retain, allow_unused=True)
    return torch.zeros_like(points) if raw is None else raw


def _room(step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Largest share (m,), at most 1, of each step that stays between low and high."""
    limit = torch.where(step > 0, high, low)
    share = torch.where(step != 0, limit / step, torch.inf)
    return share.nan_to_num(nan=torch.inf).amin(1).clamp(0, 1)
