"""Measures how far the boundary is along a curved manifold, by a search among the codes of a decoder."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from dmmcheck.attacks.search_space import SharedSpan
from dmmcheck.errors import DmmError
from dmmcheck.manifolds.decoder import Decoder
from dmmcheck.models.base import Classifier, called, is_differentiable
from dmmcheck.models.boxed import box_of
from dmmcheck.models.evaluation import evaluation
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import SoundnessContext, info, median
from dmmcheck.soundness.registry import gate

NAME = "along-manifold"
MOST_INPUTS = 32  # whose codes are searched
FARTHEST = 1e4  # ranges of the values of the inputs


class CodeClassifier:
    """A classifier of steps along a manifold: entries (u, i) stand for a point near input i, with u = 0 at the input.

    The code of the input is z0, with the Jacobian J = Q R of the decoder there. The point is x + decode(z) - decode(z0)
    with z = z0 + R^-1 u, so that the steps begin at the input, and to first order a step u moves the point by |u|.

    Args:
        inner: The classifier of points.
        manifold: The manifold.
        x: (n, D) inputs.
    """

    takes_copies = True

    def __init__(self, inner: Classifier, manifold: Decoder, x: Tensor) -> None:
        self.inner, self.manifold, self.x = inner, manifold, x
        self.name, self.classes, self.role = inner.name, inner.classes, inner.role
        self.device, self.dtype = inner.device, inner.dtype
        self.codes = manifold.codes(x)
        self.start = manifold.points(self.codes, x.shape[1]).to(x)
        self.scales = torch.cat([self._scale(code) for code in torch.split(self.codes, 1)])
        self.input_shape = (self.scales.shape[1] + 1,)

    def _scale(self, code: Tensor) -> Tensor:
        """Return the inverse (1, k, k) of the triangular factor of the Jacobian at a code."""
        triangular = torch.linalg.qr(self.manifold.jacobian(code, self.x.shape[1]).cpu().double(), mode="r").R
        inverse: Tensor = torch.linalg.inv(triangular)
        return inverse.to(code)

    def inputs(self) -> Tensor:
        """Return the inputs as points (n, k + 1) of this classifier."""
        points = self.x.new_zeros((len(self.x), *self.input_shape))
        points[:, -1] = torch.arange(len(self.x))
        return points

    def steps(self, points: Tensor) -> Tensor:
        """Return the steps (n, D) from the inputs to points (n, k + 1) along the manifold; differentiable."""
        number = points[:, -1].round().long()
        steps = torch.einsum("nij,nj->ni", self.scales[number], points[:, :-1].to(self.codes))
        codes = self.codes[number] + steps.reshape(-1, *self.codes.shape[1:])
        return self.manifold.decoded(codes, self.x.shape[1]).to(points) - self.start[number]

    def logits(self, points: Tensor) -> Tensor:
        """Return the logits (n, C) of points (n, k + 1)."""
        number = points[:, -1].round().long()
        return called(self.inner, self.x[number] + self.steps(points))

    def evaluation(self) -> AbstractContextManager[Any]:
        """Return the context in which the decoder is in evaluation mode; the classifier is, while gates are asked."""
        return evaluation(self.manifold.decode)


@gate("manifold")
def along_manifold(context: SoundnessContext) -> list[Soundness]:
    """Report the distance to the boundary along a manifold with a decoder, beside that in the tangent spaces.

    There is no item where the manifold has no decoder or no bases, the model no gradients, or searches stay in a box.
    """
    manifold = getattr(context.manifold, "inner", context.manifold)
    has_codes = isinstance(manifold, Decoder) and context.basis is not None
    if not has_codes or not is_differentiable(context.classifier) or box_of(context.classifier) is not None:
        return []
    x, y = context.x[:MOST_INPUTS], context.y[:MOST_INPUTS]
    try:
        distance = _distance(context, CodeClassifier(context.classifier, manifold, x), y)
    except DmmError as error:  # a decoder need not answer far from the codes of the inputs
        return [info(NAME, f"no distance along the manifold is measured: {error}")]
    along, tangent = median(distance), median(context.distance("tangent", len(x)))
    found = int(torch.isfinite(distance).sum())
    said = (
        f"a quick search of the codes finds a label change along the curved manifold for {found} of {len(x)} inputs"
        if math.isinf(along)
        else f"along the curved manifold, a quick search of its codes finds a label change at the distance {along:.3g} "
        f"in the median of {len(x)} inputs; in the tangent spaces it is {tangent:.3g}"
    )
    return [info(NAME, said, along)]


def _distance(context: SoundnessContext, classifier: CodeClassifier, y: Tensor) -> Tensor:
    """Return the lengths (n,) of the steps to the label changes found along the manifold; inf where there is none."""
    points = classifier.inputs()
    size = points.shape[1] - 1
    found = context.search(
        classifier,
        points,
        y,
        space=SharedSpan(torch.eye(size + 1, size).to(points)),
        effort="quick",
        generator=context.random(NAME),
        radius=FARTHEST * float(classifier.x.max() - classifier.x.min()),
    )
    with classifier.evaluation(), torch.no_grad():
        length = classifier.steps(found.point).norm(dim=1)
    return torch.where(found.found, length, torch.inf)
