"""Tangent spaces whose bases are too large to be kept: they are computed for some inputs at a time, where needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.operators import self_adjoint
from dmmcheck.models.memory import return_freed_memory


class ComputedBases:
    """The tangent bases of the inputs 0, 1, ..., n - 1, of which those of few inputs are in memory at a time.

    Where inputs are asked about in their order, bases are computed for the batches 0, ..., b - 1 and b, ..., 2b - 1 and
    so on. Those that were computed last are kept until others are needed.

    Args:
        compute: From the numbers of at most b inputs to their orthonormal bases (inputs, D, k).
        n: Number of inputs.
        at_once: Most inputs b whose bases are in memory at a time, at least 1.
    """

    def __init__(self, compute: Callable[[Sequence[int]], Tensor], n: int, at_once: int) -> None:
        self._compute, self._n, self.at_once = compute, n, at_once
        self._kept: Tensor | None = None
        self._place: dict[int, int] = {}

    def at(self, inputs: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Return bases (m, D, k), and which of them belongs to each of at most b inputs, one after the other."""
        if self._kept is None or not self._place.keys() >= set(inputs):
            self._kept = None  # before other bases take memory
            return_freed_memory()
            together = self._batch(inputs)
            self._kept = self._compute(together)
            self._place = {number: place for place, number in enumerate(together)}
        return self._kept, [self._place[number] for number in inputs]

    def pieces(self, inputs: Sequence[int]) -> Iterator[list[int]]:
        """Yield the positions of any number of inputs, in pieces of at most b different inputs.

        Inputs that do not fit together are taken by their batches, the batch whose bases are kept first.
        """
        kept, different = self._place.keys(), set(inputs)
        if inputs and (len(different) <= self.at_once or kept >= different):
            yield list(range(len(inputs)))
            return
        pieces: dict[int, list[int]] = {}
        for position, number in enumerate(inputs):
            pieces.setdefault(number // self.at_once, []).append(position)
        yield from sorted(pieces.values(), key=lambda piece: not kept >= {inputs[at] for at in piece})

    def _batch(self, inputs: Sequence[int]) -> list[int]:
        """Return the inputs whose bases are computed together: the batch of the given ones, or these alone."""
        start = min(inputs) // self.at_once * self.at_once
        if max(inputs) < start + self.at_once:
            return list(range(start, min(start + self.at_once, self._n)))
        return sorted(set(inputs))


class ComputedSpaces:
    """The spans of tangent bases that are computed while vectors are projected; see `operators.TangentSpaces`.

    Args:
        bases: The bases.
        inputs: (m,) the input that each space belongs to.
    """

    def __init__(self, bases: ComputedBases, inputs: Tensor) -> None:
        self._bases, self._inputs = bases, inputs

    @property
    def at_once(self) -> int:
        """How many inputs' vectors can be projected again and again without a basis being computed twice."""
        return self._bases.at_once

    @property
    def beside_kept(self) -> int:
        """For how many inputs bases may be asked of the manifold itself, since those that are kept take memory too."""
        return max(1, self.at_once // 3)

    def project(self, v: Tensor) -> Tensor:
        """See `TangentSpaces.project`; a single space projects any number of vectors."""
        return self_adjoint(self._project, v)

    def rows(self, index: Tensor | slice) -> ComputedSpaces:
        """See `TangentSpaces.rows`."""
        return ComputedSpaces(self._bases, self._inputs[index.cpu() if isinstance(index, Tensor) else index])

    def orthonormal_basis(self) -> Tensor | None:
        """Return the bases (m, D, k), or a single one (D, k); None where they do not fit in memory together."""
        inputs = self._inputs.tolist()
        if not inputs or len(set(inputs)) > self.at_once:
            return None
        bases, places = self._bases.at(inputs)
        return bases[places[0]] if len(inputs) == 1 else bases[places]

    def _project(self, v: Tensor) -> Tensor:
        inputs = self._inputs.tolist()
        inputs = inputs * len(v) if len(inputs) == 1 else inputs
        if len(inputs) != len(v):
            raise ManifoldError(f"{len(v)} vectors are projected onto {len(inputs)} tangent spaces; pass one for each")
        projected = torch.empty_like(v)
        for piece in self._bases.pieces(inputs):
            self._project_piece(v, piece, [inputs[at] for at in piece], projected)
        return projected

    def _project_piece(self, v: Tensor, piece: Sequence[int], inputs: Sequence[int], projected: Tensor) -> None:
        """Write the projections of some rows; no bases are held once this returns, so that others can be computed."""
        bases, places = self._bases.at(inputs)
        rows_of: dict[int, list[int]] = {}
        for at, place in zip(piece, places, strict=True):
            rows_of.setdefault(place, []).append(at)
        for place, rows in rows_of.items():
            projected[rows] = geometry.project_tangent(v[rows], bases[place])
