"""The error bar of a search, from the same inputs measured twice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmcheck.inference import stats
from dmmcheck.inference.decide import decide
from dmmcheck.inference.evidence import Evidence
from dmmcheck.inference.search_error import SearchError, search_error

OWN = np.linspace(1.0, 3.0, 64)


def test_a_search_that_changes_nothing_needs_no_error_bar():
    for is_ratio, none in ((True, 1.0), (False, 0.0)):
        error = search_error(Evidence.of(OWN), Evidence.of(OWN), 0.05, is_ratio=is_ratio)
        assert (error.low, error.high) == (none, none)
        assert error.widened((1.0, 2.0)) == (1.0, 2.0)


def test_a_shortfall_of_every_distance_is_the_error_bar():
    error = search_error(Evidence.of(OWN), Evidence.of(0.9 * OWN), 0.05, is_ratio=True)
    assert (error.low, error.high) == pytest.approx((0.9, 1.0))
    error = search_error(Evidence.of(OWN), Evidence.of(OWN + 0.25), 0.05, is_ratio=False)
    assert (error.low, error.high) == pytest.approx((0.0, 0.25))


def test_the_error_bar_holds_the_interval_of_the_median_change():
    change = np.exp(np.random.default_rng(0).normal(-0.1, 0.05, 64))
    error = search_error(Evidence.of(OWN), Evidence.of(OWN * change), 0.05, is_ratio=True)
    low, high = stats.median_interval(OWN * change / OWN, 0.05)
    assert (error.low, error.high) == pytest.approx((low, 1.0))
    assert high < 1


def test_a_rate_changes_by_the_shares_of_inputs_that_change():
    own = Evidence.of(np.r_[np.zeros(32), np.ones(32)], summary="mean")
    thorough = Evidence.of(np.r_[np.ones(4), np.zeros(28), np.ones(32)], summary="mean")
    error = search_error(own, thorough, 0.05, is_ratio=False)
    up = stats.rate_interval(np.r_[np.ones(4), np.zeros(60)], 0.05)[1]
    down = stats.rate_interval(np.zeros(64), 0.05)[1]
    assert (error.low, error.high) == pytest.approx((-down, up))


def test_evidence_on_other_inputs_bounds_nothing():
    error = search_error(Evidence.of(OWN), Evidence.of(OWN[:-1]), 0.05, is_ratio=True)
    assert error.widened((1.0, 2.0)) == (0.0, math.inf)


def test_censored_distances_of_both_searches_are_no_change():
    own = Evidence.of(np.where(OWN > 2, np.inf, OWN))
    error = search_error(own, own, 0.05, is_ratio=True)
    assert (error.low, error.high) == (1.0, 1.0)


@given(st.floats(0.5, 1.0), st.floats(1.0, 2.0), st.sampled_from(["greater", "less"]), st.floats(0.5, 4.0))
def test_an_error_bar_never_makes_a_verdict(low, high, direction, limit):
    """With an error bar a verdict stays, or becomes inconclusive."""
    evidence = Evidence.of(OWN)
    plain = decide(evidence, limit=limit, direction=direction, alpha=0.05)
    widened = decide(evidence, limit=limit, direction=direction, alpha=0.05, error=SearchError(low, high, True))
    assert widened.verdict in {plain.verdict, "inconclusive"}
    assert widened.interval[0] <= plain.interval[0] <= plain.interval[1] <= widened.interval[1]


def test_a_verdict_that_the_error_bar_takes_away_says_so():
    evidence = Evidence.of(OWN)
    found = decide(evidence, limit=1.5, direction="greater", alpha=0.05, error=SearchError(0.8, 1.0, True))
    assert found.verdict == "inconclusive"
    assert "once it is widened by the error of the search" in found.reason
