"""The shortest step onto a hyperplane inside a box, and inside a subspace too: projection, not step-then-clamp."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.oracle import Problem

HALVINGS = 40
DYKSTRA = 30


def nearest_on_plane(problem: Problem, rows: Tensor, g: Tensor, level: Tensor) -> Tensor:
    """Shortest step (m, D) with g . step <= level that stays in the rows' subspaces and in the box.

    Where no such step exists, the one of the box that comes nearest to the plane.

    Args:
        problem: Gives inputs, subspaces and box.
        rows: (m,).
        g: Restricted gradients (m, D).
        level: (m,), negative: the input itself lies on the other side.
    """
    if problem.bounds is None:
        return (level / g.square().sum(1))[:, None].nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) * g
    x = problem.at(rows).x
    low, high = problem.bounds[0] - x, problem.bounds[1] - x
    if all(arm.subspace is None for arm in problem.arms):
        return in_box(g, level, low, high)
    return _dykstra(problem, rows, g, level, low=low, high=high)


def in_box(g: Tensor, level: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Shortest step (m, D) with g . step <= level and low <= step <= high, by its dual.

    The solution is clip(-t g) for the multiplier t >= 0 at which it meets the plane: g . clip(-t g) falls with t, so t
    is bracketed and halved. Where even the far corner falls short, that corner is returned.
    """
    direction = -g
    square = g.square().sum(1)
    start = (-level / square).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).clamp_min(0)
    near, far = torch.zeros_like(start), start

    def value(t: Tensor) -> Tensor:
        return (g * (t[:, None] * direction).clamp(low, high)).sum(1)

    for _ in range(HALVINGS):
        short = value(far) > level
        if not bool(short.any()):
            break
        near, far = torch.where(short, far, near), torch.where(short, 2 * far, far)
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        short = value(middle) > level
        near, far = torch.where(short, middle, near), torch.where(short, far, middle)
    return (far[:, None] * direction).clamp(low, high)


def _dykstra(problem: Problem, rows: Tensor, g: Tensor, level: Tensor, *, low: Tensor, high: Tensor) -> Tensor:
    """Projection of the origin onto subspace, half-space and box: Dykstra's alternating projections.

    Source: Boyle & Dykstra 1986. The step keeps the subspace exactly; the caller shrinks it into the box.
    """
    square = g.square().sum(1).clamp_min(torch.finfo(g.dtype).tiny)
    step = torch.zeros_like(g)
    memory = torch.zeros_like(g)
    for _ in range(DYKSTRA):
        boxed = (step + memory).clamp(low, high)
        memory = step + memory - boxed
        step = problem.restrict(boxed, rows)
        excess = ((g * step).sum(1) - level).clamp_min(0) / square
        step = step - excess[:, None] * g
    return step
