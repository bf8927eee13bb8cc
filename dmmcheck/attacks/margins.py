"""The logit margin z_y - max_{j != y} z_j, and gradients with respect to the input only."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.models.base import Classifier, called, input_gradient

FAR = 1000.0  # margins: a class so far below the largest one is out of reach


def largest_other(logits: Tensor, y: Tensor) -> Tensor:
    """Return the largest of the logits (n, C) of each row, that of its label y (n,) left out, (n,)."""
    return logits.scatter(1, y[:, None], -torch.inf).amax(1)


def logit_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return the logit margin z_y - max_{j != y} z_j (n,) of logits (n, C): negative where the model does not say y."""
    return logits.gather(1, y[:, None]).squeeze(1) - largest_other(logits, y)


def within_reach(logits: Tensor) -> Tensor:
    """Return which classes come within reach of the largest of the logits (n, C) in some row: (C,) bool.

    A class that is masked by a constant such as -1e9 does not: its logit says nothing about the scale of the others.
    A class is out of reach where its logit stays more than 1,000 times the median margin below the largest one.
    """
    largest = logits.topk(min(2, logits.shape[1]), dim=1).values
    margin = (largest[:, 0] - largest[:, -1]).median()
    behind = (largest[:, :1] - logits).amin(0)
    return (behind <= FAR * margin) | (margin <= 0)


def margin_gradient(classifier: Classifier, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logit margin (n,) of points x (n, D) with labels y (n,), and its gradient (n, D)."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_(True)
        margin = logit_margin(called(classifier, leaf), y)
        return margin.detach(), input_gradient(margin.sum(), leaf, role=classifier.role)
