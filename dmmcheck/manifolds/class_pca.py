"""Principal component analysis of each class: one plane a class, of which the nearest one holds at a point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.data.arrays import plain
from dmmcheck.data.labels import labels_of
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.base import fitting_points
from dmmcheck.manifolds.dimension import ESTIMATE, POINTS_PER_DIM, chosen_dim
from dmmcheck.manifolds.principal import principal_plane
from dmmcheck.models.process_state import neutral_state

LABELS = "the array of labels to fit a manifold with"


@dataclass(frozen=True, eq=False)
class ClassPlanes:
    """The manifold that `ClassPCA` fits: a plane of dimension k for each class.

    A point belongs to the plane that it is nearest to, whatever its own class is, so that projections need no labels.

    Attributes:
        training_points: The training points (m, D).
        labels: Their classes as numbers (m,).
        dim: Intrinsic dimension k.
        name: The name in a report.
        note: How k was estimated, in a few words; "" where it was not.
        means: (C, D) mean of each class.
        bases: (C, D, k) orthonormal leading principal directions of each class.
    """

    training_points: Tensor
    labels: Tensor
    dim: int
    name: str = "class-pca"
    note: str = ""
    means: Tensor = field(init=False)
    bases: Tensor = field(init=False)

    def __post_init__(self) -> None:
        planes = [self._plane(label) for label in range(int(self.labels.max()) + 1)]
        object.__setattr__(self, "means", torch.stack([mean for mean, _ in planes]))
        object.__setattr__(self, "bases", torch.stack([basis for _, basis in planes]))

    def project_point(self, x: Tensor) -> Tensor:
        """Return the points (n, D) of the nearest planes that are nearest to points x (n, D)."""
        return self._nearest(x)[0]

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return the orthonormal bases (n, D, k) of the planes that are nearest to points x (n, D)."""
        return self.bases.to(x)[self._nearest(x)[1]]

    def refit(self, dim: int) -> ClassPlanes:
        """Return the manifold of the same points with another dimension.

        Raises:
            ManifoldError: See `ClassPCA.fit`.
        """
        return replace(self, training_points=fitting_points(self.training_points, dim), dim=dim, note="")

    def refit_on(self, points: Tensor) -> ClassPlanes:
        """Return the manifold of other points (m, D) of the same classes, e.g. of the same points in other units."""
        return ClassPCA(dim=ESTIMATE if self.note else self.dim).fit(points, self.labels)

    def _plane(self, label: int) -> tuple[Tensor, Tensor]:
        """Return the mean (D,) and basis (D, k) of a class."""
        points = self.training_points[self.labels.to(self.training_points.device) == label]
        plane = principal_plane(points, min(self.dim, len(points)))
        rank = int(plane.rank)
        if rank < self.dim:
            remedy = f"choose dim <= {rank}" if rank else "give more points of each class"
            if not rank and len(points) > self.dim:
                remedy = "its points are equal: give points that differ from each other"
            raise ManifoldError(
                f"dim is {self.dim}, the {len(points)} points of a class have rank {rank}; {remedy}, or use local-pca, "
                "which needs no points of each class"
            )
        return plane.mean[0], plane.basis[0]

    def _nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projections (n, D) of points x (n, D) to the nearest planes, and these planes' numbers (n,)."""
        projected, number = torch.empty_like(x), torch.zeros(len(x), dtype=torch.long, device=x.device)
        least = x.new_full((len(x),), torch.inf)
        for label, point in enumerate(self._projections(x)):
            distance = (x - point).norm(dim=1)
            nearer = distance < least
            projected[nearer], number[nearer], least[nearer] = point[nearer], label, distance[nearer]
        return projected, number

    def _projections(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the projections (n, D) of points to the plane of one class after the other."""
        for mean, basis in zip(self.means.to(x), self.bases.to(x), strict=True):
            yield mean + geometry.project_tangent(x - mean, basis)


@dataclass(frozen=True, kw_only=True)
class ClassPCA:
    """Estimate a manifold by principal component analysis of each class.

    Attributes:
        dim: Intrinsic dimension k; estimated from the points where None or ``"estimate"``, see `dimension.chosen_dim`.

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds import ClassPCA
        >>> x = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0, -1, 9], [0, 1, 9]])
        >>> ClassPCA(dim=1).fit(x, [0, 0, 1, 1]).project_point(torch.tensor([[0.5, 0.5, 1.0], [0.5, 0.5, 8.0]]))
        tensor([[0.5000, 0.0000, 0.0000],
                [0.0000, 0.5000, 9.0000]])
    """

    dim: int | str | None = None

    @neutral_state()
    def fit(self, x: Any, y: Any) -> ClassPlanes:
        """Return the manifold of training points ``(m, *input_shape)`` with labels y (m,).

        Labels are numbers, texts, or one-hot rows.

        Raises:
            ManifoldError: A class has too few points for k directions, k is not below D, or there are not as many
                labels as points.
            SubjectError: Rows of labels are not one-hot.
        """
        points = fitting_points(x, 1)
        classes = _numbers(y, len(points))
        smallest = int(torch.bincount(classes).min())
        dim, note = chosen_dim(points, self.dim, most=smallest // POINTS_PER_DIM)
        return ClassPlanes(fitting_points(points, dim), classes, dim, note=note)


def _numbers(y: Any, count: int) -> Tensor:
    """Return the classes of labels as numbers (count,)."""
    given, _ = plain(y, LABELS)
    labels = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels_of(labels, LABELS, count)[0].numpy()
    elif labels.ndim == 2:
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise ManifoldError(
            f"there are {count} points and labels of shape {labels.shape}; give one label for each point"
        )
    return torch.as_tensor(np.unique(labels.astype(str), return_inverse=True)[1].reshape(-1))
