"""A classifier that is called only inside a box, the range of valid input values."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dmmcheck.models.base import Classifier, called, is_differentiable
from dmmcheck.models.normalize import within
from dmmcheck.models.torch import TorchClassifier

Box = tuple[Any, Any]
"""The lowest and the highest value of each entry: two numbers, or two tensors (D,)."""
ROUNDING = 16  # points that leave a box by at most this many rounding errors lie in it


class BoxedClassifier:
    """A classifier that is never called outside a box: points outside are clipped to it first.

    Searches of such a classifier stay inside the box, see `box_of`. Where a point lies outside all the same, such as
    the projection of an input onto a manifold estimate, its logits are those of the nearest point of the box.

    Args:
        inner: The classifier.
        bounds: Box (lo, hi) of the inputs.

    Example:
        >>> import torch
        >>> from dmmcheck.models.boxed import BoxedClassifier
        >>> from dmmcheck.models.torch import adapt
        >>> x = torch.tensor([[0.5, 0.5]])
        >>> model = adapt(lambda x: torch.stack([x[:, 0], -x[:, 0]], 1), x)
        >>> BoxedClassifier(model, (0.0, 1.0)).logits(torch.tensor([[3.0, 0.0]]))
        tensor([[ 1., -1.]])
    """

    takes_copies = True

    def __init__(self, inner: Classifier, bounds: Box) -> None:
        forward = getattr(inner, "forward", None)
        if isinstance(inner, TorchClassifier):
            inner = replace(inner, forward=within(inner.forward, bounds, inner.input_shape))
        self.inner, self.search_box = inner, bounds
        self.name, self.classes, self.input_shape = inner.name, inner.classes, inner.input_shape
        self.device, self.dtype = inner.device, inner.dtype
        self.forward = forward
        self.form = getattr(inner, "form", "logits")
        self.differentiable = is_differentiable(inner)

    @property
    def role(self) -> str:
        """See `Classifier.role`."""
        return self.inner.role

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (n, C) of the points of the box that are nearest to flat inputs (n, D)."""
        return called(self.inner, clipped(x, self.search_box))

    def evaluation(self) -> AbstractContextManager[Any]:
        """See `Classifier.evaluation`."""
        return self.inner.evaluation()


def box_of(classifier: Classifier) -> Box | None:
    """Return the box that searches of a classifier stay in; None where there is none."""
    return getattr(classifier, "search_box", None)


def box_at(classifier: Classifier, x: Tensor) -> Box | None:
    """Return the box that searches of a classifier from inputs (n, D) stay in, on their device and in their dtype."""
    box = box_of(classifier)
    if box is None or is_of_numbers(box):
        return box
    return box[0].to(x), box[1].to(x)


def is_of_numbers(box: Box | None) -> bool:
    """Return whether there is a box whose ends are numbers, the same for all entries of an input."""
    return box is not None and not isinstance(box[0], Tensor)


def clipped(x: Tensor, box: Box) -> Tensor:
    """Return the points of a box that are nearest to points (..., D).

    The derivative is zero where an entry lies outside, and one where only rounding took it there.
    """
    inside = x.clamp(*box)
    return torch.where(_entries_inside(x, box), inside.detach() + (x - x.detach()), inside)


def is_inside(x: Tensor, box: Box | None) -> Tensor:
    """Return which points (..., D) lie in a box up to rounding errors, (...,) bool; all where there is no box."""
    if box is None:
        return torch.ones_like(x[..., 0], dtype=torch.bool)
    return _entries_inside(x, box).all(-1)


def _entries_inside(x: Tensor, box: Box) -> Tensor:
    """Return which entries (..., D) of points lie in a box up to rounding errors, bool."""
    low, high = (torch.as_tensor(end).to(x) for end in box)
    size = torch.maximum(torch.maximum(low.abs(), high.abs()), high - low)
    rounding = ROUNDING * torch.finfo(x.dtype).eps * size
    return (x >= low - rounding) & (x <= high + rounding)
