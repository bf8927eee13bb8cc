"""Along the boundary to its nearest point: annealed turns, polishing, and the last bit beyond it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.candidates import Ways
from dmmcheck.attacks.minimal_norm.hlrf import OVERSHOOT, finite
from dmmcheck.attacks.minimal_norm.oracle import Problem
from dmmcheck.attacks.minimal_norm.projection import nearest_on_plane

TURN = (0.005, 1.2)  # along the sphere in a step, last and first, in units of the radius where g is tangent to it
SHRINK = (0.001, 0.08)  # of the radius, last and first
FASTEST = 3.0  # the radius changes by at most as many shrinks in a step
BEYOND = 0.3  # of a shrink: how far beyond the linearised boundary a step goes
INSIDE = 0.5  # of a shrink: how far below the best crossing known it stays
ROUNDING = 100  # a squared sine below so many rounding errors is none
ACROSS = 1e-4  # share by which polishing steps beyond the linearised boundary
PUSHES = (1e-5, 1e-4, 1e-3, 0.0)  # relative steps beyond the boundary, until the label change is beyond rounding


def refine(problem: Problem, ways: Ways, numbers: range, steps: int, enough: float) -> None:
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
        enough: A way whose direction is so nearly that of a nearest point (cosine) goes straight to the boundary.
    """
    for number in numbers:
        anneal = (1 + math.cos(math.pi * number / steps)) / 2
        turn, shrink = (last + (first - last) * anneal for last, first in (TURN, SHRINK))
        step, radius = ways.step, ways.step.norm(dim=1)
        margin, _, g = problem.gradient(step, ways.rows)
        steep, along = g.norm(dim=1), (g * step).sum(1)
        cosine = finite(along / (radius * steep)).clamp(-1, 1)
        ways.offer(step, margin, length=radius, nearness=finite((margin - along) / (radius * steep)))
        sine_squared = 1 - cosine.square()
        # along its own gradient a step cannot turn, and what little it leaves its subspace by rounding would grow
        bend = torch.where((steep > 0) & (sine_squared > ROUNDING * torch.finfo(step.dtype).eps), turn, 0.0)
        finest = torch.where(cosine < -enough, SHRINK[0], shrink)
        below = torch.where(margin < 0, shrink, finest) if number > 1 else finest  # later it looks further inside
        onwards, across = 1 + bend * cosine, finite(bend * radius / steep)
        if problem.bounds is None:  # in the plane of step and g: their lengths and their angle say the rest
            length = radius * torch.sqrt(1 + bend.square() * sine_squared)
            slope = steep * radius * (cosine - bend * sine_squared)
        else:
            turned = problem.feasible(_combined(onwards, step, across, g), ways.rows)
            length, slope = turned.norm(dim=1), (g * turned).sum(1)
        aim = finite((along - margin) * length / slope)
        aim = torch.where(aim > 0, aim * (1 + BEYOND * finest), radius)
        aim = aim.clamp(radius * (1 - FASTEST * shrink), radius * (1 + FASTEST * shrink))
        aim = torch.minimum(aim, ways.length * (1 - INSIDE * below))
        scale = finite(aim / length)
        if problem.bounds is None:
            ways.step = _combined(scale * onwards, step, scale * across, g)
        else:
            ways.step = problem.feasible(scale[:, None] * turned, ways.rows)


def _combined(a: Tensor, step: Tensor, b: Tensor, g: Tensor) -> Tensor:
    """Row by row a step - b g (m, D), in two passes over the memory."""
    return (a[:, None] * step).addcmul_(b[:, None], g, value=-1)


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


def settle(problem: Problem, ways: Ways, noise: Tensor) -> Tensor:
    """Move crossings beyond the boundary by as little as a repeated forward pass needs to agree on the label.

    Args:
        problem: The search problem.
        ways: Their crossings are moved; those that do not hold are taken back.
        noise: Rounding of each way's margins (m,), as at its input.

    Returns:
        Cosines (m,) of the angles between the crossings and the way down the margin there: 1 at a nearest point.
    """
    cosine = torch.full_like(ways.length, torch.nan)
    best, left = problem.restrict(ways.best, ways.rows).clone(), torch.arange(len(ways.rows), device=ways.rows.device)
    ways.length.fill_(torch.inf)
    for push in PUSHES:
        if push == 0:  # what no push has kept across
            left = left[torch.isinf(ways.length[left])]
        if not len(left):
            break
        rows = ways.rows[left]
        pushed = problem.feasible(best[left] * (1 + push), rows)
        margin, _, g = problem.gradient(pushed, rows)
        holds = margin < 0
        to = left[holds]
        ways.best[to], ways.length[to], ways.margin[to] = pushed[holds], pushed[holds].norm(dim=1), margin[holds]
        cosine[to] = -torch.cosine_similarity(pushed[holds], g[holds], dim=1)
        left = left[~(margin < -noise[left])]
    return cosine
