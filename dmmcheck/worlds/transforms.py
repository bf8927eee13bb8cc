"""The same world in other coordinates, units or order: its distances change in a known way, its verdicts do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dmmcheck.seeding import seeded
from dmmcheck.worlds.base import World
from dmmcheck.worlds.parameters import LEAST, check_numbers

REFLECTIONS = 16


@dataclass(frozen=True, eq=False)
class Turn:
    """An orthogonal map of R^D, as a product of reflections at hyperplanes.

    Attributes:
        normals: (m, D) unit normals of the hyperplanes.
    """

    normals: Tensor

    def apply(self, v: Tensor) -> Tensor:
        """Return the images (n, D) of vectors (n, D)."""
        return _reflected(v, self.normals)

    def inverse(self, v: Tensor) -> Tensor:
        """Return the preimages (n, D) of vectors (n, D)."""
        return _reflected(v, self.normals.flip(0))


class TurnedModel(nn.Module):
    """A model of inputs (n, D) that are first mapped and scaled back, with its logits times a factor."""

    def __init__(self, inner: nn.Module, turn: Turn, inputs: float | Tensor, logits: float) -> None:
        super().__init__()
        self.inner, self.turn, self.inputs, self.logits = inner, turn, inputs, logits

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C)."""
        return self.logits * self.inner(self.turn.inverse(x) / self.inputs)  # type: ignore[no-any-return]


class TurnedManifold:
    """The image of a manifold under an orthogonal map and a scaling."""

    def __init__(self, inner: Any, turn: Turn, inputs: float | Tensor) -> None:
        self._inner, self._turn, self._inputs = inner, turn, inputs
        self.name, self.dim = inner.name, inner.dim

    def project_point(self, x: Tensor) -> Tensor:
        """See `Manifold.project_point`."""
        return self._inputs * self._turn.apply(self._inner.project_point(self._back(x)))

    def tangent_basis(self, x: Tensor) -> Tensor:
        """See `Manifold.tangent_basis`."""
        basis: Tensor = self._inner.tangent_basis(self._back(x))
        columns = basis.transpose(-1, -2)
        return self._turn.apply(columns.reshape(-1, columns.shape[-1])).reshape(columns.shape).transpose(-1, -2)

    def _back(self, x: Tensor) -> Tensor:
        return self._turn.inverse(x) / self._inputs


class StretchedManifold(TurnedManifold):
    """The image of a manifold under a map that multiplies each coordinate by a factor of its own."""

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return the orthonormal bases of the images of the tangent spaces."""
        basis = self._inner.tangent_basis(self._back(x)).double()
        stretched = torch.linalg.qr(torch.as_tensor(self._inputs, device=x.device).double()[:, None] * basis).Q
        columns: Tensor = stretched.to(x)
        return columns


def turned(world: World, *, seed: int) -> World:
    """Return a world after a random orthogonal map of its input space, with the same distances."""
    generator = seeded(seed, "turned")
    normals = torch.randn(REFLECTIONS, world.subject.x[0].numel(), generator=generator, dtype=torch.float64)
    return _mapped(world, Turn(normals / normals.norm(dim=1, keepdim=True)), 1.0, 1.0)


def scaled(world: World, *, inputs: float = 1.0, logits: float = 1.0) -> World:
    """Return a world in other units of inputs and logits, with distances in the units of the inputs.

    Args:
        world: The world.
        inputs: Factor of the inputs.
        logits: Factor of the logits.

    Raises:
        SubjectError: A factor is not a positive number.
    """
    check_numbers(inputs=(inputs, LEAST, math.inf), logits=(logits, LEAST, math.inf))
    return _mapped(world, Turn(torch.empty(0, world.subject.x[0].numel())), inputs, logits)


def stretched(world: World, *, seed: int) -> World:
    """Return a world whose features are multiplied by random powers of ten from 0.001 to 1000.

    Distances are other ones in these units, and so are the answers; both are left out.
    """
    powers = torch.randint(-3, 4, (world.subject.x[0].numel(),), generator=seeded(seed, "stretched"))
    factors, turn = 10.0**powers, Turn(torch.empty(0, len(powers)))
    other = _mapped(replace(world, distance={}), turn, factors, 1.0)
    manifold = StretchedManifold(world.subject.manifold, turn, factors)
    return replace(other, subject=replace(other.subject, manifold=manifold), truth={}, at_limit=frozenset())


def shuffled(world: World, *, seed: int) -> World:
    """Return a world with its inputs, and its distances, in another order."""
    subject = world.subject
    order = torch.randperm(len(subject.x), generator=seeded(seed, "shuffled"))
    distance = {arm: values[order] for arm, values in world.distance.items()}
    return replace(world, subject=replace(subject, x=subject.x[order], y=subject.y[order]), distance=distance)


def _mapped(world: World, turn: Turn, inputs: float | Tensor, logits: float) -> World:
    subject = world.subject

    def points(x: Tensor | None) -> Tensor | None:
        return None if x is None else inputs * turn.apply(x)

    def model(inner: Any) -> Any:
        return None if inner is None else TurnedModel(inner, turn, inputs, logits)

    def factory(inner: Callable[..., Any] | None) -> Callable[..., Any] | None:
        return None if inner is None else lambda seed: model(inner(seed))

    def trained(inner: Any) -> Any:
        """Return the pairs, or the networks of an alternative training, after the change of the world."""
        if callable(inner) and not isinstance(inner, nn.Module):
            return lambda seed: trained(inner(seed))
        return type(inner)(trained(one) for one in inner) if isinstance(inner, (list, tuple)) else model(inner)

    own = model(subject.model)
    other = replace(
        subject,
        model=own,
        robust=own if subject.robust is subject.model else model(subject.robust),
        reference=model(subject.reference),
        x=points(subject.x),
        x_train=points(subject.x_train),
        manifold=TurnedManifold(subject.manifold, turn, inputs),
        factory=factory(subject.factory),
        checkpoints=[(step, model(inner)) for step, inner in subject.checkpoints],
        pairs=trained(subject.pairs),
        alternative=trained(subject.alternative),
    )
    distance = {arm: inputs * values for arm, values in world.distance.items()}
    return replace(world, subject=other, distance=distance)


def _reflected(v: Tensor, normals: Tensor) -> Tensor:
    for normal in normals.to(v):
        v = v - 2 * (v @ normal)[:, None] * normal
    return v
