"""An estimate of the number of dimensions in which points spread: a guide for the choice of k."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.manifolds.neighbours import nearest

_QUERIES = 2000  # most points whose neighbours are computed


def two_nn(points: Tensor) -> float:
    """Intrinsic dimension of points (m, D), from the ratio of the distances to the second and to the first neighbour.

    On a manifold of dimension k this ratio has the distribution function 1 - ratio^-k, for any density of the points.
    The estimate of k is the maximum-likelihood one, corrected for its bias. Duplicates of a point do not count as its
    neighbours. Noise raises the estimate; too few points in many dimensions lower it.

    Source: Facco et al., Estimating the intrinsic dimension of datasets by a minimal neighborhood information, 2017.

    Returns:
        The dimension; NaN for fewer than four distinct points.

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds import two_nn
        >>> angle = 6.28 * torch.rand(500, generator=torch.Generator().manual_seed(0))
        >>> dim = two_nn(torch.stack([angle.cos(), angle.sin()], 1))  # points of a circle
        >>> 0.9 < dim < 1.1
        True
    """
    distinct = torch.unique(points, dim=0)
    if len(distinct) < 4:
        return float("nan")
    queries = distinct[:: -(-len(distinct) // _QUERIES)]
    _, rows = nearest(queries, distinct, 3)
    # from differences, which are more accurate than the inner products of `nearest`
    distances = [(queries - distinct[column]).norm(dim=1, dtype=torch.float64) for column in rows.T]
    _, first, second = torch.stack(distances).sort(dim=0).values
    logs = (second / first).log()
    return float((len(logs) - 1) / logs.sum())
