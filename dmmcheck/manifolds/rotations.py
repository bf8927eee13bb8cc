"""Random rotations of R^D in O(D log D) operations and without a (D, D) matrix, from which controls draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.manifolds.cosine_transform import cosine_transform

EXACT_UP_TO = 64  # up to this D, the rotation is a matrix that is exactly uniform
ROUNDS = 3  # of permutation, signs and cosine transform above it


class Rotation(Protocol):
    """An orthogonal transformation R of R^D."""

    def apply(self, v: Tensor) -> Tensor:
        """Return the rotated vectors R v (n, D) of vectors v (n, D)."""
        ...

    def inverse(self, v: Tensor) -> Tensor:
        """Return the vectors R^T v (n, D), rotated back, of vectors v (n, D)."""
        ...


class Haar:
    """A random rotation from the uniform (Haar) distribution, approximately for D > 64.

    For D > 64 it consists of three rounds of a random permutation, random signs and a discrete cosine transform (DCT).

    Args:
        ambient_dim: D.
        generator: Source of the rotation.

    Source: the fast Johnson-Lindenstrauss transform, Ailon & Chazelle 2009; three rounds as in Yu et al., Orthogonal
    random features, arXiv 1610.09072.
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
            v = cosine_transform(v.index_select(1, order.to(v.device)) * signs.to(v), (1,), inverse=False)
        return v

    def inverse(self, v: Tensor) -> Tensor:
        """See `Rotation.inverse`."""
        if self._matrix is not None:
            return v @ self._matrix.to(v)
        for order, signs in zip(reversed(self._orders), reversed(self._signs), strict=True):
            back = cosine_transform(v, (1,), inverse=True) * signs.to(v)
            v = back.index_select(1, torch.argsort(order).to(v.device))
        return v


class Within:
    """A rotation of a subspace of R^D, which leaves the orthogonal complement as it is.

    Args:
        basis: Orthonormal basis (D, r) of the subspace, or a mask (D,) of the coordinates that span it.
        rotation: A rotation of R^r.
    """

    def __init__(self, basis: Tensor, rotation: Rotation) -> None:
        self._basis = basis
        self._rotation = rotation

    def apply(self, v: Tensor) -> Tensor:
        """See `Rotation.apply`."""
        return self._turned(v, self._rotation.apply)

    def inverse(self, v: Tensor) -> Tensor:
        """See `Rotation.inverse`."""
        return self._turned(v, self._rotation.inverse)

    def _turned(self, v: Tensor, rotate: Callable[[Tensor], Tensor]) -> Tensor:
        if self._basis.ndim == 1:
            inside = self._basis.nonzero().squeeze(1).to(v.device)
            return v.index_copy(1, inside, rotate(v.index_select(1, inside)))
        basis = self._basis.to(v)
        inside = v @ basis
        return v + (rotate(inside) - inside) @ basis.T


class Spectrum:
    """Random signs of the two-dimensional cosine spectrum of images, which keep the spatial frequencies of a vector.

    There is one sign for each channel and frequency. As R = C^T diag(signs) C, with C the cosine transform, is
    symmetric, R is its own inverse.

    Args:
        input_shape: Shape of one input, whose last two axes are height and width.
        generator: Source of the signs.
    """

    def __init__(self, input_shape: Sequence[int], *, generator: torch.Generator) -> None:
        self._shape = tuple(input_shape)
        self._signs = 2.0 * torch.randint(0, 2, self._shape, generator=generator) - 1

    def apply(self, v: Tensor) -> Tensor:
        """See `Rotation.apply`."""
        images = v.reshape(-1, *self._shape)
        spectrum = cosine_transform(images, (-2, -1), inverse=False) * self._signs.to(v)
        return cosine_transform(spectrum, (-2, -1), inverse=True).reshape(v.shape)

    def inverse(self, v: Tensor) -> Tensor:
        """See `Rotation.inverse`."""
        return self.apply(v)
