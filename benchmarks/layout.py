"""Which networks are faster on the CPU with channels last in memory, and which of them a run calls in this layout.

    python -m benchmarks.layout            # about a minute
    python -m benchmarks.layout --smoke    # some seconds: small batches, each once

A run gives a network its images in this layout where the network calls functions that are faster in it
(`dmmcheck.models.layout`). A ratio is the processor time of a pass with channels last over that of the same pass with
images as they are, each the least of several that take turns. Below 1, channels last is faster.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from tabulate import tabulate
from torch import nn

from benchmarks.networks import Attending, max_pooling, small_resnet, smooth
from benchmarks.suite import residual
from dmmcheck.models.base import input_gradient
from dmmcheck.models.torch import TorchClassifier, adapt
from examples.digits.network import DigitsCNN

BATCHES, TURNS = (8, 64, 200), 7
LAYOUTS = (torch.preserve_format, torch.channels_last)


def strided() -> nn.Module:
    """A CNN of strided convolutions, without pooling or normalisation."""
    first = [nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(32 * 49, 100), nn.ReLU(), nn.Linear(100, 10))


def depthwise() -> nn.Module:
    """A CNN of four blocks, each a depthwise and a pointwise convolution with batch norm, as in MobileNet."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1)]
    for _ in range(4):
        layers += [nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.BatchNorm2d(32), nn.ReLU6()]
        layers += [nn.Conv2d(32, 32, 1), nn.BatchNorm2d(32), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def grouped() -> nn.Module:
    """A CNN of two convolutions with group norm, and average pooling."""
    first = [nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.SiLU()]
    second = [nn.Conv2d(32, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.SiLU(), nn.AvgPool2d(4)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(32 * 64, 10))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "digits CNN, max pooling": (DigitsCNN, (1, 8, 8)),
    "CNN, max pooling": (max_pooling, (1, 28, 28)),
    "CNN, batch norm": (lambda: smooth(28), (1, 28, 28)),
    "small ResNet": (lambda: small_resnet(3), (3, 32, 32)),
    "ResNet-18-shaped": (residual, (3, 32, 32)),
    "depthwise, batch norm": (depthwise, (3, 32, 32)),
    "strided CNN": (strided, (1, 28, 28)),
    "CNN, group norm": (grouped, (3, 32, 32)),
    "transformer": (lambda: Attending(28), (1, 28, 28)),
}


def least(passes: list[Callable[[], object]], turns: int) -> list[float]:
    """The least processor seconds of each of several passes, which take turns."""
    found = [float("inf")] * len(passes)
    for _ in range(turns):
        for number, once in enumerate(passes):
            start = time.process_time()
            once()
            found[number] = min(found[number], time.process_time() - start)
    return found


def forward(classifier: TorchClassifier, x: torch.Tensor) -> torch.Tensor:
    """One pass forward of flat inputs (n, D)."""
    with torch.no_grad():
        return classifier.logits(x)


def gradient(classifier: TorchClassifier, x: torch.Tensor) -> torch.Tensor:
    """One pass forward and backward of flat inputs (n, D)."""
    leaf = x.clone().requires_grad_()
    return input_gradient(classifier.logits(leaf)[:, 0].sum(), leaf)


def row(name: str, batches: tuple[int, ...], turns: int) -> dict[str, str]:
    """The ratios of a network for each size of a batch, and the layout that a run chooses."""
    make, shape = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make().eval().requires_grad_(False)
    images = torch.rand((max(batches), *shape), generator=torch.Generator().manual_seed(0))
    chosen = adapt(model, images)
    assert isinstance(chosen, TorchClassifier)
    both = [replace(chosen, layout=layout) for layout in LAYOUTS]
    cells = {"network": name, "layout in a run": "channels last" if chosen.layout == LAYOUTS[1] else "as given"}
    for kind in (forward, gradient):
        for n in batches:
            x = images[:n].flatten(1)
            plain, last = least([partial(kind, one, x) for one in both], turns)
            cells[f"{kind.__name__}, {n} rows"] = f"{last / plain:.2f}"
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    batches, turns = (BATCHES[:1], 1) if given.smoke else (BATCHES, TURNS)
    print(tabulate([row(name, batches, turns) for name in NETWORKS], headers="keys", disable_numparse=True))


if __name__ == "__main__":
    main()
