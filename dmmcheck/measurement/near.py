"""Which points are nearly the same: much nearer to each other than neighbours usually are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dmmcheck.manifolds.neighbours import nearest

SHARE = 0.3  # two points are nearly the same below this share of the usual distance to the nearest neighbour,
CHANCE = (
    0.005  # or a smaller one, in few dimensions: that below which this share of independent points have a neighbour
)
FEWEST = 2  # points, of which no more tell no usual distance
RANKS = (16, 64)  # fewest and most neighbours that the usual distance is read from, so that copies do not shorten it
PART = 8  # of the points, and so at most one in eight, are these neighbours
ROUNDS, STILL = 8, 0.02  # most rounds of merging, and the share of points merged in a round at which they end


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of n points.

    Attributes:
        rows: (n, c) their row numbers, the nearest first.
        distance: (n, c) the distances, in float64.
        limit: (n,) the distance below which a neighbour is nearly the same point.
    """

    rows: Tensor
    distance: Tensor
    limit: Tensor


def near_duplicates(x: Tensor, y: Tensor, *, groups: Tensor | None = None) -> Tensor:
    """Group numbers (n,) of points x (n, D): points of one label that are nearly the same get one number.

    Where points are merged, the usual distance is that of the points that remain, so the search is repeated until
    hardly any are merged: it finds 6 copies of each of 300 points as well as one copy of a single point.

    Args:
        x: Points (n, D), no two of them equal.
        y: Their labels (n,).
        groups: Group numbers (n,) to begin with; each point is a group of its own where None.
    """
    number = torch.arange(len(x)) if groups is None else groups.cpu().clone()
    x, y = x.detach().cpu(), y.detach().cpu()
    left = torch.arange(len(x))
    for _ in range(ROUNDS):
        pairs = left[_close_pairs(x[left], y[left])]
        if not len(pairs):
            break
        number = _joined(number, pairs)
        before = len(left)
        left = _one_each(_joined(torch.arange(len(x)), pairs), left)
        if before - len(left) <= STILL * before:
            break
    return number


def near_copies(x: Tensor, points: Tensor) -> Tensor:
    """Which of the points x (n, D) have nearly the same point among others (m, D): (n,) bool, on the CPU."""
    if not len(points):
        return torch.zeros(len(x), dtype=torch.bool)
    points = points.to(x.device)
    if len(points) >= 2 * RANKS[0]:
        found = _neighbours(x, points, most=len(points))
        distance, limit = found.distance[:, 0], found.limit
    else:  # too few points to tell the usual distance, which the points x then tell
        distance = nearest(x, points, 1)[0][:, 0].sqrt()
        limit = _neighbours(x, x, most=len(x) - 1).limit if len(x) > FEWEST else torch.zeros_like(distance)
    return ((distance < limit) | (distance == 0)).cpu()


def _close_pairs(x: Tensor, y: Tensor) -> Tensor:
    """Pairs (p, 2) of rows of one label that are nearly the same."""
    if len(x) <= FEWEST:
        return torch.empty(0, 2, dtype=torch.long)
    found = _neighbours(x, x, most=len(x) - 1)
    near = found.distance < torch.minimum(found.limit[:, None], found.limit[found.rows])
    first, column = torch.nonzero(near & (y[:, None] == y[found.rows]), as_tuple=True)
    return torch.stack([first, found.rows[first, column]], 1)


def _neighbours(x: Tensor, points: Tensor, *, most: int) -> Neighbours:
    """Neighbours of x (n, D) among points (m, D), of which `most` are not the point itself."""
    rank = max(1, min(max(RANKS[0], len(points) // PART), RANKS[1], most // 2))
    count, own = min(2 * rank, most), len(points) - most
    squared, rows = nearest(x, points, count + own)
    distance = squared.sqrt()
    if own:  # a point is not its own neighbour
        itself = rows == torch.arange(len(x), device=rows.device)[:, None]
        distance, order = distance.masked_fill(itself, -1).sort(1)
        distance, rows = distance[:, 1:], rows.gather(1, order)[:, 1:]
    dim = _dimension(distance[:, rank - 1], distance[:, count - 1], count / rank)
    usual = distance[:, rank - 1] * rank ** (-1 / dim)
    share = min(SHARE, (-math.log2(1 - CHANCE)) ** (1 / dim))
    return Neighbours(rows, distance, share * usual)


def _dimension(inner: Tensor, outer: Tensor, factor: float) -> float:
    """Dimension in which balls of these radii (n,) hold numbers of points with this ratio, at least 1."""
    known = inner > 0
    growth = float((outer[known] / inner[known]).log().median()) if bool(known.any()) else math.inf
    return math.inf if growth == 0 else max(math.log(factor) / growth, 1.0)


def _joined(number: Tensor, pairs: Tensor) -> Tensor:
    """Group numbers (n,) after the groups of each pair of rows (p, 2) are merged; a group has its lowest number."""
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
    """The first of the rows of each group."""
    seen: dict[int, int] = {}
    for row in rows.tolist():
        seen.setdefault(int(number[row]), row)
    return torch.tensor(sorted(seen.values()))
