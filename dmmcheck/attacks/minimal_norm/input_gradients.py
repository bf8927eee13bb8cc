"""Gradients at the inputs, which all searches of the same inputs share, whatever their search space or target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CANCELLED = 1e-3  # differences of gradients below this share of the larger one are computed anew


@dataclass(frozen=True, eq=False)
class InputGradients:
    """The logits at inputs with labels y, and how they change there.

    Attributes:
        logits: (n, C) logits.
        classes: (n, c) the classes with the largest logits, without the label of the input.
        gradients: (n, c, D) gradients of z_y - z_class, the difference of the logits of the label and of each class.
    """

    logits: Tensor
    classes: Tensor
    gradients: Tensor

    def rows(self, index: Tensor | slice) -> InputGradients:
        """Return the logits, classes and gradients of some of the inputs, by an index (m,) or a slice."""
        return InputGradients(self.logits[index], self.classes[index], self.gradients[index])

    def toward(self, y: Tensor, own: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients (n, k, D) of z_own - z_class, and for which inputs all of them are known (n,).

        A gradient is unknown where its class is not among those that are kept. It is also unknown where it is so much
        smaller than the two gradients whose difference it is that little more than their rounding would be left.

        Args:
            y: Labels (n,).
            own: (n,) the labels, or any other class of each input.
            classes: (n, k) classes.
        """
        wanted, kept = torch.cat([own[:, None], classes], 1), torch.cat([y[:, None], self.classes], 1)
        is_same = wanted[:, :, None] == kept[:, None, :]
        of_label = torch.zeros_like(self.gradients[:, :1])  # z_y - z_y does not change
        gradients = torch.cat([of_label, self.gradients], 1)
        found = gradients[torch.arange(len(y), device=y.device)[:, None], is_same.long().argmax(2)]
        toward, sizes = found[:, 1:] - found[:, :1], found.norm(dim=2)
        is_cancelled = toward.norm(dim=2) < CANCELLED * torch.maximum(sizes[:, 1:], sizes[:, :1])
        return toward, is_same.any(2).all(1) & ~is_cancelled.any(1)
