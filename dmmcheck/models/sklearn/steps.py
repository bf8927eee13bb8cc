"""What comes before a classifier in a pipeline: scalers, projections, selections and polynomials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import SelectorMixin
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from torch import Tensor, nn

from dmmcheck.models.sklearn.affine import Affine, Scale, values


class UnitNorm(nn.Module):
    """Each row divided by its norm; a row of zeros stays."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.order = {"l1": 1.0, "l2": 2.0, "max": float("inf")}[kind]

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows (n, D)."""
        norm = torch.linalg.vector_norm(x, ord=self.order, dim=1, keepdim=True)
        return x / torch.where(norm == 0, 1.0, norm)


class Selection(nn.Module):
    """Some of the features."""

    index: Tensor

    def __init__(self, index: Any) -> None:
        super().__init__()
        self.register_buffer("index", torch.as_tensor(np.asarray(index, dtype=np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows of the selected features."""
        return x[:, self.index]


class Monomials(nn.Module):
    """Products of powers of the features.

    Args:
        powers: (outputs, D) exponents, whole numbers.
    """

    factors: Tensor

    def __init__(self, powers: Any) -> None:
        super().__init__()
        degree, ambient_dim = int(powers.sum(1).max(initial=0)), powers.shape[1]
        factors = np.full((len(powers), degree), ambient_dim)  # the feature after the last one is 1
        for row, power in zip(factors, powers, strict=True):
            row[: power.sum()] = np.repeat(np.arange(ambient_dim), power)
        self.register_buffer("factors", torch.as_tensor(factors))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows (n, outputs)."""
        extended = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        product = torch.ones_like(extended[:, :1]).expand(-1, len(self.factors))
        for factor in self.factors.T:
            product = product * extended[:, factor]
        return product


def _standard(step: Any) -> nn.Module:
    centre = 0.0 if step.mean_ is None or not step.with_mean else step.mean_
    return Scale(centre=centre, factor=1.0 if step.scale_ is None else 1 / step.scale_)


def _robust(step: Any) -> nn.Module:
    centre = 0.0 if step.center_ is None else step.center_
    return Scale(centre=centre, factor=1.0 if step.scale_ is None else 1 / step.scale_)


def _min_max(step: Any) -> nn.Module:
    limits = tuple(map(float, step.feature_range)) if step.clip else None
    return Scale(factor=step.scale_, shift=step.min_, limits=limits)  # type: ignore[arg-type]


def _max_abs(step: Any) -> nn.Module:
    return Scale(factor=1 / step.scale_, limits=(-1.0, 1.0) if getattr(step, "clip", False) else None)


def _principal(step: Any) -> nn.Module:
    weight = values(step.components_)
    if step.whiten:
        size = values(step.explained_variance_).sqrt().clamp_min(torch.finfo(torch.float64).eps)
        weight = weight / size[:, None]
    return Affine(weight, -weight @ values(step.mean_))


BUILDERS: dict[type, Callable[[Any], nn.Module]] = {
    StandardScaler: _standard,
    MinMaxScaler: _min_max,
    MaxAbsScaler: _max_abs,
    RobustScaler: _robust,
    PCA: _principal,
    IncrementalPCA: _principal,
    TruncatedSVD: lambda step: Affine(step.components_),
    Normalizer: lambda step: UnitNorm(step.norm),
    PolynomialFeatures: lambda step: Monomials(step.powers_),
    SelectorMixin: lambda step: Selection(step.get_support(indices=True)),
}
NAMES = [kind.__name__ for kind in BUILDERS if kind is not SelectorMixin] + ["feature selection"]


def build(step: Any) -> nn.Module | None:
    """Return a step of a pipeline as a module from rows to rows; None for a step of a kind that has no such module."""
    return next((make(step) for kind, make in BUILDERS.items() if isinstance(step, kind)), None)
