"""Coordinates in which an attack from a library, made for images in [0, 1], searches the space that we want searched.

A library's attack moves pixels z, starts at an image and stays in the unit cube. It is handed z instead of x, with

    f(x0 + P(S (z - z0))),    z0 = 1/2,

where P projects onto the subspace and S is a length: whatever the attack does with z, the classifier sees a point of
x0 + subspace, and the walls of the cube are S/2 away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dmmcheck.attacks.margins import input_gradient, margin_of
from dmmcheck.geometry import project_tangent
from dmmcheck.models.torch import TorchClassifier

MARGIN = (
    10.0  # of the classifier at the inputs, as attacks see it: cross-entropy then has a gradient, towards few rivals
)


class RowsLostError(Exception):
    """The attack called the model with a part of the batch, so that z no longer tells which input it belongs to."""


@dataclass(frozen=True, eq=False)
class Space:
    """Where to search: everywhere, in x + span(basis), or in its orthogonal complement; optionally in a box.

    Attributes:
        basis: (D, k) shared or (n, D, k), orthonormal columns; None for everywhere.
        normal: The complement of the span.
        bounds: Box of the inputs, or None.
    """

    basis: Tensor | None = None
    normal: bool = False
    bounds: tuple[float, float] | None = None

    def restrict(self, v: Tensor) -> Tensor:
        """Part (n, D) of vectors (n, D) inside the subspace."""
        if self.basis is None:
            return v
        inside = project_tangent(v, self.basis)
        return v - inside if self.normal else inside

    def rows(self, index: Tensor | slice) -> Space:
        """The same for a part of the inputs."""
        if self.basis is None or self.basis.ndim == 2:
            return self
        basis = self.basis[index]
        return Space(basis[0] if len(basis) == 1 else basis, self.normal, self.bounds)

    def clip(self, x: Tensor) -> Tensor:
        """Points (n, D) moved into the box."""
        return x if self.bounds is None else x.clamp(*self.bounds)


class Coordinates(nn.Module):
    """The classifier as a function of z in the unit cube, around given inputs.

    The logits are shifted (smallest 0) and scaled (margin `MARGIN` at the inputs), since some attacks depend on the
    origin and the unit of logits. The classifier is not a submodule: nothing that is done to this module (mode,
    gradients) reaches it.

    Args:
        classifier: The model under test.
        x: Inputs (n, D), all classified as `y`.
        y: Labels (n,).
        scale: S, one length for all inputs or one each (n,), in units of x.
        space: Where to search.
        walls: The box of `space` becomes the unit cube itself, for attacks that find their way along its walls. Else
            points are clipped to the box.
    """

    def __init__(
        self, classifier: TorchClassifier, x: Tensor, y: Tensor, *, scale: Tensor, space: Space, walls: bool = False
    ) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros((), device=classifier.device), requires_grad=False)  # libraries ask
        self.forwards = 0  # passes a row
        self.backwards = 0
        self.passes = 1  # a row, in the last call
        self.space = space
        self.shape = classifier.input_shape if len(classifier.input_shape) == 3 else (1, 1, x.shape[1])
        self.call: Callable[[Tensor], Tensor] = classifier.logits
        self._x = x
        self._scale = scale.to(x).reshape(-1, 1)
        self._start = (x - space.bounds[0]) / self._scale if walls and space.bounds else torch.full_like(x, 0.5)
        self._unit = _margin_unit(classifier, x, y)

    def start(self) -> Tensor:
        """Where the inputs are in z, (n, *shape) with three-dimensional shape, float32 as the libraries expect."""
        return self._start.reshape(-1, *self.shape).float()

    def point(self, z: Tensor) -> Tensor:
        """Points (n, D) that z (n, *shape) stands for; differentiable.

        Raises:
            RowsLostError: z has another number of rows than there are inputs.
        """
        if len(self._x) not in {1, len(z)}:
            raise RowsLostError
        step = self._scale * (z.reshape(len(z), -1).to(self._x.dtype) - self._start)
        return self.space.clip(self._x + self.space.restrict(step))

    def forward(self, z: Tensor) -> Tensor:
        """Shifted and scaled logits (n, C) of z (n, *shape), float32."""
        x = self.point(z)
        self.passes = len(z) // len(self._x)
        self.forwards += self.passes
        wanted = x.requires_grad and torch.is_grad_enabled()
        logits: Tensor = _InputGradient.apply(x, self) if wanted else self.call(x)  # type: ignore[no-untyped-call]
        logits = logits - logits.detach().amin(1, keepdim=True)
        return (MARGIN * logits / self._unit).float()


class _InputGradient(torch.autograd.Function):
    """The classifier's logits, with a gradient for the input and nothing else, whatever the classifier is made of."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cube: Coordinates) -> Tensor:
        with torch.enable_grad():
            ctx.leaf = x.detach().requires_grad_(True)
            ctx.logits = cube.call(ctx.leaf)
        ctx.cube = cube
        result: Tensor = ctx.logits.detach()
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.cube.backwards += ctx.cube.passes
        return input_gradient(ctx.logits, ctx.leaf, gradients[0], keep=True), None


def _margin_unit(classifier: TorchClassifier, x: Tensor, y: Tensor) -> Tensor:
    """Margins (n, 1) at the inputs, kept away from zero by the spread of their logits."""
    with torch.no_grad():
        logits = classifier.logits(x)
    spread_ = (logits.amax(1) - logits.amin(1)).clamp_min(torch.finfo(x.dtype).tiny * 1e6)
    return torch.maximum(margin_of(logits, y), 1e-3 * spread_)[:, None]


def spread(x: Tensor) -> Tensor:
    """Range of the data, the unit of length where no box gives one; a tensor without dimensions, positive."""
    size = x.amax() - x.amin()
    if float(size) > 0:
        return size
    return x.abs().amax() if bool(x.any()) else torch.ones_like(size)
