"""From the inputs to the boundary: first steps, HL-RF towards the nearest classes, and further out where need be."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.box import nearest_on_plane
from dmmcheck.attacks.problem import Problem, Rivals
from dmmcheck.attacks.ways import Ways

OVERSHOOT = 1.02
FIRST = 0.5  # share of the way to the linearised boundary in the first step: gradients grow on the way there
DAMPED = 0.6  # share of each HL-RF step but the last, as in improved HL-RF: whole ones overshoot curved boundaries
DEEPFOOL = 10  # most steps of rows that HL-RF has not taken across
DOUBLINGS = 4


def starts(problem: Problem, rows: Tensor, rivals: Rivals, restart: Tensor, slack: float) -> Ways:
    """First steps: part of the way to the boundaries of the nearest classes, to first order; then in random directions.

    Args:
        problem: The search problem.
        rows: (m,) to start from.
        rivals: Of all rows.
        restart: (starts, D) directions, the same for all inputs; those in place of a class are not used.
        slack: Classes are left out that are more than so many times as far as the nearest, to first order.
    """
    count = min(len(restart), rivals.classes.shape[1])
    steps = [
        problem.feasible(nearest_on_plane(problem, rows, g, -OVERSHOOT * margin), rows)
        for margin, g in zip(
            rivals.margins[rows, :count].unbind(1), rivals.gradients[rows, :count].unbind(1), strict=True
        )
    ]
    aims = list(rivals.classes[rows, :count].unbind(1))
    for direction in restart[count:]:
        away = problem.restrict(direction.expand(len(rows), -1).clone(), rows)
        away = finite(away * (rivals.distances[rows, 0] / away.norm(dim=1))[:, None])
        steps.append(problem.feasible(away, rows))
        aims.append(torch.full_like(rows, -1))
    far = torch.zeros((len(rows), len(steps)), dtype=torch.bool, device=rows.device)
    far[:, :count] = rivals.distances[rows, :count] > slack * rivals.distances[rows, :1]
    place, number = (~far).nonzero(as_tuple=True)
    step = FIRST * torch.stack(steps, 1)[place, number]
    return Ways(rows[place], step, torch.stack(aims, 1)[place, number])


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
