"""Intervals, tests and the sharing-out of alpha: distribution-free, plain numbers in and out."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from dmmcheck.evidence import Floats
from dmmcheck.report.model import Direction

FIRST_LOOK = 32


def looks(inputs: int) -> tuple[int, ...]:
    """Sample sizes at which a verdict may be taken: 32, 64, 128, ... and all of them.

    A last step that would add less than a quarter joins the one before: it costs alpha and brings nothing.
    """
    sizes = []
    size = FIRST_LOOK
    while size * 1.25 <= inputs:
        sizes.append(size)
        size *= 2
    return (*sizes, inputs)


def median_interval(values: Floats, alpha: float) -> tuple[float, float]:
    """Order-statistics interval for a median, coverage >= 1 - alpha for any distribution.

    The r-th smallest value bounds the median from below with error P(Bin(n, 1/2) < r). NaN may lie anywhere: it counts
    as -inf in the lower bound and as +inf in the upper. (-inf, inf) where n is too small.

    Source: David & Nagaraja, Order Statistics, 3rd ed., section 7.1.
    """
    n = len(values)
    rank = int(stats.binom.ppf(alpha / 2, n, 0.5)) if n else 0
    if n and stats.binom.cdf(rank, n, 0.5) <= alpha / 2:
        rank += 1
    if rank < 1:
        return -math.inf, math.inf
    missing = np.isnan(values)
    lower = np.sort(np.where(missing, -np.inf, values))[rank - 1]
    upper = np.sort(np.where(missing, np.inf, values))[n - rank]
    return float(lower), float(upper)


def rate_interval(values: Floats, alpha: float) -> tuple[float, float]:
    """Clopper-Pearson interval for the mean of 0/1 values, coverage >= 1 - alpha; NaN is 0 below and 1 above."""
    n = len(values)
    low, high = _hits(values, missing=0), _hits(values, missing=1)
    lower = float(stats.beta.ppf(alpha / 2, low, n - low + 1)) if low > 0 else 0.0
    upper = float(stats.beta.ppf(1 - alpha / 2, high + 1, n - high)) if high < n else 1.0
    return lower, upper


def _hits(values: Floats, *, missing: int) -> int:
    return int(np.sum(np.where(np.isnan(values), missing, values)))


def sign_test(values: Floats, threshold: float, direction: Direction) -> float:
    """One-sided p-value of "the median lies on the far side of the threshold"; ties and NaN count against it."""
    with np.errstate(invalid="ignore"):
        hits = int(np.sum(values > threshold if direction == "greater" else values < threshold))
    return float(stats.binom.sf(hits - 1, len(values), 0.5))


def rate_test(values: Floats, threshold: float, direction: Direction) -> float:
    """One-sided binomial p-value of "the mean of these 0/1 values lies on the far side of the threshold"."""
    chance = min(max(threshold, 0.0), 1.0)
    if direction == "greater":
        return float(stats.binom.sf(_hits(values, missing=0) - 1, len(values), chance))
    return float(stats.binom.cdf(_hits(values, missing=1), len(values), chance))


def rank_p_value(observed: float, draws: Floats, direction: Direction) -> float:
    """Monte-Carlo p-value (1 + draws at least as extreme) / (draws + 1); a NaN draw counts as extreme.

    Source: Davison & Hinkley, Bootstrap Methods and their Application, section 4.2.1.
    """
    if math.isnan(observed):
        return 1.0
    with np.errstate(invalid="ignore"):
        milder = draws < observed if direction == "greater" else draws > observed
    return (1 + len(draws) - int(np.sum(milder))) / (len(draws) + 1)


def tail_p_value(observed: float, draws: Floats, direction: Direction) -> float:
    """p-value from a normal tail fitted to the logarithms of a few tens of positive draws.

    Student prediction interval.

    Where a draw is censored or the observation is not a positive number the rank is all there is.
    """
    if not (np.all(np.isfinite(draws)) and np.all(draws > 0) and math.isfinite(observed) and observed > 0):
        return rank_p_value(observed, draws, direction)
    logs = np.log(draws)
    spread = float(np.std(logs, ddof=1)) * math.sqrt(1 + 1 / len(logs))
    if spread == 0:
        return rank_p_value(observed, draws, direction)
    z = (math.log(observed) - float(np.mean(logs))) / spread
    return float(stats.t.sf(z if direction == "greater" else -z, df=len(logs) - 1))


def inputs_to_decide(values: Floats, threshold: float, alpha: float) -> int | None:
    """Inputs that would likely decide if the shares on either side stay; None beyond a million."""
    usable = values[~np.isnan(values)]
    if not len(usable):
        return None
    above = float(np.mean(usable > threshold))
    below = float(np.mean(usable < threshold))
    excess = max(above, below) - 0.5
    if excess <= 0:
        return None
    z = float(stats.norm.isf(alpha / 2))
    needed = math.ceil(((z + 0.84) / (2 * excess)) ** 2)  # 0.84: power 80 %
    return needed if needed <= 1_000_000 else None
