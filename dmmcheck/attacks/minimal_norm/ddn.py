"""Refinement of crossings: steps along the boundary to its nearest point.

Each step turns the perturbation against the margin gradient, by less and less, and takes it to the linearised boundary
by a Newton step for its length.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle
from dmmcheck.attacks.minimal_norm.projection import finite

TURN = (0.005, 1.2)  # of the direction, in the last and in the first step, in radii where g is tangent to the sphere
SHRINK = (0.001, 0.08)  # of the radius, in the last and in the first step
FASTEST = 3.0  # the radius changes by at most this many shrinks in a step
BEYOND = 0.3  # share of a shrink by which a step goes beyond the linearised boundary
INSIDE = 0.5  # share of a shrink by which a step stays below the length of the best crossing
ROUNDING = 100  # squared sines below this many rounding errors count as zero


def ddn_steps(
    oracle: MarginOracle, candidates: Candidates, numbers: range, annealing: int, optimality_tol: float
) -> None:
    """Turn each perturbation against the margin gradient, by less and less, and take it to the linearised boundary.

    A turn moves the perturbation along the sphere on which it lies, by the part of the unit gradient that is tangent to
    the sphere: far where the direction is wrong, little where it is nearly right. The turns fall like the weights of an
    average, so that the direction averages the gradients at many points and kinks of the boundary hardly disturb it.

    Args:
        oracle: The margin oracle.
        candidates: Changed in place.
        numbers: The numbers of the steps to do now.
        annealing: Number of all steps over which the turns fall.
        optimality_tol: Where the cosine between perturbation and minus the gradient exceeds this, the step goes
            straight to the boundary.

    Source: after DDN (Rony et al., arXiv 1811.09600) and FMN (Pintor et al., arXiv 2102.12827), with a Newton step for
    the radius in place of a fixed factor.
    """
    for number in numbers:
        anneal = (1 + math.cos(math.pi * number / annealing)) / 2
        turn, shrink = (last + (first - last) * anneal for last, first in (TURN, SHRINK))
        _step(oracle, candidates, turn=turn, shrink=shrink, is_early=number <= 1, optimality_tol=optimality_tol)


def _step(
    oracle: MarginOracle,
    candidates: Candidates,
    *,
    turn: float,
    shrink: float,
    is_early: bool,
    optimality_tol: float,
) -> None:
    delta, radius = candidates.delta, candidates.delta.norm(dim=1)
    margin, _, g = oracle.gradient(delta, candidates.rows)
    slope, along = g.norm(dim=1), (g * delta).sum(1)
    cosine = finite(along / (radius * slope)).clamp(-1, 1)
    optimality = finite((margin - along) / (radius * slope))
    candidates.update_best(delta, margin, length=radius, optimality=optimality)
    sine_squared = 1 - cosine.square()
    # a perturbation along its own gradient cannot turn: a turn would add the rounding errors outside its search space
    bend = torch.where((slope > 0) & (sine_squared > ROUNDING * torch.finfo(delta.dtype).eps), turn, 0.0)
    onwards, across = 1 + bend * cosine, finite(bend * radius / slope)
    if oracle.bounds is None:  # in the plane of delta and g, lengths follow from norms and cosine
        length = radius * torch.sqrt(1 + bend.square() * sine_squared)
        slope_there = slope * radius * (cosine - bend * sine_squared)
    else:
        turned = oracle.feasible(_combined(onwards, delta, across, g), candidates.rows)
        length, slope_there = turned.norm(dim=1), (g * turned).sum(1)
    smallest = torch.where(cosine < -optimality_tol, SHRINK[0], shrink)
    aim = finite((along - margin) * length / slope_there)
    aim = torch.where(aim > 0, aim * (1 + BEYOND * smallest), radius)
    aim = aim.clamp(radius * (1 - FASTEST * shrink), radius * (1 + FASTEST * shrink))
    below = smallest if is_early else torch.where(margin < 0, shrink, smallest)  # later steps go further inside
    aim = torch.minimum(aim, candidates.length * (1 - INSIDE * below))
    scale = finite(aim / length)
    if oracle.bounds is None:
        candidates.delta = _combined(scale * onwards, delta, scale * across, g)
    else:
        candidates.delta = oracle.feasible(scale[:, None] * turned, candidates.rows)


def _combined(a: Tensor, delta: Tensor, b: Tensor, g: Tensor) -> Tensor:
    """Return the combinations a delta - b g (m, D), row by row, in two passes over the memory."""
    return (a[:, None] * delta).addcmul_(b[:, None], g, value=-1)
