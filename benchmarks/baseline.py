"""How often an unchanged model is said to be worse than its own baseline, and a model with shallower dimples is.

    python -m benchmarks.baseline            # about two minutes; ends with 1 where an unchanged model failed too often
    python -m benchmarks.baseline --smoke    # the same over fewer comparisons

An unchanged model is a random network of one hidden layer. A baseline is measured with one seed of the run, and ten
runs with other seeds are compared with it: another seed draws other inputs from the same data, and searches
otherwise. A comparison fails if one of its five numbers that have a worse direction is worse: the three distances to
the boundary, and the statistics of `boundary-clings` and `dimples-shallow`.

The study would be worth nothing if it could not fail: the same comparison must find each dimpled sheet worse whose
dimples are 30 % shallower than those of its baseline.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from scipy.stats import binomtest
from tabulate import tabulate
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # also run as a file

import dmmcheck
from dmmcheck.checks.plan import select
from dmmcheck.config.settings import Settings
from dmmcheck.report.changes import compared
from dmmcheck.report.model import Report
from dmmcheck.run import Run
from dmmcheck.worlds.dimples import dimpled

CHECKS = ("boundary-clings", "dimples-shallow")
INPUTS, SAMPLES = 96, 84  # two runs have about 73 inputs in common
MOST = 0.05  # largest share of comparisons of an unchanged model that may fail
DEEP, SHALLOW = 0.1, 0.07
FULL, SMOKE = (10, 10, 5), (2, 4, 1)
"""Networks, comparisons of each, and pairs of dimpled sheets."""


@dataclass(frozen=True)
class Tally:
    """How many comparisons of one kind failed.

    Attributes:
        what: What was compared.
        failed: How many comparisons failed.
        count: How many were made.
        names: The numbers that were worse, each once.
    """

    what: str
    failed: int
    count: int
    names: tuple[str, ...]

    def row(self) -> tuple[str, str, str, str]:
        """The row of the table, with the exact 95 % interval of the share."""
        low, high = binomtest(self.failed, self.count).proportion_ci(0.95, method="exact")
        return self.what, f"{self.failed} of {self.count}", f"{low:.1%} to {high:.1%}", ", ".join(self.names) or "none"


def unchanged(seed: int) -> dmmcheck.Subject:
    """A random network that is right on all of its inputs, and a manifold estimate from other inputs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 3))
    x = torch.randn(2 * INPUTS, 12, generator=generator)
    with torch.no_grad():
        y = model(x[:INPUTS]).argmax(1)
    return dmmcheck.Subject(model=model, x=x[:INPUTS], y=y, manifold=dmmcheck.manifolds.LocalPCA(dim=3).fit(x[INPUTS:]))


def measured(subject: dmmcheck.Subject, seed: int) -> Report:
    """The report of a run with quick effort, with the values of all inputs."""
    settings = Settings(seed=seed, samples=SAMPLES, fast=True, evidence=True, cache=False)
    run = Run(subject, settings)
    run.soundness = ()  # what the gates find is no part of a comparison, and takes most of the time
    return run.whole_report(select(run.planned, checks=CHECKS, tiers=["stated"]))


def worse(now: Report, before: Report) -> list[str]:
    """The numbers that are worse than in the baseline, where changes for the worse fail the run."""
    return list(compared(now, before, is_gate=True).regressions)


def compared_unchanged(networks: int, comparisons: int) -> Iterator[list[str]]:
    """What is worse in each comparison of an unchanged network with its baseline."""
    for network in range(networks):
        subject = unchanged(network)
        before = measured(subject, 1000 * network)
        for number in range(1, comparisons + 1):
            yield worse(measured(subject, 1000 * network + number), before)


def compared_shallower(pairs: int) -> Iterator[list[str]]:
    """What is worse in each comparison of a dimpled sheet with one that has deeper dimples at the same inputs."""
    for seed in range(pairs):
        deep, shallow = (dimpled(seed=seed, depth=depth, samples=INPUTS).subject for depth in (DEEP, SHALLOW))
        yield worse(measured(replace(deep, model=shallow.model), seed), measured(deep, seed))


def tally(what: str, found: Iterator[list[str]]) -> Tally:
    """The count over comparisons."""
    each = list(found)
    names = dict.fromkeys(name for one in each for name in one)
    return Tally(what, sum(map(bool, each)), len(each), tuple(names))


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 where an unchanged model failed too often, or a shallower one did not fail."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few comparisons")
    networks, comparisons, pairs = SMOKE if parser.parse_args(arguments).smoke else FULL
    torch.set_num_threads(1)  # networks this small gain nothing from threads that wait for each other
    start = time.process_time()
    same = tally("an unchanged model under another seed", compared_unchanged(networks, comparisons))
    seconds = (time.process_time() - start) / (networks * (comparisons + 1))
    other = tally("dimples 30 % shallower", compared_shallower(pairs))
    print(tabulate([same.row(), other.row()], headers=("comparison", "failed", "95 % interval", "worse")))
    most = int(MOST * same.count)
    print(f"\nallowed for the unchanged model: {most} of {same.count}; {seconds:.2f} s of one core a run")
    return int(same.failed > most or other.failed < other.count)


if __name__ == "__main__":
    sys.exit(main())
