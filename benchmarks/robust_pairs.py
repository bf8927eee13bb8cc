"""What is said of plain and adversarially trained max-pooling CNNs on Fashion-MNIST, with two manifold estimates.

    python -m benchmarks.robust_pairs            # trains six networks once; writes benchmarks/ROBUST_PAIRS.md
    python -m benchmarks.robust_pairs --smoke    # one pair on the 8 x 8 digits, trained shortly; writes nothing

For each seed a network is trained plainly and another one adversarially. A default run measures the plain one beside
the adversarially trained one, and a second run takes the two the other way round. The sentence about the depth of this
pair must be supported, and refuted the other way round, where the search is exact enough to tell. No claim may be
inconclusive because the search itself falls short. The seeds are used by no other benchmark or test.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tabulate import tabulate
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # also run as a file

import dmmcheck
from benchmarks import networks
from benchmarks.networks import Case, Images, load
from dmmcheck.manifolds import PCA, LocalPCA
from dmmcheck.report.model import Report
from dmmcheck.soundness.more_effort import OF_THE_SEARCH
from dmmcheck.worlds.dimples import PAIR_CLAIMS
from examples.digits.training import Recipe

RESULTS = Path(__file__).with_name("ROBUST_PAIRS.md")
SEEDS = (21, 22, 23)
INPUTS, DIM = 150, 16
FITTED = 5000  # training images that a manifold is fitted on
DEPTH = PAIR_CLAIMS[0]
SHORT = {"standard": Recipe(epochs=6), "adversarial": Recipe(epochs=6, radius=0.75)}


@dataclass(frozen=True)
class Pair:
    """A plainly and an adversarially trained network, and where they are measured."""

    name: str
    standard: nn.Module
    robust: nn.Module
    images: Images
    inputs: int
    tiers: tuple[str, ...] | None = None  # all where None

    def report(self, manifold: object, *, swapped: bool) -> Report:
        """Return the report of a default run on the standard network, or of the claims about the swapped pair."""
        model, robust = (self.robust, self.standard) if swapped else (self.standard, self.robust)
        shown = slice(4 * self.inputs)
        fitted = slice(FITTED)
        subject = dmmcheck.Subject(
            model=model,
            robust=robust,
            x=self.images.x_test[shown],
            y=self.images.y_test[shown],
            x_train=self.images.x_train[fitted],
            y_train=self.images.y_train[fitted],
            manifold=manifold,
        )
        checks = ["adversarial-training-deepens"] if swapped else None
        return dmmcheck.run(subject, checks=checks, tiers=self.tiers, seed=0, samples=self.inputs, cache=False)


@dataclass(frozen=True)
class Row:
    """What is said of one pair with one manifold estimate."""

    pair: str
    manifold: str
    depth: str
    swapped: str
    verdicts: Counter[str]
    short: tuple[str, ...]
    reasons: tuple[str, ...]
    seconds: float

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        counts = ", ".join(f"{count} {word}" for word, count in self.verdicts.most_common())
        short = ", ".join(self.short) or "none"
        return self.pair, self.manifold, self.depth, self.swapped, counts, short, f"{self.seconds:.0f}"

    def failures(self) -> Iterator[str]:
        """Yield a sentence for each bound that does not hold."""
        if self.depth != "supported":
            yield f"{self.pair}, {self.manifold}: the sentence about the depth of the pair is {self.depth}"
        if self.swapped != "refuted":
            yield f"{self.pair}, {self.manifold}: swapped, the sentence about the depth is {self.swapped}"
        if self.short:
            yield f"{self.pair}, {self.manifold}: the search falls short ({', '.join(self.short)})"


def measured(pair: Pair, name: str, manifold: object) -> Row:
    """Run a pair straight and swapped, and return the row of the table."""
    start = time.process_time()
    straight, swapped = (pair.report(manifold, swapped=each) for each in (False, True))
    depths = [next(one for one in report.findings if one.id == DEPTH) for report in (straight, swapped)]
    if any(one.gating for one in depths):
        raise AssertionError(f"{DEPTH} is about one pair of networks, and yet fails the run")
    told = [one for one in straight.findings if one.verdict != "not-run"]
    failed = [item.name for report in (straight, swapped) for item in report.soundness if item.ok is False]
    return Row(
        pair.name,
        name,
        depths[0].verdict,
        depths[1].verdict,
        Counter(one.verdict for one in told),
        tuple(dict.fromkeys(each for each in failed if each in OF_THE_SEARCH)),
        tuple(dict.fromkeys(f"{one.id}: {one.reason}" for one in told if one.verdict == "inconclusive")),
        time.process_time() - start,
    )


def fashion(seed: int) -> Pair:
    """Return a pair of max-pooling CNNs, trained once and kept under ``build/``."""
    kinds = [Case("Fashion-MNIST", "max-pooling CNN", training, seed) for training in ("standard", "adversarial")]
    return Pair(f"seed {seed}", *map(networks.network, kinds), load("Fashion-MNIST"), INPUTS)


def digits(seed: int) -> Pair:
    """Return a pair of networks for the 8 x 8 digits, trained shortly."""
    images, made = load("digits"), []
    for training, recipe in SHORT.items():
        case = Case("digits", "CNN", training, seed)
        model = networks.untrained(case.kind, images.x_train.shape[-1], seed)
        networks.fit(model, images, recipe, case)
        made.append(model.eval().requires_grad_(False))
    return Pair(f"digits, seed {seed}", *made, images, inputs=32, tiers=("stated", "mechanism"))


def estimates(images: Images, dim: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the manifold estimates, by name."""
    points = images.x_train[:FITTED].flatten(1)
    yield f"PCA, k = {dim}", lambda: PCA(dim=dim).fit(points)
    yield f"local PCA, k = {dim}", lambda: LocalPCA(dim=dim).fit(points)


def rows(seeds: Sequence[int], *, smoke: bool) -> Iterator[Row]:
    """Yield a row for each pair and manifold estimate; the smoke has one."""
    for seed in seeds:
        pair = digits(seed) if smoke else fashion(seed)
        for name, make in list(estimates(pair.images, 8 if smoke else DIM))[: 1 if smoke else None]:
            row = measured(pair, name, make())
            print(*row.cells(), sep=" | ", file=sys.stderr, flush=True)
            print(*row.reasons, sep="\n", file=sys.stderr, flush=True)
            yield row


def written(found: Sequence[Row], failures: Sequence[str]) -> str:
    """Return the document in Markdown."""
    headers = ("pair", "manifold", "depth", "swapped", "verdicts", "items of the search that fail", "seconds")
    reasons = "\n".join(f"- {row.pair}, {row.manifold}, {reason}" for row in found for reason in row.reasons)
    bounds = "\n".join(f"- {one}" for one in failures) or "All bounds hold."
    return (
        "# What is said of plain and adversarially trained max-pooling CNNs\n\n"
        f"Written by `python -m benchmarks.robust_pairs`: Fashion-MNIST, {INPUTS} inputs, seeds {SEEDS}. The depth is\n"
        f"the verdict on `{DEPTH}`, which never fails a run since it is about one pair.\n\n"
        f"{tabulate([row.cells() for row in found], headers=headers, tablefmt='github')}\n\n{bounds}\n\n"
        f"## Why claims are inconclusive\n\n{reasons or 'None is.'}\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and return 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one pair on digits, nothing written")
    smoke = parser.parse_args(arguments).smoke
    torch.set_num_threads(1)
    found = list(rows(SEEDS[:1] if smoke else SEEDS, smoke=smoke))
    failures = [failure for row in found for failure in row.failures()]
    text = written(found, failures)
    print(text)
    if not smoke:
        RESULTS.write_text(text, encoding="utf-8")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
