"""How much memory runs take on inputs that are large, and on inputs that are many.

    python -m benchmarks.memory            D = 150,528 with k = 256 bases an input; 100,000 inputs handed over
    python -m benchmarks.memory --smoke    smaller sizes, and no bounds

Two runs, each in a process of its own, whose largest memory is read from the operating system. Both are of the stated
claims, with quick effort, by 64 inputs and a network with random weights, whose own predictions are the labels.

- ``bases``: inputs of 3 x 224 x 224 pixels, and a manifold with another tangent basis at each input. The bases of all
  inputs would take 9.9 GB. The run may take twice the memory of the bases that it asks for at once, beside the model
  and the data, and 4 GB in all.
- ``handed over``: 10,000 and 100,000 inputs of 3 x 32 x 32 pixels. The run of ten times as many inputs may take at
  most a quarter of their size more, beside the data.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from math import prod

import torch
from tabulate import tabulate
from torch import Tensor, nn

import dmmcheck
from dmmcheck.subject import Subject

SAMPLES, CLASSES, FLOAT = 64, 10, 4
MOST_BYTES, MOST_BATCHES, MOST_COPIED = 4e9, 2.0, 0.25
PIECE = 500  # inputs that are drawn, or labelled, at a time


@dataclass(frozen=True)
class Size:
    """The sizes of a run: inputs handed over, the shape of one, and the dimension of the manifold."""

    inputs: int
    shape: tuple[int, ...]
    dim: int


BASES, SMALL_BASES = Size(600, (3, 224, 224), 256), Size(200, (3, 32, 32), 16)
HANDED, SMALL_HANDED = Size(100_000, (3, 32, 32), 16), Size(4_000, (3, 32, 32), 16)


class Rolled:
    """A manifold with another tangent space at each input: one random basis, rolled along the coordinates."""

    name = "rolled"

    def __init__(self, size: Size, generator: torch.Generator) -> None:
        self.dim, self.most_at_once = size.dim, 0
        self._basis = torch.linalg.qr(torch.randn((prod(size.shape), size.dim), generator=generator)).Q.contiguous()

    def project_point(self, x: Tensor) -> Tensor:
        """The inputs themselves: they count as points of the manifold."""
        return x

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Bases (n, D, k), rolled by how much the first values of a point are."""
        self.most_at_once = max(self.most_at_once, len(x))
        bases = torch.empty((len(x), *self._basis.shape))
        for basis, row in zip(bases, x, strict=True):
            by = int(1000 * float(row[:64].abs().sum())) % len(self._basis)
            basis[by:], basis[:by] = self._basis[: len(row) - by], self._basis[len(row) - by :]
        return bases


class Flat:
    """A linear manifold: the span of a random basis."""

    name = "flat"

    def __init__(self, size: Size, generator: torch.Generator) -> None:
        self.dim = size.dim
        self._basis = torch.linalg.qr(torch.randn((prod(size.shape), size.dim), generator=generator)).Q

    def project_point(self, x: Tensor) -> Tensor:
        """The points of the span that are nearest to points (n, D)."""
        return x @ self._basis @ self._basis.T

    def tangent_basis(self, x: Tensor) -> Tensor:
        """The basis (D, k), which all points share."""
        del x
        return self._basis


def network(shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    """A small convolutional network with random weights."""
    channels, side = shape[0], shape[-1] // 8
    model = nn.Sequential(
        *(nn.Conv2d(channels, 8, side, stride=side), nn.ReLU(), nn.Flatten()),
        nn.Linear(8 * 8 * 8, CLASSES),
    )
    for weights in model.parameters():
        weights.data = torch.randn(weights.shape, generator=generator) / weights[0].numel() ** 0.5
    return model.eval().requires_grad_(False)


def peak() -> int:
    """The largest memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measured(size: Size, make: type[Rolled] | type[Flat]) -> tuple[float, float, float, int]:
    """Peak bytes beside model and data and in all, seconds, and most bases at once, of a run in this process."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    model, manifold = network(size.shape, generator), make(size, generator)
    x = torch.empty((size.inputs, *size.shape))
    for piece in torch.split(x, PIECE):
        piece.normal_(generator=generator)
    y = torch.cat([model(piece).argmax(1) for piece in torch.split(x, PIECE)])
    before, start = peak(), time.perf_counter()
    subject = Subject(model=model, x=x, y=y, manifold=manifold)
    dmmcheck.run(subject, samples=SAMPLES, seed=0, effort="quick", tiers=["stated"], cache=False)
    return peak() - before, peak(), time.perf_counter() - start, getattr(manifold, "most_at_once", 0)


def in_process(name: str, smoke: bool) -> tuple[float, float, float, int]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--measure", name, *["--smoke"] * smoke]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    beside, whole, seconds, at_once = done.stdout.split()
    return float(beside), float(whole), float(seconds), int(at_once)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--measure", choices=("bases", "few", "many"), help="one run, in this process")
    given = parser.parse_args()
    bases, handed = (SMALL_BASES, SMALL_HANDED) if given.smoke else (BASES, HANDED)
    few = Size(handed.inputs // 10, handed.shape, handed.dim)
    sizes = {"bases": bases, "few": few, "many": handed}
    if given.measure:
        print(*measured(sizes[given.measure], Rolled if given.measure == "bases" else Flat))
        return
    found = {name: in_process(name, given.smoke) for name in sizes}
    rows = []
    for name, size in sizes.items():
        beside, whole, seconds, at_once = found[name]
        of_bases = at_once * prod(size.shape) * size.dim * FLOAT
        rows.append(
            {
                "run": "bases" if name == "bases" else "handed over",
                "inputs": f"{size.inputs:,}",
                "D": f"{prod(size.shape):,}",
                "k": size.dim,
                "data, GB": f"{size.inputs * prod(size.shape) * FLOAT / 1e9:.2f}",
                "bases at once, GB": f"{of_bases / 1e9:.2f}" if at_once else "shared",
                "peak beside model and data, GB": f"{beside / 1e9:.2f}",
                "peak in all, GB": f"{whole / 1e9:.2f}",
                "seconds": f"{seconds:.0f}",
            }
        )
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))
    beside, whole, _, at_once = found["bases"]
    batches = beside / (at_once * prod(bases.shape) * bases.dim * FLOAT)
    copied = (found["many"][0] - found["few"][0]) / ((handed.inputs - few.inputs) * prod(handed.shape) * FLOAT)
    print(
        f"\npeak beside model and data, in bases at once: {batches:.2f} (at most {MOST_BATCHES:g})\n"
        f"more memory for ten times as many inputs, in their size: {copied:.2f} (at most {MOST_COPIED})"
    )
    wrong = []
    if batches > MOST_BATCHES or whole > MOST_BYTES:
        wrong.append(f"bases: {batches:.2f} times those at once, and {whole / 1e9:.2f} GB in all")
    if copied > MOST_COPIED:
        wrong.append(f"handed over: {copied:.2f} of the inputs are copied")
    sys.exit(("\n".join(wrong) or 0) if not given.smoke else 0)


if __name__ == "__main__":
    main()
