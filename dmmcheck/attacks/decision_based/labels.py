"""The label oracle: which perturbations change the label of their input, with every model call counted."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.search_space import Everywhere, SearchSpace
from dmmcheck.models.base import Classifier, called
from dmmcheck.models.boxed import box_at, is_inside
from dmmcheck.models.memory import batch_results


class LabelOracle:
    """Answers whether a perturbation changes the label of an input; it reads nothing else of the model.

    Where the classifier has a box, a perturbation that leaves it counts as the nearest one that does not; in a search
    space that this one may lie outside of, it counts as no label change.

    Args:
        classifier: The model, in evaluation mode while the oracle is in use.
        x: Inputs (n, D).
        y: Labels (n,).
        targets: Classes (n,) to reach, or None for any other class.
        space: Search spaces of the n inputs.
        queries: Most model calls of one input.
        batch: Most rows in one model call; halved where memory runs out.

    Attributes:
        spent: (n,) model calls of each input so far.
    """

    def __init__(
        self,
        classifier: Classifier,
        x: Tensor,
        y: Tensor,
        *,
        targets: Tensor | None,
        space: SearchSpace,
        queries: int,
        batch: int,
    ) -> None:
        self.classifier, self.x, self.y, self.targets, self.space = classifier, x, y, targets, space
        self.queries, self.batch = queries, batch
        self.spent = torch.zeros_like(y)
        self._box = box_at(classifier, x)

    def crosses(self, delta: Tensor, inputs: Tensor) -> Tensor:
        """Return whether perturbations delta (m, s, D) change the labels of inputs (m,), as (m, s) bool."""
        m, s, width = delta.shape
        if not m * s:
            return torch.zeros((m, s), dtype=torch.bool, device=self.x.device)
        points = (self.x[inputs][:, None] + delta).reshape(m * s, width)

        def call(rows: slice) -> Tensor:
            with torch.no_grad():
                return called(self.classifier, points[rows]).argmax(1)

        parts, self.batch = batch_results(m * s, self.batch, call)
        self.spent.index_add_(0, inputs, torch.full_like(inputs, s))
        labels = torch.cat(parts).reshape(m, s)
        changed = labels != self.y[inputs][:, None] if self.targets is None else labels == self.targets[inputs][:, None]
        if self._box is None or isinstance(self.space, Everywhere):
            return changed
        return changed & is_inside(points, self._box).reshape(m, s)

    def clipped(self, delta: Tensor) -> Tensor:
        """Return the perturbations (n, D) of all inputs, clipped to the box of the classifier where it has one."""
        return delta if self._box is None else (self.x + delta).clamp(*self._box) - self.x

    def affords(self, inputs: Tensor, queries: Tensor) -> Tensor:
        """Return which of the inputs (m,) have at least these numbers of model calls (m,) left, (m,) bool."""
        return self.spent[inputs] + queries <= self.queries
