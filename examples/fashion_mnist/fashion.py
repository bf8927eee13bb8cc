"""Fashion-MNIST: a small CNN, trained in under a minute, and its test data.

    apt-get install dataset-fashion-mnist     # or set FASHION_MNIST to a folder with the four IDX files
    cd examples/fashion_mnist
    pytest --dmm

The folder needs no other file of the repository: copy it as the start of your own project.
"""

from __future__ import annotations

import gzip
import os
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPOCHS = 2
BATCH = 128
RATE = 2e-3


class Labelled(NamedTuple):
    """Images and their classes."""

    x: Tensor  # (n, 1, 28, 28) float32 in [0, 1]
    y: Tensor  # (n,) int64, 0 to 9


def folder() -> Path:
    """The folder of the IDX files."""
    return Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


def load(part: str) -> Labelled:
    """The part ``train`` (60 000 images) or ``t10k`` (10 000 images) of the data."""
    images = _idx(f"{part}-images-idx3-ubyte.gz", header=16).reshape(-1, 1, 28, 28).float() / 255
    return Labelled(images, _idx(f"{part}-labels-idx1-ubyte.gz", header=8).long())


def _idx(name: str, *, header: int) -> Tensor:
    path = folder() / name
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; apt-get install dataset-fashion-mnist, or set FASHION_MNIST to the folder of the files"
        )
    return torch.frombuffer(bytearray(gzip.decompress(path.read_bytes())[header:]), dtype=torch.uint8)


@cache
def train_split() -> Labelled:
    """Training data of the network and the manifold."""
    return load("train")


@cache
def test_split() -> Labelled:
    """Test data."""
    return load("t10k")


def untrained(seed: int = 0) -> nn.Module:
    """An untrained network, whose weights depend on `seed` alone; bounds as in torch's defaults."""
    with torch.device("meta"):
        network = nn.Sequential(
            *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10)),
        )
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                bound = layer.weight[0].numel() ** -0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
    return network


@cache
def network() -> nn.Module:
    """The network under test."""
    x, y = train_split()
    generator = torch.Generator().manual_seed(0)
    model = untrained(0).to(memory_format=torch.channels_last)  # maximum pooling is faster in this layout
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    for epoch in range(EPOCHS):
        batches = torch.randperm(len(x), generator=generator).split(BATCH)
        for number, index in enumerate(batches, 1):
            images = x[index].contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(images), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if number % 100 == 0 or number == len(batches):
                print(f"epoch {epoch + 1} of {EPOCHS}, batch {number} of {len(batches)}", file=sys.stderr, flush=True)
    return model.eval()
