"""Intervals and tests that hold for any distribution of the values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special  # scipy.stats takes a second to load, and most of a millisecond for each number

from dmmcheck.inference.evidence import Floats, Summary
from dmmcheck.inference.types import Direction

FIRST_LOOK = 32  # inputs
TAIL = 4  # the outermost one of this many draws belong to the tail that is extrapolated
SHARE_OF_INPUTS = 0.1  # of alpha, where a claim is about networks: inputs are many, and networks few
TAIL_FLOOR = 0.1  # the smallest extrapolated p-value, relative to the smallest p-value by rank


def looks(inputs: int) -> tuple[int, ...]:
    """Return the sample sizes at which a verdict may be taken: 32, 64, 128 and so on, and all inputs.

    A size is left out if all inputs are less than a quarter more: a look that adds so little is not worth its alpha.

    Example:
        >>> from dmmcheck.inference.stats import looks
        >>> looks(200), looks(150)
        ((32, 64, 128, 200), (32, 64, 150))
    """
    sizes = []
    size = FIRST_LOOK
    while size * 1.25 <= inputs:
        sizes.append(size)
        size *= 2
    return (*sizes, inputs)


def median_interval(values: Floats, alpha: float) -> tuple[float, float]:
    """Return the interval of a median by order statistics, with coverage >= 1 - alpha for any distribution.

    The r-th smallest value is a lower bound of the median with the error P(Bin(n, 1/2) < r). A NaN value counts as -inf
    in the lower bound and as +inf in the upper. The interval is (-inf, inf) where n is too small.

    Source: David & Nagaraja, Order Statistics, 3rd ed., section 7.1.
    """
    n = len(values)
    rank = int(np.searchsorted(special.bdtr(np.arange(n), n, 0.5), alpha / 2, side="right"))
    if rank < 1:
        return -math.inf, math.inf
    missing = np.isnan(values)
    lower = np.sort(np.where(missing, -np.inf, values))[rank - 1]
    upper = np.sort(np.where(missing, np.inf, values))[n - rank]
    return float(lower), float(upper)


def rate_interval(values: Floats, alpha: float) -> tuple[float, float]:
    """Return the Clopper-Pearson interval for the mean of 0/1 values, with coverage >= 1 - alpha.

    A NaN value counts as 0 in the lower bound and as 1 in the upper.

    Source: Clopper & Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial, 1934.
    """
    n = len(values)
    low, high = _hits(values, missing=0), _hits(values, missing=1)
    lower = float(special.betaincinv(low, n - low + 1, alpha / 2)) if low > 0 else 0.0
    upper = float(special.betaincinv(high + 1, n - high, 1 - alpha / 2)) if high < n else 1.0
    return lower, upper


def _hits(values: Floats, *, missing: int) -> int:
    return int(np.sum(np.where(np.isnan(values), missing, values)))


def binomial_test(hits: int, n: int, rate: float) -> float:
    """Return the one-sided p-value P(Bin(n, rate) >= hits) of at least this number of hits among n."""
    return float(special.bdtrc(hits - 1, n, rate))


def sign_test(values: Floats, threshold: float, direction: Direction) -> float:
    """Return the one-sided p-value for a median beyond the threshold; ties and NaN count against the claim."""
    with np.errstate(invalid="ignore"):
        hits = int(np.sum(values > threshold if direction == "greater" else values < threshold))
    return binomial_test(hits, len(values), 0.5)


def rate_test(values: Floats, threshold: float, direction: Direction) -> float:
    """Return the one-sided binomial p-value for a mean of 0/1 values beyond the threshold in this direction."""
    chance = min(max(threshold, 0.0), 1.0)
    if direction == "greater":
        return binomial_test(_hits(values, missing=0), len(values), chance)
    return float(special.bdtr(_hits(values, missing=1), len(values), chance))


def rank_p_value(observed: float, draws: Floats, direction: Direction) -> float:
    """Return the Monte-Carlo p-value (1 + number of draws at least as extreme) / (1 + number of draws).

    A NaN draw counts as extreme; a NaN observation has the p-value 1.

    Source: Davison & Hinkley, Bootstrap Methods and their Application, section 4.2.1.
    """
    if math.isnan(observed):
        return 1.0
    with np.errstate(invalid="ignore"):
        milder = draws < observed if direction == "greater" else draws > observed
    return (1 + len(draws) - int(np.sum(milder))) / (len(draws) + 1)


def tail_p_value(observed: float, draws: Floats, direction: Direction) -> float:
    """Return the Monte-Carlo p-value by rank or, beyond all draws, by an exponential tail.

    The tail is fitted to the outermost quarter of the draws.

    The p-value by rank is exact, but not below 1 / (number of draws + 1). For an observation beyond all draws, let z be
    the distance of its logarithm from the edge of the outermost quarter, which holds m draws, and `mean` the mean
    distance of theirs. Then the p-value is

        (m + 1) / (number of draws + 1) * (1 + z / (m mean))^-m

    where the first factor is the probability of the outermost quarter. This is exact for an exponential tail of the
    logarithms, and too large for a lighter tail. So it is valid for every statistic whose logarithm has a log-concave
    density, e.g. d_on / d_free = rho_T^(-1/2) of a flat boundary, where rho_T has a Beta distribution, and a log-normal
    statistic. (A normal tail would give a p-value for the former that is five times too small at k = 1 and p = 0.004.)
    For a heavier tail it is too small; therefore it is never below a tenth of the smallest p-value by rank. Where
    `can_fit_tail` is False, the p-value by rank is returned.

    Args:
        observed: The statistic.
        draws: The statistic of each draw (m,).
        direction: The side on which a statistic is extreme.

    Source: after Knijnenburg, Wessels, Reinders & Shmulevich, Bioinformatics 25, 2009.
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
    """Return whether the outermost quarter holds several draws, all positive, finite and without ties."""
    outer = _outermost(draws, direction)
    return len(outer) > 1 and bool(
        np.isfinite(outer).all() and (outer > 0).all() and len(np.unique(outer)) == len(outer)
    )


def _outermost(draws: Floats, direction: Direction) -> Floats:
    """Return the outermost quarter of the draws and the next draw, outermost first; a NaN draw counts as extreme."""
    ordered = np.sort(np.where(np.isnan(draws), np.inf if direction == "greater" else -np.inf, draws))
    if direction == "greater":
        ordered = ordered[::-1]
    return ordered[: len(draws) // TAIL + 1]


def replicated_interval(replicates: Sequence[Floats], alpha: float, summary: Summary) -> tuple[float, float]:
    """Return the interval of the median, over all networks of a kind, of each network's own median or rate.

    Each network has an interval over its inputs. A tenth of alpha pays for all of these together (Bonferroni). The
    lower bound is an order statistic of their lower ends, and the upper bound one of their upper ends, as in
    `median_interval`, for the rest of alpha. So the coverage is at least 1 - alpha for any distribution of networks and
    of inputs, and however alike the networks are at an input. The interval is unbounded where there are fewer networks
    than `replicates_needed` says.

    Args:
        replicates: The statistic of each input (n,), for each network.
        alpha: Two-sided error.
        summary: Whether the claim is about each network's median, or about its rate, the mean of 0/1 values.
    """
    over_inputs = rate_interval if summary == "mean" else median_interval
    each = alpha * SHARE_OF_INPUTS / max(1, len(replicates))
    ends = np.array([over_inputs(row, each) for row in replicates]).reshape(-1, 2)
    low, high = (median_interval(side, alpha * (1 - SHARE_OF_INPUTS)) for side in ends.T)
    lowest, highest = (0.0, 1.0) if summary == "mean" else (-math.inf, math.inf)
    return max(low[0], lowest), min(high[1], highest)


def replicates_needed(alpha: float, *, spare: int = 0) -> int:
    """Return the smallest number of replicates whose median can be shown to lie on one side of a limit.

    With that many, all of them but `spare` have to lie on this side: n is the smallest number for which
    2 P(Bin(n, 1/2) <= spare) <= alpha, and 2 (1/2)^n <= alpha where none is spared.

    Example:
        >>> from dmmcheck.inference.stats import replicates_needed
        >>> replicates_needed(0.05), replicates_needed(0.05 / 12), replicates_needed(0.05, spare=1)
        (6, 9, 9)
    """
    count = spare + 1
    while 2 * float(special.bdtr(spare, count, 0.5)) > alpha:
        count += 1
    return count


def inputs_to_decide(values: Floats, limit: float, alpha: float, summary: Summary) -> int | None:
    """Return how many inputs would decide with a power of 80 %, if the shares beyond the limit stayed.

    A median is compared as a rate: the share of values above the limit with one half. A NaN value counts against either
    side, as in the intervals.

    Args:
        values: The statistic of each input (n,).
        limit: The limit.
        alpha: Two-sided error of the interval.
        summary: Whether the claim is about the median or the mean.

    Returns:
        The number; None above a million, or where the values do not tell on which side of the limit the summary lies.
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
    needed = -(float(special.ndtri(alpha / 2)) * spread[0] + float(special.ndtri(0.2)) * spread[1]) / (rate - against)
    return math.ceil(needed**2) if needed**2 <= 1_000_000 else None
