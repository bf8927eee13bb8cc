"""Paired changes: known answers, and how often an unchanged model is called worse."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from dmmcheck.inference.paired import SAME, paired_change

ALPHA = 0.05


@pytest.mark.parametrize(
    ("factor", "worse", "word"),
    [
        (0.7, "less", "worse"),
        (0.7, "greater", "better"),
        (0.7, "", "changed"),
        (1.4, "less", "better"),
        (1.0, "less", "no-change"),
        (1.01, "less", "no-change"),
    ],
)
def test_a_factor_is_found_with_its_word(factor, worse, word):
    before = np.random.default_rng(0).uniform(0.5, 2.0, 64)
    found = paired_change(before, factor * before, scale="ratio", alpha=ALPHA, worse=worse)
    assert found.word == word
    assert found.estimate == pytest.approx(factor)


def test_distances_that_neither_model_has_are_no_change_and_unknown_values_tell_nothing():
    never = paired_change([math.inf] * 64, [math.inf] * 64, scale="ratio", alpha=ALPHA)
    assert (never.word, never.estimate) == ("no-change", 1.0)
    unknown = paired_change([math.nan] * 64, [1.0] * 64, scale="ratio", alpha=ALPHA)
    assert unknown.word == "not-told"
    lost = paired_change([1.0] * 64, [math.inf] * 64, scale="ratio", alpha=ALPHA, worse="greater")
    assert lost.word == "worse"


def test_a_rate_is_compared_pair_by_pair():
    before, now = np.ones(200), np.ones(200)
    now[:40] = 0.0
    found = paired_change(before, now, scale="rate", alpha=ALPHA, worse="less")
    assert (found.word, found.estimate) == ("worse", -0.2)
    assert found.interval[0] < -0.2 < found.interval[1] < -SAME
    now[:] = np.nan
    assert paired_change(before, now, scale="rate", alpha=ALPHA).word == "not-told"


@pytest.mark.parametrize("scale", ["ratio", "rate"])
def test_a_change_at_the_limit_is_rarely_called_worse(scale):
    rng, runs = np.random.default_rng(1), 400
    wrong = 0
    for _ in range(runs):
        if scale == "ratio":
            before = rng.lognormal(size=100)
            now = before * (1 - SAME) * np.exp(rng.normal(scale=0.3, size=100))
        else:
            before = (rng.random(100) < 0.8).astype(float)
            flips = rng.random(100) < 0.1
            now = np.where(flips, (rng.random(100) < 0.8 - SAME).astype(float), before)
        wrong += paired_change(before, now, scale=scale, alpha=ALPHA, worse="less").word == "worse"
    assert wrong / runs <= ALPHA  # one side of an interval at alpha errs in half of it; the rest is chance


@pytest.mark.parametrize(
    ("low", "high", "worse", "word"),
    [
        (0.02, 0.02, "less", "no-change"),
        (-0.02, 0.02, "", "no-change"),
        (-0.02, -0.02, "less", "no-change"),
        (-0.03, 0.02, "less", "not-told"),
        (-0.02, 0.03, "less", "not-told"),
        (0.02, 0.5, "less", "not-told"),
        (-0.5, -0.02, "less", "not-told"),
        (0.03, 0.5, "less", "better"),
        (0.03, 0.5, "greater", "worse"),
        (-0.5, -0.03, "less", "worse"),
        (-0.5, -0.03, "greater", "better"),
        (-0.5, -0.03, "", "changed"),
        (0.03, 0.5, "", "changed"),
    ],
)
def test_the_word_follows_the_interval_beside_two_hundredths(low, high, worse, word):
    """The interval of the median of eight values reaches from the smallest to the largest."""
    now = np.array([low] * 4 + [high] * 4)
    found = paired_change(np.zeros(8), now, scale="difference", alpha=ALPHA, worse=worse)
    assert (found.interval, found.word) == ((low, high), word)


@pytest.mark.parametrize(("factor", "word"), [(1.02, "no-change"), (1 / 1.02, "no-change"), (1.021, "changed")])
def test_two_per_cent_of_a_ratio_are_no_change_up_or_down(factor, word):
    assert paired_change(np.ones(8), np.full(8, factor), scale="ratio", alpha=ALPHA).word == word
    assert paired_change(np.full(8, factor), np.ones(8), scale="ratio", alpha=ALPHA).word == word


def test_equal_values_are_no_change_even_where_no_ratio_or_difference_is_defined():
    before, now = np.array([0.0, math.inf, 1.0, math.nan, math.inf]), np.array([0.0, math.inf, 4.0, 1.0, 1.0])
    ratio = paired_change(before, now, scale="ratio", alpha=0.99)
    assert ratio.estimate == 1.0  # the nearest to the middle of 1, 1, 4 and 0
    difference = paired_change(before, now, scale="difference", alpha=0.99)
    assert difference.estimate == 0.0  # of 0, 0, 3 and -inf
    nothing = paired_change([math.nan] * 8, [1.0] * 8, scale="difference", alpha=ALPHA, worse="less")
    assert (nothing.word, math.isnan(nothing.estimate)) == ("not-told", True)


def paired_rates(up, down, same, unknown=0):
    """0/1 values of two models with these counts of pairs."""
    before = np.repeat([0.0, 1.0, 1.0, math.nan], [up, down, same, unknown])
    return before, np.repeat([1.0, 0.0, 1.0, 1.0], [up, down, same, unknown])


def agresti_min(up, down, n):
    """The interval from half a pair more in each of the four cells."""
    cells = np.array([up, down, 0.0, n - up - down]) + 0.5
    shares = cells / cells.sum()
    middle = shares[0] - shares[1]
    spread = math.sqrt((shares[0] + shares[1] - middle**2) / cells.sum())
    return pytest.approx((middle - 1.959964 * spread, middle + 1.959964 * spread), rel=1e-5)


@pytest.mark.parametrize(("up", "down", "n"), [(3, 1, 10), (1, 3, 10), (0, 0, 30), (5, 60, 200)])
def test_the_interval_of_a_rate_is_that_of_matched_pairs(up, down, n):
    before, now = paired_rates(up, down, n - up - down)
    found = paired_change(before, now, scale="rate", alpha=ALPHA)
    assert found.estimate == pytest.approx((up - down) / n)
    assert found.interval == agresti_min(up, down, n)


def test_an_unknown_pair_counts_as_a_fall_below_and_as_a_rise_above():
    before, now = paired_rates(3, 1, 3, unknown=3)
    for values in ((before, now), (1 - now, 1 - before)):  # the unknown value before, and now
        found = paired_change(*values, scale="rate", alpha=ALPHA)
        assert found.estimate == pytest.approx(2 / 7)
        assert found.interval[0] == pytest.approx(agresti_min(3, 4, 10).expected[0], rel=1e-5)
        assert found.interval[1] == pytest.approx(agresti_min(6, 1, 10).expected[1], rel=1e-5)
    nothing = paired_change(np.full(9, math.nan), np.ones(9), scale="rate", alpha=ALPHA)
    assert (nothing.interval, math.isnan(nothing.estimate)) == ((-math.inf, math.inf), True)


def test_a_change_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        paired_change([1.0], [1.0], scale="ratio", alpha=ALPHA).word = "worse"
