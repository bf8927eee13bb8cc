"""From evidence to a verdict: supported, refuted or inconclusive, by intervals that hold for any distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from dmmcheck.inference import stats
from dmmcheck.inference.evidence import Evidence, Floats, Summary
from dmmcheck.inference.search_error import SearchError
from dmmcheck.inference.types import HOLDS_LIMIT, Direction, Verdict

ROUNDING = 1e-5  # relative; statistics nearer to a limit than this are ties with it


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict and the numbers that it follows from, in the unit of the statistic."""

    verdict: Verdict
    estimate: float
    interval: tuple[float, float]
    p_value: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class MonteCarloTest:
    """How extreme the statistic is among the shared draws of a control.

    Attributes:
        p_value: Monte-Carlo p-value.
        least: The smallest p-value that the draws can show; 0 if there is no bound.
        draws: What messages call the draws, e.g. ``39 draws``.
    """

    p_value: float
    least: float = 0.0
    draws: str = "draws"


def decide(
    evidence: Evidence,
    *,
    limit: float,
    direction: Direction,
    alpha: float,
    limit_ends: tuple[float, float] | None = None,
    monte_carlo: MonteCarloTest | None = None,
    inputs: int | None = None,
    most: int | None = None,
    error: SearchError | None = None,
) -> Decision:
    """Return the verdict on a claim: compare evidence with a limit.

    A claim is supported where the whole interval lies on the claimed side of the limit and the statistic is extreme
    among the draws of a control, if there are any. It is refuted where the whole interval lies on the other side. In
    the controlled tier the limit is the control's value plus or minus the smallest effect that counts.

    Args:
        evidence: One number for each input.
        limit: The limit of the median (or rate).
        direction: The side of the limit on which the claim places it.
        alpha: Two-sided error of the interval, which bounds false support and false refutation alike.
        limit_ends: The interval that contains the limit, if the limit is an estimate: all of it must be excluded.
        monte_carlo: How extreme the statistic is among shared draws of the control.
        inputs: The number of inputs that the evidence was taken from, if it leaves some of them out.
        most: The largest number of inputs that the test can take: no more are ever asked for.
        error: The error bar of the search, which widens the interval. The interval and the error bar share alpha.
    """
    ends = limit_ends or (limit, limit)
    level = alpha if error is None else alpha / 2
    interval = _interval(evidence, level)
    verdict, reason = _compare(interval, limit, ends, direction)
    if error is not None:
        was_clear, interval = verdict != "inconclusive", error.widened(interval)
        verdict, reason = _compare(interval, limit, ends, direction)
        reason += ", once it is widened by the error of the search" * (was_clear and verdict == "inconclusive")
    estimate = point_estimate(evidence)
    too_few_draws = monte_carlo is not None and not below(monte_carlo.least, alpha)
    if verdict == "inconclusive" and evidence.unit != "input":
        reason += _why_open(evidence, limit, level)
    elif verdict == "inconclusive" and not (too_few_draws and (estimate > limit) == (direction == "greater")):
        reason += _how_many(evidence, ends, alpha, inputs, most)
    p_value = _p_value(evidence, limit, direction) if monte_carlo is None else monte_carlo.p_value
    if monte_carlo is not None:
        verdict, reason = _among_draws(verdict, reason, monte_carlo, alpha)
    return Decision(verdict=verdict, estimate=estimate, interval=interval, p_value=p_value, reason=reason)


def _p_value(evidence: Evidence, limit: float, direction: Direction) -> float:
    """Return the one-sided p-value of a test of the median, or of the rate."""
    if evidence.replicates is not None:
        return stats.sign_test(_estimates(evidence), limit, direction)
    test = stats.rate_test if evidence.summary == "mean" else stats.sign_test
    values = evidence.values if evidence.at_most is None or direction == "greater" else evidence.at_most
    return test(values, limit, direction)


def _among_draws(verdict: Verdict, reason: str, test: MonteCarloTest, alpha: float) -> tuple[Verdict, str]:
    """Return the verdict and its reason, given how extreme the statistic is among the draws of the control."""
    if verdict == "supported" and not below(test.p_value, alpha):
        verdict = "inconclusive"
        needed = f"p = {test.p_value:.3g}, needs less than {alpha:.2g}"
        reason = f"beyond the control, but not extreme among its shared draws ({needed})"
    if verdict == "inconclusive" and not below(test.least, alpha):
        reason += f"; {test.draws} cannot show p < {test.least:.2g}, alpha here is {alpha:.2g}"
    return verdict, reason


def below(p_value: float, alpha: float) -> bool:
    """Return whether a p-value is below alpha by more than rounding errors: 1/100 is not below 0.07/7."""
    return p_value < alpha * (1 - 1e-9)


def _interval(evidence: Evidence, alpha: float) -> tuple[float, float]:
    """Return the interval over inputs or, where the claim is about networks, over networks and their inputs."""
    if evidence.replicates is not None:
        return stats.replicated_interval(evidence.replicates, alpha, evidence.summary)
    of_values = stats.rate_interval if evidence.summary == "mean" else stats.median_interval
    low, high = of_values(evidence.values, alpha)
    return low, high if evidence.at_most is None else of_values(evidence.at_most, alpha)[1]


def _estimates(evidence: Evidence) -> Floats:
    """Return the number of each network: its median (or rate) or, where there are no rows, its value."""
    if evidence.replicates is None:
        return evidence.values
    return np.array([_summary(row, evidence.summary) for row in evidence.replicates])


def _why_open(evidence: Evidence, limit: float, alpha: float) -> str:
    """Return the part of a reason that says why networks of a kind do not decide."""
    each, units = _estimates(evidence), f"{evidence.unit}s"
    needed = stats.replicates_needed(alpha * (1 if evidence.replicates is None else 1 - stats.SHARE_OF_INPUTS))
    if len(each) < needed:
        alike = ", since networks that are alike count once: make each from a seed of its own"
        return (
            f"; an alpha of {alpha:.2g} needs at least {needed} {units}, and there are {len(each)}"
            f"{alike * (evidence.replicates is not None)}"
        )
    with np.errstate(invalid="ignore"):
        above, below = int(np.sum(each > limit)), int(np.sum(each < limit))
    if max(above, below) == len(each):
        return f"; all {len(each)} {units} lie on one side of it, but each is known from too few inputs"
    side = "above" if above >= below else "below"
    more = stats.inputs_to_decide(each, limit, alpha, "median")
    would = f", and about {more} {units} would likely decide" if more is not None and more > len(each) else ""
    return f"; only {max(above, below)} of {len(each)} {units} lie {side} it{would}"


def point_estimate(evidence: Evidence) -> float:
    """Return the median of the statistic, or the mean of its values that are not NaN.

    For networks, it is the median over their medians or rates.

    NaN values can lie anywhere, so that the median lies between two bounds. The estimate is the middle of the bounds,
    and NaN where one of them is infinite.
    """
    if evidence.replicates is not None:
        return _summary(_estimates(evidence), "median")
    return _summary(evidence.values, evidence.summary)


def _summary(values: Floats, summary: Summary) -> float:
    """Return the median of values, or the mean of 0/1 values; see `point_estimate`."""
    if not len(values):
        return math.nan
    if summary == "mean":
        known = values[~np.isnan(values)]
        return float(np.mean(known)) if len(known) else math.nan
    unknown = np.isnan(values)
    if not unknown.any():
        return float(np.median(values))
    low, high = (float(np.median(np.where(unknown, end, values))) for end in (-np.inf, np.inf))
    return low if low == high else math.nan if math.isinf(low) or math.isinf(high) else (low + high) / 2


def _compare(
    interval: tuple[float, float], limit: float, ends: tuple[float, float], direction: Direction
) -> tuple[Verdict, str]:
    if any(map(math.isnan, (*interval, limit, *ends))):
        return "inconclusive", "the statistic or its control is undefined (NaN)"
    above, below = interval[0] > max(ends) + _rounding(max(ends)), interval[1] < min(ends) - _rounding(min(ends))
    if not (above or below):
        known = "" if ends == (limit, limit) else f" (known within {min(ends):.4g} and {max(ends):.4g})"
        return "inconclusive", f"{HOLDS_LIMIT} {limit:.4g}{known}"
    return ("supported" if above == (direction == "greater") else "refuted"), ""


def _rounding(limit: float) -> float:
    """Return how far beyond a limit a statistic in float32 may lie by rounding alone."""
    return ROUNDING * abs(limit) if math.isfinite(limit) else 0.0


def _how_many(evidence: Evidence, ends: tuple[float, float], alpha: float, inputs: int | None, most: int | None) -> str:
    """Return the part of a reason that says how many inputs can decide, or would likely; "" where no number would.

    It is counted for the nearer end of the limit. Between the ends, no number of inputs decides. Numbers above `most`
    are of no use, and not said.
    """
    count, estimate = len(evidence.values), point_estimate(evidence)
    least = stats.replicates_needed(alpha)
    if evidence.summary == "median" and count < least:
        return f"; {count} inputs cannot decide a median at an alpha of {alpha:.2g}, at least {least} are needed"
    if evidence.at_most is not None:
        highest = _summary(evidence.at_most, evidence.summary)
        if estimate < max(ends) and highest > min(ends):
            return f"; its statistic lies between {estimate:.3g} and {highest:.3g}"
        evidence = replace(evidence, values=evidence.at_most if highest < min(ends) else evidence.values)
        estimate = point_estimate(evidence)
    if not (estimate > max(ends) or estimate < min(ends)):
        return ""
    end = max(ends) if estimate > max(ends) else min(ends)
    needed = stats.inputs_to_decide(evidence.values, end, alpha, evidence.summary)
    if needed is None or needed <= count:
        return ""
    total = math.ceil(needed * (inputs or count) / count)
    return f"; about {total} inputs would likely decide" if most is None or total <= most else ""
