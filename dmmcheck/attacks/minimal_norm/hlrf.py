"""From the inputs to the boundary: first steps towards the nearest classes, then HL-RF steps.

An HL-RF step goes to the point of the linearised boundary that is nearest to the input. The method comes from
structural reliability, which asks for the point of a curved limit state that is nearest to the origin.

Source: Hasofer & Lind 1974; Rackwitz & Fiessler 1978.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.candidates import Candidates, joined
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle, NearestClasses
from dmmcheck.attacks.minimal_norm.projection import finite, nearest_on_plane
from dmmcheck.attacks.waiting import may_have

OVERSHOOT = 1.02  # steps go this many times as far as the linearised boundary
FIRST_SHARE = 0.5  # share of the first step that is taken: gradients grow towards the boundary, whole steps overshoot
LOOK_AHEAD = 3.0  # the second gradient is taken this many first-order distances away: nearer, it hardly differs
DAMPING = 0.6  # share of an HL-RF step that is taken, except of the last: whole steps overshoot curved boundaries
ACROSS = 1e-4  # share by which a polishing step goes beyond the linearised boundary


def initial_steps(
    oracle: MarginOracle, rows: Tensor, nearest: NearestClasses, restart: Tensor, *, max_ratio: float, look_ahead: bool
) -> Candidates:
    """Return the initial candidates: first steps to boundaries of the nearest classes, then in random directions.

    Args:
        oracle: The margin oracle.
        rows: (m,) the rows that get candidates.
        nearest: The c nearest classes of all rows of the oracle.
        restart: (candidates, D) random directions, the same for all inputs. The first c are not used: candidates
            towards classes take their place.
        max_ratio: Classes that are more than this many times as far as the nearest, to first order, are left out.
        look_ahead: Average each direction with that of the gradient further along it, unless the two point to opposite
            sides.

    Returns:
        One candidate for each row and class, then one for each row and random direction.
    """
    distances = nearest.distances[rows]
    position, number = (~(distances > max_ratio * distances[:, :1])).nonzero(as_tuple=True)
    near = rows[position]
    target, margin, g = (column[near, number] for column in (nearest.classes, nearest.margins, nearest.gradients))
    delta = _onto(oracle, near, g, margin)
    if look_ahead:
        ahead = oracle.gradient(oracle.feasible(LOOK_AHEAD * delta, near), near, target)[2]
        delta = _onto(oracle, near, _mean_direction(g, ahead), margin)
    groups = [Candidates(near, FIRST_SHARE * delta, target)]
    for direction in restart[distances.shape[1] :]:
        away = oracle.project(direction.expand(len(rows), -1).clone(), rows)
        away = finite(away * (distances[:, 0] / away.norm(dim=1))[:, None])
        groups.append(Candidates(rows, FIRST_SHARE * oracle.feasible(away, rows)))
    return joined(groups)


def _onto(oracle: MarginOracle, rows: Tensor, g: Tensor, margin: Tensor) -> Tensor:
    """Return the shortest perturbations (m, D) to a little beyond the planes of margin zero.

    The planes belong to margins (m,) with gradients g (m, D).
    """
    return oracle.feasible(nearest_on_plane(oracle, rows, g, -OVERSHOOT * margin), rows)


def _mean_direction(g: Tensor, ahead: Tensor) -> Tensor:
    """Return the first of two gradients (m, D), turned half way to the second, unless they point to opposite sides."""
    slope = g.norm(dim=1, keepdim=True)
    same_side = (g * ahead).sum(1, keepdim=True) >= 0  # of two opposite directions, the mean would be rounding
    mean = finite(g / slope) + torch.where(same_side, finite(ahead / ahead.norm(dim=1, keepdim=True)), 0.0)
    turned: Tensor = slope * finite(mean / mean.norm(dim=1, keepdim=True))
    return turned


def hlrf(oracle: MarginOracle, candidates: Candidates, steps: int) -> None:
    """Take HL-RF steps, each towards the point of the linearised boundary that is nearest to the input.

    All steps but the last are damped and approach the boundary of the candidate's target. The last step is whole and
    approaches the boundary of any class.

    Args:
        oracle: The margin oracle.
        candidates: Changed in place.
        steps: Number of steps.

    Source: Liu & Der Kiureghian 1991, Optimization algorithms for structural reliability, for the damping.
    """
    for number in range(steps):
        last = number == steps - 1
        margin, toward, g = oracle.gradient(candidates.delta, candidates.rows, None if last else candidates.target)
        candidates.update_best(candidates.delta, margin)
        level = (g * candidates.delta).sum(1) - toward
        plane = oracle.feasible(nearest_on_plane(oracle, candidates.rows, g, OVERSHOOT * level), candidates.rows)
        crossed = level >= 0  # to first order, the input itself lies beyond the boundary
        if may_have(crossed):
            plane = torch.where(crossed[:, None], candidates.delta, plane)
        candidates.linearized_distance = plane.norm(dim=1)
        candidates.delta = plane if last else torch.lerp(candidates.delta, plane, DAMPING)


def polish(oracle: MarginOracle, candidates: Candidates) -> None:
    """Take one HL-RF step from the best crossing, then go along the ray to the boundary; keep what is shorter.

    Args:
        oracle: The margin oracle.
        candidates: Candidates with crossings; changed in place.
    """
    if not len(candidates.rows):
        return
    rows, delta = candidates.rows, candidates.best
    margin, _, g = oracle.gradient(delta, rows)
    level = (g * delta).sum(1) - margin
    plane = oracle.feasible(nearest_on_plane(oracle, rows, g, level * (1 + ACROSS)), rows)
    on_plane = oracle.margin(plane, rows)
    better = candidates.update_best(plane, on_plane)
    slope = (g * plane).sum(1).abs() / plane.norm(dim=1)
    beyond = plane * (1 + OVERSHOOT * on_plane.clamp_min(0) / (slope * plane.norm(dim=1)))[:, None]
    # where this is longer than the present crossing, try the middle between that and the plane
    beyond = torch.where((beyond.norm(dim=1) < candidates.length)[:, None], beyond, (plane + delta) / 2)
    beyond = oracle.feasible(beyond.nan_to_num(nan=0.0), rows)
    again = (~better).nonzero().squeeze(1)
    if len(again):
        candidates.update_best(beyond[again], oracle.margin(beyond[again], rows[again]), again)
