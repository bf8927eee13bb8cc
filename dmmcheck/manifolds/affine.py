"""Flat manifolds: a given affine subspace, and the one of principal component analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.base import DEFAULT_DIM, ORTHONORMAL_LIMIT, fitting_points
from dmmcheck.manifolds.principal import principal_plane


@dataclass(frozen=True, eq=False)
class Subspace:
    """The affine subspace ``origin + span(basis)``; all points share its tangent space.

    Attributes:
        basis: (D, k), orthonormal columns.
        origin: (D,), a point on it; zero where None.
        name: What a report calls it.
        training_points: (m, D) what it was fitted on, where it was.

    Raises:
        ManifoldError: The basis is not a (D, k) tensor with k < D, or not orthonormal to 1e-4.
    """

    basis: Tensor
    origin: Tensor | None = None
    name: str = "subspace"
    training_points: Tensor | None = None

    def __post_init__(self) -> None:
        if self.basis.ndim != 2 or not 0 < self.basis.shape[1] < self.basis.shape[0]:
            raise ManifoldError(f"basis has shape {tuple(self.basis.shape)}, expected (D, k) with 0 < k < D")
        worst = geometry.orthonormal_residual(self.basis)
        if not worst <= ORTHONORMAL_LIMIT:
            raise ManifoldError(
                f"basis is off orthonormal by {worst:.2g} (limit {ORTHONORMAL_LIMIT:g}); pass torch.linalg.qr(basis).Q"
            )

    @property
    def dim(self) -> int:
        """Intrinsic dimension k."""
        return self.basis.shape[1]

    def project_point(self, x: Tensor) -> Tensor:
        """Nearest points (n, D) of the subspace."""
        basis = self.basis.to(x)
        origin = torch.zeros_like(x[0]) if self.origin is None else self.origin.to(x)
        return origin + geometry.project_tangent(x - origin, basis)

    def tangent_basis(self, x: Tensor) -> Tensor:
        """The one basis (D, k)."""
        return self.basis.to(x)


@dataclass(frozen=True, eq=False)
class PrincipalSubspace(Subspace):
    """What `PCA` fits: the span of the leading principal directions, through the mean."""

    name: str = "pca"

    def refit(self, dim: int) -> PrincipalSubspace:
        """The same points with another dimension.

        Raises:
            ManifoldError: See `PCA.fit`.
        """
        return PCA(dim=dim).fit(self.training_points)


@dataclass(frozen=True, kw_only=True)
class PCA:
    """Principal component analysis: the k directions of largest variance.

    Attributes:
        dim: Intrinsic dimension k.
    """

    dim: int = DEFAULT_DIM

    def fit(self, x: Any) -> PrincipalSubspace:
        """The manifold of points ``(m, *input_shape)``.

        Raises:
            ManifoldError: Too few points, or k is not below D or exceeds the rank of the data.
        """
        points = fitting_points(x, self.dim)
        plane = principal_plane(points, self.dim)
        rank = int(plane.rank)
        if self.dim > rank:
            raise ManifoldError(f"dim is {self.dim}, the {len(points)} points have rank {rank}; choose dim <= {rank}")
        return PrincipalSubspace(basis=plane.basis[0], origin=plane.mean[0], training_points=points)
