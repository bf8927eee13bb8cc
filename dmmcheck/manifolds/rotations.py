"""Random orthogonal operators on R^D in O(D log D), without a matrix: what shared null draws are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from scipy import fft
from torch import Tensor

from dmmcheck import geometry

EXACT_UP_TO = 64  # below, a k-by-k matrix is small and exactly Haar
ROUNDS = 3


class Rotation(Protocol):
    """An orthogonal operator R on R^D."""

    def apply(self, v: Tensor) -> Tensor:
        """R v of vectors (n, D)."""
        ...

    def inverse(self, v: Tensor) -> Tensor:
        """R^T v of vectors (n, D)."""
        ...


class Haar:
    """A rotation drawn (nearly) uniformly: exact for D <= 64, else three rounds of permutation, signs and DCT.

    Source: the fast Johnson-Lindenstrauss construction, Ailon & Chazelle 2009; three rounds as in Yu et al., Orthogonal
    Random Features, 1610.09072.
    """

    def __init__(self, ambient_dim: int, *, generator: torch.Generator) -> None:
        self._matrix: Tensor | None = None
        if ambient_dim <= EXACT_UP_TO:
            self._matrix = geometry.random_basis(ambient_dim, ambient_dim, generator=generator, dtype=torch.float64)
            return
        self._orders = [torch.randperm(ambient_dim, generator=generator) for _ in range(ROUNDS)]
        self._signs = [2.0 * torch.randint(0, 2, (ambient_dim,), generator=generator) - 1 for _ in range(ROUNDS)]

    def apply(self, v: Tensor) -> Tensor:
        """See `Rotation.apply`."""
        if self._matrix is not None:
            return v @ self._matrix.T.to(v)
        for order, signs in zip(self._orders, self._signs, strict=True):
            v = _transform(v[:, order.to(v.device)] * signs.to(v), (1,), inverse=False)
        return v

    def inverse(self, v: Tensor) -> Tensor:
        """See `Rotation.inverse`."""
        if self._matrix is not None:
            return v @ self._matrix.to(v)
        for order, signs in zip(reversed(self._orders), reversed(self._signs), strict=True):
            back = _transform(v, (1,), inverse=True) * signs.to(v)
            v = torch.empty_like(back)
            v[:, order.to(v.device)] = back
        return v


class Spectrum:
    """Random signs on the 2-D cosine spectrum of images: directions change, their spatial frequencies do not.

    One sign for each channel and frequency. Its own inverse up to order: R = C^T diag(signs) C is symmetric.
    """

    def __init__(self, input_shape: Sequence[int], *, generator: torch.Generator) -> None:
        self._shape = tuple(input_shape)
        self._signs = 2.0 * torch.randint(0, 2, self._shape, generator=generator) - 1

    def apply(self, v: Tensor) -> Tensor:
        """See `Rotation.apply`."""
        images = v.reshape(-1, *self._shape)
        spectrum = _transform(images, (-2, -1), inverse=False) * self._signs.to(v)
        return _transform(spectrum, (-2, -1), inverse=True).reshape(v.shape)

    def inverse(self, v: Tensor) -> Tensor:
        """See `Rotation.inverse`."""
        return self.apply(v)


def _transform(v: Tensor, axes: tuple[int, ...], *, inverse: bool) -> Tensor:
    """Orthonormal discrete cosine transform along axes."""
    array = v.detach().cpu().numpy()
    turned = (fft.idctn if inverse else fft.dctn)(array, axes=axes, norm="ortho")
    return torch.from_numpy(np.ascontiguousarray(turned)).to(v)
