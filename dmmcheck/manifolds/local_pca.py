"""Local principal component analysis: at each point the plane that its nearest training points lie along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.base import DEFAULT_DIM, fitting_points
from dmmcheck.manifolds.neighbours import nearest
from dmmcheck.manifolds.principal import Planes, principal_planes

NEIGHBOURS_PER_DIM = 4
ROUNDING = 1e-10  # squared distances that differ by less, in relative terms, are equal
_BASIS_VALUES = 1 << 22  # values of the bases, or of the inner products, worked on at a time


@dataclass(frozen=True, eq=False)
class LocalPlanes:
    """What `LocalPCA` fits: a plane of dimension k at every point x, by weighted PCA of the nearest training points.

    Training point i of the K nearest, at distance d_i, has the weight d_K^2 - d_i^2: the Epanechnikov kernel that
    reaches to the K-th. So the plane changes continuously with x; it matters neither in which order the training points
    come nor which of several equally far ones is the K-th; and on a flat manifold it is the same at x and at the
    projection of x. A training point that is asked for its plane is among its own neighbours.

    Source: local PCA as in Singer & Wu, Vector diffusion maps and the connection Laplacian, 1102.0075; centred on the
    weighted mean rather than on x, which need not lie on the manifold.

    Attributes:
        training_points: (m, D).
        dim: Intrinsic dimension k.
        neighbours: K; the rule of `LocalPCA` where None.
        name: What a report calls it.
    """

    training_points: Tensor
    dim: int
    neighbours: int | None = None
    name: str = "local-pca"

    def __post_init__(self) -> None:
        if not isinstance(self.reach, Integral) or self.dim + 2 > self.reach:
            raise ManifoldError(
                f"neighbours is {self.reach!r}, dim {self.dim} needs a whole number of at least {self.dim + 2}; "
                "give more, or a smaller dim"
            )
        if self.reach > len(self.training_points):
            raise ManifoldError(
                f"neighbours is {self.reach}, there are {len(self.training_points)} training points; "
                "give fewer neighbours, or more points"
            )

    @property
    def reach(self) -> int:
        """Neighbours K in use."""
        rule = min(NEIGHBOURS_PER_DIM * self.dim, len(self.training_points))
        return max(rule, self.dim + 2) if self.neighbours is None else self.neighbours

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Tangent bases (n, D, k) at points (n, D).

        Raises:
            ManifoldError: The neighbours of a point span fewer than k directions.
        """
        basis = x.new_empty((*x.shape, self.dim))
        for rows, planes in self._planes(x):
            basis[rows] = planes.basis.to(x)
        return basis

    def project_point(self, x: Tensor) -> Tensor:
        """Nearest points (n, D) of the plane at each point, (n, D).

        Raises:
            ManifoldError: The neighbours of a point span fewer than k directions.
        """
        projected = torch.empty_like(x)
        for rows, planes in self._planes(x):
            mean = planes.mean.to(x)
            projected[rows] = mean + geometry.project_tangent(x[rows] - mean, planes.basis.to(x))
        return projected

    def refit(self, dim: int) -> LocalPlanes:
        """The same points with another dimension; neighbours stay as given, or follow the rule.

        Raises:
            ManifoldError: See `LocalPCA.fit`.
        """
        return replace(self, training_points=fitting_points(self.training_points, dim), dim=dim)

    def _planes(self, x: Tensor) -> Iterator[tuple[slice, Planes]]:
        """Pieces of the rows of x, and their planes."""
        points, count = self.training_points, self.reach
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
            raise ManifoldError(
                f"dim is {self.dim}, the {self.reach} nearest training points of an input span {lowest} directions "
                "(duplicates and equally far points span none); choose a smaller dim, or more neighbours"
            )


@dataclass(frozen=True, kw_only=True)
class LocalPCA:
    """Local principal component analysis.

    Attributes:
        dim: Intrinsic dimension k; `two_nn` of the training points is a first guess.
        neighbours: How many nearest training points K make a plane, at least k + 2. Where None, 4k (all where there are
            fewer points): few enough to stay local, enough that k directions stand out of the noise.
    """

    dim: int = DEFAULT_DIM
    neighbours: int | None = None

    def fit(self, x: Any) -> LocalPlanes:
        """The manifold of training points ``(m, *input_shape)``.

        Raises:
            ManifoldError: Too few points, or k is not below D, or neighbours is not in [k + 2, m].
        """
        return LocalPlanes(fitting_points(x, self.dim), self.dim, self.neighbours)
