"""Exact nearest neighbours among many points, in pieces of bounded size."""

from __future__ import annotations

import torch
from torch import Tensor

_PIECE_VALUES = 1 << 23  # float64 values of one piece of points or of distances, 64 MiB


def nearest(x: Tensor, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The nearest `count` of points (m, D) to each of x (n, D).

    Args:
        x: (n, D).
        points: (m, D), m >= count.
        count: How many.

    Returns:
        Squared distances (n, count) in float64, rising, and the rows of the points; of equally far ones, any.
    """
    step = max(1, _PIECE_VALUES // points.shape[1])
    found = [_nearest(queries, points, count) for queries in torch.split(x.to(points.device), step)]
    return torch.cat([squared for squared, _ in found]), torch.cat([rows for _, rows in found])


def _nearest(x: Tensor, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    centre = points[:1].double()  # inner products far from the origin would cancel
    queries = x.double() - centre
    best = queries.new_empty((len(x), 0))
    rows = torch.empty_like(best, dtype=torch.long)
    step = max(1, _PIECE_VALUES // max(points.shape[1], len(x)))
    for start in range(0, len(points), step):
        piece = points[start : start + step].double() - centre
        apart = queries.square().sum(1, keepdim=True) + piece.square().sum(1) - 2 * queries @ piece.T
        fresh = torch.arange(start, start + len(piece), device=rows.device).expand(len(x), -1)
        merged, order = torch.cat([best, apart.clamp_min(0)], dim=1), torch.cat([rows, fresh], dim=1)
        best, place = merged.topk(min(count, merged.shape[1]), dim=1, largest=False)
        rows = order.gather(1, place)
    return best, rows
