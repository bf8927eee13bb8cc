"""Affine maps, of which linear classifiers, projections and scalers consist."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def values(array: Any) -> Tensor:
    """Return a fitted array of scikit-learn as a tensor in float64; a sparse array is made dense."""
    if isinstance(array, Tensor):
        return array.double()
    dense = array.toarray() if hasattr(array, "toarray") else array
    return torch.as_tensor(np.array(dense, dtype=np.float64))


class Affine(nn.Module):
    """``weight @ x + bias`` for rows x (n, D).

    Args:
        weight: (C, D).
        bias: (C,), or one number for all.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Any, bias: Any = 0.0) -> None:
        super().__init__()
        self.register_buffer("weight", values(weight))
        self.register_buffer("bias", values(bias))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows (n, C)."""
        return x @ self.weight.T + self.bias


class Scale(nn.Module):
    """``(x - centre) * factor + shift``, feature by feature, cut to a range where there is one.

    Args:
        centre: (D,) or a number.
        factor: (D,) or a number.
        shift: (D,) or a number.
        limits: The range, if values are cut to one.
    """

    centre: Tensor
    factor: Tensor
    shift: Tensor

    def __init__(
        self, *, centre: Any = 0.0, factor: Any = 1.0, shift: Any = 0.0, limits: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.limits = limits
        for name, value in (("centre", centre), ("factor", factor), ("shift", shift)):
            self.register_buffer(name, values(value))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows (n, D)."""
        scaled = (x - self.centre) * self.factor + self.shift
        return scaled if self.limits is None else scaled.clamp(*self.limits)
