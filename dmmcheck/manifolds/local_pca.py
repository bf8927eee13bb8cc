"""Local principal component analysis: a plane at each point, fitted to its nearest training points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.base import fitting_points
from dmmcheck.manifolds.dimension import ESTIMATE, chosen_dim
from dmmcheck.manifolds.neighbours import nearest
from dmmcheck.manifolds.principal import Planes, principal_planes
from dmmcheck.models.process_state import neutral_state

NEIGHBOURS_PER_DIM = 4  # least K / k where K is not given
NEIGHBOUR_SHARE = 12  # K is at least m^(4 / (k + 4)) over this number, of m training points
ROUNDING = 1e-10  # squared distances whose relative difference is below this count as equal
_BASIS_VALUES = 1 << 22  # most values of bases or of inner products that are computed at a time


@dataclass(frozen=True, eq=False)
class LocalPlanes:
    """The manifold that `LocalPCA` fits: a plane of dimension k at each point x, by weighted PCA.

    Of the K training points nearest to x, the one at distance d_i has the weight d_K^2 - d_i^2 (the Epanechnikov
    kernel with bandwidth d_K). Therefore the plane changes continuously with x, and depends neither on the order of the
    training points nor on which of several equally distant points counts as the K-th. On a flat manifold, the planes at
    x and at the projection of x are the same. A training point is one of its own neighbours.

    Source: Singer & Wu, Vector diffusion maps and the connection Laplacian, arXiv 1102.0075. Here planes are centred on
    the weighted mean, since x need not lie on the manifold.

    Attributes:
        training_points: The training points (m, D).
        dim: Intrinsic dimension k.
        neighbours: Number of neighbours K; see `LocalPCA` where None.
        name: The name in a report.
        note: How k was estimated, in a few words; "" where it was not.
    """

    training_points: Tensor
    dim: int
    neighbours: int | None = None
    name: str = "local-pca"
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.neighbour_count, Integral) or self.dim + 2 > self.neighbour_count:
            raise ManifoldError(
                f"neighbours is {self.neighbour_count!r}, dim {self.dim} needs a whole number of at least "
                f"{self.dim + 2}; give more neighbours, or a smaller dim"
            )
        if self.neighbour_count > len(self.training_points):
            raise ManifoldError(
                f"neighbours is {self.neighbour_count}, there are {len(self.training_points)} training points; "
                "give fewer neighbours, or more points"
            )

    @property
    def neighbour_count(self) -> int:
        """Number of neighbours K."""
        if self.neighbours is not None:
            return self.neighbours
        count = len(self.training_points)
        many = int(count ** (4 / (self.dim + 4)) / NEIGHBOUR_SHARE)
        return max(min(max(NEIGHBOURS_PER_DIM * self.dim, many), count), self.dim + 2)

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return the orthonormal bases (n, D, k) of the planes at points x (n, D).

        Raises:
            ManifoldError: The neighbours of a point span fewer than k directions.
        """
        basis = x.new_empty((*x.shape, self.dim))
        for rows, planes in self._planes(x):
            basis[rows] = planes.basis.to(x)
        return basis

    def project_point(self, x: Tensor) -> Tensor:
        """Return the points (n, D) nearest to points x (n, D) on the planes at x.

        Raises:
            ManifoldError: The neighbours of a point span fewer than k directions.
        """
        projected = torch.empty_like(x)
        for rows, planes in self._planes(x):
            mean = planes.mean.to(x)
            projected[rows] = mean + geometry.project_tangent(x[rows] - mean, planes.basis.to(x))
        return projected

    def refit(self, dim: int) -> LocalPlanes:
        """Return the manifold of the same points with another dimension; if neighbours is None, K changes with it.

        Raises:
            ManifoldError: See `LocalPCA.fit`.
        """
        return replace(self, training_points=fitting_points(self.training_points, dim), dim=dim, note="")

    def refit_on(self, points: Tensor) -> LocalPlanes:
        """Return the manifold of other points (m, D), e.g. of the same points in other units."""
        if self.note:
            return LocalPCA(dim=ESTIMATE, neighbours=self.neighbours).fit(points)
        return replace(self, training_points=points)

    def _planes(self, x: Tensor) -> Iterator[tuple[slice, Planes]]:
        """Yield the planes at points x (n, D), for one slice of rows after the other."""
        points, count = self.training_points, self.neighbour_count
        squared, index = nearest(x, points, count)
        weight = squared[:, -1:] - squared
        weight = torch.where(weight > ROUNDING * squared[:, -1:], weight, 0)
        step = max(1, _BASIS_VALUES // max(x.shape[1] * self.dim, count * count))
        for start in range(0, len(x), step):
            rows = slice(start, min(start + step, len(x)))
            planes = principal_planes(points, index[rows], weight[rows], self.dim)
            self._check_rank(planes.rank)
            yield rows, planes

    def _check_rank(self, rank: Tensor) -> None:
        lowest = int(rank.min())
        if lowest < self.dim:
            remedy = "choose a smaller dim, or more neighbours"
            if not lowest:
                are_equal = bool((self.training_points == self.training_points[:1]).all())
                remedy = "choose more neighbours, or give more points"
                remedy = (
                    "all training points are equal: give points that differ from each other" if are_equal else remedy
                )
            raise ManifoldError(
                f"dim is {self.dim}, the {self.neighbour_count} nearest training points of an input span {lowest} "
                f"directions (duplicates and equally far points add none); {remedy}"
            )


@dataclass(frozen=True, kw_only=True)
class LocalPCA:
    """Estimate a manifold by principal component analysis of the nearest training points at each input.

    Attributes:
        dim: Intrinsic dimension k; estimated from the points where None or ``"estimate"``, see `dimension.chosen_dim`.
        neighbours: Number K of nearest training points that a plane is fitted to, at least k + 2. Where None, K is 4k:
            few enough to be local, and enough to tell k directions from noise. It is m^(4 / (k + 4)) / 12 of m points
            where that is more, as for k = 1 from 167 points and for k = 2 from 1,123. With this power, what noise and
            what curvature do to a plane fall at the same rate. All points are used if there are fewer.

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds import LocalPCA
        >>> angle = torch.linspace(0, 6.28, 400)
        >>> circle = torch.stack([angle.cos(), angle.sin()], 1)
        >>> tangent = LocalPCA(dim=1).fit(circle).tangent_basis(torch.tensor([[1.0, 0.0]]))
        >>> tangent.shape, round(float(tangent.abs()[0, 1, 0]), 2)
        (torch.Size([1, 2, 1]), 1.0)
    """

    dim: int | str | None = None
    neighbours: int | None = None

    @neutral_state()
    def fit(self, x: Any) -> LocalPlanes:
        """Return the manifold of training points ``(m, *input_shape)``.

        Raises:
            ManifoldError: There are too few points, k is not below D, or neighbours is not in [k + 2, m].
        """
        dim, note = chosen_dim(x, self.dim, most=None if self.neighbours is None else self.neighbours - 2)
        return LocalPlanes(fitting_points(x, dim), dim, self.neighbours, note=note)
