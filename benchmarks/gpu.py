"""What runs cost on a GPU, and whether they find there what the processor finds in float64.

    python -m benchmarks.gpu                      on a machine with CUDA; prints its tables
    python -m benchmarks.gpu --device cpu --smoke fast runs of small networks on the processor

First, the four networks of `benchmarks.suite`: a whole default run on the device beside the same run on the processor,
and the distances of the three searches on the device in float32 beside those on the processor in float64. Then a
network of the shape of ResNet-50 with random weights, for images of 224x224 and 1,000 classes, whose labels are its own
predictions, since only costs are asked there. Times are wall-clock times after a first run of eight inputs. Memory is
the largest that torch has allocated on the device, without the weights.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional as F

import dmmcheck
from benchmarks.measuring import progress, resident
from benchmarks.networks import Images
from benchmarks.suite import NETWORKS, Network, trained
from dmmcheck.attacks.minimal_norm.search import search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.manifolds import PCA
from dmmcheck.models.base import flat
from dmmcheck.models.process_state import neutral_state
from dmmcheck.models.torch import adapt
from dmmcheck.report.model import Report

ARMS = ("free", "tangent", "normal")
COMPARED = 32  # inputs whose distances are compared with those in float64
MOST_OFF = 0.02  # of the median over inputs of |d / d64 - 1|, in any arm
SIDE, CLASSES, LARGE_DIM, LARGE_INPUTS = 224, 1000, 64, 256


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1 with batch norm, and the input added, as in ResNet-50."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.body(x))


def resnet50(blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 64, classes: int = CLASSES) -> nn.Module:
    """A network of the shape of ResNet-50, with random weights from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(width)]
        layers += [nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
        inputs = width
        for group, count in enumerate(blocks):
            for block in range(count):
                layers.append(Bottleneck(inputs, width << group, 2 if group and not block else 1))
                inputs = 4 * (width << group)
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
        return nn.Sequential(*layers).eval().requires_grad_(False)


def large_subject(model: nn.Module, side: int, inputs: int, dim: int, device: str) -> dmmcheck.Subject:
    """Random smooth images for a network with random weights, with its own predictions as labels."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand((inputs + 2 * dim, 3, 8, 8), generator=generator)
    images = F.interpolate(small, size=(side, side), mode="bilinear")
    with torch.no_grad():
        labels = torch.cat([model(piece.to(device)).argmax(1).cpu() for piece in images.split(32)])
    x, y, points = images[:inputs], labels[:inputs], images[inputs:]
    return dmmcheck.Subject(model=model, x=x, y=y, manifold=PCA(dim=dim).fit(points), bounds=(0.0, 1.0))


@dataclass(frozen=True)
class Timed:
    """What a piece of work returned, its wall-clock seconds, and the largest memory in MB."""

    result: object
    seconds: float
    megabytes: float


def timed(device: str, work: Callable[[], object]) -> Timed:
    """Do a piece of work, and measure it once the device has finished."""
    is_gpu = device.startswith("cuda")
    if is_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) / 2**20 if is_gpu else resident(reset=True)
    start = time.perf_counter()
    result = work()
    if is_gpu:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if is_gpu else resident()
    return Timed(result, seconds, peak - before)


def run_row(
    name: str, subject: dmmcheck.Subject, device: str, inputs: int, *, fast: bool
) -> tuple[dict[str, str], Report]:
    """A row with what a run of a subject costs on a device, and its report."""
    dmmcheck.run(subject, samples=8, device=device, checks=["off-manifold-energy"], tiers=["stated"])
    progress(f"{name}: whole run on {device}")
    done = timed(device, partial(dmmcheck.run, subject, samples=inputs, seed=0, device=device, fast=fast))
    report = done.result
    assert isinstance(report, Report)
    cost = report.cost.total
    row = {
        "network": name,
        "device": device,
        "inputs": str(report.subject.inputs),
        "seconds": f"{done.seconds:.1f}",
        "gradients": f"{cost.gradient_evaluations:,}",
        "gradients a second": f"{cost.gradient_evaluations / done.seconds:,.0f}",
        "memory, MB": f"{done.megabytes:.0f}",
    }
    return row, report


def suite_subject(network: Network, images: Images, inputs: int, device: str) -> dmmcheck.Subject:
    """A network of the suite on a device, with twice as many inputs as are used."""
    model = copy.deepcopy(trained(network, images)).to(device)
    rows = slice(2 * inputs)
    manifold = PCA(dim=network.dim).fit(images.x_train)
    return dmmcheck.Subject(
        model=model, x=images.x_test[rows], y=images.y_test[rows], manifold=manifold, bounds=(0.0, 1.0)
    )


@neutral_state()
def distances(network: Network, images: Images, device: str, dtype: torch.dtype, inputs: int) -> dict[str, Tensor]:
    """Distances (n,) of the three searches by arm, on a device in a dtype, of the first correctly classified inputs."""
    model = copy.deepcopy(trained(network, images)).to(device, dtype)
    shown = images.x_test[: 2 * inputs].to(device, dtype)
    classifier = adapt(model, shown)
    x, y = flat(classifier, shown), images.y_test[: 2 * inputs].to(device)
    right = (classifier.logits(x).argmax(1) == y).nonzero().squeeze(1)[:inputs]
    x, y = x[right], y[right]
    basis = PCA(dim=network.dim).fit(images.x_train).tangent_basis(images.x_test[:1].flatten(1)).to(x)
    spaces = [Everywhere(), spanned(basis), spanned(basis, normal=True)]
    found = search_spaces(classifier, x, y, spaces, generator=torch.Generator().manual_seed(0))
    return {arm: crossing.distance.double().cpu() for arm, crossing in zip(ARMS, found, strict=True)}


def agreement(name: str, here: dict[str, Tensor], exact: dict[str, Tensor]) -> Iterator[dict[str, str | float]]:
    """A row for each arm: how far distances are off those in float64."""
    for arm in ARMS:
        count = min(len(here[arm]), len(exact[arm]))
        off = (here[arm][:count] / exact[arm][:count] - 1).abs()
        off = off[off.isfinite()]
        median = float(off.quantile(0.5)) if len(off) else math.nan
        yield {
            "network": name,
            "arm": arm,
            "inputs": float(count),
            "median off": median,
            "share more than 5 % off": float((off > 0.05).double().mean()) if len(off) else math.nan,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--inputs", type=int, default=200)
    parser.add_argument("--only", default="", help="networks whose names contain this")
    parser.add_argument(
        "--device-alone", action="store_true", help="leave out the whole runs on the processor, which can take an hour"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="fast runs of small networks with few inputs, on the processor"
    )
    given = parser.parse_args()
    device = "cpu" if given.smoke else given.device
    if device == "cpu":
        torch.set_num_threads(1)
    if device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here; run this on a machine with one, or add --device cpu")
    inputs, compared = (9, 8) if given.smoke else (given.inputs, COMPARED)
    costs, agreements = [], []
    for network in [one for one in NETWORKS if given.only in one.name][: 1 if given.smoke else None]:
        images = network.data()
        for place in dict.fromkeys((device,) if given.device_alone else (device, "cpu")):
            row, report = run_row(
                network.name, suite_subject(network, images, inputs, place), place, inputs, fast=given.smoke
            )
            costs.append({**row, "supported": str(sum(one.verdict == "supported" for one in report.findings))})
        here = distances(network, images, device, torch.float32, compared)
        agreements += agreement(network.name, here, distances(network, images, "cpu", torch.float64, compared))
    if given.only in "ResNet-50-shaped":
        blocks, width, side, count, dim = (3, 4, 6, 3), 64, SIDE, LARGE_INPUTS, LARGE_DIM
        if given.smoke:
            blocks, width, side, count, dim = (1, 1, 1, 1), 4, 32, 9, 4
        model = resnet50(blocks, width, 10 if given.smoke else CLASSES).to(device)
        subject = large_subject(model, side, count, dim, device)
        row, _ = run_row(f"ResNet-50-shaped, {side}", subject, device, count, fast=given.smoke)
        costs.append({**row, "supported": ""})
    print(
        f"{torch.cuda.get_device_name(device) if device.startswith('cuda') else 'processor'}, torch {torch.__version__}"
    )
    print(tabulate(costs, headers="keys", tablefmt="github", disable_numparse=True))
    print(tabulate(agreements, headers="keys", tablefmt="github", floatfmt=".3g"))
    worst = max((float(row["median off"]) for row in agreements), default=0.0)
    if not worst <= MOST_OFF:
        sys.exit(f"the median distance is off by {worst:.2g} of that in float64 (at most {MOST_OFF})")


if __name__ == "__main__":
    main()
