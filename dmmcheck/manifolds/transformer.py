"""The manifold of a fitted scikit-learn transformer: its points are inverse_transform(transform(x))."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dmmcheck.errors import ManifoldError
from dmmcheck.errors.text import described
from dmmcheck.manifolds.decoder import orthonormalised

AFFINE = {
    *("PCA", "IncrementalPCA", "TruncatedSVD", "FastICA", "SparsePCA", "MiniBatchSparsePCA", "NMF", "MiniBatchNMF"),
    *("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "FactorAnalysis"),
}
"""Classes of scikit-learn whose inverse_transform is affine, so that one basis holds at all points."""
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)  # of a central difference, relative to the size of the codes
_VALUES = 1 << 22  # most values that one call decodes

Floats = npt.NDArray[np.float64]


class TransformerManifold:
    """A manifold whose points are inverse_transform(transform(x)) of a fitted scikit-learn transformer.

    Where the inverse is affine, as of PCA and of a pipeline of scalers and PCA, its basis is exact and all points share
    it. Elsewhere, as of KernelPCA, the tangent space at a point follows from central differences of the inverse in
    float64 at the point's code: two evaluations for each of the k directions.

    Attributes:
        transformer: The transformer.
        name: The name in a report, that of its class.
    """

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer
        steps = [step for _, step in getattr(transformer, "steps", [("", transformer)])]
        self.name = type(steps[-1]).__name__
        counts = [getattr(step, "n_features_in_", None) for step in (transformer, *steps)]
        self._features: int | None = next((count for count in counts if count is not None), None)
        self.is_affine = all(step in (None, "passthrough") or type(step).__name__ in AFFINE for step in steps)
        self._dim: int | None = None

    @property
    def dim(self) -> int:
        """Number k of the values of a code.

        Raises:
            ManifoldError: No point was transformed yet, and the transformer does not tell how many features it takes.
        """
        if self._dim is None:
            if self._features is None:
                raise ManifoldError(
                    f"the size of the {self.name}'s codes is not known yet; call project_point(x) first"
                )
            self._codes(torch.zeros(1, self._features, dtype=torch.float64))
        assert self._dim is not None
        return self._dim

    def project_point(self, x: Tensor) -> Tensor:
        """Return the points x (n, D) transformed and transformed back, (n, D).

        Raises:
            ManifoldError: The transformer raises, is not fitted, or returns another shape.
        """
        return torch.as_tensor(self._decoded(self._codes(x), x.shape[1])).to(x)

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return orthonormal bases (n, D, k) at the codes of x (n, D); one basis (D, k) where the inverse is affine.

        Raises:
            ManifoldError: See `project_point`; or k is not below D, or the inverse ignores a direction of the codes.
        """
        codes = self._codes(x)
        if self.is_affine:
            return orthonormalised(self._jacobians(codes[:1], x.shape[1], scale=1.0))[0].to(x)
        basis = x.new_empty((*x.shape, codes.shape[1]))
        rows = max(1, _VALUES // (2 * x.shape[1] * codes.shape[1]))
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            basis[part] = orthonormalised(self._jacobians(codes[part], x.shape[1], scale=STEP)).to(x)
        return basis

    def _jacobians(self, codes: Floats, ambient_dim: int, scale: float) -> Tensor:
        """Return the Jacobians (n, D, k) of the inverse at codes (n, k), by central differences."""
        n, dim = codes.shape
        size = scale * np.maximum(np.abs(codes).max(1), np.finfo(np.float64).tiny ** 0.5)  # (n,)
        size = np.where(size > 0, size, scale)
        moves = size[:, None, None] * np.eye(dim)  # (n, k, k)
        ends = [self._decoded((codes[:, None] + sign * moves).reshape(-1, dim), ambient_dim) for sign in (1, -1)]
        slopes = (ends[0] - ends[1]).reshape(n, dim, ambient_dim) / (2 * size[:, None, None])
        return torch.as_tensor(slopes).transpose(1, 2)

    def _codes(self, x: Tensor) -> Floats:
        """Return the codes (n, k) of points (n, D)."""
        codes = self._called("transform", x.detach().cpu().double().numpy())
        if codes.ndim != 2 or len(codes) != len(x):
            raise ManifoldError(
                f"the {self.name}'s transform returned shape {codes.shape} for {len(x)} points; use a transformer that "
                "returns one row of codes for each point"
            )
        if not 1 <= codes.shape[1] < x.shape[1]:
            raise ManifoldError(
                f"the {self.name}'s codes have k = {codes.shape[1]} values, inputs have D = {x.shape[1]}; fit it with "
                "n_components of at least 1 and below D"
            )
        self._dim = int(codes.shape[1])
        return codes

    def _decoded(self, codes: Floats, ambient_dim: int) -> Floats:
        """Return the points (n, D) of codes (n, k)."""
        points = self._called("inverse_transform", codes)
        if points.shape != (len(codes), ambient_dim):
            raise ManifoldError(
                f"the {self.name}'s inverse_transform returned shape {points.shape} for {len(codes)} codes, expected "
                f"({len(codes)}, {ambient_dim}); fit it on inputs of the same shape as x, flattened"
            )
        return points

    def _called(self, method: str, values: Floats) -> Floats:
        """Return what a method of the transformer returns for an array, in float64."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*valid feature names")  # it was fitted on a frame
                returned = getattr(self.transformer, method)(values)
        except (Exception, SystemExit) as raised:
            # older versions of scikit-learn raise AttributeError
            error: BaseException = _not_fitted(self.transformer) or raised
            first = described(error).partition("\n")[0]
            raise ManifoldError(
                f"the {self.name}'s {method} raised {type(error).__name__} on values of shape {values.shape}: {first}; "
                f"{_remedy(type(error).__name__, first)}"
            ) from error
        dense = returned.toarray() if hasattr(returned, "toarray") else returned
        return np.asarray(dense, dtype=np.float64)


def _not_fitted(transformer: Any) -> Exception | None:
    """Return scikit-learn's error for a transformer that is not fitted; None for every other transformer."""
    from sklearn.exceptions import NotFittedError  # noqa: PLC0415  # loads scikit-learn
    from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415

    try:
        check_is_fitted(transformer)
    except NotFittedError as error:
        found: Exception = error
        return found
    except TypeError:  # it has no method fit
        return None
    return None


def _remedy(kind: str, message: str) -> str:
    if "fit_inverse_transform" in message:
        return "fit it with fit_inverse_transform=True"
    if kind == "NotFittedError":
        return "fit it on training inputs first"
    return "fit it on flat inputs (n, D) of the same D"
