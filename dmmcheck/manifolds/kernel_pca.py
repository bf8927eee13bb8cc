"""Kernel principal component analysis with Gaussian kernels, of scikit-learn, as a built-in manifold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.base import fitting_points
from dmmcheck.manifolds.dimension import ESTIMATE, chosen_dim
from dmmcheck.manifolds.nearest import nearest_codes
from dmmcheck.manifolds.transformer import STEP, TransformerManifold
from dmmcheck.models.process_state import neutral_state

MOST_POINTS = 2000  # that it is fitted on, since the time grows with their third power
RIDGE = 1e-3  # weight of the penalty of the inverse, where kernels are at most 1
RESOLUTION = 1e-10  # of the largest eigenvalue; a smaller one counts as zero

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScaledTransformer:
    """A transformer of points that are centred and divided by one number.

    Attributes:
        inner: The transformer.
        centre: (D,) what is subtracted.
        size: What is divided by.
    """

    inner: Any
    centre: Floats
    size: float

    def transform(self, x: Floats) -> Floats:
        """Return the codes (n, k) of points (n, D)."""
        codes: Floats = self.inner.transform((x - self.centre) / self.size)
        return codes

    def inverse_transform(self, codes: Floats) -> Floats:
        """Return the points (n, D) of codes (n, k)."""
        points: Floats = self.inner.inverse_transform(codes) * self.size + self.centre
        return points


class KernelManifold(TransformerManifold):
    """The manifold that `KernelPCA` fits, see there.

    Attributes:
        training_points: The points (m, D) that were given.
        note: How k was estimated, in a few words; "" where it was not.
    """

    def __init__(self, transformer: ScaledTransformer, training_points: Tensor, note: str) -> None:
        super().__init__(transformer)
        self.name, self.training_points, self.note = "kernel-pca", training_points, note
        self._features = training_points.shape[1]

    def _codes(self, x: Tensor) -> Floats:
        """Return the codes (n, k) of the points of the inverse that are nearest to points (n, D)."""
        codes, ambient_dim = super()._codes(x), x.shape[1]
        found = nearest_codes(
            x.detach().cpu().double(),
            torch.as_tensor(codes),
            lambda z: torch.as_tensor(self._decoded(z.numpy(), ambient_dim)),
            lambda z: self._jacobians(z.numpy(), ambient_dim, scale=STEP),
        )
        nearest: Floats = found.numpy()
        return nearest

    def refit(self, dim: int) -> KernelManifold:
        """Return the manifold of the same points with another dimension.

        Raises:
            ManifoldError: See `KernelPCA.fit`.
        """
        return KernelPCA(dim=dim).fit(self.training_points)

    def refit_on(self, points: Tensor) -> KernelManifold:
        """Return the manifold of other points (m, D), e.g. of the same points in other units."""
        return KernelPCA(dim=ESTIMATE if self.note else self.dim).fit(points)


@dataclass(frozen=True, kw_only=True)
class KernelPCA:
    """Estimate a manifold by `sklearn.decomposition.KernelPCA` with Gaussian kernels.

    The width of the kernel is the median distance of the points: the kernel of x and y is exp(-|x - y|^2 / median^2).
    The inverse is the kernel ridge regression from codes to points. A point is projected to the nearest point of that
    inverse, which `nearest_codes` finds from the code of the point. At most 2,000 points, evenly spaced in their order,
    are fitted.

    Attributes:
        dim: Intrinsic dimension k; estimated from the points where None or ``"estimate"``, see `dimension.chosen_dim`.

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds import KernelPCA
        >>> angle = torch.linspace(0, 6.28, 200)
        >>> circle = torch.stack([angle.cos(), angle.sin(), 0 * angle], 1)
        >>> manifold = KernelPCA(dim=2).fit(circle)
        >>> float((manifold.project_point(circle) - circle).norm(dim=1).max()) < 0.05
        True
    """

    dim: int | str | None = None

    @neutral_state()
    def fit(self, x: Any) -> KernelManifold:
        """Return the manifold of points ``(m, *input_shape)``.

        Raises:
            ManifoldError: There are too few points, k is not below D, points are all the same, or k exceeds the rank of
                their kernel.
        """
        from sklearn.decomposition import KernelPCA as Fitted  # noqa: PLC0415  # loads scikit-learn

        dim, note = chosen_dim(x, self.dim)
        points = fitting_points(x, dim)
        rows = points[:: -(-len(points) // MOST_POINTS)].cpu().double()
        centre, size = rows.mean(0), float(torch.nn.functional.pdist(rows).median())
        if not size > 0:
            raise ManifoldError(
                f"the median distance of the {len(rows)} points to fit kernel-pca on is 0; give points that differ "
                "from each other"
            )
        inner = Fitted(dim, kernel="rbf", gamma=1.0, alpha=RIDGE, fit_inverse_transform=True, eigen_solver="dense").fit(
            ((rows - centre) / size).numpy()
        )
        rank = int((inner.eigenvalues_ > RESOLUTION * inner.eigenvalues_[0]).sum())
        if rank < dim:
            raise ManifoldError(f"dim is {dim}, the kernel of the points has rank {rank}; choose dim <= {rank}")
        return KernelManifold(ScaledTransformer(inner, centre.numpy(), size), points, note)
