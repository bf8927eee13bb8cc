"""The boundary search compared with the minimal-L2 attacks of other libraries: distances, success rates and costs.

    python -m benchmarks.search [--inputs 50] [--fresh]     writes benchmarks/RESULTS.md
    python -m benchmarks.search --left-out                  families that the search was not tuned on, into LEFT_OUT.md
    python -m benchmarks.search --smoke                     digits, dmmcheck alone, with bounds that must hold

Ours gets the training images as examples, as in a run. There are four searches: anywhere, in the normal and in the
tangent space of a PCA (without a box), and anywhere inside the box [0, 1]. Each distance is divided by d*, the smallest
distance of the input by any attack and by long runs. Times are processor times of one thread, relative to FMN with 100
steps, which runs between the others in the same search: medians of five runs of quick and default, and of eleven of
FMN. Results of a network are kept under ``build/`` until the search or the benchmark changes, so that an interrupted
run continues.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measuring import OURS, SLOW_INPUTS, kept, progress, resident
from benchmarks.networks import Case, load, network
from benchmarks.peers import REFERENCE
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.models.base import flat
from dmmcheck.models.torch import TorchClassifier, adapt

RESULTS = Path(__file__).with_name("RESULTS.md")
ARMS = ("anywhere", "normal", "tangent", "boxed")
CASES = tuple(  # three networks a group
    Case(data, kind, training, seed)
    for data, networks in (
        ("digits", (("CNN", 0), ("MLP", 0), ("MLP", 1))),
        ("Fashion-MNIST", (("ResNet", 0), ("MLP", 0), ("MLP", 1))),
    )
    for training in ("standard", "adversarial")
    for kind, seed in networks
)


LEFT_OUT = tuple(
    Case(data, kind, training, 11)
    for data, kind in (
        ("Fashion-MNIST", "max-pooling CNN"),
        ("Fashion-MNIST", "SiLU CNN"),
        ("Fashion-MNIST", "GRU"),
        ("Fashion-MNIST", "transformer"),
        ("Fashion-MNIST in colour", "ResNet in colour"),
    )
    for training in ("standard", "adversarial")
)
"""Families that the search is never tuned on; they are looked at once, when a change of the search is finished."""


@dataclass(frozen=True)
class Row:
    """One attack in one search of one network, or medians over networks."""

    found: float
    median: float
    p90: float
    off: float
    forwards: float
    backwards: float
    time: float
    megabytes: float

    @classmethod
    def of(cls, name: str, answers: dict[str, Any]) -> Row | str:
        """The answer of an attack, compared with the best of all answers; a note if the attack did not run."""
        answer = answers[name]
        if not answer["distance"]:
            return str(answer["note"])
        n = len(answer["distance"])
        best = np.full(n, np.inf)
        for other in answers.values():
            shared = min(n, len(other["distance"]))
            best[:shared] = np.minimum(best[:shared], other["distance"][:shared])
        known = np.isfinite(best)
        ratio = np.sort(np.array(answer["distance"])[known] / best[known])
        reference = answers.get(REFERENCE, {"seconds": 0.0, "distance": []})
        a_reference_input = reference["seconds"] / max(1, len(reference["distance"]))
        return cls(
            found=float(np.isfinite(ratio).mean()),
            median=float(np.quantile(ratio, 0.5, method="higher")),
            p90=float(np.quantile(ratio, 0.9, method="higher")),
            off=float((ratio > 1.05).mean()),
            forwards=answer["forwards"],
            backwards=answer["backwards"],
            time=answer["seconds"] / n / a_reference_input if a_reference_input else float("nan"),
            megabytes=answer["megabytes"],
        )

    def cells(self) -> str:
        return (
            f"{self.found:.1%} | {self.median:.4f} | {self.p90:.3f} | {self.off:.1%} | {self.forwards:.0f} | "
            f"{self.backwards:.0f} | {self.time:.2f} | {self.megabytes:.0f}"
        )


def typical_row(rows: list[Row]) -> Row:
    """Medians over networks, number by number."""
    return Row(**{name: float(np.median([getattr(row, name) for row in rows])) for name in Row.__dataclass_fields__})


Group = dict[str, dict[str, Row | str]]


def grouped(results: dict[Case, dict[str, dict[str, Any]]]) -> dict[str, Group]:
    """Group -> arm -> attack -> medians over the group's networks."""
    groups: dict[str, Group] = {}
    for group in dict.fromkeys(case.group for case in results):
        members = [result for case, result in results.items() if case.group == group]
        groups[group] = {}
        for arm in ARMS:
            names = [name for name, answer in members[0][arm].items() if not answer["long"]]
            groups[group][arm] = {}
            for name in names:
                rows = [Row.of(name, member[arm]) for member in members if name in member[arm]]
                numbers = [row for row in rows if isinstance(row, Row)]
                groups[group][arm][name] = typical_row(numbers) if numbers else rows[0]
    return groups


@dataclass(frozen=True)
class Target:
    """A bound that a number of an effort must meet in a search."""

    effort: str
    arm: str
    number: str
    bound: float
    least: bool = False

    def judge(self, groups: dict[str, Group]) -> tuple[list[float], bool]:
        values = []
        for group in groups.values():
            row = group[self.arm][OURS + self.effort]
            values.append(getattr(row, self.number) if isinstance(row, Row) else float("nan"))
        return values, all(value >= self.bound if self.least else value <= self.bound for value in values)


LIMITS = {
    "quick": (1.015, 1.05, None, 0.35),
    "default": (1.006, 1.03, 0.02, 0.6),
    "thorough": (1.002, 1.015, None, None),
}
TARGETS = (
    *(
        Target(effort, arm, number, bound)
        for effort, bounds in LIMITS.items()
        for arm in ("anywhere", "normal", "tangent")
        for number, bound in zip(("median", "p90", "off", "time"), bounds, strict=True)
        if bound is not None
    ),
    Target("default", "boxed", "found", 0.99, least=True),
    Target("default", "boxed", "median", 1.015),
)
LEFT_OUT_LIMITS = {"quick": (None, 1.06, None, 0.35), "default": (1.005, 1.03, 0.03, 0.6)}
SHOWN = {
    "found": "found",
    "median": "median d/d*",
    "p90": "p90 of d/d*",
    "off": "more than 5 % off",
    "time": "time/FMN 100",
}


def beside_reference(groups: dict[str, Group]) -> list[str]:
    """Medians over networks of the left-out families with their bounds, and what FMN 100 has in the same search."""
    lines = [
        f"| effort | arm | number | bound | median of networks | {REFERENCE} | |",
        "|---|---|---|---|---|---|---|",
    ]
    for effort, bounds in LEFT_OUT_LIMITS.items():
        for arm in ("anywhere", "normal", "tangent"):
            rows = {name: [group[arm].get(name) for group in groups.values()] for name in (OURS + effort, REFERENCE)}
            for number, bound in zip(("median", "p90", "off", "time"), bounds, strict=True):
                ours, theirs = (
                    float(np.median([getattr(row, number) for row in some if isinstance(row, Row)] or [np.nan]))
                    for some in rows.values()
                )
                if bound is not None:
                    lines.append(
                        f"| {effort} | {arm} | {SHOWN[number]} | <= {bound} | {ours:.3f} | {theirs:.3f} | "
                        f"{'' if np.isnan(ours) else 'met' if ours <= bound else '**missed**'} |"
                    )
    return lines


def left_out_report(results: dict[Case, dict[str, dict[str, Any]]], inputs: int) -> str:
    """The report on families that the search was not tuned on."""
    groups = {str(case): grouped({case: result})[case.group] for case, result in results.items()}
    lines = [
        "# The boundary search on families that it was not tuned on",
        "",
        f"Written by `python -m benchmarks.search --left-out` on {time.strftime('%Y-%m-%d')}: {inputs} inputs of each "
        f"of {len(results)} networks; d* and times are those of `RESULTS.md`.",
        "\n## Bounds\n",
        *beside_reference(groups),
        "\n## Network by network\n",
        *network_table(results),
    ]
    return "\n".join(lines) + "\n"


def targets_table(groups: dict[str, Group]) -> list[str]:
    """Each bound, and the values that were measured in each group."""
    lines = [
        "| effort | arm | number | bound | " + " | ".join(groups) + " | |",
        "|---|---|---|---|" + "---|" * (len(groups) + 1),
    ]
    for target in TARGETS:
        values, met = target.judge(groups)
        sign = ">=" if target.least else "<="
        cells = " | ".join(f"{value:.3f}" for value in values)
        lines.append(
            f"| {target.effort} | {target.arm} | {SHOWN[target.number]} | {sign} {target.bound} | {cells} | "
            f"{'met' if met else '**missed**'} |"
        )
    return lines


def group_tables(groups: dict[str, Group]) -> list[str]:
    """One table for each group and search."""
    lines: list[str] = []
    for group, arms in groups.items():
        for arm, rows in arms.items():
            lines += [
                f"\n### {group}: {arm}\n",
                "| attack | found | median d/d* | p90 | > 5 % off | forward | backward | time | MB |",
                "|---|---|---|---|---|---|---|---|---|",
            ]
            for name, row in rows.items():
                cells = row.cells() if isinstance(row, Row) else f"{row} | | | | | | |"
                lines.append(f"| {name} | {cells} |")
    return lines


def network_table(results: dict[Case, dict[str, dict[str, Any]]]) -> list[str]:
    """One line for each network and search: median d/d*, p90, share more than 5 % off, and time, of each effort."""
    lines = [f"| network | arm | quick | default | thorough | {REFERENCE} |", "|---|---|---|---|---|---|"]
    for case, arms in results.items():
        for arm, answers in arms.items():
            names = [OURS + effort for effort in LIMITS] + [REFERENCE] * (REFERENCE in answers)
            cells = [
                f"{row.median:.4f}, {row.p90:.3f}, {row.off:.1%}, {row.time:.2f}"
                for row in (Row.of(name, answers) for name in names)
                if isinstance(row, Row)
            ]
            lines.append(f"| {case} | {arm} | {' | '.join(cells)} |")
    return ["Median d/d*, p90 of d/d*, more than 5 % off, time/FMN 100.\n", *lines]


def bare(classifier: TorchClassifier, calls: list[list[int]], x: Tensor) -> float:
    """Processor time of forward and backward passes alone; calls are [rows, backward passes]."""
    start = time.process_time()
    for rows, backwards in calls:
        batch = x[torch.arange(rows) % len(x)]
        with torch.set_grad_enabled(backwards > 0):
            logits = classifier.logits(batch.requires_grad_(backwards > 0))
        for number in reversed(range(backwards)):
            torch.autograd.grad(logits[:, number % logits.shape[1]].sum(), batch, retain_graph=number > 0)
    return time.process_time() - start


def overhead(model: nn.Module, x: Tensor, effort: str, repeats: int = 9) -> float:
    """Processor time of a search, divided by that of its passes alone: the median of alternating runs."""
    calls: list[list[int]] = []

    def recording(batch: Tensor) -> Tensor:
        logits = model(batch)
        call = [len(batch), 0]
        calls.append(call)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: call.__setitem__(1, call[1] + 1))
        return logits

    y = model(x).argmax(1)
    classifier = adapt(model, x)
    recorded = replace(adapt(recording, x), layout=classifier.layout)
    points = flat(classifier, x)
    calls.clear()
    boundary_search(recorded, points, y, effort=effort, generator=torch.Generator().manual_seed(0))
    plan, ratios = [list(call) for call in calls], []
    for _ in range(repeats):
        start = time.process_time()
        boundary_search(classifier, points, y, effort=effort, generator=torch.Generator().manual_seed(0))
        ratios.append((time.process_time() - start) / bare(classifier, plan, points))
    return float(np.median(ratios))


def resnet18(generator: torch.Generator) -> nn.Module:
    """A network of the size of ResNet-18 (11 million weights, 0.14 billion multiplications on a 16 x 16 image)."""

    class Block(nn.Module):
        def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
            super().__init__()
            self.one = nn.Conv2d(wide_in, wide_out, 3, stride=stride, padding=1, bias=False)
            self.two = nn.Conv2d(wide_out, wide_out, 3, padding=1, bias=False)
            self.norms = nn.ModuleList([nn.BatchNorm2d(wide_out), nn.BatchNorm2d(wide_out)])
            same = wide_in == wide_out and stride == 1
            self.skip = nn.Identity() if same else nn.Conv2d(wide_in, wide_out, 1, stride=stride, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            inner = self.norms[0](self.one(x)).relu()
            return (self.norms[1](self.two(inner)) + self.skip(x)).relu()

    widths, blocks = (64, 128, 256, 512), []
    before = 64
    for stage, width in enumerate(widths):
        blocks += [Block(before, width, 1 if stage == 0 else 2), Block(width, width, 1)]
        before = width
    net = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1, bias=False), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)
    )
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5, generator=generator)
    return net.eval().requires_grad_(False)


def cost_lines() -> list[str]:
    """The overhead compared with the passes alone, and the memory for few and many inputs."""
    progress("overhead on the digits CNN")
    images = load("digits")
    model = network(Case("digits", "CNN", "standard", 0))
    lines = [
        "The bound is 1.15.\n",
        "| search | time over that of the bare passes it asks for |",
        "|---|---|",
        *(
            f"| {effort}, digits CNN, 128 inputs | {overhead(model, images.x_test[:128], effort):.3f} |"
            for effort in ("quick", "default")
        ),
    ]
    progress("overhead on a network of the size of ResNet-18")
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 16, 16, generator=generator)
    lines.append(f"| quick, ResNet-18 on 16 x 16, 2 inputs | {overhead(resnet18(generator), x, 'quick'):.3f} |")
    return [*lines, "", *memory_lines()]


def memory_lines() -> list[str]:
    """Peak memory of searches of more and more inputs, each in a separate process, since a peak outlasts its search."""
    progress("memory")
    counts = (256, 1024, 4096, 16384)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peaks = pool.map(peak_memory, counts, chunksize=1)
    lines = ["| inputs | peak memory of a quick search, MB, beyond what was resident |", "|---|---|"]
    return [*lines, *(f"| {n} | {peak:.0f} |" for n, peak in zip(counts, peaks, strict=True))]


def peak_memory(n: int) -> float:
    """Peak memory in MB of a quick search of the digits CNN for n inputs, beyond the memory after a small search."""
    torch.set_num_threads(1)
    images = load("digits")
    classifier = adapt(network(Case("digits", "CNN", "standard", 0)), images.x_test)
    x = flat(classifier, images.x_test[torch.arange(n) % len(images.x_test)])
    with torch.no_grad():
        y = torch.cat([classifier.logits(part).argmax(1) for part in x.split(256)])

    def search(count: int) -> None:
        boundary_search(classifier, x[:count], y[:count], effort="quick", generator=torch.Generator().manual_seed(0))

    search(8)  # a first call, which loads what every search needs
    before = resident(reset=True)
    search(n)
    return resident() - before


def smoke() -> int:
    """The built-in search alone, on digits networks that are quickly trained; prints the bounds that do not hold.

    Bounds that need peers are left out, and those of the share of inputs that are 5 % off, which need more inputs.
    """
    cases = [case for case in CASES if case.data == "digits" and (case.kind == "MLP" or case.training == "standard")]
    groups = grouped({case: kept(case, 24, fresh=True, peers=False) for case in cases})
    bounds = [target for target in TARGETS if target.number not in {"time", "off"}]
    wrong = [
        f"{target.effort}, {target.arm}: {SHOWN[target.number]} is {values}, bound {target.bound}"
        for target in bounds
        for values, met in [target.judge(groups)]
        if not met
    ]
    for group, arms in groups.items():
        for arm, rows in arms.items():
            medians = [row.median for row in rows.values() if isinstance(row, Row)]
            if any(more > less + 1e-3 for less, more in pairwise(medians)):
                wrong.append(f"{group}, {arm}: medians {medians} of quick, default, thorough do not fall")
    print("\n".join(group_tables(groups)))
    print("\n".join(wrong) or "all bounds hold", file=sys.stderr)
    return 1 if wrong else 0


def report(results: dict[Case, dict[str, dict[str, Any]]], left_out: list[str], options: argparse.Namespace) -> str:
    groups = grouped(results)
    networks = {group: sum(case.group == group for case in results) for group in groups}
    lines = [
        "# The boundary search beside other libraries",
        "",
        f"Written by `python -m benchmarks.search` on {time.strftime('%Y-%m-%d')}: torch {torch.__version__}, "
        f"{platform.machine()}, one thread. {options.inputs} correctly classified test images a network, the first "
        f"{SLOW_INPUTS} of them for CW, ART and PGDL2, which are slow, and in the networks of seed 0. Numbers are "
        "medians over networks: " + ", ".join(f"{count} of {group}" for group, count in networks.items()) + ".",
        "",
        "d* is the smallest confirmed distance of any attack and of long runs (FMN 500, another thorough search), "
        "input by input. Times are processor times an input, over FMN 100's in the same arm: medians of five runs of "
        "quick and default and of eleven of FMN 100, in turns; one run of the others. Peers have no subspaces: "
        "outside the box all of them work in the coordinates of our wrapper, in a cube whose walls are two median "
        "distances away; inside the box on the images themselves. What a peer returns is taken as it is.",
        *(f"\nLeft out: {line}" for line in left_out),
        "\n## Bounds\n",
        *targets_table(groups),
        "\n## Ours, network by network\n",
        *network_table(results),
        "\n## Overhead and memory\n",
        *cost_lines(),
        "\n## All attacks",
        *group_tables(groups),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="digits, dmmcheck alone, under a minute")
    parser.add_argument("--left-out", action="store_true", help="the families that the search was not tuned on")
    parser.add_argument("--inputs", type=int, default=50, help="inputs of each network")
    parser.add_argument("--fresh", action="store_true", help="measure again what an earlier run has kept")
    parser.add_argument(
        "--only", default="", help="print the networks whose description contains this, and write nothing"
    )
    parser.add_argument("--ours", action="store_true", help="dmmcheck alone, no peers")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    if options.smoke:
        return smoke()
    results: dict[Case, dict[str, dict[str, Any]]] = {}
    left_out: list[str] = []
    for case in LEFT_OUT if options.left_out else CASES:
        if options.only not in str(case):
            continue
        try:
            load(case.data)
        except FileNotFoundError as error:
            left_out += [str(error)] if str(error) not in left_out else []
            continue
        results[case] = kept(case, options.inputs, fresh=options.fresh, peers=not options.ours)
    if options.left_out:
        text = left_out_report(results, options.inputs)
        if options.only:
            print(text)
        else:
            RESULTS.with_name("LEFT_OUT.md").write_text(text)
        return 0
    if options.only:
        groups = grouped(results)
        print("\n".join([*targets_table(groups), *group_tables(groups)]))
        return 0
    RESULTS.write_text(report(results, left_out, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
