"""Line searches on the ray from the input to a crossing, and the overshoot that makes a label change certain."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle

FAR = 1.1  # a crossing beyond this many linearized distances is shortened before candidates are compared
OVERSHOOTS = (1e-5, 1e-4, 1e-3)  # tried in this order, relative to the length, until the margin exceeds its rounding


def shorten_far_crossings(oracle: MarginOracle, candidates: Candidates, margin: Tensor, *, forwards: int) -> None:
    """Shorten the crossings that lie far beyond the linearised boundary, along their rays.

    Args:
        oracle: The margin oracle.
        candidates: Changed in place.
        margin: Margins of all rows of the oracle at their inputs.
        forwards: Forward passes of each of these crossings.
    """
    is_far = torch.isfinite(candidates.length) & (candidates.length > FAR * candidates.linearized_distance)
    far = is_far.nonzero().squeeze(1)
    at_input = margin[candidates.rows[far]]
    _regula_falsi(oracle, candidates, far, torch.zeros_like(at_input), at_input, forwards=forwards)


def line_search(oracle: MarginOracle, candidates: Candidates, *, lowest: float, forwards: int) -> None:
    """Shorten all crossings along their rays.

    Args:
        oracle: The margin oracle.
        candidates: Candidates with crossings; changed in place.
        lowest: Share of a crossing below which no label change is expected. Where that point crosses too, the whole
            ray is searched.
        forwards: Forward passes of each crossing, that at the lowest share included.
    """
    positions = torch.arange(len(candidates.rows), device=candidates.rows.device)
    if not len(positions):
        return
    near = torch.full_like(candidates.length, lowest)
    margin = oracle.margin(lowest * candidates.best, candidates.rows)
    crossed = candidates.update_best(lowest * candidates.best, margin)
    near, margin = torch.where(crossed, 0.0, near), torch.where(crossed, -candidates.margin, margin)
    _regula_falsi(oracle, candidates, positions, near, margin, forwards=forwards - 1)


def _regula_falsi(
    oracle: MarginOracle, candidates: Candidates, at: Tensor, near: Tensor, near_margin: Tensor, *, forwards: int
) -> None:
    """Find the share of each crossing at which the margin is zero, by the Illinois variant of regula falsi.

    Each new point stays at least a tenth of the interval away from both ends. The margin of an end that does not move
    is halved, so that it moves soon.

    Args:
        oracle: The margin oracle.
        candidates: Changed in place.
        at: Positions (m,) of the candidates.
        near: Shares (m,) of their crossings that do not cross the boundary.
        near_margin: Margins (m,) there.
        forwards: Forward passes of each crossing.

    Source: Dowell & Jarratt 1971, A modified regula falsi method.
    """
    if not len(at):
        return
    delta, rows = candidates.best[at], candidates.rows[at]
    far, far_margin, margin_there = torch.ones_like(near), candidates.margin[at], candidates.margin[at]
    for _ in range(forwards):
        share = near_margin.abs() / (near_margin.abs() + far_margin.abs())
        middle = near + share.nan_to_num(nan=0.5).clamp(0.1, 0.9) * (far - near)
        margin = oracle.margin(middle[:, None] * delta, rows)
        hit = margin < 0
        near, far = torch.where(hit, near, middle), torch.where(hit, middle, far)
        margin_there = torch.where(hit, margin, margin_there)
        near_margin, far_margin = torch.where(hit, near_margin / 2, margin), torch.where(hit, margin, far_margin / 2)
    candidates.update_best(far[:, None] * delta, margin_there, at)


def confirm_crossings(
    oracle: MarginOracle, candidates: Candidates, noise: Tensor, *, knows_angles: bool = True
) -> Tensor:
    """Move crossings beyond the boundary by the smallest overshoot at which another forward pass gives the same label.

    Args:
        oracle: The margin oracle.
        candidates: Candidates with crossings; changed in place. The length of a crossing that is not confirmed is inf.
        noise: Rounding (m,) of each candidate's margin at its input.
        knows_angles: Whether the gradients at the crossings are computed.

    Returns:
        Cosines (m,) between the crossings and minus the margin gradients there: 1 at a nearest point; NaN where the
        gradients are not computed.
    """
    cosine = torch.full_like(candidates.length, torch.nan)
    best = oracle.project(candidates.best, candidates.rows).clone()
    unsure = torch.arange(len(candidates.rows), device=candidates.rows.device)
    candidates.length.fill_(torch.inf)

    def confirm(at: Tensor, overshoot: float) -> Tensor:
        """Keep the points at this overshoot that cross the boundary; returns the margins (m,)."""
        rows = candidates.rows[at]
        beyond = oracle.feasible(best[at] * (1 + overshoot), rows)
        margin, _, g = oracle.gradient(beyond, rows) if knows_angles else (oracle.margin(beyond, rows), None, None)
        crosses = margin < 0
        to = at[crosses]
        candidates.best[to], candidates.length[to] = beyond[crosses], beyond[crosses].norm(dim=1)
        candidates.margin[to] = margin[crosses]
        if g is not None:
            cosine[to] = -torch.cosine_similarity(beyond[crosses], g[crosses], dim=1)
        return margin

    for overshoot in OVERSHOOTS:
        if len(unsure):
            unsure = unsure[~(confirm(unsure, overshoot) < -noise[unsure])]
    lost = unsure[torch.isinf(candidates.length[unsure])]
    if len(lost):
        confirm(lost, 0.0)  # where no point beyond the crossing has another label, try the crossing itself
    return cosine
