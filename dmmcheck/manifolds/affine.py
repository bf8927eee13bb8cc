"""Flat manifolds: a given affine subspace, and that of principal component analysis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.base import ORTHONORMAL_LIMIT, fitting_points
from dmmcheck.manifolds.dimension import ESTIMATE, chosen_dim
from dmmcheck.manifolds.principal import principal_plane
from dmmcheck.models.process_state import neutral_state

REFIT_FACTOR = 4  # times k; as many directions are kept as a run's refits need
FEWEST_DIRECTIONS = 24  # that are kept, since refits of k < 4 have up to 8 k dimensions
MOST_VALUES = 1 << 24  # of the directions that are kept, where k allows it: 64 MiB in float32


@dataclass(frozen=True, eq=False)
class Subspace:
    """The affine subspace ``origin + span(basis)``, which has the same tangent space at all points.

    Attributes:
        basis: Orthonormal columns (D, k).
        origin: A point (D,) of the subspace; zero where None.
        name: The name in a report.
        training_points: The points (m, D) that it was fitted on, if any.

    Raises:
        ManifoldError: The basis is not a (D, k) tensor with k < D, or not orthonormal to 1e-4.

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds import Subspace
        >>> plane = Subspace(torch.eye(3)[:, :2], origin=torch.tensor([0.0, 0.0, 5.0]))
        >>> plane.project_point(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 2., 5.]])
    """

    basis: Tensor
    origin: Tensor | None = None
    name: str = "subspace"
    training_points: Tensor | None = None

    def __post_init__(self) -> None:
        if self.basis.ndim != 2 or not 0 < self.basis.shape[1] < self.basis.shape[0]:
            raise ManifoldError(f"basis has shape {tuple(self.basis.shape)}; pass a basis (D, k) with 0 < k < D")
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
        """Return the points (n, D) of the subspace that are nearest to points x (n, D)."""
        basis = self.basis.to(x)
        origin = torch.zeros_like(x[0]) if self.origin is None else self.origin.to(x)
        return origin + geometry.project_tangent(x - origin, basis)

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return the basis (D, k), which all points x (n, D) share."""
        return self.basis.to(x)


@dataclass(frozen=True, eq=False)
class PrincipalSubspace(Subspace):
    """The manifold that `PCA` fits: the affine subspace through the mean along the leading principal directions.

    Attributes:
        note: How k was estimated, in a few words; "" where it was not.
        directions: The leading principal directions (D, r) of the training points, r >= k, of which the first k are the
            basis. Refits to at most r dimensions are taken from them. The basis alone is known where None.
    """

    name: str = "pca"
    note: str = ""
    directions: Tensor | None = None

    def refit(self, dim: int) -> PrincipalSubspace:
        """Return the manifold of the same points with another dimension.

        Its basis is the first of the directions that are kept, where there are as many: they are those of a new fit.

        Raises:
            ManifoldError: See `PCA.fit`.
        """
        known = self.basis if self.directions is None else self.directions
        if isinstance(dim, int) and 0 < dim <= known.shape[1]:
            return replace(self, basis=_first(known, dim), note="")
        return PCA(dim=dim).fit(self.training_points)

    def refit_on(self, points: Tensor) -> PrincipalSubspace:
        """Return the manifold of other points (m, D), e.g. of the same points in other units."""
        return PCA(dim=ESTIMATE if self.note else self.dim).fit(points)


@dataclass(frozen=True, kw_only=True)
class PCA:
    """Principal component analysis: the k directions of largest variance.

    Attributes:
        dim: Intrinsic dimension k; estimated from the points where None or ``"estimate"``, see `dimension.chosen_dim`.
    """

    dim: int | str | None = None

    @neutral_state()
    def fit(self, x: Any) -> PrincipalSubspace:
        """Return the manifold of points ``(m, *input_shape)``.

        Raises:
            ManifoldError: There are too few points, k is not below D, or k exceeds the rank of the points.
        """
        dim, note = chosen_dim(x, self.dim)
        points = fitting_points(x, dim)
        plane = principal_plane(points, _kept(dim, points))
        rank = int(plane.rank)
        if dim > rank:
            raise ManifoldError(_rank_deficient(dim, len(points), rank))
        directions = _first(plane.basis[0], rank)
        return PrincipalSubspace(
            basis=directions if directions.shape[1] == dim else _first(directions, dim),
            origin=plane.mean[0],
            training_points=points,
            note=note,
            directions=directions,
        )


def _kept(dim: int, points: Tensor) -> int:
    """Return how many directions of points (m, D) are computed for k dimensions and their refits, at least k."""
    count, ambient_dim = points.shape
    wanted = max(REFIT_FACTOR * dim, FEWEST_DIRECTIONS)
    return max(dim, min(wanted, count - 1, ambient_dim - 1, MOST_VALUES // ambient_dim))


def _first(directions: Tensor, count: int) -> Tensor:
    """Return the first directions (D, count) of (D, r) without the memory of the others."""
    return directions[:, :count].clone(memory_format=torch.contiguous_format)


def _rank_deficient(dim: int, count: int, rank: int) -> str:
    remedy = f"choose dim <= {rank}" if rank else "give points that differ from each other"
    return f"dim is {dim}, the {count} points have rank {rank}; {remedy}"
