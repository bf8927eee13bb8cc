"""Directions to the boundary of another model of the same labels, which are found without the model's gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dmmcheck.data.arrays import pieces
from dmmcheck.manifolds.neighbours import distance_matrix
from dmmcheck.models.base import called
from dmmcheck.models.memory import in_batches
from dmmcheck.soundness.context import SoundnessContext

EXAMPLES = 512
STEPS = 5
RIDGE = 1e-3
TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A kernel regression with Gaussian kernels; its gradients take no copies of its examples.

    Attributes:
        examples: (m, D), where the kernels are centred.
        weights: (m, C) of the kernels, for each class.
        mean: (C,) what is added.
        width: Standard deviation of the kernels.
    """

    examples: Tensor
    weights: Tensor
    mean: Tensor
    width: Tensor

    @classmethod
    def fit(cls, examples: Tensor, labels: Tensor, classes: int) -> Surrogate:
        """Return the kernel ridge regression of the labels (m,) of examples (m, D)."""
        targets = one_hot(labels, classes).to(examples)
        apart = distance_matrix(examples, examples)
        width = apart.median().clamp_min(TINY)
        kernel = _gaussian(apart, width)
        mean = targets.mean(0)
        weights = torch.linalg.solve(kernel + RIDGE * torch.eye(len(kernel)).to(kernel), targets - mean)
        return cls(examples, weights, mean, width)

    def values(self, x: Tensor) -> Tensor:
        """Return the values (n, C) of the classes at points x (n, D)."""
        return torch.add(self._kernel(x) @ self.weights, self.mean)

    def margin(self, x: Tensor, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Return the difference (n,) between the values of two classes, (n,) each, at points x (n, D); its gradient.

        The gradient of a kernel exp(-|x - e|^2 / (2 w^2)) is the kernel times (e - x) / w^2. It is zero where most
        examples are equal, so that kernels have no width.
        """
        parts = self._kernel(x) * (self.weights[:, own] - self.weights[:, other]).T
        gradient = torch.zeros_like(x)
        if bool(self.width > TINY):
            gradient = (parts @ self.examples - parts.sum(1, keepdim=True) * x) / self.width / self.width
        return parts.sum(1) + self.mean[own] - self.mean[other], gradient

    def _kernel(self, x: Tensor) -> Tensor:
        return _gaussian(distance_matrix(x, self.examples), self.width)


def surrogate_directions(context: SoundnessContext) -> Iterator[tuple[slice, Tensor]]:
    """Yield steps (r, D) of some inputs to the boundary of a surrogate of the model's labels.

    The inputs come in pieces, so that steps take little memory, and each piece twice: towards two other classes, where
    there are two.
    """
    stride = max(1, len(context.x_pool) // EXAMPLES)
    examples = context.x_pool[::stride][:EXAMPLES]
    with torch.no_grad():
        labels = in_batches(examples, lambda rows: called(context.classifier, examples[rows]).argmax(1))
    surrogate = Surrogate.fit(examples, labels, context.classifier.classes)
    start = 0
    for x in pieces(context.x):
        rows = slice(start, start + len(x))
        own, start = context.y[rows], rows.stop
        values = surrogate.values(x).scatter(1, own[:, None], -torch.inf)
        for other in values.topk(min(2, context.classifier.classes - 1), dim=1).indices.T:
            yield rows, _to_boundary(surrogate, x, own, other, most=context.length)


def _to_boundary(surrogate: Surrogate, x: Tensor, own: Tensor, other: Tensor, *, most: Tensor) -> Tensor:
    """Return the step (n, D) after a few Newton steps to where the surrogate's values for two classes are equal.

    Args:
        surrogate: The surrogate.
        x: The inputs (n, D).
        own: Their labels (n,).
        other: The other class (n,).
        most: Largest length of each Newton step.
    """
    point = x.clone()
    for _ in range(STEPS):
        margin, gradient = surrogate.margin(point, own, other)
        square = gradient.square().sum(1).clamp_min(TINY)
        towards = gradient.mul_(-(margin / square)[:, None])
        size = towards.norm(dim=1, keepdim=True).clamp_min(TINY)
        point += towards.mul_((most / size).clamp(max=1))
    return point.sub_(x)


def _gaussian(distance: Tensor, width: Tensor) -> Tensor:
    return torch.exp(-((distance / width) ** 2) / 2)
