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


def steps_of(classifier: Classifier) -> Tensor | None:
    """Sizes (D,) of the differences that a classifier's gradients are made of; None where its gradient is taken whole.

    A classifier says so by its attribute `difference_steps`.
    """
    return getattr(classifier, "difference_steps", None)


def calls_of_a_gradient(classifier: Classifier) -> int:
    """Model calls that a whole gradient takes beside the forward pass: D for finite differences, else none."""
    function = arrays_function(getattr(classifier, "forward", None))
    return 0 if function is None or function.steps is None else ambient_dim(classifier)


def projected_gradients(
    value: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    at_x: Tensor,
    *,
    basis: Tensor,
    which: Tensor,
    steps: Tensor,
) -> Tensor:
    """Gradients (m, D) of a value at points, projected onto the span of a basis, by a difference along each direction.

    The step along a unit direction u is t = 1 / |u / steps|, that of one feature where u is its axis. With it the error
    by rounding of the value, squared and summed, is what differences of all features would leave after the projection.
    The error by curvature is (t / 2) u^T H u along u, with the Hessian H of the value.

    Args:
        value: From points (p, D), and the rows (p,) of x that they belong to, to the value (p,) at the points.
        x: Points (m, D).
        at_x: The value (m,) there.
        basis: Orthonormal columns, (D, d) shared by all points, or (n, D, d).
        which: (m,) which of n bases each point has.
        steps: (D,) sizes of the differences of single features.
    """
    count_gradients(len(x))
    most, steps = rows_at_once(x.shape[1]), steps.to(x)
    together = max(1, most // basis.shape[-1])
    found = []
    for rows in torch.split(torch.arange(len(x), device=x.device), together):
        directions = basis if basis.ndim == 2 else basis[which[rows]]
        parts = torch.split(directions, max(1, most // together), dim=-1)
        slopes = [_slopes(value, x[rows], at_x[rows], rows=rows, directions=part, steps=steps) for part in parts]
        found.append(geometry.combine(torch.cat(slopes, dim=1), directions))
    return torch.cat(found)


def _slopes(
    value: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    at_x: Tensor,
    *,
    rows: Tensor,
    directions: Tensor,
    steps: Tensor,
) -> Tensor:
    """Forward differences (m, d) of a value along directions, (D, d) or (m, D, d); see `projected_gradients`."""
    lengths = 1 / (directions / steps[:, None]).norm(dim=-2, keepdim=True)
    moved = x[:, None] + (lengths * directions).mT
    real = ((moved - x[:, None]) * directions.mT).sum(-1)  # the step after rounding
    there = value(moved.flatten(0, 1), rows.repeat_interleave(moved.shape[1])).reshape(real.shape)
    slopes: Tensor = (there - at_x[:, None]) / real
    return slopes
