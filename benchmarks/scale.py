"""How the costs of the search grow with inputs, dimensions and classes, and those of a run with processes.

    python -m benchmarks.scale              to 10^5 inputs, D = 150,528, k = 1,024 and 1,000 classes; writes SCALE.md
    python -m benchmarks.scale --smoke      the small sizes; prints the exponents, which must stay below their bounds

The three searches (anywhere, in the tangent space, in the normal space) of a network with one hidden layer are made
with quick effort, and one size is raised at a time. An exponent is the slope of the straight line through the
logarithms of the larger half of the sizes: 1 means twice as much for twice the size. Times are processor times of one
thread; memory is the largest above that before the search, without the inputs and the bases. The last table estimates
what 10^8 inputs take on many processes, from the measured cost of an input: an estimate, not a measurement.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn

import dmmcheck
from benchmarks.measuring import progress, resident
from benchmarks.suite import NETWORKS, subject_of
from dmmcheck.attacks.minimal_norm.search import search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.models.torch import adapt

RESULTS = Path(__file__).with_name("SCALE.md")
WIDTH = 32
MOST = 1.2  # exponent of the time, in any size: the search does nothing that grows with the square of a size
PAPER_INPUTS, HOURS = 10**8, 3600
WORKED_AT = ((NETWORKS[0], 400), (NETWORKS[1], 200))  # networks and inputs of the runs with several processes
LEAST_FASTER = 1.7  # times that two processes are as fast as one, on two free cores


@dataclass(frozen=True)
class Size:
    """The sizes of one search."""

    inputs: int = 64
    ambient_dim: int = 64
    dim: int = 8
    classes: int = 10


BASES = {
    "inputs": (Size(), [1_000, 3_000, 10_000, 30_000, 100_000]),
    "ambient_dim": (Size(inputs=16), [784, 3_072, 12_288, 49_152, 150_528]),
    "dim": (Size(inputs=16, ambient_dim=12_288), [16, 64, 256, 512, 1_024]),
    "classes": (Size(inputs=256), [10, 30, 100, 300, 1_000]),
}
SMALL = {
    "inputs": (Size(), [64, 256, 1_024]),
    "ambient_dim": (Size(inputs=16), [784, 3_072, 12_288]),
    "dim": (Size(inputs=16, ambient_dim=3_072), [16, 64, 256]),
    "classes": (Size(), [10, 30, 100]),
}
WORDS = {"inputs": "inputs", "ambient_dim": "ambient dimension D", "dim": "dimension k", "classes": "classes"}


@dataclass(frozen=True)
class Spent:
    """Processor seconds, gradients and largest memory in MB of one search."""

    seconds: float
    gradients: float
    megabytes: float


def searched(size: Size) -> Spent:
    """What the three searches of a network with random weights cost; its own predictions are the labels."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / math.sqrt(shape[-1])

    model = nn.Sequential(nn.Linear(size.ambient_dim, WIDTH), nn.ReLU(), nn.Linear(WIDTH, size.classes))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.copy_(normal(*layer.weight.shape))
            layer.bias.copy_(normal(len(layer.bias)))
    x = torch.randn((size.inputs, size.ambient_dim), generator=generator)
    classifier = adapt(model.eval().requires_grad_(False), x[:2])
    y = classifier.logits(x).argmax(1)
    basis = torch.linalg.qr(torch.randn((size.ambient_dim, size.dim), generator=generator))[0]
    spaces = [Everywhere(), spanned(basis), spanned(basis, normal=True)]
    before, start = resident(reset=True), time.process_time()
    found = search_spaces(classifier, x, y, spaces, effort="quick", generator=generator)
    gradients = sum(float(crossing.backwards.sum()) for crossing in found)
    return Spent(time.process_time() - start, gradients, resident() - before)


def exponent(sizes: list[int], values: list[float]) -> float:
    """Slope of the line through the logarithms of the larger half of sizes and values."""
    half = len(sizes) // 2
    slope: float = np.polyfit(np.log(sizes[half:]), np.log(np.maximum(values[half:], 1e-3)), 1)[0]
    return slope


def grown(name: str, base: Size, sizes: list[int]) -> tuple[list[dict[str, str]], float]:
    """A row for each value of one size, and the exponent of the time."""
    searched(replace(base, **{name: sizes[0]}))  # a first call, whose caching counts for none
    rows, costs = [], []
    for value in sizes:
        progress(f"{WORDS[name]}: {value:,}")
        cost = searched(replace(base, **{name: value}))
        costs.append(cost)
        inputs = value if name == "inputs" else base.inputs
        rows.append(
            {
                WORDS[name]: f"{value:,}",
                "seconds": f"{cost.seconds:.2f}",
                "gradients an input": f"{cost.gradients / inputs:.0f}",
                "microseconds a gradient": f"{1e6 * cost.seconds / cost.gradients:.0f}",
                "memory, MB": f"{cost.megabytes:.0f}",
            }
        )
    slope = exponent(sizes, [cost.seconds for cost in costs])
    print(f"{table(rows)}\nexponent of the time: {slope:.2f}\n", flush=True)
    return rows, slope


def workers(counts: list[int]) -> tuple[list[dict[str, str]], list[str]]:
    """Wall-clock seconds of whole default runs with several processes, beside one; and the bounds that do not hold.

    Each run starts its own processes, so that the seconds that these take to load torch count.
    """
    rows, broken = [], []
    for network, samples in WORKED_AT:
        made = subject_of(network, samples)
        alone = math.nan
        for count in counts:
            progress(f"processes: {count}, {network.name}")
            start = time.perf_counter()
            dmmcheck.run(made, seed=0, samples=samples, jobs=count)
            seconds = time.perf_counter() - start
            alone = seconds if count == 1 else alone
            rows.append(
                {
                    "run": f"{network.name}, {samples} inputs",
                    "processes": str(count),
                    "seconds": f"{seconds:.1f}",
                    "times as fast": f"{alone / seconds:.2f}",
                }
            )
            if count == 2 and alone / seconds < LEAST_FASTER:
                broken.append(f"two processes: {alone / seconds:.2f} times as fast as one (at least {LEAST_FASTER})")
    print(table(rows), flush=True)
    return rows, broken


def on_paper(gradients_an_input: float) -> str:
    """What 10^8 inputs take on hundreds of GPUs, from the gradients that an input takes and assumed speeds."""
    total = PAPER_INPUTS * gradients_an_input
    rows = [
        {
            "model passes a second, one GPU": f"{speed:,}",
            **{f"{count} GPUs": f"{total / speed / count / HOURS:,.0f} h" for count in (1, 100, 500)},
        }
        for speed in (1_000, 10_000, 100_000)
    ]
    return table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="the small sizes, nothing written")
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts, broken, gradients = [], [], math.nan
    for name, (base, sizes) in (SMALL if given.smoke else BASES).items():
        rows, slope = grown(name, base, sizes)
        if name == "inputs":
            gradients = float(rows[-1]["gradients an input"])
        if slope > MOST:
            broken.append(f"the time grows with the power {slope:.2f} of the {WORDS[name]} (at most {MOST})")
        parts.append(f"Exponent of the time in the {WORDS[name]}: {slope:.2f}.\n\n{table(rows)}")
    if not given.smoke:
        faster, slow = workers([1, 2])
        broken += slow
        parts.append(f"Whole default runs in several processes of one thread each:\n\n{table(faster)}")
        parts.append(
            f"On paper: {PAPER_INPUTS:.0e} inputs at {gradients:.0f} gradients each, which is what the three searches "
            "take with quick effort. Inputs are independent, so that processes exchange nothing but results. "
            f"The speeds are assumptions:\n\n{on_paper(gradients)}"
        )
        RESULTS.write_text(
            "# How costs grow\n\nWritten by `python -m benchmarks.scale`.\n\n" + "\n\n".join(parts) + "\n"
        )
    sys.exit("\n".join(broken) or 0)


def table(rows: list[dict[str, str]]) -> str:
    """Rows as Markdown."""
    return str(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
