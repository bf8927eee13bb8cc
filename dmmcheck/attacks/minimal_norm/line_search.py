"""Along the ray: the label change between the input and a point of another label."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.candidates import Ways
from dmmcheck.attacks.minimal_norm.oracle import Problem

LOOSE = 1.1  # a crossing beyond so many first-order distances is drawn in before ways are compared


def draw_in(problem: Problem, ways: Ways, margin: Tensor, *, forwards: int) -> None:
    """Shorten crossings that lie far beyond where the boundary is to first order.

    Args:
        problem: The search problem.
        ways: Their crossings are shortened in place.
        margin: Of all rows at the inputs.
        forwards: Forward passes.
    """
    loose = (torch.isfinite(ways.length) & (ways.length > LOOSE * ways.guess)).nonzero().squeeze(1)
    at_input = margin[ways.rows[loose]]
    _regula_falsi(problem, ways, loose, torch.zeros_like(at_input), at_input, forwards=forwards)


def along_ray(problem: Problem, ways: Ways, *, lowest: float, forwards: int) -> None:
    """Shorten crossings along their rays.

    Args:
        problem: The search problem.
        ways: Their crossings are shortened in place.
        lowest: Share of the step that is thought not to cross; where it does the whole ray is open again.
        forwards: Forward passes, the one at the lowest share included.
    """
    every = torch.arange(len(ways.rows), device=ways.rows.device)
    if not len(every):
        return
    near = torch.full_like(ways.length, lowest)
    margin = problem.margin(lowest * ways.best, ways.rows)
    crossed = ways.offer(lowest * ways.best, margin)
    near, margin = torch.where(crossed, 0.0, near), torch.where(crossed, -ways.margin, margin)
    _regula_falsi(problem, ways, every, near, margin, forwards=forwards - 1)


def _regula_falsi(
    problem: Problem, ways: Ways, at: Tensor, near: Tensor, near_margin: Tensor, *, forwards: int
) -> None:
    """Between a share of the step (m,) that does not cross and the crossing itself; the Illinois variant.

    Kept away from both ends; the end that stays has its margin halved, so that it does not stay for long.
    """
    if not len(at):
        return
    step, rows = ways.best[at], ways.rows[at]
    far, far_margin, reached = torch.ones_like(near), ways.margin[at], ways.margin[at]
    for _ in range(forwards):
        share = near_margin.abs() / (near_margin.abs() + far_margin.abs())
        middle = near + share.nan_to_num(nan=0.5).clamp(0.1, 0.9) * (far - near)
        margin = problem.margin(middle[:, None] * step, rows)
        hit = margin < 0
        near, far, reached = (
            torch.where(hit, near, middle),
            torch.where(hit, middle, far),
            torch.where(hit, margin, reached),
        )
        near_margin, far_margin = torch.where(hit, near_margin / 2, margin), torch.where(hit, margin, far_margin / 2)
    ways.offer(far[:, None] * step, reached, at)
