"""Tangent spaces without bases: vectors are projected by products with a Jacobian and with its transpose."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from dmmcheck.errors import ManifoldError

DENSE_BYTES = 1 << 26  # largest basis of one input
PIECE_VALUES = 1 << 20  # most values of the points that are decoded at a time
TOLERANCE = 1e-9  # error of a projection, relative to its length; in float32, eight rounding units
ROUNDING_UNITS = 8
SLOPE_ROUNDING = 4  # rounding units of |J^T r| beside |J| |r|, at which a residual r is orthogonal to the space
DELAY = 8  # the error of a step is estimated from the next steps of this number
MOST_STEPS = 1000
UNFINISHED = 1e-2  # largest error of a projection after the last step
MOST_IGNORED = 0.01  # largest share of a random change of a code that may move no point


class TangentSpaces(Protocol):
    """A tangent space for each of n points, known by its projection alone; it can be a search space."""

    def project(self, v: Tensor) -> Tensor:
        """Return the orthogonal projection (n, D) of vectors v (n, D): row i is projected onto the space of point i."""
        ...

    def rows(self, index: Tensor | slice) -> TangentSpaces:
        """Return the spaces of some of the points, in the order of an index (m,); a point may occur several times."""
        ...


class ColumnSpaces:
    """The column spaces of the Jacobians J of a decoder at n codes, one space for each code.

    The projection of v is J z, where z minimises |J z - v|. It is found by conjugate gradients on the normal equations
    (CGLS), with products J w in forward mode and J^T u in reverse mode, so that no basis is stored. The steps end where
    the estimated error is below 1e-9 of the projection's length, or eight rounding units in float32. A direction of the
    codes that moves no point changes nothing.

    Args:
        decode: From codes (n, ...) to points (n, D), row by row.
        codes: The codes (n, ...).
        ambient_dim: D.
        within: Gives the context in which the function is called, e.g. one that puts modules into evaluation mode.

    Source: Hestenes & Stiefel 1952; for the estimated error, Strakos & Tichy, On error estimation in the conjugate
    gradient method and why it works in finite precision computations, ETNA 13, 2002.
    """

    def __init__(
        self,
        decode: Callable[[Tensor], Tensor],
        codes: Tensor,
        ambient_dim: int,
        *,
        within: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._decode, self._codes, self._ambient_dim, self._within = decode, codes, ambient_dim, within

    def project(self, v: Tensor) -> Tensor:
        """See `TangentSpaces.project`; a single space projects any number of vectors.

        Raises:
            ManifoldError: The decoder raised, its derivatives are not finite, or the error stays above one per
                cent of a projection's length.
        """

        def projected(v: Tensor) -> Tensor:
            return self._piecewise(v.to(self._codes), lambda piece, part: piece.solve(part)[0]).to(v)

        return self_adjoint(projected, v)

    def rows(self, index: Tensor | slice) -> ColumnSpaces:
        """See `TangentSpaces.rows`."""
        here = index.to(self._codes.device) if isinstance(index, Tensor) else index
        return ColumnSpaces(self._decode, self._codes[here], self._ambient_dim, within=self._within)

    def scaled(self, size: Tensor) -> ColumnSpaces:
        """Return the spaces of the points whose coordinates are divided by sizes (D,)."""
        return ColumnSpaces(
            lambda codes: self._decode(codes) / size.to(codes), self._codes, self._ambient_dim, within=self._within
        )

    def ignored_share(self, generator: torch.Generator) -> Tensor:
        """Return the share (n,) of the energy of a random change of each code that moves no point."""
        change = torch.randn(self._codes.shape, generator=generator, dtype=torch.float64).to(self._codes)

        def share(piece: _Products, part: Tensor) -> Tensor:
            kept = piece.solve(piece.forward(part))[1]
            return (part - kept).flatten(1).square().sum(1) / part.flatten(1).square().sum(1)

        return self._piecewise(change, share)

    def _piecewise(self, v: Tensor, answer: Callable[[_Products, Tensor], Tensor]) -> Tensor:
        """Return the answers to vectors (n, ...), in pieces of a bounded number of points."""
        codes = self._codes
        codes = codes.expand(len(v), *codes.shape[1:]).contiguous() if len(codes) == 1 else codes
        step = max(1, PIECE_VALUES // self._ambient_dim)
        pieces = zip(torch.split(codes, step), torch.split(v, step), strict=True)
        with self._within(), torch.no_grad():
            return torch.cat([answer(_Products(self._decode, here), part) for here, part in pieces])


class _SelfAdjoint(torch.autograd.Function):
    """A projection, whose derivative is the projection of the gradient."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, project: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.project = project
        return project(v.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.project(gradients[0]), None


def self_adjoint(project: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """Return an orthogonal projection of vectors v (n, D), differentiable however it is computed."""
    projected: Tensor = _SelfAdjoint.apply(v, project) if v.requires_grad else project(v)  # type: ignore[no-untyped-call]
    return projected


class _Products:
    """Products with the Jacobians of a function at n codes, and least squares by these products."""

    def __init__(self, decode: Callable[[Tensor], Tensor], codes: Tensor) -> None:
        self._decode, self._codes = decode, codes
        self._pull_back: Any = torch.func.vjp(decode, codes)[1]

    def forward(self, direction: Tensor) -> Tensor:
        """Return J w (n, D) for directions w (n, ...)."""
        return derivative(self._decode, self._codes, direction)

    def backward(self, u: Tensor) -> Tensor:
        """Return J^T u (n, ...) for vectors u (n, D)."""
        product: Tensor = self._pull_back(u)[0]
        return product

    def solve(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projections J z (n, D) of vectors v (n, D), and the coefficients z (n, ...)."""
        largest = v.abs().amax(1, keepdim=True)  # the squares of very small or large entries would under- or overflow
        residual = torch.nn.functional.normalize(torch.where(largest > 0, v / largest, 0.0))
        length = torch.where(largest > 0, (v / largest).norm(dim=1, keepdim=True), 0.0) * largest
        inside, z = torch.zeros_like(v), torch.zeros_like(self._codes)
        slope = direction = self.backward(residual)
        energy, left, stretch = _energy(slope), _energy(residual), v.new_zeros(len(v))
        error, rounding = _Error(v), (SLOPE_ROUNDING * torch.finfo(v.dtype).eps) ** 2
        for _ in range(MOST_STEPS):
            _refuse_infinite(energy)
            error.done |= energy <= rounding * stretch * left
            if bool(error.done.all()):
                break
            image = self.forward(direction)
            stretch = torch.maximum(stretch, (_energy(image) / _energy(direction)).nan_to_num())
            size = (energy / _energy(image)).nan_to_num(nan=0.0, posinf=0.0)
            size = torch.where(error.done, 0.0, size)
            inside, residual = inside + _times(size, image), residual - _times(size, image)
            z = z + _times(size, direction)
            error.add(size * energy)
            slope, before, left = self.backward(residual), energy, _energy(residual)
            energy = _energy(slope)
            direction = slope + _times((energy / before).nan_to_num(nan=0.0, posinf=0.0), direction)
        else:
            error.check()
        return inside * length, _times(length.squeeze(1), z)


class _Error:
    """Estimates of the errors of projections of vectors of length one, from the energy that each step added."""

    def __init__(self, v: Tensor) -> None:
        eps = torch.finfo(v.dtype).eps
        self._tolerance, self._nothing = max(TOLERANCE, ROUNDING_UNITS * eps), eps
        self._total = v.new_zeros(len(v))
        self._last: list[Tensor] = []
        self.done = torch.zeros(len(v), dtype=torch.bool, device=v.device)

    def add(self, gain: Tensor) -> None:
        """Take the energy (n,) into account that one more step added to the projections."""
        self._total = self._total + gain
        self._last = [*self._last, gain][-DELAY:]
        if len(self._last) == DELAY:
            limit = self._tolerance**2 * self._total + self._nothing**2
            self.done = self.done | (torch.stack(self._last).sum(0) <= limit)

    def check(self) -> None:
        """Raise a ManifoldError where an error is too large after the last step."""
        share = (torch.stack(self._last).sum(0) / self._total).sqrt()
        worst = float(torch.where(self.done, 0.0, share).max())
        if not worst <= UNFINISHED:
            raise ManifoldError(
                f"a projection onto the column space of the decoder's Jacobian still has an error of {worst:.1g} of "
                f"its length after {MOST_STEPS} steps (limit {UNFINISHED:g}), since some directions of the codes move "
                "points much less than others; use smaller codes, or decode in float64"
            )


def derivative(function: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor) -> Tensor:
    """Return the derivatives of a function at points, each along the point's own direction."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)  # raised inside torch
        result: Tensor = torch.func.jvp(function, (at,), (direction,))[1]
    return result


def are_dense(ambient_dim: int, dim: int, element_size: int) -> bool:
    """Return whether a basis (D, k) is small enough to be stored for each input."""
    return ambient_dim * dim * element_size <= DENSE_BYTES


def _refuse_infinite(energy: Tensor) -> None:
    if not bool(torch.isfinite(energy).all()):
        raise ManifoldError(
            "the decoder's Jacobian holds NaN or infinite values; use a decoder that is differentiable at the codes"
        )


def _energy(v: Tensor) -> Tensor:
    return v.flatten(1).square().sum(1)


def _times(factors: Tensor, v: Tensor) -> Tensor:
    """Return the vectors (n, ...), each times its factor (n,)."""
    return factors.reshape(-1, *[1] * (v.ndim - 1)) * v
