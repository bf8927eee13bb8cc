"""How a statistic of the same inputs differs between two models: the paired change, its interval, and a word for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from dmmcheck.inference import stats
from dmmcheck.inference.evidence import Floats
from dmmcheck.inference.types import ChangeWord

Scale = Literal["ratio", "difference", "rate"]
"""Ratios of positive numbers, differences of shares, or differences of 0/1 values."""
SAME = 0.02  # a change of at most 2 % of a ratio, or of 0.02 of a share, is none; repeated searches differ by less
ADDED = 0.5  # added to each of the four counts of a paired rate (Agresti and Min 2005)


@dataclass(frozen=True, kw_only=True)
class PairedChange:
    """A paired change.

    Attributes:
        word: ``better``, ``worse``, ``changed``, ``no-change`` or ``not-told``.
        estimate: Now over before for a ratio, now minus before otherwise.
        interval: Its interval.
    """

    word: ChangeWord
    estimate: float
    interval: tuple[float, float]


def paired_change(
    before: Sequence[float] | Floats, now: Sequence[float] | Floats, *, scale: Scale, alpha: float, worse: str = ""
) -> PairedChange:
    """Compare the statistic of the same inputs in two models.

    The change is the median over inputs of the ratio (or difference), with the interval of order statistics, which
    assumes independent inputs and nothing else. For 0/1 values it is the difference of the two rates, with the interval
    of Agresti and Min (Statistics in Medicine 24, 2005) for matched pairs.

    Args:
        before: The statistic of each input in the baseline (n,); infinite where a distance was not found.
        now: The same in the model under test (n,).
        scale: What a change is.
        alpha: Error rate of the interval.
        worse: ``"greater"`` or ``"less"``, the direction that is worse; "" where none is.

    Example:
        >>> from dmmcheck.inference.paired import paired_change
        >>> found = paired_change([1.0] * 64, [0.7] * 64, scale="ratio", alpha=0.05, worse="less")
        >>> found.word, found.estimate
        ('worse', 0.7)
    """
    earlier, present = (np.asarray(values, dtype=np.float64) for values in (before, now))
    if scale == "rate":
        estimate, interval = _rate_change(earlier, present, alpha)
    else:
        changes = _ratios(earlier, present) if scale == "ratio" else _differences(earlier, present)
        known = changes[~np.isnan(changes)]
        estimate = float(np.quantile(known, 0.5, method="nearest")) if len(known) else math.nan
        interval = stats.median_interval(changes, alpha)
    none = 1.0 if scale == "ratio" else 0.0
    lowest = 1 / (1 + SAME) if scale == "ratio" else -SAME
    return PairedChange(
        word=_word(interval, lowest, none + SAME, worse, is_known=not math.isnan(estimate)),
        estimate=estimate,
        interval=interval,
    )


def _word(interval: tuple[float, float], lowest: float, highest: float, worse: str, *, is_known: bool) -> ChangeWord:
    """Return the word for an interval beside the range that counts as no change."""
    low, high = interval
    if is_known and lowest <= low and high <= highest:
        return "no-change"
    if not is_known or not (high < lowest or low > highest):
        return "not-told"
    if not worse:
        return "changed"
    return "worse" if (high < lowest) == (worse == "less") else "better"


def _ratios(before: Floats, now: Floats) -> Floats:
    """Return now over before; 1 where both are infinite or both are zero, NaN where one of them is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = now / before
    return np.where(before == now, 1.0, ratios)


def _differences(before: Floats, now: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.where(before == now, 0.0, now - before)


def _rate_change(before: Floats, now: Floats, alpha: float) -> tuple[float, tuple[float, float]]:
    """Return the difference of two rates over the same inputs, and its interval.

    A pair with an unknown value counts as a fall in the lower end and as a rise in the upper.
    """
    unknown = int((np.isnan(before) | np.isnan(now)).sum())
    n, up, down = len(now), int((now > before).sum()), int((now < before).sum())
    if n == unknown:
        return math.nan, (-math.inf, math.inf)
    low, _ = _agresti_min(up, down + unknown, n, alpha)
    _, high = _agresti_min(up + unknown, down, n, alpha)
    return (up - down) / (n - unknown), (low, high)


def _agresti_min(up: int, down: int, n: int, alpha: float) -> tuple[float, float]:
    total, more, fewer = n + 4 * ADDED, up + ADDED, down + ADDED
    middle = (more - fewer) / total
    deviation = math.sqrt(more + fewer - (more - fewer) ** 2 / total) / total
    width = NormalDist().inv_cdf(1 - alpha / 2) * deviation
    return middle - width, middle + width
