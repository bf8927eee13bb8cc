"""Along the boundary to its nearest point: annealed turns, then polishing, then the last search along the ray."""

from __future__ import annotations

import math

import torch

from dmmcheck.attacks.approach import OVERSHOOT, finite
from dmmcheck.attacks.box import nearest_on_plane
from dmmcheck.attacks.problem import Problem
from dmmcheck.attacks.ways import Ways

TURN = (0.005, 1.2)  # along the sphere in a step, last and first, in units of the radius where g is tangent to it
SHRINK = (0.001, 0.08)  # of the radius, last and first
FASTEST = 3.0  # the radius changes by at most as many shrinks in a step
BEYOND = 0.3  # of a shrink: how far beyond the linearised boundary a step goes
INSIDE = 0.5  # of a shrink: how far below the best crossing known it stays
ACROSS = 1e-4  # share by which polishing steps beyond the linearised boundary
PUSH = 1e-5  # relative step beyond the boundary, so that a repeated forward pass agrees on the label


def refine(problem: Problem, ways: Ways, numbers: range, steps: int) -> None:
    """Turn each step against the gradient, less and less, and take it to where the boundary is to first order.

    A turn goes along the sphere through the step, by the part of the unit gradient that is tangent to it: long steps
    where the direction is wrong, short ones where it is nearly right. With turns that fall like an average's weights
    the direction averages the gradients of many points, so that kinks of the boundary do not throw it about. After
    DDN and FMN (Rony et al., 1811.09600; Pintor et al., 2102.12827), with a Newton step for the radius in place of a
    fixed factor.

    Args:
        problem: The search problem.
        ways: Moved in place.
        numbers: Which steps of the annealing to do now.
        steps: Of the annealing in all.
    """
    for number in numbers:
        anneal = (1 + math.cos(math.pi * number / steps)) / 2
        turn, shrink = (last + (first - last) * anneal for last, first in (TURN, SHRINK))
        step, radius = ways.step, ways.step.norm(dim=1)
        margin, _, g = problem.gradient(step, ways.rows)
        ways.offer(step, margin)
        unit = finite(g / g.norm(dim=1, keepdim=True))
        along = (unit * step).sum(1) / radius.square()
        turned = problem.feasible(step - (turn * radius)[:, None] * finite(unit - along[:, None] * step), ways.rows)
        turned = turned / turned.norm(dim=1, keepdim=True)
        aim = finite(((g * step).sum(1) - margin) / (g * turned).sum(1))
        aim = torch.where(aim > 0, aim * (1 + BEYOND * shrink), radius)
        aim = torch.minimum(torch.maximum(aim, radius * (1 - FASTEST * shrink)), radius * (1 + FASTEST * shrink))
        aim = torch.minimum(aim, ways.length * (1 - INSIDE * shrink))
        ways.step = problem.feasible(finite(turned * aim[:, None]), ways.rows)


def polish(problem: Problem, ways: Ways, steps: int) -> None:
    """HL-RF from the best crossing: to the nearest point of the linearised boundary, out to the true one, if shorter.

    Source: Hasofer & Lind 1974; Rackwitz & Fiessler 1978.
    """
    active = torch.arange(len(ways.rows), device=ways.rows.device)
    for _ in range(steps):
        if not len(active):
            return
        rows, step = ways.rows[active], ways.best[active]
        margin, _, g = problem.gradient(step, rows)
        level = (g * step).sum(1) - margin
        plane = problem.feasible(nearest_on_plane(problem, rows, g, level * (1 + ACROSS)), rows)
        there = problem.margin(plane, rows)
        better = ways.offer(plane, there, active)
        slope = (g * plane).sum(1).abs() / plane.norm(dim=1)
        out = plane * (1 + OVERSHOOT * there.clamp_min(0) / (slope * plane.norm(dim=1)))[:, None]
        # where that fails too: half way back to the crossing we came from
        out = torch.where((out.norm(dim=1) < ways.length[active])[:, None], out, (plane + step) / 2)
        out = problem.feasible(out.nan_to_num(nan=0.0), rows)
        again = (~better).nonzero().squeeze(1)
        if len(again):
            better[again] = ways.offer(out[again], problem.margin(out[again], rows[again]), active[again])
        active = active[better]


def settle(problem: Problem, ways: Ways) -> None:
    """Move crossings beyond the boundary by as little as a repeated forward pass needs to agree on the label."""
    settled = torch.zeros_like(ways.rows, dtype=torch.bool)
    for push in (PUSH, 10 * PUSH, 100 * PUSH):
        left = (~settled).nonzero().squeeze(1)
        if not len(left):
            return
        pushed = problem.feasible(ways.best[left] * (1 + push), ways.rows[left])
        holds = problem.margin(pushed, ways.rows[left]) < 0
        done = left[holds]
        ways.best[done], ways.length[done] = pushed[holds], pushed[holds].norm(dim=1)
        settled[done] = True
    lost = (~settled).nonzero().squeeze(1)
    if len(lost):
        holds = problem.margin(ways.best[lost], ways.rows[lost]) < 0
        ways.length[lost] = torch.where(holds, ways.length[lost], torch.inf)
