"""Directions that span the search space of each input, in blocks, found by projections alone."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from dmmcheck.attacks.search_space import Everywhere, SearchSpace

SMALL_RANK = 64  # up to this dimension a search space gets an orthonormal basis of its own
NOTHING = 1e-4  # of its length: what is left of a vector whose direction is in the span already


class Frame(Protocol):
    """Directions that span the search spaces of n inputs.

    Attributes:
        count: Number of directions of an input.
    """

    count: int

    def directions(self, numbers: Tensor, inputs: Tensor) -> Tensor:
        """Return the directions with these numbers (b,) of inputs (m,), as (m, b, D)."""
        ...

    def vector(self, coefficients: Tensor, inputs: Tensor) -> Tensor:
        """Return the vectors (m, D) whose inner products with the directions are the coefficients (m, count)."""
        ...

    def coefficients(self, v: Tensor, inputs: Tensor) -> Tensor:
        """Return the inner products (m, count) of vectors v (m, D) in the search spaces with the directions."""
        ...


class Basis:
    """An orthonormal basis (n, r, D) of each search space; rows of zeros where a space has fewer dimensions."""

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows
        self.count = rows.shape[1]

    def directions(self, numbers: Tensor, inputs: Tensor) -> Tensor:
        """See `Frame.directions`."""
        return self._rows[inputs][:, numbers]

    def vector(self, coefficients: Tensor, inputs: Tensor) -> Tensor:
        """See `Frame.vector`."""
        return torch.einsum("mr,mrd->md", coefficients, self._rows[inputs])

    def coefficients(self, v: Tensor, inputs: Tensor) -> Tensor:
        """See `Frame.coefficients`."""
        return torch.einsum("md,mrd->mr", v, self._rows[inputs])


class ProjectedAxes:
    """The coordinate axes, projected onto each search space: a tight frame, whose coefficients are coordinates."""

    def __init__(self, space: SearchSpace, x: Tensor) -> None:
        self._space, self._x = space, x
        self.count = x.shape[1]

    def directions(self, numbers: Tensor, inputs: Tensor) -> Tensor:
        """See `Frame.directions`."""
        m, b = len(inputs), len(numbers)
        axes = self._x.new_zeros((b, self.count))
        axes[torch.arange(b), numbers] = 1.0
        if isinstance(self._space, Everywhere):
            return axes.expand(m, b, self.count)
        spaces = self._space.rows(inputs)
        return torch.stack([spaces.project(axis.expand(m, -1)) for axis in axes], 1)

    def vector(self, coefficients: Tensor, inputs: Tensor) -> Tensor:
        """See `Frame.vector`."""
        return self._space.rows(inputs).project(coefficients)

    def coefficients(self, v: Tensor, inputs: Tensor) -> Tensor:
        """See `Frame.coefficients`."""
        del inputs
        return v


def frame_of(space: SearchSpace, x: Tensor, generator: torch.Generator) -> Frame:
    """Return a frame of the search spaces of inputs x (n, D): a basis where they are small, else the projected axes.

    The basis comes from projections of random vectors, which all inputs share, orthonormalised twice (Gram-Schmidt).
    """
    n, width = x.shape
    if isinstance(space, Everywhere):
        return ProjectedAxes(space, x)
    most = min(SMALL_RANK, width // 2)
    rows = x.new_zeros((n, 0, width))
    for vector in torch.randn((most + 1, width), generator=generator, dtype=torch.float64).to(x):
        inside = space.project(vector.expand(n, -1))
        rest = inside
        for _ in range(2):
            rest = rest - torch.einsum("nrd,nr->nd", rows, torch.einsum("nrd,nd->nr", rows, rest))
        length = rest.norm(dim=1, keepdim=True)
        fresh = length > NOTHING * inside.norm(dim=1, keepdim=True)
        if not bool(fresh.any()):
            return Basis(rows)
        unit = torch.where(fresh, rest / length.clamp_min(torch.finfo(x.dtype).tiny), 0.0)
        rows = torch.cat([rows, unit[:, None]], 1)
    return ProjectedAxes(space, x)
