"""Coordinates that let an attack which is made for images in [0, 1] search any search space.

A library's attack moves pixels z, starts at an image and stays in the unit cube. It is given coordinates z of the input
x0 instead, and in place of the classifier f the function

    f(x0 + P(S (z - z0))),    z0 = 1/2

where P is the projection onto the search space and S is a length. So the classifier gets only points of x0 + search
space, whatever the attack does with z, and the walls of the cube are at the distance S/2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dmmcheck.attacks.margins import logit_margin
from dmmcheck.attacks.search_space import SearchSpace
from dmmcheck.models.base import Classifier, called, input_gradient

OUT_OF_REACH = 1e4  # margins at the input: a class so far below the largest one has no part in the scale of logits
SCALED_MARGIN = 10.0  # of the scaled logits at the inputs: small enough for cross-entropy to have a gradient


class RowsLostError(Exception):
    """The attack called the model with a part of its batch, so that the input of each row is no longer known."""


class Coordinates(nn.Module):
    """The classifier as a function of z in the unit cube, around given inputs.

    The logits are shifted (smallest 0) and scaled (margin `SCALED_MARGIN` at the inputs), since the results of some
    attacks depend on the origin and the unit of logits. The classifier is not a submodule, so that it keeps its mode
    and its parameters get no gradients.

    Args:
        classifier: The model under test.
        x: Inputs (n, D), all classified as `y`.
        y: Labels (n,).
        scale: The length S in units of x: one for all inputs, or one for each (n,).
        space: The search spaces of the inputs.
        bounds: Box of the inputs, or None.
        walls: Let the box be the unit cube itself, for attacks that project onto its walls. Else points are clipped to
            the box.
    """

    def __init__(
        self,
        classifier: Classifier,
        x: Tensor,
        y: Tensor,
        *,
        scale: Tensor,
        space: SearchSpace,
        bounds: tuple[float, float] | None = None,
        walls: bool = False,
    ) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros((), device=classifier.device), requires_grad=False)  # tells the device
        self.forwards = 0  # forward passes of each input
        self.backwards = 0
        self.passes = 1  # passes of each input in the last call
        self.space, self.bounds = space, bounds
        self.shape = classifier.input_shape if len(classifier.input_shape) == 3 else (1, 1, x.shape[1])
        self.role = classifier.role
        self.call: Callable[[Tensor], Tensor] = partial(called, classifier)
        self._x = x
        self._scale = scale.to(x).reshape(-1, 1)
        self._start = (x - bounds[0]) / self._scale if walls and bounds else torch.full_like(x, 0.5)
        self._unit = _margin_unit(classifier, x, y)

    def start(self) -> Tensor:
        """Return the coordinates z (n, *shape) of the inputs: images with channels, height and width, in float32."""
        return self._start.reshape(-1, *self.shape).float()

    def point(self, z: Tensor) -> Tensor:
        """Return the points (n, D) with the coordinates z (n, *shape); differentiable.

        Raises:
            RowsLostError: z does not have a row for each input.
        """
        if len(self._x) not in {1, len(z)}:
            raise RowsLostError
        delta = self._scale * (z.reshape(len(z), -1).to(self._x.dtype) - self._start)
        point = self._x + self.space.project(delta)
        return point if self.bounds is None else point.clamp(*self.bounds)

    def forward(self, z: Tensor) -> Tensor:
        """Return the shifted and scaled logits (n, C) at the coordinates z (n, *shape), in float32."""
        x = self.point(z)
        self.passes = len(z) // len(self._x)
        self.forwards += self.passes
        wanted = x.requires_grad and torch.is_grad_enabled()
        logits: Tensor = _InputGradient.apply(x, self) if wanted else self.call(x)  # type: ignore[no-untyped-call]
        lowest = logits.detach().amax(1, keepdim=True) - OUT_OF_REACH * self._unit
        logits = torch.maximum(logits, lowest)  # a class masked by -1e9 would leave no digits for the others
        logits = logits - logits.detach().amin(1, keepdim=True)
        return (SCALED_MARGIN * logits / self._unit).float()


class _InputGradient(torch.autograd.Function):
    """The classifier's logits, whose gradients reach the input and no parameter of any classifier."""

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
        return input_gradient(ctx.logits, ctx.leaf, gradients[0], keep=True, role=ctx.cube.role), None


def _margin_unit(classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Return the margins (n, 1) at the inputs, but at least a thousandth of the spread of logits in reach."""
    with torch.no_grad():
        logits = called(classifier, x)
    margin, behind = logit_margin(logits, y), logits.amax(1, keepdim=True) - logits
    spread_ = torch.where(behind <= OUT_OF_REACH * margin.clamp_min(0)[:, None], behind, 0).amax(1)
    return torch.maximum(margin, 1e-3 * spread_.clamp_min(torch.finfo(x.dtype).tiny * 1e6))[:, None]
