"""The word beside chance, against draws whose distribution is known."""

from __future__ import annotations

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
