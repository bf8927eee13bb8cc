"""From the inputs to the boundary: first steps, HL-RF towards the nearest classes, and further out where need be."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.candidates import Ways, joined
from dmmcheck.attacks.minimal_norm.oracle import Problem, Rivals
from dmmcheck.attacks.minimal_norm.projection import nearest_on_plane

OVERSHOOT = 1.02
FIRST = 0.5  # share of the way to the linearised boundary in the first step: gradients grow on the way there
AHEAD = 3.0  # how far ahead the other gradient is taken, in first-order distances: near by it is much the same
DAMPED = 0.6  # share of each HL-RF step but the last, as in improved HL-RF: whole ones overshoot curved boundaries
DEEPFOOL = 10  # most steps of rows that HL-RF has not taken across
DOUBLINGS = 4


def starts(problem: Problem, rows: Tensor, rivals: Rivals, restart: Tensor, *, slack: float, ahead: bool) -> Ways:
    """First steps: part of the way to the boundaries of the nearest classes, to first order; then in random directions.

    Args:
        problem: The search problem.
        rows: (m,) to start from.
        rivals: Of all rows.
        restart: (starts, D) directions, the same for all inputs; those in place of a class are not used.
        slack: Classes are left out that are more than so many times as far as the nearest, to first order.
        ahead: Turn each direction half way to that of the gradient further along it, unless that points back.
    """
    distances = rivals.distances[rows]
    place, number = (~(distances > slack * distances[:, :1])).nonzero(as_tuple=True)
    near = rows[place]
    aims, margin, g = (column[near, number] for column in (rivals.classes, rivals.margins, rivals.gradients))
    step = _onto(problem, near, g, margin)
    if ahead:
        there = problem.gradient(problem.feasible(AHEAD * step, near), near, aims)[2]
        step = _onto(problem, near, _mean(g, there), margin)
    ways = [Ways(near, FIRST * step, aims)]
    for direction in restart[distances.shape[1] :]:
        away = problem.restrict(direction.expand(len(rows), -1).clone(), rows)
        away = finite(away * (distances[:, 0] / away.norm(dim=1))[:, None])
        ways.append(Ways(rows, FIRST * problem.feasible(away, rows)))
    return joined(ways)


def _onto(problem: Problem, rows: Tensor, g: Tensor, margin: Tensor) -> Tensor:
    """Shortest steps (m, D) to where margins (m,) of gradients g (m, D) at the inputs are zero, and a little beyond."""
    return problem.feasible(nearest_on_plane(problem, rows, g, -OVERSHOOT * margin), rows)


def _mean(g: Tensor, there: Tensor) -> Tensor:
    """The first of two gradients (m, D), turned half way to the other, unless that points back."""
    steep = g.norm(dim=1, keepdim=True)
    onwards = (g * there).sum(1, keepdim=True) >= 0  # two that nearly cancel would leave nothing but their rounding
    mean = finite(g / steep) + torch.where(onwards, finite(there / there.norm(dim=1, keepdim=True)), 0.0)
    turned: Tensor = steep * finite(mean / mean.norm(dim=1, keepdim=True))
    return turned


def approach(problem: Problem, ways: Ways, steps: int) -> None:
    """HL-RF: each time towards the nearest point of the linearised boundary; in the last step onto it, of any class.

    Source: Liu & Der Kiureghian 1991, Optimization algorithms for structural reliability, for the damping.
    """
    for number in range(steps):
        last = number == steps - 1
        margin, toward, g = problem.gradient(ways.step, ways.rows, None if last else ways.aims)
        ways.offer(ways.step, margin)
        level = (g * ways.step).sum(1) - toward
        plane = problem.feasible(nearest_on_plane(problem, ways.rows, g, OVERSHOOT * level), ways.rows)
        crossed = (level >= 0).nonzero().squeeze(1)  # the input itself, by what the gradient says here
        plane[crossed] = ways.step[crossed]
        ways.guess = plane.norm(dim=1)
        ways.step = plane if last else torch.lerp(ways.step, plane, DAMPED)


def reach_out(problem: Problem, ways: Ways, reach: Tensor) -> None:
    """DeepFool, then outwards along the ray, for rows of which no way has crossed."""
    crossed = torch.zeros_like(reach, dtype=torch.bool)
    crossed[ways.rows[torch.isfinite(ways.length)]] = True
    active = (~crossed[ways.rows]).nonzero().squeeze(1)
    for _ in range(DEEPFOOL):
        if not len(active):
            break
        rows, step = ways.rows[active], ways.step[active]
        margin, _, g = problem.gradient(step, rows)
        ways.offer(step, margin, active)
        going = (margin >= 0) & (g != 0).any(1)
        active, rows = active[going], rows[going]
        beyond = _beyond(problem, rows, step[going], margin[going], g[going])
        ways.step[active] = _within(beyond, reach[rows])
    _outwards(problem, ways, (~torch.isfinite(ways.length) & ~crossed[ways.rows]).nonzero().squeeze(1), reach)


def _outwards(problem: Problem, ways: Ways, active: Tensor, reach: Tensor) -> None:
    """Twice as far along the ray, several times, until it crosses."""
    for _ in range(DOUBLINGS):
        if not len(active):
            return
        rows = ways.rows[active]
        step = problem.feasible(_within(2 * ways.step[active], reach[rows]), rows)
        margin = problem.margin(step, rows)
        ways.step[active] = step
        ways.offer(step, margin, active)
        active = active[margin >= 0]


def _beyond(problem: Problem, rows: Tensor, step: Tensor, margin: Tensor, g: Tensor) -> Tensor:
    """DeepFool's next point (m, D): from where it is, the least way beyond the linearised boundary.

    Source: Moosavi-Dezfooli et al., 1511.04599.
    """
    if problem.bounds is None:
        return step - OVERSHOOT * (margin / g.square().sum(1))[:, None] * g
    level = (g * step).sum(1) - OVERSHOOT * margin
    return problem.feasible(nearest_on_plane(problem, rows, g, level), rows)


def _within(step: Tensor, reach: Tensor) -> Tensor:
    """Steps (m, D) cut to a length (m,)."""
    share: Tensor = (reach / step.norm(dim=1)).nan_to_num(nan=1.0).clamp(max=1)
    return step * share[:, None]


def finite(v: Tensor) -> Tensor:
    """Zero in place of what is no number."""
    return v.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
