"""Intervals, tests and the sharing-out of alpha: distribution-free, plain numbers in and out."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from dmmcheck.inference.evidence import Floats, Summary
from dmmcheck.inference.types import Direction

FIRST_LOOK = 32
TAIL = 4  # one in so many draws is the tail that is extrapolated
TAIL_FLOOR = 0.1  # of the smallest p by rank: how far it is extrapolated


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
    """Monte-Carlo p-value by rank; past the outermost of a few tens of positive draws, by a tail fitted to them.

    The rank is exact and says no less than 1 / (draws + 1). Where the observation is beyond every draw, an exponential
    tail of the logarithms, fitted to the outermost quarter of the draws, may say less: (m + 1) / (draws + 1) for being
    among the m + 1 outermost, times (1 + z / (m mean))^-m for lying z beyond the quarter's edge where m others lie
    `mean` beyond it on average. That is exact for an exponential tail and too large for a lighter one, so for every
    statistic whose logarithm has a log-concave density: d_on / d_free = rho_T^(-1/2) of a flat boundary, rho_T being a
    Beta variable, and a log-normal one. (A normal tail is too small for the former, five times at k = 1, p = 0.004.)
    For a heavier tail, such as a few draws in a hundred far beyond the rest, it is too small; so it says no less than a
    tenth of what the rank does. Where `can_fit_tail` says no the rank is all there is.

    Source: Knijnenburg, Wessels, Reinders, Shmulevich, Bioinformatics 25 (2009), for a tail in place of more draws.
    """
    rank = rank_p_value(observed, draws, direction)
    beyond = observed > 0 and math.isfinite(observed) and rank <= 1 / (len(draws) + 1)
    if not (beyond and can_fit_tail(draws, direction)):
        return rank
    sign = 1 if direction == "greater" else -1
    logs, count = sign * np.log(_outermost(draws, direction)), len(draws) // TAIL
    mean = float(np.mean(logs[:count] - logs[count]))
    excess = sign * math.log(observed) - float(logs[count])
    fitted = (count + 1) / (len(draws) + 1) * (1 + excess / (count * mean)) ** -count
    return min(rank, max(fitted, TAIL_FLOOR / (len(draws) + 1)))


def can_fit_tail(draws: Floats, direction: Direction) -> bool:
    """Whether the outermost quarter of the draws is there, positive, finite and free of ties."""
    outer = _outermost(draws, direction)
    return len(outer) > 1 and bool(
        np.isfinite(outer).all() and (outer > 0).all() and len(np.unique(outer)) == len(outer)
    )


def _outermost(draws: Floats, direction: Direction) -> Floats:
    """The outermost quarter of the draws and the next one, outermost first; an undefined draw counts as extreme."""
    ordered = np.sort(np.where(np.isnan(draws), np.inf if direction == "greater" else -np.inf, draws))
    if direction == "greater":
        ordered = ordered[::-1]
    return ordered[: len(draws) // TAIL + 1]


def draw_interval(draws: Floats, alpha: float) -> tuple[float, float]:
    """Student's prediction interval for one more draw; (-inf, inf) where the spread is unknown.

    Source: Hahn & Meeker, Statistical Intervals, section 4.7.
    """
    count = len(draws)
    if count < 2 or not np.all(np.isfinite(draws)):
        return -math.inf, math.inf
    half = float(stats.t.isf(alpha / 2, count - 1)) * float(np.std(draws, ddof=1)) * math.sqrt(1 + 1 / count)
    middle = float(np.mean(draws))
    return middle - half, middle + half


def inputs_to_decide(values: Floats, limit: float, alpha: float, summary: Summary) -> int | None:
    """Inputs that would decide with 80 % power if the shares on either side stay; None beyond a million.

    A median is a rate in disguise: the share of values on its side of the limit, against one half. NaN values count
    against either side, as they do in the intervals.
    """
    if not len(values):
        return None
    if summary == "mean":
        low, high, against = _hits(values, missing=0), _hits(values, missing=1), limit
    else:
        with np.errstate(invalid="ignore"):
            low, high, against = int(np.sum(values > limit)), len(values) - int(np.sum(values < limit)), 0.5
    rate = low / len(values) if low / len(values) > against else high / len(values)
    if not 0 < against < 1 or low / len(values) <= against <= high / len(values):
        return None
    spread = [math.sqrt(share * (1 - share)) for share in (against, rate)]
    needed = (float(stats.norm.isf(alpha / 2)) * spread[0] + float(stats.norm.isf(0.2)) * spread[1]) / (rate - against)
    return math.ceil(needed**2) if needed**2 <= 1_000_000 else None
