"""The margin z_y - max_{j != y} z_j and gradients in the input alone."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.models.torch import TorchClassifier


def margin_of(logits: Tensor, y: Tensor) -> Tensor:
    """z_y - max_{j != y} z_j of logits (n, C), (n,)."""
    own = logits.gather(1, y[:, None])
    rival = logits.scatter(1, y[:, None], -torch.inf).amax(1, keepdim=True)
    return (own - rival).squeeze(1)


def margin_gradient(classifier: TorchClassifier, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Margin (n,) and its gradient (n, D) at points (n, D)."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_(True)
        margin = margin_of(classifier.logits(leaf), y)
        return margin.detach(), input_gradient(margin.sum(), leaf)


def input_gradient(output: Tensor, leaf: Tensor, weights: Tensor | None = None, *, keep: bool = False) -> Tensor:
    """Gradient of an output in a leaf, zero where it does not depend on it; parameters get none."""
    if not output.requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(output, leaf, weights, retain_graph=keep, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient
