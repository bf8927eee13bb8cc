"""How a statistic stands beside chance: more, like or less than the draws of a control, or not told."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dmmcheck.inference import stats
from dmmcheck.inference.decide import below
from dmmcheck.inference.evidence import Floats
from dmmcheck.inference.types import ChanceWord, Direction

RANGE = 0.95  # share of the draws of a control that counts as what chance does
OPPOSITE: dict[Direction, Direction] = {"greater": "less", "less": "greater"}

Moved = Callable[[float, Direction], float]


@dataclass(frozen=True, kw_only=True)
class BesideChance:
    """A comparison of a statistic with the draws of a control.

    Attributes:
        word: ``more``, ``like``, ``less`` or ``not-told``.
        effect: Statistic over control for a ratio, statistic minus control otherwise.
        interval: Interval of the effect, over the inputs and over the draws of the control.
        reason: Why nothing is told; "" where it is.
    """

    word: ChanceWord
    effect: float
    interval: tuple[float, float]
    reason: str = ""


def beside_chance(
    estimate: float,
    interval: tuple[float, float],
    draws: Floats,
    *,
    direction: Direction,
    moved: Moved,
    is_ratio: bool,
    is_more: bool,
    p_less: float,
    alpha: float,
    largest: float = math.inf,
) -> BesideChance:
    """Compare a statistic with the same statistic in the shared random draws of a control.

    - *More* is given: the claim's own test against the control, which asks for the whole interval beyond the control
      by the margin, and for a statistic that is extreme among the draws.
    - *Less* is the mirror image on the other side.
    - *Like* is an equivalence test: the whole interval lies in the range of chance, the central 95 % of the draws with
      the margin added on both sides. A field that means nothing is one more such draw, so it need not lie near the
      median of the others.

    Args:
        estimate: The statistic.
        interval: Its interval over the inputs, at level 1 - alpha.
        draws: The statistic in each draw (m,).
        direction: The side of the control on which the claim places the statistic.
        moved: From a value and a side to the value moved to that side by the margin.
        is_ratio: Whether the effect is a ratio rather than a difference.
        is_more: Whether the statistic is more than chance.
        p_less: Monte-Carlo p-value on the other side.
        alpha: Error rate.
        largest: The largest value that the statistic can take.
    """
    known = draws[~np.isnan(draws)]
    if math.isnan(estimate) or len(known) < len(draws):
        missing = f"{len(draws) - len(known)} of {len(draws)} draws have no value (NaN)"
        reason = "the statistic has no value (NaN)" if math.isnan(estimate) else missing
        return BesideChance(word="not-told", effect=math.nan, interval=(-math.inf, math.inf), reason=reason)
    middle = float(np.quantile(known, 0.5, method="nearest"))
    ends = stats.median_interval(known, alpha)
    effect, effect_interval = _effect(estimate, interval, middle, ends, is_ratio=is_ratio)
    word, reason = _word(
        interval, known, ends, direction=direction, moved=moved, is_more=is_more, p_less=p_less, alpha=alpha
    )
    if word == "not-told" and middle >= largest and direction == "greater":
        reason = f"the control is at {middle:.3g}, and the statistic cannot exceed {largest:.3g}"
    return BesideChance(word=word, effect=effect, interval=effect_interval, reason=reason)


def _word(
    interval: tuple[float, float],
    draws: Floats,
    ends: tuple[float, float],
    *,
    direction: Direction,
    moved: Moved,
    is_more: bool,
    p_less: float,
    alpha: float,
) -> tuple[ChanceWord, str]:
    if is_more:
        return "more", ""
    other = OPPOSITE[direction]
    limits = [moved(end, other) for end in ends]
    beyond = interval[1] < min(limits) if other == "less" else interval[0] > max(limits)
    if beyond and below(p_less, alpha):
        return "less", ""
    low, high = range_of_chance(draws)
    low, high = moved(low, "less"), moved(high, "greater")
    if low <= interval[0] and interval[1] <= high:
        return "like", ""
    return "not-told", f"the interval lies neither inside what chance does, {low:.3g} to {high:.3g}, nor clear of it"


def range_of_chance(draws: Floats) -> tuple[float, float]:
    """Return the central 95 % of draws (m,).

    Where m >= 39, one more draw lies in this range with a probability of at least 95 %.

    Its ends are the order statistics of rank r = floor(0.025 (m + 1)) from either side, the outermost ones where there
    are fewer than 39 draws.
    """
    rank = max(1, math.floor((1 - RANGE) / 2 * (len(draws) + 1)))
    ordered = np.sort(draws)
    return float(ordered[rank - 1]), float(ordered[-rank])


def _effect(
    estimate: float, interval: tuple[float, float], middle: float, ends: tuple[float, float], *, is_ratio: bool
) -> tuple[float, tuple[float, float]]:
    """Return the effect and its interval, with the ends of the control's own interval on the unfavourable side."""
    low, high = ends
    if not is_ratio:
        return estimate - middle, (interval[0] - high, interval[1] - low)
    return _over(estimate, middle), (_over(interval[0], high), _over(interval[1], low))


def _over(a: float, b: float) -> float:
    """Return a ratio of numbers that are not negative: 1 where both are infinite or both are zero."""
    if a == b:
        return 1.0
    if b == 0:
        return math.inf
    return a / b
