"""Every outcome of the three-valued comparison, and its error rates."""

from __future__ import annotations

import dataclasses
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
from dmmcheck.inference.search_error import SearchError

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
    mixed = decide(Evidence.of(np.arange(float(count))), limit=0.5, direction="greater", alpha=0.002)
    assert ("cannot decide" in mixed.reason) is told


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


def rates(*shares):
    """Networks with these shares of 64 inputs correct, as rows."""
    return tuple((np.arange(64) < round(64 * share)).astype(float) for share in shares)


def test_a_rate_of_networks_must_be_one_of_most_networks():
    values = np.ones(64)
    steady = Evidence(values, summary="mean", replicates=rates(*[0.93] * 9), unit="training")
    by_luck = Evidence(values, summary="mean", replicates=rates(*[0.2, 0.99, 0.9] * 3), unit="training")
    one, other = (decide(evidence, limit=0.5, direction="greater", alpha=0.01) for evidence in (steady, by_luck))
    assert (one.verdict, other.verdict) == ("supported", "inconclusive")
    assert "only 6 of 9 trainings lie above it" in other.reason
    assert other.interval[0] < 0.5 < other.interval[1]
    assert one.estimate == pytest.approx(0.9375)
    assert one.p_value == pytest.approx(0.5**9)


def test_networks_too_few_for_alpha_and_inputs_too_few_for_networks_are_named():
    rows = tuple(np.full(64, 2.0) for _ in range(5))
    few = decide(Evidence(rows[0], replicates=rows, unit="untrained network"), limit=1, direction="greater", alpha=0.01)
    assert few.verdict == "inconclusive"
    assert "an alpha of 0.01 needs at least 8 untrained networks, and there are 5" in few.reason
    wide = tuple(np.linspace(0.0, 2.5, 20) for _ in range(12))
    open_ = decide(Evidence(wide[0], replicates=wide, unit="training"), limit=1, direction="greater", alpha=0.01)
    assert "all 12 trainings lie on one side of it, but each is known from too few inputs" in open_.reason


def test_values_that_are_trainings_are_counted_as_trainings():
    values = np.array([2.0] * 8 + [0.5])
    evidence = Evidence(values, unit="training")
    decision = decide(evidence, limit=1.0, direction="greater", alpha=0.01, inputs=64, most=64)
    assert decision.verdict == "inconclusive"
    assert decision.reason.endswith(" trainings would likely decide")
    assert (evidence.replications, decide(evidence, limit=0.4, direction="greater", alpha=0.01).verdict) == (
        9,
        "supported",
    )


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


@pytest.mark.parametrize(
    "shared", [pytest.param(0.0, marks=pytest.mark.heavy, id="independent"), pytest.param(0.9, id="alike")]
)
def test_a_whole_run_of_claims_at_their_limits_is_false_no_oftener_than_alpha(shared):
    """Five claims whose medians are their limits, looked at four times as inputs come in: any verdict is false."""
    rng, claims, runs = np.random.default_rng(5), 5, 120
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


@pytest.mark.parametrize("limit", [0.5, 4.0, -4.0])
@pytest.mark.parametrize(
    ("beyond", "verdict"),
    [(5e-6, "inconclusive"), (-5e-6, "inconclusive"), (2e-5, "supported"), (-2e-5, "refuted")],
)
def test_rounding_of_a_statistic_at_its_limit_is_a_tie(limit, beyond, verdict):
    """Every input has the statistic 0.5 up to rounding, as where a boundary meets the manifold at 45 degrees."""
    evidence = Evidence.of(np.full(64, limit + abs(limit) * beyond))
    assert decide(evidence, limit=limit, direction="greater", alpha=0.05).verdict == verdict


def spread(below, above, n=8):
    """Evidence whose interval reaches from one value to the other, by eight values at an alpha of 0.05."""
    return Evidence.of(np.repeat([below, above], [n // 2, n - n // 2]))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.5, 1.75, "supported"),
        (1.0, 1.75, "inconclusive"),
        (-1.0, 0.5, "inconclusive"),
        (-2.0, -1.5, "refuted"),
        (-2.0, -1.0, "inconclusive"),
        (-3.0, 3.0, "inconclusive"),
    ],
)
def test_an_interval_that_touches_either_end_of_the_limit_decides_nothing(low, high, verdict):
    opposite = {"supported": "refuted", "refuted": "supported"}.get(verdict, verdict)
    for ends in ((-1.0, 1.0), (1.0, -1.0)):
        for direction, expected in (("greater", verdict), ("less", opposite)):
            found = decide(spread(low, high), limit=0.0, limit_ends=ends, direction=direction, alpha=0.05)
            assert (found.verdict, found.interval) == (expected, (low, high))
            known = "the interval holds the limit 0 (known within -1 and 1)"
            assert found.reason.startswith(known) is (verdict == "inconclusive")


def test_a_limit_of_minus_infinity_is_exceeded_by_every_number_and_infinity_by_none():
    assert decide(spread(1.0, 2.0), limit=-math.inf, direction="greater", alpha=0.05).verdict == "supported"
    assert decide(spread(1.0, math.inf), limit=math.inf, direction="greater", alpha=0.05).verdict == "inconclusive"


@pytest.mark.parametrize("unknown", ["limit", "ends"])
def test_what_is_not_a_number_is_undefined(unknown):
    limit, ends = (math.nan, None) if unknown == "limit" else (0.0, (0.0, math.nan))
    found = decide(spread(1.0, 2.0), limit=limit, limit_ends=ends, direction="greater", alpha=0.05)
    assert (found.verdict, found.reason) == ("inconclusive", "the statistic or its control is undefined (NaN)")


def test_with_an_error_bar_the_interval_has_half_of_alpha():
    values = np.arange(32.0)
    none = SearchError(0.0, 0.0, is_ratio=False)
    plain = decide(Evidence.of(values), limit=-9.0, direction="greater", alpha=0.04)
    shared = decide(Evidence.of(values), limit=-9.0, direction="greater", alpha=0.04, error=none)
    assert plain.interval == stats.median_interval(values, 0.04)
    assert shared.interval == stats.median_interval(values, 0.02) != plain.interval
    assert "widened" not in decide(spread(-1.0, 1.0), limit=0.0, direction="less", alpha=0.1, error=none).reason


def test_the_p_value_is_that_of_the_test_of_what_the_claim_is_about():
    values = np.array([1.0] * 12 + [0.0] * 4)
    median, rate = Evidence.of(values), Evidence.of(values, summary="mean")
    for direction in ("greater", "less"):
        found = [decide(one, limit=0.6, direction=direction, alpha=0.05).p_value for one in (median, rate)]
        expected = stats.sign_test(values, 0.6, direction), stats.rate_test(values, 0.6, direction)
        assert tuple(found) == expected
    test = MonteCarloTest(p_value=0.3)
    assert decide(median, limit=0.6, direction="less", alpha=0.05, monte_carlo=test).p_value == 0.3


def test_too_few_draws_are_the_reason_on_either_side_where_the_claim_could_be_supported():
    """More inputs decide against the claim, which needs no draws; they do not decide for it."""
    above = np.array([1.0] * 40 + [-1.0] * 24)
    for sign, direction in ((1, "greater"), (-1, "less")):
        claimed, against = (
            decide(Evidence.of(side * above), limit=0, direction=direction, alpha=0.01, monte_carlo=TOO_FEW).reason
            for side in (sign, -sign)
        )
        assert claimed == f"the interval holds the limit 0; {CANNOT}"
        assert re.fullmatch(rf"the interval holds the limit 0; about \d+ inputs would likely decide; {CANNOT}", against)


def test_as_many_inputs_as_are_there_are_not_advised_and_the_most_is():
    values = np.array([1.0] * 40 + [-1.0] * 24)

    def advised(**changes):
        reason = decide(Evidence.of(values), limit=0, direction="greater", alpha=0.01, **changes).reason
        found = re.search(r"; about (\d+) inputs would likely decide$", reason)
        return found and int(found[1])

    needed = advised()
    assert needed == stats.inputs_to_decide(values, 0, 0.01, "median")
    assert (advised(most=needed), advised(most=needed - 1)) == (needed, None)
    assert advised(inputs=100) == math.ceil(needed * 100 / 64)
    clear = np.array([1.0] * 48 + [-1.0] * 16)  # 29 inputs would do, and more do not help against a weak search
    weak = SearchError(-1.5, 0.0, is_ratio=False)
    reason = decide(Evidence.of(clear), limit=0, direction="greater", alpha=0.05, error=weak).reason
    assert reason == "the interval holds the limit 0, once it is widened by the error of the search"


def test_the_advice_counts_for_the_nearer_end_of_the_limit_on_either_side():
    for sign, ends in ((1, (-9.0, 0.0)), (-1, (0.0, 9.0))):
        values = sign * np.array([1.0] * 40 + [-1.0] * 24)
        found = decide(Evidence.of(values), limit=0.0, limit_ends=ends, direction="greater", alpha=0.01)
        needed = stats.inputs_to_decide(values, 0.0, 0.01, "median")
        assert found.reason.endswith(f"; about {needed} inputs would likely decide")


def test_networks_that_do_not_decide_say_why():
    def reason(values, limit=1.0, alpha=0.05):
        evidence = Evidence.of(values, unit="training")
        return decide(evidence, limit=limit, direction="greater", alpha=alpha).reason.split("; ", 1)[1]

    assert reason([2.0] * 5) == "an alpha of 0.05 needs at least 6 trainings, and there are 5"
    assert reason([2.0] * 6 + [0.5] * 2).startswith("only 6 of 8 trainings lie above it, and about ")
    assert reason([0.5] * 6 + [2.0] * 2).startswith("only 6 of 8 trainings lie below it, and about ")
    assert reason([2.0] * 4 + [0.5] * 4) == "only 4 of 8 trainings lie above it"
    assert reason([2.0] * 5 + [1.0] * 2 + [math.nan]).startswith("only 5 of 8 trainings lie above it")


def test_networks_with_inputs_of_their_own_need_a_tenth_of_alpha_for_these():
    """At an alpha of 1/32, six values decide by 2 * 0.5^6 = 1/32; nine tenths of it need seven networks."""
    rows = tuple(np.full(64, 2.0) for _ in range(6))
    values, networks = Evidence.of([2.0] * 6, unit="training"), Evidence.of(rows[0], replicates=rows, unit="training")
    assert decide(values, limit=1.0, direction="greater", alpha=1 / 32).verdict == "supported"
    assert decide(networks, limit=1.0, direction="greater", alpha=1 / 32).reason.endswith(
        "; an alpha of 0.031 needs at least 7 trainings, and there are 6, since networks that are alike count once: "
        "make each from a seed of its own"
    )


def test_a_decision_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        decide(spread(0.0, 1.0), limit=0, direction="less", alpha=0.05).verdict = "supported"
    with pytest.raises(dataclasses.FrozenInstanceError):
        MonteCarloTest(p_value=0.5).p_value = 0.1


@pytest.mark.parametrize(
    ("low", "high", "direction", "verdict"),
    [
        (1.0, 2.0, "greater", "supported"),
        (1.0, 2.0, "less", "refuted"),
        (-2.0, -1.0, "less", "supported"),
        (-2.0, -1.0, "greater", "refuted"),
        (-2.0, 2.0, "less", "inconclusive"),
        (-2.0, 2.0, "greater", "inconclusive"),
    ],
)
def test_a_statistic_between_two_bounds_is_decided_where_both_agree(low, high, direction, verdict):
    between = dataclasses.replace(Evidence.of(SPREAD / 8 + low), at_most=SPREAD / 8 + high)
    decision = decide(between, limit=0.0, direction=direction, alpha=0.05)
    assert decision.verdict == verdict
    alone = [decide(Evidence.of(SPREAD / 8 + end), limit=0.0, direction=direction, alpha=0.05) for end in (low, high)]
    assert decision.interval == (alone[0].interval[0], alone[1].interval[1])
    assert decision.p_value == max(one.p_value for one in alone), "the p-value holds wherever the statistic lies"
    assert decision.estimate == alone[0].estimate
    assert ("; its statistic lies between -2 and 2" in decision.reason) is (low < 0 < high)


def test_more_inputs_are_advised_where_both_bounds_lie_on_one_side():
    between = dataclasses.replace(Evidence.of(SPREAD[:16] + 0.9), at_most=SPREAD[:16] + 1.1)
    decision = decide(between, limit=0.0, direction="greater", alpha=0.05)
    assert decision.verdict == "inconclusive"
    alone = decide(Evidence.of(SPREAD[:16] + 0.9), limit=0.0, direction="greater", alpha=0.05)
    assert "inputs would likely decide" in alone.reason
    assert decision.reason == alone.reason
