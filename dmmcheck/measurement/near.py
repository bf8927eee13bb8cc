"""Which points are nearly the same: beyond a few neighbours there is a gap that chance would hardly leave."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dmmcheck.manifolds.neighbours import nearest

SHARE = 0.3  # the neighbours before a gap are nearly the same point: these lie nearer than this share of the next one,
CHANCE = 0.005  # or a smaller share, in few dimensions: the one that a gap exceeds in this share of independent points
COPIES = 7  # most neighbours before a gap, so that a class of nine or more close together is not taken for copies
BEYOND = (8, 32)  # neighbours that the dimension is read from, which copies hardly change
FEWEST = 3  # points; fewer have no gap
ROUNDS, STILL = 8, 0.02  # most rounds of merging, and the share of points merged in a round at which they end


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of n points.

    Attributes:
        rows: (n, c) their row numbers, the nearest first.
        distance: (n, c) the distances, in float64.
        limit: (n,) the distance below which a neighbour is nearly the same point; 0 for a point without a gap.
    """

    rows: Tensor
    distance: Tensor
    limit: Tensor


def near_duplicates(x: Tensor, y: Tensor, *, groups: Tensor | None = None) -> Tensor:
    """Return the group numbers (n,) of points x (n, D): points of one label that are nearly the same get one number.

    Where points are merged, the search is repeated among those that remain, until hardly any are merged.

    Args:
        x: Points (n, D), no two of them equal.
        y: Their labels (n,).
        groups: Group numbers (n,) to begin with; each point is a group of its own where None.
    """
    number = torch.arange(len(x)) if groups is None else groups.cpu().clone()
    x, y = x.detach().cpu(), y.detach().cpu()
    left = torch.arange(len(x))
    for _ in range(ROUNDS):
        pairs = left[_close_pairs(x[left], y[left]) if len(left) < len(x) else _close_pairs(x, y)]
        if not len(pairs):
            break
        number = _joined(number, pairs)
        before = len(left)
        left = _one_each(_joined(torch.arange(len(x)), pairs), left)
        if before - len(left) <= STILL * before:
            break
    return number


def near_copies(x: Tensor, points: Tensor) -> Tensor:
    """Return which of the points x (n, D) have nearly the same point among others (m, D): (n,) bool, on the CPU."""
    if not len(points):
        return torch.zeros(len(x), dtype=torch.bool)
    found = _neighbours(x, points, most=len(points))
    return ((found.distance[:, 0] < found.limit) | (found.distance[:, 0] == 0)).cpu()


def _close_pairs(x: Tensor, y: Tensor) -> Tensor:
    """Return the pairs (p, 2) of rows of one label that are nearly the same."""
    if len(x) < FEWEST:
        return torch.empty(0, 2, dtype=torch.long)
    found = _neighbours(x, x, most=len(x) - 1)
    near = found.distance < torch.minimum(found.limit[:, None], found.limit[found.rows])
    first, column = torch.nonzero(near & (y[:, None] == y[found.rows]), as_tuple=True)
    return torch.stack([first, found.rows[first, column]], 1)


def _neighbours(x: Tensor, points: Tensor, *, most: int) -> Neighbours:
    """Return the neighbours of x (n, D) among points (m, D), of which `most` are not the point itself."""
    count, own = min(BEYOND[1], most), len(points) - most
    squared, rows = nearest(x, points, count + own)
    distance = squared.sqrt()
    if own:  # a point is not its own neighbour
        itself = rows == torch.arange(len(x), device=rows.device)[:, None]
        distance, order = distance.masked_fill(itself, -1).sort(1)
        distance, rows = distance[:, 1:], rows.gather(1, order)[:, 1:]
    return Neighbours(rows, distance, _limit(distance))


def _limit(distance: Tensor) -> Tensor:
    """Return the distance (n,) below which points are nearly the same, from distances (n, c) to near neighbours.

    In k dimensions the next neighbour lies more than a times as far as the first r ones with probability a^(-r k), for
    any density; the gap of copies is wider.
    Source: Facco et al., Estimating the intrinsic dimension of datasets by a minimal neighborhood information, 2017.
    """
    count = distance.shape[1]
    inner = min(BEYOND[0], max(1, count // 2))
    dim = _dimension(distance[:, inner - 1], distance[:, count - 1], count / inner)
    share = min(SHARE, CHANCE ** (1 / dim))
    limit = distance.new_zeros(len(distance))
    for before in range(1, min(COPIES, count - 1) + 1):
        after = share * distance[:, before]
        limit = torch.where(distance[:, before - 1] < after, after, limit)
    has_gap = limit > 0
    if 2 * int(has_gap.sum()) > len(limit):  # copies are the rule: a point whose gap is narrower has them too
        limit = torch.where(has_gap, limit, limit[has_gap].median())
    return limit


def _dimension(inner: Tensor, outer: Tensor, factor: float) -> float:
    """Return the dimension, at least 1, in which balls of these radii (n,) hold numbers of points with this ratio."""
    known = inner > 0
    growth = float((outer[known] / inner[known]).log().median()) if bool(known.any()) else math.inf
    return math.inf if growth == 0 else max(math.log(factor) / growth, 1.0)


def _joined(number: Tensor, pairs: Tensor) -> Tensor:
    """Return group numbers (n,) with the groups of each pair of rows (p, 2) merged under their lowest number."""
    parent = {value: value for value in number.tolist()}

    def root(value: int) -> int:
        while parent[value] != value:
            parent[value] = parent[parent[value]]
            value = parent[value]
        return value

    for one, other in number[pairs].tolist():
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return torch.tensor([root(value) for value in number.tolist()])


def _one_each(number: Tensor, rows: Tensor) -> Tensor:
    """Return the first row of each group."""
    seen: dict[int, int] = {}
    for row in rows.tolist():
        seen.setdefault(int(number[row]), row)
    return torch.tensor(sorted(seen.values()))
