"""Exact nearest neighbours, computed in pieces of bounded size."""

from __future__ import annotations

import torch
from torch import Tensor

_PIECE_VALUES = 1 << 23  # most float64 values in one piece of points or of distances: 64 MiB


def nearest(x: Tensor, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the points that are nearest to each query.

    Args:
        x: Queries (n, D).
        points: Points (m, D), at least as many as `count`.
        count: Number of neighbours of each query.

    Returns:
        Squared distances (n, count) in float64 in increasing order, and the row numbers (n, count) of the points, of
        which equally distant ones come in any order.
    """
    step = max(1, _PIECE_VALUES // points.shape[1])
    found = [_nearest(queries, points, count) for queries in torch.split(x.to(points.device), step)]
    return torch.cat([squared for squared, _ in found]), torch.cat([rows for _, rows in found])


def _nearest(x: Tensor, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    centre = points[:1].double()  # far from the origin, differences of inner products would lose accuracy
    queries = x.double() - centre
    best = queries.new_empty((len(x), 0))
    rows = torch.empty_like(best, dtype=torch.long)
    step = max(1, _PIECE_VALUES // max(points.shape[1], len(x)))
    for start in range(0, len(points), step):
        piece = points[start : start + step].double() - centre
        squared = queries.square().sum(1, keepdim=True) + piece.square().sum(1) - 2 * queries @ piece.T
        numbers = torch.arange(start, start + len(piece), device=rows.device).expand(len(x), -1)
        merged, candidates = torch.cat([best, squared.clamp_min(0)], dim=1), torch.cat([rows, numbers], dim=1)
        best, column = merged.topk(min(count, merged.shape[1]), dim=1, largest=False)
        rows = candidates.gather(1, column)
    return best, rows
