"""decide(evidence, claim) -> verdict: three-valued, distribution-free; what cannot be told apart is inconclusive."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dmmcheck import stats
from dmmcheck.evidence import Evidence
from dmmcheck.report.model import Direction, Verdict


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict with the numbers it rests on, in the statistic's unit."""

    verdict: Verdict
    estimate: float
    interval: tuple[float, float]
    p_value: float
    reason: str


def decide(
    evidence: Evidence,
    *,
    limit: float,
    direction: Direction,
    alpha: float,
    null_p_value: float | None = None,
) -> Decision:
    """Hold evidence against a limit.

    Supported where the whole interval lies on the claimed side of the limit *and*, in the controlled tier, the
    statistic is extreme among the draws of the null (``null_p_value <= alpha``). Refuted where the whole interval
    lies on the other side. Else inconclusive: no evidence is neither. In the controlled tier the limit is the control's
    value moved by the margin, so "refuted" there says: shown not to exceed the control by what counts.

    Args:
        evidence: One number an input.
        limit: What the median (or rate) is held against.
        direction: On which side of it the claim lies.
        alpha: Two-sided error of the interval; bounds false support and false refutation alike.
        null_p_value: Monte-Carlo p-value among shared draws of the null.
    """
    rate = evidence.summary == "mean"
    interval = (stats.rate_interval if rate else stats.median_interval)(evidence.values, alpha)
    p_value = (stats.rate_test if rate else stats.sign_test)(evidence.values, limit, direction)
    estimate = point_estimate(evidence)
    verdict, reason = _compare(interval, limit, direction)
    if verdict == "inconclusive":
        reason = _how_many(evidence, limit, alpha, reason)
    if verdict == "supported" and null_p_value is not None and not null_p_value <= alpha:
        verdict = "inconclusive"
        reason = (
            f"beyond the control, but not extreme among its shared draws (p = {null_p_value:.3g}, needs {alpha:.2g})"
        )
    return Decision(
        verdict=verdict,
        estimate=estimate,
        interval=interval,
        p_value=p_value if null_p_value is None else null_p_value,
        reason=reason,
    )


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


def _compare(interval: tuple[float, float], limit: float, direction: Direction) -> tuple[Verdict, str]:
    low, high = interval
    if math.isnan(limit) or math.isnan(low) or math.isnan(high):
        return "inconclusive", "the statistic or its control is undefined (NaN)"
    above, below = low > limit, high < limit
    if not (above or below):
        return "inconclusive", f"the interval holds the limit {limit:.4g}"
    return ("supported" if above == (direction == "greater") else "refuted"), ""


def _how_many(evidence: Evidence, limit: float, alpha: float, reason: str) -> str:
    if evidence.summary == "mean":
        return reason
    needed = stats.inputs_to_decide(evidence.values, limit, alpha)
    if needed is None or needed <= len(evidence.values):
        return reason
    return f"{reason}; about {needed} inputs would likely decide"
