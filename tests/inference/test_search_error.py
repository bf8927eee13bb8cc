"""The error bar of a search, from the same inputs measured twice."""

from __future__ import annotations

import dataclasses
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


@pytest.mark.parametrize(("rises", "falls"), [(4, 0), (0, 4), (3, 7)])
def test_a_rate_changes_by_the_shares_of_inputs_that_change(rises, falls):
    own = Evidence.of(np.repeat([0.0, 1.0], 32), summary="mean")
    changed = own.values.copy()
    changed[:rises], changed[64 - falls :] = 1.0, 0.0
    error = search_error(own, Evidence.of(changed, summary="mean"), 0.05, is_ratio=False)
    up, down = (stats.rate_interval(np.repeat([1.0, 0.0], [n, 64 - n]), 0.05)[1] for n in (rises, falls))
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


@pytest.mark.parametrize(
    ("error", "expected"),
    [(SearchError(0.5, 2.0, True), (1.5, 10.0)), (SearchError(-0.5, 2.0, False), (2.5, 7.0))],
    ids=["factors", "summands"],
)
def test_an_error_bar_is_a_factor_or_a_summand_at_either_end(error, expected):
    assert error.widened((3.0, 5.0)) == expected


@pytest.mark.parametrize(("is_ratio", "ends"), [(True, (0.0, math.inf)), (False, (-math.inf, math.inf))])
def test_too_few_inputs_bound_nothing_and_nor_do_other_inputs(is_ratio, ends):
    few = Evidence.of([1.0, 2.0, 3.0])
    for own, thorough in ((few, few), (Evidence.of(OWN), Evidence.of(OWN[1:]))):
        error = search_error(own, thorough, 0.05, is_ratio=is_ratio)
        assert (error.low, error.high, error.is_ratio) == (*ends, is_ratio)


def test_a_change_that_every_input_shares_is_the_whole_error_bar():
    """Eight inputs whose changes reach from the smallest to the largest of the interval."""
    own = np.ones(8)
    up, down, both = np.linspace(1.25, 2.0, 8), np.linspace(0.25, 0.75, 8), np.linspace(0.5, 1.5, 8)
    for thorough, factors, summands in (
        (up, (1.0, 2.0), (0.0, 1.0)),
        (down, (0.25, 1.0), (-0.75, 0.0)),
        (both, (0.5, 1.5), (-0.5, 0.5)),
    ):
        for is_ratio, ends in ((True, factors), (False, summands)):
            error = search_error(Evidence.of(own), Evidence.of(thorough), 0.05, is_ratio=is_ratio)
            assert (error.low, error.high, error.is_ratio) == (*ends, is_ratio)


def test_equal_values_are_no_change_whatever_they_are():
    own = Evidence.of([0.0] * 4 + [math.inf] * 4)
    for is_ratio, none in ((True, 1.0), (False, 0.0)):
        error = search_error(own, own, 0.05, is_ratio=is_ratio)
        assert (error.low, error.high) == (none, none)


def test_an_unknown_change_of_a_rate_counts_on_either_side():
    own, thorough = (Evidence.of([value] * 2 + [1.0] * 30, summary="mean") for value in (0.0, math.nan))
    error = search_error(own, thorough, 0.05, is_ratio=False)
    two_of = stats.rate_interval(np.repeat([1.0, 0.0], [2, 30]), 0.05)[1]
    assert (error.low, error.high, error.is_ratio) == (pytest.approx(-two_of), pytest.approx(two_of), False)


def test_an_error_bar_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SearchError(0.5, 2.0, True).low = 1.0


def test_as_many_inputs_of_both_searches_are_compared_however_many():
    own = Evidence.of(np.ones(300))
    error = search_error(own, Evidence.of(np.full(300, 0.5)), 0.05, is_ratio=True)
    assert (error.low, error.high) == (0.5, 1.0)
