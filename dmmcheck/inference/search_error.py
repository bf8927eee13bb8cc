"""The error bar of a search: how much a statistic changes where a more thorough search finds the distances."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dmmcheck.inference import stats
from dmmcheck.inference.evidence import Evidence, Floats


@dataclass(frozen=True)
class SearchError:
    """By how much a statistic may change, in factors for a ratio and in summands otherwise.

    Attributes:
        low: The lower end: a factor of at most 1, or a summand of at most 0.
        high: The upper end: a factor of at least 1, or a summand of at least 0.
        is_ratio: Whether the ends are factors.
    """

    low: float
    high: float
    is_ratio: bool

    def widened(self, interval: tuple[float, float]) -> tuple[float, float]:
        """Return the interval of the statistic with this error bar at both ends."""
        if self.is_ratio:
            return interval[0] * self.low, interval[1] * self.high
        return interval[0] + self.low, interval[1] + self.high


def search_error(own: Evidence, thorough: Evidence, alpha: float, *, is_ratio: bool) -> SearchError:
    """Return the error bar of a statistic, from the same inputs measured twice.

    Where the claim is about a median, the error bar holds the interval of the median change of an input. Where it is
    about a rate, it holds the interval of the share of inputs that change from 0 to 1, and from 1 to 0. It holds no
    change in any case.

    Args:
        own: The statistic of each input, by the search of the run.
        thorough: The same by a more thorough search.
        alpha: Two-sided error of the interval.
        is_ratio: Whether the statistic is a ratio, whose change is a factor.
    """
    if len(own.values) != len(thorough.values):  # the evidence leaves out inputs, and other ones in each case
        return _unknown(is_ratio=is_ratio)
    if own.summary == "mean":
        changed = thorough.values - own.values
        _, up = stats.rate_interval(_flags(changed > 0, changed), alpha)
        _, down = stats.rate_interval(_flags(changed < 0, changed), alpha)
        return SearchError(-down, up, is_ratio=False)
    if is_ratio:
        change = np.where(own.values == thorough.values, 1.0, Evidence.ratio(thorough.values, own.values).values)
        low, high = stats.median_interval(change, alpha)
        return SearchError(max(0.0, min(low, 1.0)), max(high, 1.0), is_ratio=True)
    with np.errstate(invalid="ignore"):
        change = np.where(own.values == thorough.values, 0.0, thorough.values - own.values)
    low, high = stats.median_interval(change, alpha)
    return SearchError(min(low, 0.0), max(high, 0.0), is_ratio=False)


def _flags(changed: np.ndarray, change: Floats) -> Floats:
    """Return 1 where an input changed, 0 where it did not, NaN where the change is unknown."""
    return np.where(np.isnan(change), np.nan, changed.astype(float))


def _unknown(*, is_ratio: bool) -> SearchError:
    return SearchError(0.0 if is_ratio else -math.inf, math.inf, is_ratio)
