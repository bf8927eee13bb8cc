"""Paired changes: known answers, and how often an unchanged model is called worse."""

from __future__ import annotations

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
