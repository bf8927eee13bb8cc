"""Where a search may look: a linear space of perturbations for each input, given by its orthogonal projection."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.attacks.waiting import may_have
from dmmcheck.errors import AttackError

CANCELLATION = 0.7  # below this share of the vector, its part in a complement is projected twice (Kahan's criterion)
COPIED_VALUES = (
    1 << 24
)  # most values of bases that are copied, so that each row of a batch has a basis at its own index
COMPLEMENT_VALUES = 1 << 16  # most values of a square matrix from which a basis of a complement is taken: D is 256


class SearchSpace(Protocol):
    """A linear space of perturbations for each of n inputs.

    A search moves only inside x + space. It uses the space only to project vectors onto it, so that the tangent space,
    its complement, and spaces that are too large for a basis are searched by the same code. A space may have a method
    `orthonormal_basis` too, see `basis_of`: gradients by finite differences then take fewer model calls. A space may
    say by an attribute `at_once` for how many inputs at most it is searched at once, see `at_once`.
    """

    def project(self, v: Tensor) -> Tensor:
        """Return the orthogonal projection (n, D) of vectors v (n, D): row i is projected onto the space of input i."""
        ...

    def rows(self, index: Tensor | slice) -> SearchSpace:
        """Return the spaces of some of the inputs, in the order of an index (m,); an input may occur several times."""
        ...


class Everywhere:
    """The whole space R^D: a projection changes nothing."""

    def project(self, v: Tensor) -> Tensor:
        """See `SearchSpace.project`."""
        return v

    def rows(self, index: Tensor | slice) -> Everywhere:
        """See `SearchSpace.rows`."""
        del index
        return self


class SharedSpan:
    """The span of one orthonormal basis (D, k), the same for all inputs."""

    def __init__(self, basis: Tensor) -> None:
        self._basis = basis

    def project(self, v: Tensor) -> Tensor:
        """See `SearchSpace.project`."""
        return geometry.project_tangent(v, self._basis)

    def orthonormal_basis(self) -> Tensor:
        """Return the basis (D, k)."""
        return self._basis

    def rows(self, index: Tensor | slice) -> SharedSpan:
        """See `SearchSpace.rows`."""
        del index
        return self


class SpanPerInput:
    """The span of one orthonormal basis an input, (n, D, k).

    Args:
        bases: (m, D, k).
        inputs: (n,) which basis each row uses, so that no basis is copied; row i uses basis i where None.
    """

    def __init__(self, bases: Tensor, inputs: Tensor | None = None) -> None:
        self._bases = bases
        self._inputs = inputs

    def project(self, v: Tensor) -> Tensor:
        """See `SearchSpace.project`; a single basis projects any number of vectors."""
        if self._inputs is None:
            single = len(self._bases) == 1 and len(v) != 1
            return geometry.project_tangent(v, self._bases[0] if single else self._bases)
        result = torch.empty_like(v)
        for number, here in self._members:
            result[here] = geometry.project_tangent(v[here], self._bases[number])
        return result

    def orthonormal_basis(self) -> Tensor:
        """Return the basis (n, D, k) of each input, or a single one (D, k)."""
        if len(self._bases) == 1:
            return self._bases[0]
        return self._bases if self._inputs is None else self._bases[self._inputs]

    @cached_property
    def _members(self) -> list[tuple[int, Tensor]]:
        """The number of each basis that is used, and the rows that use it."""
        assert self._inputs is not None
        numbers = sorted(set(self._inputs.tolist()))
        return [(number, (self._inputs == number).nonzero().squeeze(1)) for number in numbers]

    def rows(self, index: Tensor | slice) -> SpanPerInput:
        """See `SearchSpace.rows`; copies the bases unless they are too large for that."""
        if self._inputs is None and isinstance(index, slice):
            return SpanPerInput(self._bases[index])
        used = torch.arange(len(self._bases), device=self._bases.device) if self._inputs is None else self._inputs
        inputs = used[index]
        if len(inputs) * self._bases[0].numel() > COPIED_VALUES:
            return SpanPerInput(self._bases, inputs)
        return SpanPerInput(self._bases[inputs])


class Complement:
    """The orthogonal complement of another search space."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def project(self, v: Tensor) -> Tensor:
        """See `SearchSpace.project`; projects twice where most of a vector cancels, which removes its rounding."""
        rest = v - self._space.project(v)
        cancelled = rest.norm(dim=1, keepdim=True) < CANCELLATION * v.norm(dim=1, keepdim=True)
        if may_have(cancelled):
            rest = torch.where(cancelled, rest - self._space.project(rest), rest)
        return rest

    def orthonormal_basis(self) -> Tensor | None:
        """Return an orthonormal basis, (D, D - k) or (n, D, D - k); None where it is empty, large or k is unknown.

        Where D is large, few of the D directions of the whole space are saved by leaving out k of them.
        """
        inside = basis_of(self._space)
        if inside is None or inside.shape[-1] >= inside.shape[-2] or inside.shape[-2] ** 2 > COMPLEMENT_VALUES:
            return None
        square: Tensor = torch.linalg.qr(inside, mode="complete").Q
        return square[..., inside.shape[-1] :]

    @property
    def at_once(self) -> int | None:
        """See `at_once`."""
        return at_once(self._space)

    def rows(self, index: Tensor | slice) -> Complement:
        """See `SearchSpace.rows`."""
        return Complement(self._space.rows(index))


def spanned(basis: Tensor | SearchSpace | None, *, normal: bool = False) -> SearchSpace:
    """Return the span of a basis, the complement of the span, or the whole space where there is no basis.

    Args:
        basis: Orthonormal columns, (D, k) shared by all inputs or (n, D, k) one basis an input; None for everywhere. A
            search space stands for the span of a basis that is not known.
        normal: Take the orthogonal complement of the span.

    Raises:
        AttackError: The complement is asked for without a basis.

    Example:
        >>> import torch
        >>> from dmmcheck.attacks.search_space import spanned
        >>> first_axis = torch.tensor([[1.0], [0.0], [0.0]])
        >>> spanned(first_axis, normal=True).project(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0., 2., 3.]])
    """
    if basis is None:
        if normal:
            raise AttackError("normal=True needs a subspace whose complement to search; pass subspace=basis")
        return Everywhere()
    space = _span(basis) if isinstance(basis, Tensor) else basis
    return Complement(space) if normal else space


def basis_of(space: SearchSpace) -> Tensor | None:
    """Return an orthonormal basis of a search space, (D, d) or (n, D, d); None where it has none at hand."""
    basis: Tensor | None = space.orthonormal_basis() if hasattr(space, "orthonormal_basis") else None
    return basis


def at_once(space: object) -> int | None:
    """Return for how many inputs at most a search space is searched at once; None where any number will do.

    A space whose bases are too large to be kept computes them again and again where more inputs are searched.
    """
    most: int | None = getattr(space, "at_once", None)
    return most


def _span(basis: Tensor) -> SearchSpace:
    return SharedSpan(basis) if basis.ndim == 2 else SpanPerInput(basis)


def spread(x: Tensor) -> Tensor:
    """Return the range of the data x (n, D), the unit of length where there is no box, as a positive scalar tensor."""
    size = x.amax() - x.amin()
    if float(size) > 0:
        return size
    return x.abs().amax() if bool(x.any()) else torch.ones_like(size)
