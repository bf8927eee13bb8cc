"""Every outcome of the three-valued comparison, and its error rates."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from dmmcheck.inference import stats
from dmmcheck.inference.decide import MonteCarloTest, decide, point_estimate
from dmmcheck.inference.evidence import Evidence

SPREAD = np.linspace(-1, 1, 64)


@pytest.mark.parametrize(
    ("centre", "direction", "expected"),
    [
        (5.0, "greater", "supported"),
        (-5.0, "greater", "refuted"),
        (5.0, "less", "refuted"),
        (-5.0, "less", "supported"),
        (0.0, "greater", "inconclusive"),
        (0.0, "less", "inconclusive"),
    ],
)
def test_the_verdict_follows_the_interval(centre, direction, expected):
    decision = decide(Evidence.of(SPREAD + centre), limit=0.0, direction=direction, alpha=0.05)
    assert decision.verdict == expected


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_statistic_that_equals_the_limit_is_inconclusive(constant):
    decision = decide(Evidence.of(np.full(256, constant)), limit=constant, direction="greater", alpha=0.05)
    assert decision.verdict == "inconclusive"


def test_nan_never_decides():
    decision = decide(Evidence.of(np.full(256, np.nan)), limit=0.0, direction="greater", alpha=0.05)
    assert decision.verdict == "inconclusive"
    assert math.isnan(decision.estimate)


def test_a_nan_limit_never_decides():
    assert decide(Evidence.of(SPREAD), limit=math.nan, direction="less", alpha=0.05).verdict == "inconclusive"


def test_too_few_inputs_never_decide():
    assert decide(Evidence.of([9.0] * 4), limit=0.0, direction="greater", alpha=0.05).verdict == "inconclusive"


def test_beyond_the_control_is_not_enough_where_the_draw_is_not_extreme():
    evidence = Evidence.of(SPREAD + 5)
    common = decide(evidence, limit=0.0, direction="greater", alpha=0.05, monte_carlo=MonteCarloTest(p_value=0.3))
    extreme = decide(evidence, limit=0.0, direction="greater", alpha=0.05, monte_carlo=MonteCarloTest(p_value=0.005))
    assert (common.verdict, extreme.verdict) == ("inconclusive", "supported")
    assert "not extreme" in common.reason


@pytest.mark.parametrize(("draws", "alpha"), [(40, 0.05), (200, 0.07 / 7)])  # 0.07 / 7 > 0.01, by rounding
def test_a_p_value_that_equals_alpha_is_not_extreme(draws, alpha):
    evidence = Evidence.of(SPREAD + 5)
    equal = decide(evidence, limit=0.0, direction="greater", alpha=alpha, monte_carlo=MonteCarloTest(p_value=2 / draws))
    below = decide(evidence, limit=0.0, direction="greater", alpha=alpha, monte_carlo=MonteCarloTest(p_value=1 / draws))
    assert (equal.verdict, below.verdict) == ("inconclusive", "supported")
    assert equal.reason.endswith(f"(p = {alpha:.3g}, needs less than {alpha:.2g})")


def test_draws_that_can_only_just_show_alpha_are_too_few():
    test = MonteCarloTest(p_value=0.01, least=0.01, draws="99 draws")
    decision = decide(Evidence.of(SPREAD + 5), limit=0.0, direction="greater", alpha=0.01, monte_carlo=test)
    assert decision.verdict == "inconclusive"
    assert decision.reason.endswith("99 draws cannot show p < 0.01, alpha here is 0.01")


def test_an_extreme_draw_does_not_undo_a_refutation():
    assert (
        decide(
            Evidence.of(SPREAD - 5), limit=0, direction="greater", alpha=0.05, monte_carlo=MonteCarloTest(p_value=0.001)
        ).verdict
        == "refuted"
    )


def test_inconclusive_says_how_many_inputs_would_decide():
    values = np.array([1.0] * 40 + [-1.0] * 24)
    assert "inputs would likely decide" in decide(Evidence.of(values), limit=0, direction="greater", alpha=0.01).reason


TOO_FEW = MonteCarloTest(p_value=0.025, least=0.025, draws="39 draws")
CANNOT = "39 draws cannot show p < 0.025, alpha here is 0.01"


def test_too_few_draws_are_the_reason_where_the_statistic_is_beyond_the_control():
    decision = decide(Evidence.of(SPREAD + 5), limit=0.0, direction="greater", alpha=0.01, monte_carlo=TOO_FEW)
    assert decision.verdict == "inconclusive"
    assert decision.reason.endswith(CANNOT)


def test_too_few_draws_are_the_reason_where_the_interval_holds_the_limit_and_more_inputs_would_not_help():
    values = np.array([1.0] * 40 + [-1.0] * 24)
    decision = decide(Evidence.of(values), limit=0, direction="greater", alpha=0.01, monte_carlo=TOO_FEW)
    assert decision.verdict == "inconclusive"
    assert "holds the limit" in decision.reason
    assert decision.reason.endswith(CANNOT)
    assert "inputs" not in decision.reason
    other = decide(Evidence.of(-values), limit=0, direction="greater", alpha=0.01, monte_carlo=TOO_FEW)
    assert "inputs would likely decide" in other.reason  # it can be refuted


def test_too_few_draws_do_not_prevent_a_refutation():
    decision = decide(Evidence.of(SPREAD - 5), limit=0.0, direction="greater", alpha=0.01, monte_carlo=TOO_FEW)
    assert (decision.verdict, decision.reason) == ("refuted", "")


@pytest.mark.parametrize("least", [0.0, 0.005])
def test_enough_draws_are_not_the_reason(least):
    test = MonteCarloTest(p_value=0.3, least=least, draws="99 draws")
    decision = decide(Evidence.of(SPREAD + 5), limit=0.0, direction="greater", alpha=0.01, monte_carlo=test)
    assert decision.verdict == "inconclusive"
    assert "cannot show" not in decision.reason


def test_more_inputs_than_the_test_takes_are_not_advised():
    values = np.array([1.0] * 40 + [-1.0] * 24)
    few, many = (
        decide(Evidence.of(values), limit=0, direction="greater", alpha=0.01, most=most).reason for most in (64, 4096)
    )
    assert few == "the interval holds the limit 0"
    assert re.search(r"about \d+ inputs would likely decide$", many)


@pytest.mark.parametrize(("count", "told"), [(9, True), (10, False)])
def test_too_few_inputs_to_decide_a_median_are_said_to_be(count, told):
    """With n inputs above the limit the exact p-value is 2 * 0.5^n: 0.0039 for 9, 0.00195 for 10."""
    decision = decide(Evidence.of(np.ones(count)), limit=0, direction="greater", alpha=0.002)
    assert (decision.verdict == "inconclusive") is told
    needed = "; 9 inputs cannot decide a median at an alpha of 0.002, at least 10 are needed"
    assert decision.reason.endswith(needed) is told


def test_the_number_of_inputs_counts_against_the_far_end_of_an_uncertain_limit():
    def asked(limit, ends):
        evidence = Evidence.of(SPREAD + 0.5)
        reason = decide(evidence, limit=limit, limit_ends=ends, direction="greater", alpha=0.01).reason
        found = re.search(r"about (\d+) inputs", reason)
        return found and int(found[1])

    assert asked(0.3, (0.0, 0.4)) == asked(0.4, (0.4, 0.4)) > asked(0.3, (0.3, 0.3))
    assert asked(0.6, (0.0, 1.0)) is None  # more inputs would never leave the limit


def test_inputs_without_a_value_count_against_the_number_of_inputs():
    known = np.array([1.0] * 42 + [-1.0] * 22)
    holed = np.array([1.0] * 42 + [np.nan] * 22)
    lost = np.array([1.0] * 30 + [np.nan] * 34)
    reasons = [
        decide(Evidence.of(values), limit=0, direction="greater", alpha=0.005).reason for values in (known, holed, lost)
    ]
    counts = [re.search(r"about (\d+) inputs", reason) for reason in reasons]
    assert counts[0][1] == counts[1][1]
    assert counts[2] is None  # fewer than half have one: the median cannot be placed


@given(
    st.lists(st.floats(-10, 10), min_size=8, max_size=80),
    st.floats(-10, 10),
    st.sampled_from(["greater", "less"]),
)
@settings(deadline=None, max_examples=100)
def test_the_opposite_claim_gets_the_opposite_verdict(values, limit, direction):
    opposite = {"greater": "less", "less": "greater"}[direction]
    swapped = {"supported": "refuted", "refuted": "supported", "inconclusive": "inconclusive"}
    one = decide(Evidence.of(values), limit=limit, direction=direction, alpha=0.05)
    other = decide(Evidence.of(values), limit=limit, direction=opposite, alpha=0.05)
    assert other.verdict == swapped[one.verdict]


@pytest.mark.parametrize("summary", ["median", "mean"])
def test_verdicts_at_the_limit_are_false_no_oftener_than_alpha(summary):
    rng = np.random.default_rng(7)
    draws = (rng.random((2000, 64)) < 0.5).astype(float) if summary == "mean" else rng.normal(0.5, 1, (2000, 64))
    decided = sum(
        decide(Evidence(row, summary=summary), limit=0.5, direction="greater", alpha=0.05).verdict != "inconclusive"
        for row in draws
    )
    assert scipy_stats.binomtest(decided, 2000, 0.05, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize(
    ("centre", "expected"), [(1.5, "inconclusive"), (3.5, "supported"), (-3.5, "refuted"), (-1.5, "inconclusive")]
)
def test_all_of_an_uncertain_limit_must_be_excluded(centre, expected):
    decision = decide(
        Evidence.of(SPREAD / 4 + centre), limit=0.0, limit_ends=(-2.0, 2.0), direction="greater", alpha=0.05
    )
    assert decision.verdict == expected


def test_a_claim_about_networks_must_hold_for_a_new_one():
    values = np.array([1.0] * 60 + [0.0] * 4)
    steady = Evidence(values, summary="mean", replicates=np.array([0.93, 0.94, 0.95, 0.94]))
    by_luck = Evidence(values, summary="mean", replicates=np.array([0.2, 0.99, 0.6, 0.9]))
    one, other = (decide(evidence, limit=0.5, direction="greater", alpha=0.05) for evidence in (steady, by_luck))
    assert (one.verdict, other.verdict) == ("supported", "inconclusive")
    assert "networks" in other.reason
    assert other.interval[0] < 0.5 < other.interval[1]


def test_the_spread_of_networks_in_a_median_is_one_of_factors():
    values = np.full(64, 4.0)
    replicates = np.array([2.0, 4.0, 8.0])
    low, high = decide(Evidence(values, replicates=replicates), limit=1.0, direction="greater", alpha=0.05).interval
    half = scipy_stats.t.ppf(0.975, 2) * math.log(2) * math.sqrt(4 / 3)
    assert (low, high) == pytest.approx((4 / math.exp(half), 4 * math.exp(half)))


def test_networks_drawn_like_the_one_under_test_seldom_differ_from_it():
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(500):
        own, others = rng.normal(0, 0.5), rng.normal(0, 0.5, 8)
        ratios = np.exp(own - others)
        values = np.median(ratios) * np.exp(rng.normal(0, 0.05, 64))
        wrong += (
            decide(Evidence(values, replicates=ratios), limit=1.0, direction="less", alpha=0.05).verdict
            != "inconclusive"
        )
    assert scipy_stats.binomtest(wrong, 500, 0.05, alternative="greater").pvalue > 1e-3


def test_an_undecided_rate_says_how_many_inputs_would_decide():
    values = np.array([1.0] * 20 + [0.0] * 12)
    reason = decide(Evidence(values, summary="mean"), limit=0.5, direction="greater", alpha=0.01).reason
    assert "inputs would likely decide" in reason


def test_the_number_of_inputs_counts_those_that_the_statistic_leaves_out():
    values = np.array([1.0] * 20 + [0.0] * 12)
    counts = [
        int(
            re.search(
                r"about (\d+) inputs",
                decide(
                    Evidence(values, summary="mean"), limit=0.5, direction="greater", alpha=0.01, inputs=inputs
                ).reason,
            )[1]
        )
        for inputs in (32, 320)
    ]
    assert counts[1] == pytest.approx(10 * counts[0], rel=0.05)


@pytest.mark.parametrize("shared", [0.0, 0.9], ids=["independent", "alike"])
def test_a_whole_run_of_claims_at_their_limits_is_false_no_oftener_than_alpha(shared):
    """Five claims whose medians are their limits, looked at four times as inputs come in: any verdict is false."""
    rng, claims, runs = np.random.default_rng(5), 5, 300
    sizes = stats.looks(256)
    false = 0
    for _ in range(runs):
        common = rng.normal(size=256)
        values = shared * common + math.sqrt(1 - shared**2) * rng.normal(size=(claims, 256))
        false += any(
            decide(Evidence.of(row[:n]), limit=0.0, direction="greater", alpha=0.2 / claims / len(sizes)).verdict
            != "inconclusive"
            for row in values
            for n in sizes
        )
    assert false > 0
    assert scipy_stats.binomtest(false, runs, 0.2, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize(
    ("values", "summary", "expected"),
    [
        ([1.0, 2.0, 4.0], "median", 2.0),
        ([1.0, np.nan, 4.0, 4.0], "median", 3.25),  # between 2.5 and 4
        ([1.0, np.nan], "median", math.nan),
        ([np.inf, np.inf, 1.0], "median", math.inf),
        ([], "median", math.nan),
        ([1.0, 0.0, np.nan, 1.0], "mean", 2 / 3),
        ([np.nan], "mean", math.nan),
    ],
)
def test_the_point_estimate_is_the_middle_of_what_nan_values_allow(values, summary, expected):
    estimate = point_estimate(Evidence.of(values, summary=summary))
    assert estimate == pytest.approx(expected, nan_ok=True)
