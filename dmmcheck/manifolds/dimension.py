"""Estimates of the number of dimensions in which points spread, for the choice of k."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.base import default_dim, fitting_points
from dmmcheck.manifolds.neighbours import nearest

ESTIMATE = "estimate"
"""The value of the option ``dim`` that asks for an estimate, as an option that is not set does."""
FALLS = 0.1  # relative; an estimate that falls by more from one scale to the next is still that of the noise
DISAGREE = 0.2  # relative to the smaller one; a larger difference of the two estimates is named
FEWEST = 10  # distinct points
POINTS_PER_DIM = 4  # least m / k for an estimated k
_QUERIES = 2000  # most points whose neighbours are computed for `two_nn`
_FEW_QUERIES = 500  # most points whose neighbours are computed at several scales
_NEIGHBOURS = 512  # most neighbours of each of these
_LEAST_LIKELIHOOD = 8  # neighbours that the likelihood takes at the smallest scale


def two_nn(points: Tensor) -> float:
    """Return the intrinsic dimension of points (m, D), from the ratio of second to first neighbour distances.

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


@dataclass(frozen=True)
class DimensionEstimate:
    """Two estimates of the dimension of the same points.

    Attributes:
        two_nn: By the ratio of the distances to two neighbours.
        likelihood: By maximum likelihood of the distances to all near neighbours.
        points: The number of distinct points.
    """

    two_nn: float
    likelihood: float
    points: int = 0

    def dim(self, ambient_dim: int) -> int:
        """Return the mean of both estimates as a whole number from 1 to half of D; 1 where D is below 4."""
        return max(1, round(min((self.two_nn + self.likelihood) / 2, ambient_dim // 2)))

    @property
    def note(self) -> str:
        """Both in a few words, and whether they disagree."""
        low, high = sorted((self.two_nn, self.likelihood))
        apart = high / low - 1 if high < math.inf else 0.0
        disagree = f", which disagree by {apart:.0%}" if apart > DISAGREE else ""
        two_nn, likelihood = (
            f"{one:.1f}" if one < math.inf else "no finite number" for one in (self.two_nn, self.likelihood)
        )
        return f"k estimated: {two_nn} by TwoNN and {likelihood} by maximum likelihood{disagree}"


def estimated(points: Tensor) -> DimensionEstimate:
    """Return two estimates of the dimension of points (m, D), each at the smallest scale where noise does not raise it.

    Noise fills all dimensions, but only up to its own size. Both estimates are therefore taken at growing scales, with
    n and 2n neighbours for n = 1, 2, 4 and so on, and the first one is chosen after which the next does not fall by
    more than 10 %; the last one where all fall.

    Sources: TwoNN is Facco et al. 2017, with the n-th and the 2n-th neighbour as in Denti et al., The generalized
    ratios intrinsic dimension estimator, 2022. The likelihood is Levina & Bickel, Maximum likelihood estimation of
    intrinsic dimension, 2004, where inverses are averaged over the points (MacKay & Ghahramani 2005).

    Raises:
        ManifoldError: There are fewer than 10 distinct points.

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds import analytic
        >>> from dmmcheck.manifolds.dimension import estimated
        >>> sphere = analytic.sphere(2, 20, generator=torch.Generator().manual_seed(0))
        >>> estimated(sphere.sample(1000, noise=0.001, generator=torch.Generator().manual_seed(1))).dim(20)
        2
    """
    distinct = torch.unique(points, dim=0)
    if len(distinct) < FEWEST:
        raise ManifoldError(
            f"the dimension of {len(distinct)} distinct points cannot be estimated (at least {FEWEST} are needed); set "
            "dim to a whole number"
        )
    queries = distinct[:: -(-len(distinct) // _FEW_QUERIES)]
    count = min(_NEIGHBOURS, max(_LEAST_LIKELIHOOD, len(distinct) // 4))
    squared, _ = nearest(queries, distinct, count + 1)
    logs = squared[:, 1:].clamp_min(torch.finfo(squared.dtype).tiny).log() / 2  # (n, count) without the point itself
    sizes = [2**power for power in range(int(math.log2(count)))]
    ratios = [_by_ratio(logs, size) for size in sizes]
    likelihoods = [_by_likelihood(logs, 2 * size) for size in sizes if 2 * size >= _LEAST_LIKELIHOOD]
    return DimensionEstimate(_settled(ratios), _settled(likelihoods), len(distinct))


def _by_ratio(logs: Tensor, size: int) -> float:
    """Estimate k from the ratios of the distances to neighbours n and 2n.

    The logarithms of these ratios have the mean (H_2n-1 - H_n-1) / k.
    """
    expected = sum([1 / number for number in range(size, 2 * size)])
    mean = float((logs[:, 2 * size - 1] - logs[:, size - 1]).mean())
    return expected / mean if mean > 0 else math.inf  # equally far neighbours, as of one-hot rows


def _by_likelihood(logs: Tensor, count: int) -> float:
    """Estimate k by maximum likelihood from the distances to the nearest neighbours, over that to the last of them."""
    return float(1 / (logs[:, count - 1 : count] - logs[:, : count - 1]).mean())


def _settled(values: Sequence[float]) -> float:
    """Return the first value whose successor is at most 10 % smaller; the last value where there is no such value."""
    pairs = pairwise(values)
    return next((value for value, following in pairs if following >= (1 - FALLS) * value), values[-1])


def chosen_dim(x: Any, dim: int | str | None, *, most: int | None = None) -> tuple[int, str]:
    """Return the dimension k of a manifold that is to be fitted on points, and how it was estimated in a few words.

    Args:
        x: Points ``(m, *input_shape)`` of any kind.
        dim: The dimension; None or ``"estimate"`` for an estimate, which is at most half of D and a quarter of the
            number of distinct points. Where None and too few points differ, the dimension is 16, or half of D where
            that is less.
        most: The largest estimate that the manifold can take, if there is one.

    Raises:
        ManifoldError: The dimension cannot be estimated, though ``"estimate"`` asks for it, or the points are not
            finite floating-point numbers.
    """
    if dim is not None and not isinstance(dim, str):
        return dim, ""
    if dim not in {None, ESTIMATE}:
        raise ManifoldError(f"dim is {dim!r}; give a whole number of at least 1, or {ESTIMATE!r}")
    points = fitting_points(x, 1)
    try:
        found = estimated(points)
    except ManifoldError:
        if dim is None:
            return default_dim(x), ""
        raise
    limits = [found.points // POINTS_PER_DIM] if most is None else [found.points // POINTS_PER_DIM, most]
    return max(1, min(found.dim(points.shape[1]), *limits)), found.note
