"""Exact nearest neighbours, computed in pieces of bounded size.

Where few queries meet many points in float32, most of the time would go into converting the points to float64. Scores
in float32 choose candidates there, and only these are compared in float64. A bound on the rounding errors of the scores
proves for each query that no other point is as near; queries without this proof are compared with all points in
float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from dmmcheck.data import arrays
from dmmcheck.models.process_state import neutral_state

_PIECE_VALUES = 1 << 23  # most float64 values in one piece of queries or of distances: 64 MiB
_CACHE_VALUES = 1 << 18  # most float64 values of points that are converted at a time, which a cache holds: 2 MiB
_MANY_VALUES = 1 << 20  # fewest values of points for which candidates are looked for; fewer are converted quickly
_DIRECT = 25  # most points whose distances are computed by differences
_FEW = 3  # queries are few where all their candidates are at most this many times the points
_COLUMNS = 1024  # inner products are sums over at most this many columns, which limits their rounding errors
_ROUNDING = 0.55 * torch.finfo(torch.float32).eps  # the relative error of a rounding, and a tenth more for its powers


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


def distance_matrix(x: Tensor, points: Tensor, rows: Tensor | None = None) -> Tensor:
    """Return the distances (n, m) of x (n, D) to points, in their precision and without a copy of all points.

    Args:
        x: The vectors (n, D).
        points: The points (p, D).
        rows: Row numbers (m,) of the points to compare with; None for all points, m = p.
    """
    count = len(points) if rows is None else len(rows)
    many = max(len(x), count) > _DIRECT  # as torch decides by itself, here for all pieces alike
    mode = "use_mm_for_euclid_dist" if many else "donot_use_mm_for_euclid_dist"
    if rows is None:
        pieces: Iterable[Tensor] = arrays.pieces(points)
    else:  # copied in pieces that a cache holds or, of large points, that hold as many as there are vectors
        dim = points.shape[1]
        at_once = max(1, _CACHE_VALUES // dim, min(len(x), arrays.PIECE_VALUES // dim))
        pieces = (points[some] for some in torch.split(rows, at_once))
    columns = [[torch.cdist(q, piece, compute_mode=mode) for q in arrays.pieces(x)] for piece in pieces]
    return torch.cat([torch.cat(column) for column in columns], dim=1)


def _nearest(x: Tensor, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the nearest points by way of candidates where that is faster."""
    most = 2 * count + 16
    is_single = points.dtype == torch.float32 and points.device.type == "cpu"
    is_many = points.numel() >= _MANY_VALUES and len(points) > most and _FEW * len(points) >= len(x) * most
    if not (is_single and is_many):
        return _among_all(x, points, count)
    candidates, is_sure = _candidates(x, points, count, most)
    squared = torch.empty(len(x), count, dtype=torch.float64, device=points.device)
    rows = torch.empty_like(squared, dtype=torch.long)
    squared[is_sure], rows[is_sure] = _among_candidates(x[is_sure], points, candidates, count)
    if not bool(is_sure.all()):
        squared[~is_sure], rows[~is_sure] = _among_all(x[~is_sure], points, count)
    return squared, rows


def _among_all(x: Tensor, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the nearest of all points, by inner products in float64."""
    centre = points[:1].double()  # far from the origin, differences of inner products would lose accuracy
    queries = x.double() - centre
    values = _CACHE_VALUES if points.device.type == "cpu" else _PIECE_VALUES
    step = max(1, len(x), values // points.shape[1])  # no fewer points than queries: each product reads all queries

    def distances(some: Tensor) -> Tensor:
        piece = some.double() - centre
        squared = queries.square().sum(1, keepdim=True) + piece.square().sum(1) - 2 * queries @ piece.T
        return squared.clamp_min(0)

    pieces = torch.split(points, _rows_of_a_piece(x))
    squared = (torch.cat([distances(some) for some in torch.split(piece, step)], dim=1) for piece in pieces)
    return _smallest(squared, queries, count)


def _among_candidates(x: Tensor, points: Tensor, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the nearest points among candidates with row numbers (n, c), by differences in float64."""
    queries = x.double()
    step = max(1, _CACHE_VALUES // x.shape[1])
    numbers = torch.arange(len(x)).repeat_interleave(rows.shape[1])
    pairs = zip(torch.split(rows.flatten(), step), torch.split(numbers, step), strict=True)
    distances = [torch.linalg.vector_norm(points[some].double() - queries[of], dim=1) for some, of in pairs]
    squared, order = torch.cat(distances).square().view(rows.shape).sort(dim=1)
    return squared[:, :count], rows.gather(1, order[:, :count])


@neutral_state()
@torch.no_grad()
def _candidates(x: Tensor, points: Tensor, count: int, most: int) -> tuple[Tensor, Tensor]:
    """Return which points can be the nearest, by scores in float32.

    The score of a point p for a query q is |p|^2 - 2 q.p, its squared distance less |q|^2. The nearest points have
    scores of at most that of the last of them by score and twice the largest error of a score. In a neutral state, the
    products of torch are those of float32 numbers and not rounded to bfloat16.

    Returns:
        The row numbers of candidates (s, c) for each of s queries, and which of the queries (n,) these are: those where
        no more than `most` points can be the nearest. Numbers that are not finite never let a query be one of them.
    """
    queries, squared_norms = x.float(), _squared_norms(points)
    scores, rows = _smallest(_scores(queries, points, squared_norms), queries, most)
    limit = scores[:, count - 1].double() + 2 * _largest_error(queries, squared_norms)
    is_sure = scores[:, -1] > limit
    columns = int((scores[is_sure] <= limit[is_sure, None]).any(0).sum())
    return rows[is_sure, : max(count, columns)], is_sure


def _largest_error(x: Tensor, squared_norms: Tensor) -> Tensor:
    """Return a bound (n,) on the errors of the scores of all points for each query.

    The sums behind a score have at most as many roundings one after the other as a block has columns, one more for each
    block, and a few before and after. Its error is at most the number of these times that of one rounding times
    (|p| + |q|)^2, beside what is lost where numbers are too small for float32.
    """
    dim = x.shape[1]
    roundings = min(dim, _COLUMNS) + -(-dim // _COLUMNS) + 8
    size = (_squared_norms(x).sqrt() + squared_norms.max().sqrt()).square().double()
    return roundings * _ROUNDING * size + 8 * dim * torch.finfo(torch.float32).tiny


def _scores(x: Tensor, points: Tensor, squared_norms: Tensor) -> Iterator[Tensor]:
    """Yield the scores (n, p) of a piece of p points after the other, in float32."""
    step = _rows_of_a_piece(x)
    for piece, squared in zip(torch.split(points, step), torch.split(squared_norms, step), strict=True):
        yield squared - 2 * _products(x, piece)


def _products(x: Tensor, points: Tensor) -> Tensor:
    """Return the inner products (n, p) of queries and points."""
    blocks = zip(torch.split(x, _COLUMNS, dim=1), torch.split(points, _COLUMNS, dim=1), strict=True)
    return torch.stack([ours @ theirs.T for ours, theirs in blocks]).sum(0)


def _squared_norms(points: Tensor) -> Tensor:
    """Return |p|^2 of each point in float32."""
    blocks = torch.split(points, _COLUMNS, dim=1)
    return torch.stack([torch.linalg.vector_norm(block, dim=1).square() for block in blocks]).sum(0)


def _rows_of_a_piece(x: Tensor) -> int:
    """Return how many points, of which all have distances to queries x (n, D), are in one piece."""
    return max(1, _PIECE_VALUES // max(x.shape))


def _smallest(pieces: Iterable[Tensor], x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the smallest values (n, count) of each row of a matrix in increasing order, and their column numbers.

    Args:
        pieces: The columns of the matrix, (n, p) at a time, in the dtype of the queries.
        x: Queries (n, D), one for each row.
        count: Number of values of each row.
    """
    best = x.new_empty((len(x), 0))
    columns, start = torch.empty_like(best, dtype=torch.long), 0
    for piece in pieces:
        numbers = torch.arange(start, start + piece.shape[1], device=x.device).expand(len(x), -1)
        start += piece.shape[1]
        merged, candidates = torch.cat([best, piece], dim=1), torch.cat([columns, numbers], dim=1)
        best, chosen = merged.topk(min(count, merged.shape[1]), dim=1, largest=False)
        columns = candidates.gather(1, chosen)
    return best, columns
