"""The classifier: a small convolutional network for 8 x 8 images."""

from __future__ import annotations

import math

import torch
from torch import nn


class DigitsCNN(nn.Sequential):
    """Two convolutions, one pooling step, two linear layers: (n, 1, 8, 8) in, (n, 10) logits out."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )


def untrained(seed: int = 0) -> DigitsCNN:
    """An untrained network, whose weights depend on `seed` alone.

    The constructor of a layer draws from torch's global generator, except on the meta device. The network is therefore
    made there, and its weights are then drawn from a local generator, with the bounds of torch's defaults.
    """
    with torch.device("meta"):
        network = DigitsCNN()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
    return network
