"""decide(evidence, claim) -> verdict: three-valued, distribution-free; what cannot be told apart is inconclusive."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dmmcheck.inference import stats
from dmmcheck.inference.evidence import Evidence
from dmmcheck.inference.types import Direction, Verdict


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict with the numbers it rests on, in the statistic's unit."""

    verdict: Verdict
    estimate: float
    interval: tuple[float, float]
    p_value: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Rarity:
    """How rare the statistic is among shared draws of a null.

    Attributes:
        p_value: Monte-Carlo p-value.
        least: The smallest one that these draws can show, 0 where nothing bounds it.
        draws: What they are, as the subject of "cannot show", e.g. ``39 draws``.
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
    rarity: Rarity | None = None,
    inputs: int | None = None,
    most: int | None = None,
) -> Decision:
    """Hold evidence against a limit.

    Supported where the whole interval lies on the claimed side of the limit *and*, in the controlled tier, the
    statistic is extreme among the draws of the null (``rarity.p_value < alpha``). Refuted where the whole interval
    lies on the other side. Else inconclusive: no evidence is neither. In the controlled tier the limit is the control's
    value moved by the margin, so "refuted" there says: shown not to exceed the control by what counts. What draws can
    never show, because they are too few for alpha, is said.

    Args:
        evidence: One number an input.
        limit: What the median (or rate) is held against.
        direction: On which side of it the claim lies.
        alpha: Two-sided error of the interval; bounds false support and false refutation alike.
        limit_ends: Where the limit lies for sure, if it is an estimate itself: the interval must clear all of it.
        rarity: How rare the statistic is among shared draws of the null.
        inputs: How many inputs the evidence was taken from, where it leaves some out.
        most: How many the test takes at most, where it does not take all there are.
    """
    ends = limit_ends or (limit, limit)
    interval, by_draws = _interval(evidence, alpha)
    test = stats.rate_test if evidence.summary == "mean" else stats.sign_test
    p_value = test(evidence.values, limit, direction)
    verdict, reason = _compare(interval, limit, ends, direction)
    estimate = point_estimate(evidence)
    too_few = rarity is not None and not _below(rarity.least, alpha)
    if verdict == "inconclusive" and by_draws:
        reason += "; networks differ from one another by too much"
    elif verdict == "inconclusive" and not (too_few and (estimate > limit) == (direction == "greater")):
        reason += _how_many(evidence, ends, alpha, inputs, most)
    if verdict == "supported" and rarity is not None and not _below(rarity.p_value, alpha):
        verdict = "inconclusive"
        rare = f"p = {rarity.p_value:.3g}, needs less than {alpha:.2g}"
        reason = f"beyond the control, but not extreme among its shared draws ({rare})"
    if verdict == "inconclusive" and rarity is not None and too_few:
        reason += f"; {rarity.draws} cannot show p < {rarity.least:.2g}, alpha here is {alpha:.2g}"
    return Decision(
        verdict=verdict,
        estimate=estimate,
        interval=interval,
        p_value=p_value if rarity is None else rarity.p_value,
        reason=reason,
    )


def _below(p_value: float, alpha: float) -> bool:
    """Whether a p-value is below alpha, by more than their rounding: 1/100 is not below 0.07/7."""
    return p_value < alpha * (1 - 1e-9)


def _interval(evidence: Evidence, alpha: float) -> tuple[tuple[float, float], bool]:
    """Over inputs, stretched to cover a new draw where there are draws; and whether the draws have set an end."""
    rate = evidence.summary == "mean"
    low, high = (stats.rate_interval if rate else stats.median_interval)(evidence.values, alpha)
    if evidence.draws is None:
        return (low, high), False
    if rate:
        lowest, highest = stats.draw_interval(evidence.draws, alpha)
        lowest, highest = max(lowest, 0.0), min(highest, 1.0)
    else:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            lowest, highest = np.exp(stats.draw_interval(np.log(evidence.draws), alpha)).tolist()
    return (min(low, lowest), max(high, highest)), lowest < low or highest > high


def point_estimate(evidence: Evidence) -> float:
    """Median (or mean) of the statistic; NaN values lie on neither side and count as the worse of both."""
    values = evidence.values
    if not len(values):
        return math.nan
    if evidence.summary == "mean":
        known = values[~np.isnan(values)]
        return float(np.mean(known)) if len(known) else math.nan
    low, high = (float(np.median(np.where(np.isnan(values), end, values))) for end in (-np.inf, np.inf))
    return low if low == high else math.nan if math.isinf(low) or math.isinf(high) else (low + high) / 2


def _compare(
    interval: tuple[float, float], limit: float, ends: tuple[float, float], direction: Direction
) -> tuple[Verdict, str]:
    if any(map(math.isnan, (*interval, limit, *ends))):
        return "inconclusive", "the statistic or its control is undefined (NaN)"
    above, below = interval[0] > max(ends), interval[1] < min(ends)
    if not (above or below):
        known = "" if ends == (limit, limit) else f" (known within {min(ends):.4g} and {max(ends):.4g})"
        return "inconclusive", f"the interval holds the limit {limit:.4g}{known}"
    return ("supported" if above == (direction == "greater") else "refuted"), ""


def _how_many(evidence: Evidence, ends: tuple[float, float], alpha: float, inputs: int | None, most: int | None) -> str:
    """How many inputs would likely decide, ``; about 600 inputs would likely decide``, or nothing.

    Counted against the end of the limit that the estimate is beyond; no number decides between the ends.
    """
    count, estimate = len(evidence.values), point_estimate(evidence)
    if not (estimate > max(ends) or estimate < min(ends)):
        return ""
    end = max(ends) if estimate > max(ends) else min(ends)
    needed = stats.inputs_to_decide(evidence.values, end, alpha, evidence.summary)
    if needed is None or needed <= count:
        return ""
    total = math.ceil(needed * (inputs or count) / count)
    if most is not None and total > most:
        return f"; about {total} inputs would be needed, this test takes {most} at most"
    return f"; about {total} inputs would likely decide"
