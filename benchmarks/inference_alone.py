"""How often runs of eight claims that are exactly at their limits contain a verdict: the inference without a search.

    python -m benchmarks.inference_alone            # a few minutes; the table that benchmarks.calibration includes
    python -m benchmarks.inference_alone --smoke    # some seconds: the same bounds over fewer runs

Every verdict on such a claim is false. The values of the inputs are drawn at random, and decided by
`dmmcheck.inference.decide` with the looks and the shares of alpha of a run (`dmmcheck.judge`). A verdict depends only
on how many values lie below, above and at the limit and how many are undefined; so `decide` is asked once for each of
these counts, and the answers are looked up.

The study would be worth nothing if it could not fail: it also decides with alpha not shared out (over claims, or over
looks), and must find that too many runs then contain a verdict.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1]))  # also run as a file

from dmmcheck.inference import stats
from dmmcheck.inference.decide import decide
from dmmcheck.inference.evidence import Evidence, Summary

ALPHA, CLAIMS = 0.05, 8
SIZES = (9, 16, 32, 64, 512)
RUNS, FEW_RUNS = 10_000, 500
CHUNK = 500  # runs whose values are held in memory at a time
SURE = 1e-3  # a bound is broken where the count is this improbable under it
SEED = 1

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """How the values of inputs are distributed.

    Attributes:
        draw: Values of a shape.
        limit: Their median, or their rate.
        summary: What the claim is about.
    """

    draw: Callable[[np.random.Generator, tuple[int, ...]], Values]
    limit: float = 0.0
    summary: Summary = "median"


def _two_modes(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    is_left = rng.random(shape) < 0.5
    return np.where(is_left, rng.normal(-1, 0.2, shape), rng.normal(6, 3, shape).clip(0.01))


def _missing(share: float, *, only_above: bool) -> Callable[[np.random.Generator, tuple[int, ...]], Values]:
    """Normal values, a share of which is undefined: of all, or of those above the median."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        values, gone = rng.normal(size=shape), rng.random(shape) < share
        return np.where(gone & (values > 0) if only_above else gone, np.nan, values)

    return draw


def _rate(rate: float, missing: float = 0.0) -> Law:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        hits = (rng.random(shape) < rate).astype(float)
        return np.where(rng.random(shape) < missing, np.nan, hits)

    return Law(draw, rate, "mean")


LAWS = {
    "normal": Law(lambda rng, shape: rng.normal(size=shape)),
    "exponential": Law(lambda rng, shape: rng.exponential(size=shape), math.log(2)),
    "log-normal": Law(lambda rng, shape: rng.lognormal(0, 1.5, shape), 1.0),
    "two modes, the limit between them": Law(_two_modes),
    "-1, 0 and 1, 40 % of them ties": Law(lambda rng, shape: rng.choice([-1.0, 0.0, 1.0], shape, p=[0.3, 0.4, 0.3])),
    "half ties, half above": Law(lambda rng, shape: rng.choice([0.0, 1.0], shape)),
    "normal, 10 % NaN": Law(_missing(0.1, only_above=False)),
    "normal, 10 % of those above NaN": Law(_missing(0.1, only_above=True)),
    "rate 0.5": _rate(0.5),
    "rate 0.1": _rate(0.1),
    "rate 0.95": _rate(0.95),
    "rate 0.5, 5 % NaN": _rate(0.5, missing=0.05),
}


@cache
def is_decided(counts: tuple[int, int, int, int], law: str, alpha: float) -> bool:
    """Whether `decide` gives a verdict for so many values below, at and above the limit, and undefined ones."""
    of = LAWS[law]
    kinds = (0.0, math.nan, 1.0, math.nan) if of.summary == "mean" else (of.limit - 1, of.limit, of.limit + 1, math.nan)
    evidence = Evidence.of(np.repeat(kinds, counts), summary=of.summary)
    return decide(evidence, limit=of.limit, direction="greater", alpha=alpha).verdict != "inconclusive"


def counted(values: Values, limit: float) -> NDArray[np.int64]:
    """How many of the values (..., n) lie below, at and above the limit, and are undefined: (..., 4)."""
    kinds = (values < limit, values == limit, values > limit, np.isnan(values))
    return np.stack([kind.sum(-1) for kind in kinds], -1)


def runs_with_a_verdict(law: str, inputs: int, runs: int, *, claims: int = CLAIMS, shares: bool = True) -> int:
    """How many runs contain a verdict on a claim at its limit.

    Args:
        law: Distribution of the values.
        inputs: Number of inputs.
        runs: Number of runs.
        claims: Number of claims that share alpha; a run always has `CLAIMS` of them.
        shares: Whether the looks share the alpha of a claim.
    """
    of, looks, found = LAWS[law], stats.looks(inputs), 0
    alpha = ALPHA / claims / (len(looks) if shares else 1)
    rng = np.random.default_rng([SEED, inputs, *law.encode()])
    for start in range(0, runs, CHUNK):
        values = of.draw(rng, (min(CHUNK, runs - start), CLAIMS, inputs))
        decided = np.zeros(values.shape[:2], dtype=bool)
        for n in looks:
            each, which = np.unique(counted(values[..., :n], of.limit).reshape(-1, 4), axis=0, return_inverse=True)
            answers = np.array([is_decided(tuple(counts), law, alpha) for counts in each.tolist()])
            decided |= answers[which.reshape(decided.shape)]
        found += int(decided.any(1).sum())
    return found


def agrees(law: str, inputs: int, *, times: int = 25) -> bool:
    """Whether the answers that are looked up are those of `decide` on the values themselves."""
    of, rng = LAWS[law], np.random.default_rng([SEED + 1, inputs, *law.encode()])
    for _ in range(times):
        values, alpha = of.draw(rng, (inputs,)), float(rng.choice([0.4, 0.05]))
        evidence = Evidence.of(values, summary=of.summary)
        known = decide(evidence, limit=of.limit, direction="greater", alpha=alpha).verdict != "inconclusive"
        if of.summary == "median":
            below, at, above, gone = counted(values, of.limit).tolist()
        else:
            below, at, above, gone = int((values == 0).sum()), 0, int((values == 1).sum()), int(np.isnan(values).sum())
        if known != is_decided((below, at, above, gone), law, alpha):
            return False
    return True


def too_few() -> int:
    """The largest number of inputs that cannot decide a median at the share of one of the claims."""
    return stats.replicates_needed(ALPHA / CLAIMS) - 1


def measured(runs: int) -> dict[tuple[str, int], int]:
    """Runs with a verdict, by law and number of inputs."""
    return {(law, n): runs_with_a_verdict(law, n, runs) for law in LAWS for n in SIZES}


def table(found: dict[tuple[str, int], int], runs: int) -> str:
    """A row a law: the share of runs with a verdict for each number of inputs, with its exact upper limit."""
    rows = [
        {"values": law, "nominal": f"{ALPHA:.0%}"} | {f"n = {n}": share(found[law, n], runs) for n in SIZES}
        for law in LAWS
    ]
    return str(tabulate(rows, headers="keys", tablefmt="github"))


def share(count: int, total: int) -> str:
    """``0.4% (at most 0.6%)``, with the exact one-sided upper limit at 95 %."""
    high = float(binomtest(count, total).proportion_ci(0.9, method="exact").high)
    return f"{count / total:.1%} (at most {high:.1%})"


def above(count: int, total: int, nominal: float) -> bool:
    """Whether a count is too large for a share to be the nominal one."""
    return bool(binomtest(count, total, nominal, alternative="greater").pvalue < SURE)


def broken(found: dict[tuple[str, int], int], runs: int) -> Iterator[str]:
    """The bounds that do not hold, beyond what chance may do; and whether the study can fail."""
    for (law, n), count in found.items():
        if above(count, runs, ALPHA):
            yield f"{law}, n = {n}: {count} of {runs} runs have a verdict at the limit (at most {ALPHA:.0%})"
    for law, of in LAWS.items():
        if of.summary == "median" or of.limit == 0.5:
            count = runs_with_a_verdict(law, too_few(), FEW_RUNS)
            if count:
                yield f"{law}: {count} of {FEW_RUNS} runs have a verdict on {too_few()} inputs, which cannot decide"
        if not all(agrees(law, n) for n in SIZES):
            yield f"{law}: the counts do not tell what decide says"
    for wrong, claims, shares in (("claims", 1, True), ("looks", CLAIMS, False)):
        if not above(runs_with_a_verdict("exponential", 512, FEW_RUNS, claims=claims, shares=shares), FEW_RUNS, ALPHA):
            yield f"this study does not notice where {wrong} do not share alpha"


def main() -> None:
    """Print the table, and exit with an error where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="fewer runs")
    runs = FEW_RUNS if parser.parse_args().smoke else RUNS
    found = measured(runs)
    print(f"{runs} runs of {CLAIMS} claims each, alpha {ALPHA:.0%} a run\n\n{table(found, runs)}")
    failures = list(broken(found, runs))
    if failures:
        sys.exit("\n".join(("bounds that do not hold:", *failures)))


if __name__ == "__main__":
    main()
