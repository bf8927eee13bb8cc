"""The shortest perturbation that reaches a hyperplane inside a box and a search space, by projection."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.oracle import MarginOracle

HALVINGS = 40  # of the multiplier's interval; doublings to bracket it at most
DYKSTRA_ROUNDS = 30


def nearest_on_plane(oracle: MarginOracle, rows: Tensor, g: Tensor, level: Tensor) -> Tensor:
    """Return the shortest perturbations with g . delta <= level in the rows' search spaces and in the box.

    Args:
        oracle: Holds the inputs, their search spaces and the box.
        rows: (m,) rows of the oracle.
        g: Projected gradients (m, D).
        level: Levels (m,), negative where the input does not satisfy the inequality itself.

    Returns:
        Perturbations (m, D), zero where g is zero. Where the box does not reach the plane, the perturbation of the box
        that comes nearest to it; with a search space and a box, an approximation, which may leave the box a little.
    """
    if oracle.bounds is None:
        return finite((level / g.square().sum(1))[:, None]) * g
    x = oracle.at(rows).x
    low, high = oracle.bounds[0] - x, oracle.bounds[1] - x
    if oracle.unrestricted:
        return in_box(g, level, low, high)
    return _dykstra(oracle, rows, g, level, low=low, high=high)


def in_box(g: Tensor, level: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the shortest perturbations with g . delta <= level and low <= delta <= high, by the dual problem.

    The solution is clip(-t g, low, high) for the multiplier t >= 0 at which g . delta = level. As g . delta falls with
    t, doubling t brackets the multiplier, and bisection finds it.

    Args:
        g: Gradients (m, D).
        level: Levels (m,).
        low: (m, D) lower ends of the box, at most zero.
        high: (m, D) upper ends of the box, at least zero.

    Returns:
        Perturbations (m, D); the corner of the box that is nearest to the plane where the box does not reach it.
    """
    direction = -g
    square = g.square().sum(1)
    start = finite(-level / square).clamp_min(0)
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


def _dykstra(oracle: MarginOracle, rows: Tensor, g: Tensor, level: Tensor, *, low: Tensor, high: Tensor) -> Tensor:
    """Project the origin onto search space, half-space and box by Dykstra's alternating projections.

    The result lies in the search space exactly; the caller scales it down until it lies in the box.

    Source: Boyle & Dykstra 1986, A method for finding projections onto the intersection of convex sets.
    """
    square = g.square().sum(1).clamp_min(torch.finfo(g.dtype).tiny)
    delta = torch.zeros_like(g)
    correction = torch.zeros_like(g)
    for _ in range(DYKSTRA_ROUNDS):
        boxed = (delta + correction).clamp(low, high)
        correction = delta + correction - boxed
        delta = oracle.project(boxed, rows)
        excess = ((g * delta).sum(1) - level).clamp_min(0) / square
        delta = delta - excess[:, None] * g
    return delta


def finite(v: Tensor) -> Tensor:
    """Return the tensor with zero in place of NaN and infinities."""
    return v.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
