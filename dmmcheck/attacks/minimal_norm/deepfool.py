"""The fallback where no crossing is known, or only a far one: DeepFool, then growing radii along the ray."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.hlrf import OVERSHOOT
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle
from dmmcheck.attacks.minimal_norm.projection import nearest_on_plane

STEPS = 10  # of DeepFool
DOUBLINGS = 4  # of the radius


def deepfool_fallback(oracle: MarginOracle, candidates: Candidates, radius: Tensor, *, nearer: float) -> None:
    """Move candidates that have not crossed the boundary: by DeepFool, then along the ray.

    In rows with a crossing, only candidates whose boundary may be much nearer are moved: a crossing on a segment to an
    example is known from the start, and may be far behind the nearest boundary.

    Args:
        oracle: The margin oracle.
        candidates: The candidates of all rows; changed in place.
        radius: Largest length of a perturbation of each row of the oracle.
        nearer: In rows with a crossing, candidates are moved whose linearised boundary is at less than this share of
            the length of the shortest crossing.

    Source: Moosavi-Dezfooli et al., DeepFool, arXiv 1511.04599, algorithm 1.
    """
    shortest = torch.full_like(radius, torch.inf).scatter_reduce(0, candidates.rows, candidates.length, "amin")
    shortest = shortest[candidates.rows]
    may_be_nearer = (candidates.linearized_distance < nearer * shortest) | torch.isinf(shortest)
    worthwhile = torch.isinf(candidates.length) & may_be_nearer
    active = worthwhile.nonzero().squeeze(1)
    for _ in range(STEPS):
        if not len(active):
            break
        rows, delta = candidates.rows[active], candidates.delta[active]
        margin, _, g = oracle.gradient(delta, rows)
        candidates.update_best(delta, margin, active)
        moving = (margin >= 0) & (g != 0).any(1)
        active, rows = active[moving], rows[moving]
        beyond = _next_point(oracle, rows, delta[moving], margin[moving], g[moving])
        candidates.delta[active] = _shortened_to(beyond, radius[rows])
    remaining = (worthwhile & torch.isinf(candidates.length)).nonzero().squeeze(1)
    expand_radius(oracle, candidates, remaining, radius)


def expand_radius(oracle: MarginOracle, candidates: Candidates, active: Tensor, radius: Tensor) -> None:
    """Double the length of perturbations until they cross the boundary, `DOUBLINGS` times at most.

    Args:
        oracle: The margin oracle.
        candidates: Changed in place.
        active: Positions (m,) of the candidates to move.
        radius: Largest length of a perturbation of each row of the oracle.
    """
    for _ in range(DOUBLINGS):
        if not len(active):
            return
        rows = candidates.rows[active]
        delta = oracle.feasible(_shortened_to(2 * candidates.delta[active], radius[rows]), rows)
        margin = oracle.margin(delta, rows)
        candidates.delta[active] = delta
        candidates.update_best(delta, margin, active)
        active = active[margin >= 0]


def _next_point(oracle: MarginOracle, rows: Tensor, delta: Tensor, margin: Tensor, g: Tensor) -> Tensor:
    """Return DeepFool's next point (m, D): the nearest point a little beyond the linearised boundary."""
    if oracle.bounds is None:
        return delta - OVERSHOOT * (margin / g.square().sum(1))[:, None] * g
    level = (g * delta).sum(1) - OVERSHOOT * margin
    return oracle.feasible(nearest_on_plane(oracle, rows, g, level), rows)


def _shortened_to(delta: Tensor, length: Tensor) -> Tensor:
    """Return the perturbations (m, D), scaled down to a length (m,) where they exceed it."""
    share: Tensor = (length / delta.norm(dim=1)).nan_to_num(nan=1.0).clamp(max=1)
    return delta * share[:, None]
