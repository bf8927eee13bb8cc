"""The search problem: rows to search, each an input in one arm; margins and restricted gradients, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ModelError
from dmmcheck.models.torch import TorchClassifier

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


class Problem:
    """Rows of all arms, arm after arm: row = arm * n + input. Steps are (m, D), rows (m,) indices.

    Args:
        classifier: In evaluation mode while the problem is in use.
        x: Inputs (n, D).
        y: Labels (n,).
        targets: Classes to reach (n,), or None for any other class.
        arms: Where to search.
        bounds: Box of the inputs, or None.
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
    ) -> None:
        self.classifier = classifier
        self.x, self.y, self.targets, self.arms, self.bounds = x, y, targets, list(arms), bounds
        self.n = len(x)
        self.rows = torch.arange(self.n * len(self.arms), device=x.device)
        self.forwards = torch.zeros_like(self.rows)
        self.backwards = torch.zeros_like(self.rows)
        self._compact: tuple[Tensor, list[tuple[Tensor, Tensor]]] | None = None

    def margin(self, step: Tensor, rows: Tensor) -> Tensor:
        """Margin (m,) at x + step: negative where the label has changed (to the target, where there is one)."""
        self.forwards[rows] += 1
        with torch.no_grad():
            return self._margin(self._logits(self.x[rows % self.n] + step), rows)

    def gradient(self, step: Tensor, rows: Tensor, rivals: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Margin (m,), the margin towards a rival class (m,) and the restricted gradient of the latter (m, D).

        Where no rivals (m,) are named both margins are the same. A gradient that is not finite, or whose projection
        is rounding noise, is zero.
        """
        self.forwards[rows] += 1
        self.backwards[rows] += 1
        with torch.enable_grad():
            points = (self.x[rows % self.n] + step).requires_grad_(True)
            logits = self._logits(points)
            margin = self._margin(logits, rows)
            toward = margin if rivals is None else self._toward(logits, rows, rivals)
            raw = _gradient(toward, points)
        return margin.detach(), toward.detach(), self.restrict(raw, rows)

    def rivals(self, rows: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The classes nearest to first order at the inputs.

        Returns:
            margin (m,); classes (m, c) by rising first-order distance; those distances (m, c); and the first-order
            free distance (m,), a length scale of the problem.
        """
        points = self.x[rows % self.n].clone().requires_grad_(True)
        with torch.enable_grad():
            logits = self._logits(points)
            margin = self._margin(logits, rows)
            classes = self._candidates(logits.detach(), rows, count)
            found, free = [], []
            for j in classes.unbind(1):
                toward = self._toward(logits, rows, j)
                raw = _gradient(toward, points, retain=True)
                found.append(toward.detach().abs() / self.restrict(raw, rows).norm(dim=1))
                free.append(toward.detach().abs() / raw.norm(dim=1))
        self.forwards[rows] += 1
        self.backwards[rows] += classes.shape[1]
        distances = torch.stack(found, 1).nan_to_num(nan=torch.inf)
        order = distances.argsort(dim=1, stable=True)
        scale = torch.stack(free, 1).nan_to_num(nan=torch.inf).amin(1)
        return margin.detach(), classes.gather(1, order), distances.gather(1, order), scale

    def restrict(self, v: Tensor, rows: Tensor) -> Tensor:
        """Part (m, D) of vectors inside each row's subspace."""
        result = torch.where(torch.isfinite(v).all(1, keepdim=True), v, 0.0)
        for arm, (members, basis) in zip(self.arms, self._bases(rows), strict=True):
            if arm.subspace is None or not len(members):
                continue
            part = result[members]
            inside = geometry.project_tangent(part, basis)
            if arm.normal:
                inside = part - inside
                inside = inside - geometry.project_tangent(inside, basis)  # once more: rounding leaves a tangent rest
            noise = NOISE * torch.finfo(v.dtype).eps * part.norm(dim=1, keepdim=True)
            result[members] = torch.where(inside.norm(dim=1, keepdim=True) > noise, inside, 0.0)
        return result

    def feasible(self, step: Tensor, rows: Tensor, rounds: int = 8) -> Tensor:
        """A step (m, D) near the given one that stays in subspace and box; the step itself where there is no box."""
        if self.bounds is None:
            return step
        x = self.x[rows % self.n]
        low, high = self.bounds[0] - x, self.bounds[1] - x
        if all(arm.subspace is None for arm in self.arms):
            return step.clamp(low, high)
        for _ in range(rounds):
            step = self.restrict(step.clamp(low, high), rows)
        return step * _room(step, low, high)[:, None]

    def _logits(self, points: Tensor) -> Tensor:
        try:
            return self.classifier.logits(points)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            if "out of memory" in str(error) or "can't allocate memory" in str(error):
                raise
            shape = (len(points), *self.classifier.input_shape)
            raise ModelError(
                f"the model raised {type(error).__name__} in forward on a batch of shape {shape}: {error}; "
                "it must accept batches of any size"
            ) from error

    def _margin(self, logits: Tensor, rows: Tensor) -> Tensor:
        """z_y - max of the rest; with targets: max of the rest - z_target."""
        own = (self.y if self.targets is None else self.targets)[rows % self.n][:, None]
        rest = logits.scatter(1, own, -torch.inf).amax(1)
        difference = logits.gather(1, own).squeeze(1) - rest
        return difference if self.targets is None else -difference

    def _toward(self, logits: Tensor, rows: Tensor, rivals: Tensor) -> Tensor:
        """z_y - z_rival; with targets: z_rival - z_target."""
        if self.targets is None:
            one, other = self.y[rows % self.n], rivals
        else:
            one, other = rivals, self.targets[rows % self.n]
        return (logits.gather(1, one[:, None]) - logits.gather(1, other[:, None])).squeeze(1)

    def _candidates(self, logits: Tensor, rows: Tensor, count: int) -> Tensor:
        """Classes (m, c) with the largest logits, the row's own (or target) class left out."""
        own = (self.y if self.targets is None else self.targets)[rows % self.n][:, None]
        return logits.scatter(1, own, -torch.inf).topk(min(count, logits.shape[1] - 1), dim=1).indices

    def _bases(self, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each arm the places of its rows, and their bases; kept while the rows stay the same."""
        if self._compact is None or self._compact[0] is not rows:
            self._compact = (rows, [self._basis(number, arm, rows) for number, arm in enumerate(self.arms)])
        return self._compact[1]

    def _basis(self, number: int, arm: Arm, rows: Tensor) -> tuple[Tensor, Tensor]:
        members = torch.nonzero(rows // self.n == number).reshape(-1)
        basis = arm.subspace
        if basis is None or basis.ndim == 2:
            return members, members if basis is None else basis
        inputs = rows[members] % self.n
        whole = len(inputs) == self.n and bool((inputs == torch.arange(self.n, device=inputs.device)).all())
        return members, basis if whole else basis[inputs]


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
