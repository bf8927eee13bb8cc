"""Gradients by finite differences along the directions of a linear space: one model call for each direction, not D."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.models.base import Classifier, ambient_dim
from dmmcheck.models.normalize import arrays_function
from dmmcheck.models.numpy_function import rows_at_once
from dmmcheck.models.tally import count_gradients

StepLengths = Callable[[Tensor, Tensor], Tensor]
"""From points (m, D) and directions, (D, d) or (m, D, d), to the lengths of the differences, (d,) or (m, d)."""


def step_lengths_of(classifier: Classifier) -> StepLengths | None:
    """Return how long the differences of a classifier are along directions; None where its gradient is taken whole.

    A classifier says so by its attribute `difference_lengths`.
    """
    return getattr(classifier, "difference_lengths", None)


def step_lengths(steps: Tensor, x: Tensor, directions: Tensor) -> Tensor:
    """Return the lengths t = 1 / |u / steps|, (d,) or (m, d), of differences along directions u.

    Where u is the axis of a feature, t is the size of its difference. The squared rounding error of the value, summed
    over the directions of a space, is then that of the projected differences of all features.

    Args:
        steps: (D,) sizes of the differences of single features.
        x: Points (m, D), of whose dtype the result is.
        directions: Directions, (D, d) for all points or (m, D, d).
    """
    lengths: Tensor = 1 / (directions / steps.to(x)[:, None]).norm(dim=-2)
    return lengths


def calls_of_a_gradient(classifier: Classifier) -> int:
    """Return the number of model calls of a whole gradient beside the forward pass: D for differences, else 0."""
    function = arrays_function(getattr(classifier, "forward", None))
    return 0 if function is None or function.steps is None else ambient_dim(classifier)


def projected_gradients(
    value: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    at_x: Tensor,
    *,
    basis: Tensor,
    which: Tensor,
    lengths: StepLengths,
) -> Tensor:
    """Return the gradients (m, D) of a value, projected onto the span of a basis, by a difference along each vector.

    The error by curvature of a step of the length t is (t / 2) u^T H u along u, with the Hessian H of the value.

    Args:
        value: From points (p, D), and the rows (p,) of x that they belong to, to the value (p,) at the points.
        x: Points (m, D).
        at_x: The value (m,) there.
        basis: Orthonormal columns, (D, d) shared by all points, or (n, D, d).
        which: (m,) which of n bases each point has.
        lengths: The lengths of the steps.
    """
    count_gradients(len(x))
    most = rows_at_once(x.shape[1])
    together = max(1, most // basis.shape[-1])
    found = []
    for rows in torch.split(torch.arange(len(x), device=x.device), together):
        directions = basis if basis.ndim == 2 else basis[which[rows]]
        parts = torch.split(directions, max(1, most // together), dim=-1)
        slopes = [_slopes(value, x[rows], at_x[rows], rows=rows, directions=part, lengths=lengths) for part in parts]
        found.append(geometry.combine(torch.cat(slopes, dim=1), directions))
    return torch.cat(found)


def _slopes(
    value: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    at_x: Tensor,
    *,
    rows: Tensor,
    directions: Tensor,
    lengths: StepLengths,
) -> Tensor:
    """Return the forward differences (m, d) of a value along directions (D, d) or (m, D, d)."""
    moved = x[:, None] + (lengths(x, directions)[..., None, :] * directions).mT
    real = ((moved - x[:, None]) * directions.mT).sum(-1)  # the step after rounding
    there = value(moved.flatten(0, 1), rows.repeat_interleave(moved.shape[1])).reshape(real.shape)
    slopes: Tensor = (there - at_x[:, None]) / real
    return slopes
