"""The word beside chance, against draws whose distribution is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmmcheck.inference import stats
from dmmcheck.inference.chance import beside_chance, range_of_chance

DRAWS = np.linspace(0.9, 1.1, 41)


def absolute(value, side):
    return value + (0.05 if side == "greater" else -0.05)


def relative(value, side):
    return value * (1.05 if side == "greater" else 1 / 1.05)


def compared(estimate, half, draws=DRAWS, direction="greater", *, is_more=False, p_less=0.01, alpha=0.05, **changes):
    options = {"moved": absolute, "is_ratio": False, **changes}
    return beside_chance(
        estimate,
        (estimate - half, estimate + half),
        draws,
        direction=direction,
        is_more=is_more,
        p_less=p_less,
        alpha=alpha,
        **options,
    )


@pytest.mark.parametrize(
    ("estimate", "half", "changes", "word"),
    [
        (1.5, 0.1, {"is_more": True}, "more"),
        (1.0, 0.1, {}, "like"),
        (1.12, 0.02, {}, "like"),  # beyond the draws, within the margin
        (1.12, 0.1, {}, "not-told"),
        (0.5, 0.1, {}, "less"),
        (0.5, 0.1, {"p_less": 0.05}, "not-told"),  # not extreme among the draws
        (0.95, 0.5, {}, "not-told"),
        (0.5, 0.1, {"direction": "less", "p_less": 0.01}, "not-told"),  # there "less" lies above the control
        (1.5, 0.1, {"direction": "less"}, "less"),
    ],
)
def test_the_word(estimate, half, changes, word):
    assert compared(estimate, half, **changes).word == word


def test_the_effect_carries_the_interval_of_the_control():
    low, high = stats.median_interval(DRAWS, 0.05)
    ratio = compared(1.5, 0.1, is_more=True, is_ratio=True, moved=relative)
    assert ratio.effect == pytest.approx(1.5)
    assert ratio.interval == pytest.approx((1.4 / high, 1.6 / low))
    difference = compared(1.5, 0.1, is_more=True)
    assert difference.effect == pytest.approx(0.5)
    assert difference.interval == pytest.approx((1.4 - high, 1.6 - low))


def test_what_has_no_value_is_not_told_and_says_so():
    undefined = compared(math.nan, 0.1)
    assert (undefined.word, undefined.reason) == ("not-told", "the statistic has no value (NaN)")
    some = compared(1.0, 0.1, draws=np.array([1.0, math.nan, 1.0]))
    assert (some.word, some.reason) == ("not-told", "1 of 3 draws have no value (NaN)")


def test_a_rate_cannot_exceed_a_control_at_one():
    found = compared(0.9, 0.1, draws=np.ones(39), largest=1.0)
    assert (found.word, found.reason) == ("not-told", "the control is at 1, and the statistic cannot exceed 1")


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_one_more_draw_lies_in_the_range_of_chance_as_often_as_said(count, seed):
    """By ranks: the range excludes r - 1 draws on either side, so one more draw lies outside with 2 r / (m + 1)."""
    draws = np.random.default_rng(seed).permutation(count).astype(float)
    low, high = range_of_chance(draws)
    rank = int(low) + 1
    assert high == count - rank
    assert rank == 1 or 2 * rank / (count + 1) <= 0.05 + 1e-12
    assert 2 * (rank + 1) / (count + 1) > 0.05


def test_an_estimate_that_is_one_more_draw_is_like_chance_and_seldom_more_or_less():
    """400 statistics, each with 99 draws of its own from the same distribution: any word but like is rare."""
    rng = np.random.default_rng(0)
    words = []
    for _ in range(400):
        sample = rng.normal(1.0, 0.1, 100)
        p_less = stats.rank_p_value(sample[0], sample[1:], "less")
        is_more = sample[0] - 0.001 > np.median(sample[1:]) + 0.05 and (
            stats.rank_p_value(sample[0], sample[1:], "greater") < 0.05
        )
        words.append(compared(sample[0], 0.001, draws=sample[1:], is_more=is_more, p_less=p_less).word)
    assert words.count("more") <= 0.05 * 400 + 3 * math.sqrt(0.05 * 0.95 * 400)
    assert words.count("less") <= 0.05 * 400 + 3 * math.sqrt(0.05 * 0.95 * 400)
    assert words.count("like") >= 0.85 * 400


EVEN = np.linspace(0.0, 1.0, 33)  # fewer than 39, so that what chance does reaches from the first to the last


def quarter(value, side):
    return value + (0.25 if side == "greater" else -0.25)


def placed(low, high, draws=EVEN, direction="greater", **changes):
    """What is said of an interval beside draws, with a margin of 1/4."""
    options = {"moved": quarter, "is_ratio": False, "is_more": False, "p_less": 0.01, "alpha": 0.05, **changes}
    return beside_chance((low + high) / 2, (low, high), draws, direction=direction, **options)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.25, 1.25, "like"),
        (-0.25, -0.25, "like"),
        (1.25, 1.25, "like"),
        (-0.2501, 1.25, "not-told"),
        (-0.25, 1.2501, "not-told"),
    ],
)
def test_an_interval_may_reach_both_ends_of_what_chance_does(low, high, word):
    found = placed(low, high, p_less=1.0)
    assert (found.word, bool(found.reason)) == (word, word == "not-told")


def test_less_needs_the_whole_interval_of_the_control_and_the_margin_on_the_other_side():
    low, high = stats.median_interval(EVEN, 0.05)
    assert [placed(-1.0, end).word for end in (low - 0.26, low - 0.25, low - 0.24)] == ["less", "not-told", "not-told"]
    mirrored = [placed(end, 2.0, direction="less").word for end in (high + 0.26, high + 0.25, high + 0.24)]
    assert mirrored == ["less", "not-told", "not-told"]


@pytest.mark.parametrize(
    ("estimate", "control", "effect"),
    [(0.0, 0.0, 1.0), (2.0, 0.0, math.inf), (math.inf, math.inf, 1.0), (1.0, math.inf, 0.0), (3.0, 4.0, 0.75)],
)
def test_a_ratio_to_a_control_at_zero_or_infinity(estimate, control, effect):
    found = placed(estimate, estimate, draws=np.full(39, control), is_ratio=True, moved=relative)
    assert (found.effect, found.interval) == (effect, (effect, effect))


def test_without_a_value_nothing_is_known_of_the_effect():
    found = placed(0.0, 1.0, draws=np.array([1.0] * 4 + [math.nan] * 5))
    assert (found.word, found.interval, math.isnan(found.effect)) == ("not-told", (-math.inf, math.inf), True)
    assert found.reason == "5 of 9 draws have no value (NaN)"


@pytest.mark.parametrize(
    ("draws", "direction", "is_named"),
    [(1.0, "greater", True), (1.0 + 1e-7, "greater", True), (0.75, "greater", False), (1.0, "less", False)],
    ids=["at the largest", "above it by rounding", "below it", "claimed on the other side"],
)
def test_the_largest_value_is_the_reason_where_the_claim_lies_beyond_it(draws, direction, is_named):
    found = placed(0.5, 1.5, draws=np.full(39, draws), direction=direction, largest=1.0, p_less=1.0)
    assert found.word == "not-told"
    assert ("the statistic cannot exceed 1" in found.reason) is is_named
    assert placed(1.0, 1.0, draws=np.full(39, 1.0), largest=1.0).reason == ""


def test_the_control_is_one_of_its_draws():
    assert placed(2.0, 2.0, draws=np.array([0.0, 1.0, 4.0])).effect == 1.0
    assert placed(2.0, 2.0, draws=np.array([0.0, 1.0])).effect in {1.0, 2.0}


def test_a_comparison_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        placed(0.0, 1.0).word = "more"
