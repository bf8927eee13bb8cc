"""Tangent fields: a tangent space for each input, either measured or changed by a control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.base import Manifold, checked_basis, validate_manifold
from dmmcheck.manifolds.computed_spaces import ComputedBases, ComputedSpaces
from dmmcheck.manifolds.operators import TangentSpaces, self_adjoint
from dmmcheck.manifolds.protected import protected
from dmmcheck.manifolds.rotations import Rotation
from dmmcheck.seeding import seeded

_CACHE_BYTES = 3 << 29  # most memory for the bases of a field: 1.5 GiB


class Field(Protocol):
    """A tangent space for each input of a sample.

    The rows of vectors v (n, D) belong to the first n inputs. A slice of rows selects inputs.
    """

    @property
    def dim(self) -> int:
        """Dimension k of every tangent space."""
        ...

    def basis(self, rows: slice) -> Tensor:
        """Return orthonormal bases of the selected inputs, (rows, D, k), or the basis (D, k) that all inputs share."""
        ...

    def spaces(self, rows: slice) -> TangentSpaces | None:
        """Return the spaces of the selected inputs where only their projections are known; None where bases are."""
        ...

    def share(self, v: Tensor) -> Tensor:
        """Return the share (n,) of the energy of each vector in the tangent space; NaN for a zero vector."""
        ...

    def project(self, v: Tensor) -> Tensor:
        """Return the orthogonal projection (n, D) of each vector onto the tangent space."""
        ...

    def cosines(self, v: Tensor, w: Tensor) -> Tensor:
        """Return the cosines (m, n) of the tangent parts of m vectors of each input, v (m, n, D), with w (n, D).

        They are NaN where a vector or its tangent part is zero.
        """
        ...


class TangentField:
    """The tangent spaces of a manifold at the inputs of a sample.

    Bases are computed once and kept. Where those of all inputs would take more than 1.5 GiB, those of fewer inputs
    are kept at a time, at least one. Where more inputs are asked about, spaces take the place of bases, which they
    compute while vectors are projected.

    Args:
        manifold: The manifold.
        x: The inputs (n, D).

    Raises:
        ManifoldError: The object does not satisfy the `Manifold` protocol.
    """

    def __init__(self, manifold: Manifold, x: Tensor) -> None:
        self.manifold: Manifold = protected(manifold)
        self._x = x
        probe = validate_manifold(manifold, x[:2])
        self.dim: int = int(self.manifold.dim)
        self.by_projection = not isinstance(probe, Tensor)
        self.shared = isinstance(probe, Tensor) and probe.ndim == 2
        self._kept: list[Tensor] = [probe.to(x)] if isinstance(probe, Tensor) and self.shared else []
        self._checked: set[int] = set()  # inputs whose bases were computed, and checked, before
        room = _CACHE_BYTES // (x.shape[1] * self.dim * x.element_size())
        are_large = isinstance(probe, Tensor) and not self.shared and len(x) > room
        self._computed = ComputedBases(self._compute, len(x), max(1, room)) if are_large else None

    def basis(self, rows: slice) -> Tensor:
        """See `Field.basis`."""
        if self.shared:
            return self._kept[0]
        inputs = range(len(self._x))[rows]
        if not inputs:
            return self._x.new_empty((0, self._x.shape[1], self.dim))
        if self._computed is None:
            self._extend(rows.stop)
            return self._kept[0][rows]
        if len(inputs) > self._computed.at_once:
            return self._compute(inputs)
        bases, places = self._computed.at(inputs)
        return bases[places[0] : places[-1] + 1]  # neighbouring inputs have neighbouring bases

    def spaces(self, rows: slice) -> TangentSpaces | None:
        """See `Field.spaces`."""
        if self.by_projection:
            return self._spaces.rows(rows)
        inputs = torch.arange(len(self._x))[rows]
        if self._computed is None or len(inputs) <= self._computed.at_once:
            return None
        return ComputedSpaces(self._computed, inputs)

    @cached_property
    def _spaces(self) -> TangentSpaces:
        """The spaces of all inputs."""
        spaces = self.manifold.tangent_spaces(self._x)  # type: ignore[attr-defined]
        if spaces is None:
            raise ManifoldError(
                "the manifold's tangent_spaces returned spaces for two inputs and None for all; return spaces always, "
                "or never"
            )
        return spaces  # type: ignore[no-any-return]

    def share(self, v: Tensor) -> Tensor:
        """See `Field.share`."""
        if self.by_projection:
            return share_of(v, self.project)
        return torch.cat([geometry.energy_share(v[rows], self.basis(rows)) for rows in self._pieces(len(v))])

    def project(self, v: Tensor) -> Tensor:
        """See `Field.project`."""
        if self.by_projection:
            return self._spaces.rows(slice(0, len(v))).project(v)
        return torch.cat([geometry.project_tangent(v[rows], self.basis(rows)) for rows in self._pieces(len(v))])

    def cosines(self, v: Tensor, w: Tensor) -> Tensor:
        """See `Field.cosines`."""
        if self.by_projection:
            return cosines_of(v, w, self.project)
        pieces = self._pieces(len(w))
        return torch.cat([geometry.tangent_cosines(v[:, rows], w[rows], self.basis(rows)) for rows in pieces], dim=1)

    def _pieces(self, n: int) -> list[slice]:
        """Return slices of the first n rows: one where all of their bases are kept, else those of the batches."""
        size = max(1, n if self._computed is None else self._computed.at_once)
        return [slice(start, min(start + size, n)) for start in range(0, n, size)] or [slice(0, 0)]

    def _extend(self, n: int) -> None:
        count = len(self._kept[0]) if self._kept else 0
        if n > count:
            more = self._compute(range(count, n))
            self._kept = [torch.cat([*self._kept, more])]

    def _compute(self, inputs: Sequence[int]) -> Tensor:
        basis = checked_basis(self.manifold, self._x[list(inputs)], is_known=self._checked >= set(inputs))
        self._checked.update(inputs)
        each = basis.expand(len(inputs), -1, -1) if basis.ndim == 2 else basis  # some answer so for a single point
        return each.to(self._x)


class RotatedField:
    """Another field, rotated by the same rotation R for all inputs: each projection P becomes R P R^T.

    Args:
        field: The other field.
        rotation: The rotation.
    """

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

    def spaces(self, rows: slice) -> TangentSpaces | None:
        """See `Field.spaces`."""
        spaces = self._field.spaces(rows)
        return None if spaces is None else RotatedSpaces(spaces, self._rotation)

    def share(self, v: Tensor) -> Tensor:
        """See `Field.share`; rotates the vectors back, which needs no rotated basis."""
        return self._field.share(self._rotation.inverse(v))

    def project(self, v: Tensor) -> Tensor:
        """See `Field.project`."""
        return self._rotation.apply(self._field.project(self._rotation.inverse(v)))

    def cosines(self, v: Tensor, w: Tensor) -> Tensor:
        """See `Field.cosines`; rotates the vectors back, which needs no rotated basis."""
        back = self._rotation.inverse(torch.cat([*v, w])).reshape(-1, *w.shape)
        return self._field.cosines(back[:-1], back[-1])


class SharedField:
    """One tangent space for all inputs, given by an orthonormal basis (D, k)."""

    def __init__(self, basis: Tensor) -> None:
        self._basis = basis

    @property
    def dim(self) -> int:
        """See `Field.dim`."""
        return self._basis.shape[-1]

    def basis(self, rows: slice) -> Tensor:
        """See `Field.basis`."""
        del rows
        return self._basis

    def spaces(self, rows: slice) -> None:
        """See `Field.spaces`."""
        del rows

    def share(self, v: Tensor) -> Tensor:
        """See `Field.share`."""
        return geometry.energy_share(v, self._basis)

    def project(self, v: Tensor) -> Tensor:
        """See `Field.project`."""
        return geometry.project_tangent(v, self._basis)

    def cosines(self, v: Tensor, w: Tensor) -> Tensor:
        """See `Field.cosines`."""
        return geometry.tangent_cosines(v, w, self._basis)


class PermutedField:
    """Another field, in which the tangent spaces of the first n inputs are permuted.

    Args:
        field: The other field.
        order: A permutation (n,): input i gets the space of input order[i].
    """

    def __init__(self, field: Field, order: Tensor) -> None:
        self._field = field
        self._order = order
        self._inverse = torch.argsort(order)

    @property
    def dim(self) -> int:
        """See `Field.dim`."""
        return self._field.dim

    def basis(self, rows: slice) -> Tensor:
        """See `Field.basis`."""
        first = self._field.basis(slice(0, 1))
        if first.ndim == 2:
            return first
        del first  # a view keeps the memory of all bases that were computed with it
        return torch.cat([self._field.basis(slice(row, row + 1)).clone() for row in self._order[rows].tolist()])

    def spaces(self, rows: slice) -> TangentSpaces | None:
        """See `Field.spaces`."""
        spaces = self._field.spaces(slice(0, len(self._order)))
        return None if spaces is None else spaces.rows(self._order[rows])

    def share(self, v: Tensor) -> Tensor:
        """See `Field.share`; permutes the vectors, which needs no permuted bases."""
        return self._field.share(v[self._inverse])[self._order]

    def project(self, v: Tensor) -> Tensor:
        """See `Field.project`."""
        return self._field.project(v[self._inverse])[self._order]

    def cosines(self, v: Tensor, w: Tensor) -> Tensor:
        """See `Field.cosines`; permutes the vectors, which needs no permuted bases."""
        return self._field.cosines(v[:, self._inverse], w[self._inverse])[:, self._order]


class FieldPart:
    """The tangent spaces of some of the inputs of another field.

    Args:
        field: The other field.
        inputs: Which inputs; the first of them is input 0 of this field.
    """

    def __init__(self, field: Field, inputs: slice) -> None:
        self._field = field
        self._inputs = inputs

    @property
    def dim(self) -> int:
        """See `Field.dim`."""
        return self._field.dim

    def basis(self, rows: slice) -> Tensor:
        """See `Field.basis`."""
        return self._field.basis(self._of(rows))

    def spaces(self, rows: slice) -> TangentSpaces | None:
        """See `Field.spaces`."""
        return self._field.spaces(self._of(rows))

    def share(self, v: Tensor) -> Tensor:
        """See `Field.share`."""
        rows = slice(0, len(v))
        spaces = self.spaces(rows)
        return geometry.energy_share(v, self.basis(rows)) if spaces is None else share_of(v, spaces.project)

    def project(self, v: Tensor) -> Tensor:
        """See `Field.project`."""
        rows = slice(0, len(v))
        spaces = self.spaces(rows)
        return geometry.project_tangent(v, self.basis(rows)) if spaces is None else spaces.project(v)

    def cosines(self, v: Tensor, w: Tensor) -> Tensor:
        """See `Field.cosines`."""
        rows = slice(0, len(w))
        spaces = self.spaces(rows)
        return geometry.tangent_cosines(v, w, self.basis(rows)) if spaces is None else cosines_of(v, w, spaces.project)

    def _of(self, rows: slice) -> slice:
        """Return the rows of the other field that hold the inputs of these rows."""
        start = self._inputs.start
        return slice(start + (rows.start or 0), start + rows.stop)


class RotatedSpaces:
    """Tangent spaces that are known by their projection P, rotated: their projection is R P R^T.

    Args:
        spaces: The spaces.
        rotation: The rotation R.
    """

    def __init__(self, spaces: TangentSpaces, rotation: Rotation) -> None:
        self._spaces, self._rotation = spaces, rotation

    def project(self, v: Tensor) -> Tensor:
        """See `TangentSpaces.project`."""
        return self_adjoint(lambda v: self._rotation.apply(self._spaces.project(self._rotation.inverse(v))), v)

    @property
    def at_once(self) -> int | None:
        """See `ComputedSpaces.at_once`; None where the spaces have no bases that are computed again and again."""
        return getattr(self._spaces, "at_once", None)

    def rows(self, index: Tensor | slice) -> RotatedSpaces:
        """See `TangentSpaces.rows`."""
        return RotatedSpaces(self._spaces.rows(index), self._rotation)


def tangent_of(field: Field, rows: slice) -> Tensor | TangentSpaces:
    """Return the tangent spaces of some inputs of a field: as projections where the field has these, else as bases."""
    spaces = field.spaces(rows)
    return field.basis(rows) if spaces is None else spaces


def projected_together(field: Field, v: Tensor) -> Tensor:
    """Return the projections (m, n, D) of m vectors of each of the first n inputs, v (m, n, D).

    Where bases are computed while vectors are projected, each is computed once for all vectors.
    """
    spaces = field.spaces(slice(0, v.shape[1]))
    if spaces is None or getattr(spaces, "at_once", None) is None:
        projected = torch.empty_like(v)
        for number, one in enumerate(v):
            projected[number] = field.project(one)
        return projected
    inputs = torch.arange(v.shape[1]).repeat(len(v))
    return spaces.rows(inputs).project(v.flatten(0, 1)).reshape(v.shape)


def fingerprint(field: Field, x: Tensor) -> Tensor:
    """Return bases or projections at the first inputs x (n, D), which tell this field's tangent spaces from others."""
    tangent = tangent_of(field, slice(0, len(x)))
    if isinstance(tangent, Tensor):
        return tangent
    probe = torch.randn(x.shape[1], generator=seeded(0, "fingerprint of tangent spaces"), dtype=torch.float64).to(x)
    return tangent.project(probe.expand_as(x))


def share_of(v: Tensor, project: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the share (n,) of the energy of vectors v (n, D) that a projection keeps; NaN for a zero vector."""
    return _projected(geometry.unit_vectors(v), project).square().sum(1)


def cosines_of(v: Tensor, w: Tensor, project: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the cosines (m, n) of what a projection keeps of m vectors of each input, v (m, n, D), with w (n, D)."""
    parts = torch.stack([_projected(one, project) for one in v])
    return (geometry.unit_vectors(parts) * geometry.unit_vectors(w)).sum(2)


def _projected(v: Tensor, project: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the projections of vectors v (n, D); NaN where a vector is not finite, which is not projected."""
    known = torch.isfinite(v).all(1, keepdim=True)
    return torch.where(known, project(torch.where(known, v, 0.0)), torch.nan)
