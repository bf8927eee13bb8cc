"""Tangent fields: one tangent space an input; the measured one, and the null ones that controls put in its place."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.manifolds.base import Manifold, checked_basis, validate_manifold
from dmmcheck.manifolds.rotations import Rotation

_CACHE_BYTES = 1 << 30


class Field(Protocol):
    """A tangent space for each input of a sample.

    Vectors ``v (n, D)`` belong to the first n inputs; `rows` names inputs for which bases are wanted.
    """

    @property
    def dim(self) -> int:
        """Dimension k of every tangent space."""
        ...

    def basis(self, rows: slice) -> Tensor:
        """Orthonormal bases: (D, k) where all inputs share one, else (len(rows), D, k)."""
        ...

    def share(self, v: Tensor) -> Tensor:
        """Tangent share of the energy of each vector, (n,); NaN for a zero vector."""
        ...

    def project(self, v: Tensor) -> Tensor:
        """Tangent part of each vector, (n, D)."""
        ...


class TangentField:
    """The tangent spaces of a manifold at the inputs of a sample, computed once and kept while they are small."""

    def __init__(self, manifold: Manifold, x: Tensor) -> None:
        self.manifold = manifold
        self._x = x
        probe = validate_manifold(manifold, x[:2])
        self.dim: int = probe.shape[-1]
        self.shared = probe.ndim == 2
        self._kept: list[Tensor] = [probe.to(x)] if self.shared else []
        per_input = x.shape[1] * self.dim * x.element_size()
        self._limit = _CACHE_BYTES // per_input

    def basis(self, rows: slice) -> Tensor:
        """See `Field.basis`."""
        if self.shared:
            return self._kept[0]
        if rows.stop > self._limit:
            return self._compute(rows)
        self._extend(rows.stop)
        return self._kept[0][rows]

    def share(self, v: Tensor) -> Tensor:
        """See `Field.share`."""
        return torch.cat([geometry.energy_share(v[rows], self.basis(rows)) for rows in self._pieces(len(v))])

    def project(self, v: Tensor) -> Tensor:
        """See `Field.project`."""
        return torch.cat([geometry.project_tangent(v[rows], self.basis(rows)) for rows in self._pieces(len(v))])

    def _pieces(self, n: int) -> list[slice]:
        """All rows at once where their bases are kept, else in pieces that fit the cache."""
        if self.shared or n <= self._limit:
            return [slice(0, n)]
        step = max(1, self._limit)
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def _extend(self, n: int) -> None:
        have = len(self._kept[0]) if self._kept else 0
        if n > have:
            fresh = self._compute(slice(have, n))
            self._kept = [torch.cat([*self._kept, fresh])]

    def _compute(self, rows: slice) -> Tensor:
        return checked_basis(self.manifold, self._x[rows]).to(self._x)


class RotatedField:
    """Another field under one rotation of the input space, shared by all inputs: P -> R P R^T."""

    def __init__(self, field: Field, rotation: Rotation) -> None:
        self._field = field
        self._rotation = rotation

    @property
    def dim(self) -> int:
        """See `Field.dim`."""
        return self._field.dim

    def basis(self, rows: slice) -> Tensor:
        """See `Field.basis`."""
        basis = self._field.basis(rows)
        columns = basis.transpose(-1, -2).reshape(-1, basis.shape[-2])  # one tangent vector a row
        turned = self._rotation.apply(columns).reshape(*basis.shape[:-2], basis.shape[-1], basis.shape[-2])
        return turned.transpose(-1, -2).contiguous()

    def share(self, v: Tensor) -> Tensor:
        """See `Field.share`; rotates the vectors back instead of the bases: no new basis is made."""
        return self._field.share(self._rotation.inverse(v))

    def project(self, v: Tensor) -> Tensor:
        """See `Field.project`."""
        return self._rotation.apply(self._field.project(self._rotation.inverse(v)))


class PermutedField:
    """Another field with the tangent spaces of its first n inputs dealt out anew."""

    def __init__(self, field: Field, order: Tensor) -> None:
        self._field = field
        self._order = order  # (n,) input i takes the space of input order[i]
        self._back = torch.argsort(order)

    @property
    def dim(self) -> int:
        """See `Field.dim`."""
        return self._field.dim

    def basis(self, rows: slice) -> Tensor:
        """See `Field.basis`."""
        first = self._field.basis(slice(0, 1))
        if first.ndim == 2:
            return first
        return torch.cat([self._field.basis(slice(row, row + 1)) for row in self._order[rows].tolist()])

    def share(self, v: Tensor) -> Tensor:
        """See `Field.share`; deals the vectors instead of the bases."""
        return self._field.share(v[self._back])[self._order]

    def project(self, v: Tensor) -> Tensor:
        """See `Field.project`."""
        return self._field.project(v[self._back])[self._order]
