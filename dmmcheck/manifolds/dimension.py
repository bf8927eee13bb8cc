"""How many dimensions points spread in: a guide to k, no measurement of it."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.manifolds.neighbours import nearest

_QUERIES = 2000  # most points whose neighbours are looked up


def two_nn(points: Tensor) -> float:
    """Intrinsic dimension of points (m, D), from how much farther the second neighbour is than the first.

    On a manifold of dimension k the ratio of the two distances has the distribution function 1 - ratio^-k, whatever the
    density; k is estimated by maximum likelihood, without bias. Duplicates of a point are no neighbours of it. Noise
    raises the estimate, few points in many dimensions lower it.

    Source: Facco et al., Estimating the intrinsic dimension of datasets by a minimal neighborhood information, 2017.

    Returns:
        The dimension; NaN for fewer than four distinct points.
    """
    distinct = torch.unique(points, dim=0)
    if len(distinct) < 4:
        return float("nan")
    queries = distinct[:: -(-len(distinct) // _QUERIES)]
    _, rows = nearest(queries, distinct, 3)
    apart = [
        (queries - distinct[column]).norm(dim=1, dtype=torch.float64) for column in rows.T
    ]  # not by inner products
    _, first, second = torch.stack(apart).sort(dim=0).values
    logs = (second / first).log()
    return float((len(logs) - 1) / logs.sum())
