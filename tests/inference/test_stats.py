"""Intervals and tests against closed forms and naive references, and their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from dmmcheck.inference import stats


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (8, (8,)),
        (32, (32,)),
        (39, (39,)),
        (40, (32, 40)),
        (64, (32, 64)),
        (130, (32, 64, 130)),
        (512, (32, 64, 128, 256, 512)),
    ],
)
def test_looks_double_and_end_with_all_inputs(inputs, expected):
    assert stats.looks(inputs) == expected


def test_median_interval_has_the_textbook_ranks():
    # n = 20, 95 %: the 6th smallest and the 6th largest value (P(Bin(20, 1/2) <= 5) = 0.0207)
    assert stats.median_interval(np.arange(1.0, 21.0), 0.05) == (6.0, 15.0)


def test_median_interval_is_unbounded_where_the_sample_is_too_small():
    assert stats.median_interval(np.arange(5.0), 0.05) == (-math.inf, math.inf)
    assert stats.median_interval(np.array([]), 0.05) == (-math.inf, math.inf)


@given(n=st.integers(1, 200), alpha=st.sampled_from([0.2, 0.05, 0.01, 1e-4]))
@settings(deadline=None, max_examples=60)
def test_median_interval_takes_the_largest_rank_that_keeps_the_error(n, alpha):
    lower, upper = stats.median_interval(np.arange(1.0, n + 1), alpha)
    allowed = [r for r in range(1, n + 1) if scipy_stats.binom.cdf(r - 1, n, 0.5) <= alpha / 2]
    if not allowed:
        assert (lower, upper) == (-math.inf, math.inf)
    else:
        assert (lower, upper) == (allowed[-1], n + 1 - allowed[-1])


@given(st.lists(st.floats(-5, 5), min_size=8, max_size=60), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_nan_only_widens_the_median_interval(values, missing):
    known = np.array(values)
    holed = known.copy()
    holed[:missing] = np.nan
    low, high = stats.median_interval(known, 0.1)
    holed_low, holed_high = stats.median_interval(holed, 0.1)
    assert holed_low <= low
    assert holed_high >= high


def test_median_interval_covers_a_skewed_median_as_often_as_promised():
    draws = np.random.default_rng(0).exponential(size=(4000, 32))
    true = math.log(2)
    missed = sum(not low <= true <= high for low, high in (stats.median_interval(row, 0.1) for row in draws))
    assert scipy_stats.binomtest(missed, 4000, 0.1, alternative="greater").pvalue > 1e-3


def test_infinite_values_rank_last():
    values = np.array([1.0] * 10 + [np.inf] * 22)
    assert stats.median_interval(values, 0.05)[1] == math.inf


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (7, 20), (20, 20), (50, 100)])
def test_rate_interval_is_clopper_pearson(hits, n):
    values = np.array([1.0] * hits + [0.0] * (n - hits))
    reference = scipy_stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert stats.rate_interval(values, 0.05) == pytest.approx((reference.low, reference.high))


def test_an_undecided_rate_counts_on_either_side():
    values = np.array([1.0] * 10 + [np.nan] * 10)
    low, high = stats.rate_interval(values, 0.05)
    assert low == pytest.approx(scipy_stats.binomtest(10, 20).proportion_ci(0.95).low)
    assert high == 1.0


@pytest.mark.parametrize("direction", ["greater", "less"])
def test_sign_test_is_the_binomial_test_and_ties_count_against(direction):
    values = np.array([1.0, 2.0, 3.0, 4.0, 0.0, -1.0, np.nan])
    hits = 4 if direction == "greater" else 1
    expected = scipy_stats.binomtest(hits, 7, 0.5, alternative="greater").pvalue
    assert stats.sign_test(values, 0.0, direction) == pytest.approx(expected)


def test_rank_p_value_counts_the_observation_itself():
    draws = np.arange(99.0)
    assert stats.rank_p_value(1000.0, draws, "greater") == pytest.approx(0.01)
    assert stats.rank_p_value(-1.0, draws, "greater") == 1.0
    assert stats.rank_p_value(-1.0, draws, "less") == pytest.approx(0.01)
    assert stats.rank_p_value(math.nan, draws, "less") == 1.0


TAILS = {
    "exponential": scipy_stats.expon(),
    "normal": scipy_stats.norm(),
    # log(d_on / d_free) of a flat boundary under random k-dimensional spaces: -log(rho_T) / 2
    **{f"flat, k = {k}": scipy_stats.beta(k / 2, (64 - k) / 2) for k in (1, 2, 4, 16)},
}


def drawn(name, shape, seed):
    """Logarithms of a statistic and its draws, all alike."""
    values = TAILS[name].rvs(shape, random_state=np.random.default_rng(seed))
    return -np.log(values) / 2 if name.startswith("flat") else values


@pytest.mark.parametrize("direction", ["greater", "less"])
@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("count", [39, 99])
def test_tail_p_value_is_small_no_oftener_than_it_says_where_draws_and_observation_are_alike(name, direction, count):
    draws = np.exp(drawn(name, (8000, count + 1), 1))
    p_values = [stats.tail_p_value(float(row[0]), row[1:], direction) for row in draws]
    for level in (0.001, 0.0036, 0.01, 0.025, 0.05):
        hits = sum(p_value <= level for p_value in p_values)
        assert scipy_stats.binomtest(hits, 8000, level, alternative="greater").pvalue > 1e-4, level


def test_tail_p_value_is_exact_for_an_exponential_tail():
    draws = np.exp(drawn("exponential", (8000, 40), 2))
    p_values = [stats.tail_p_value(float(row[0]), row[1:], "greater") for row in draws]
    for level in (0.0036, 0.01):
        hits = sum(p_value <= level for p_value in p_values)
        assert scipy_stats.binomtest(hits, 8000, level).pvalue > 1e-4, level


def test_tail_p_value_goes_beyond_the_ranks_only_past_the_outermost_draw():
    draws = np.exp(np.random.default_rng(2).normal(size=39))
    inside = float(np.sort(draws)[-2])
    assert stats.tail_p_value(inside, draws, "greater") == stats.rank_p_value(inside, draws, "greater")
    assert stats.tail_p_value(1e6, draws, "greater") == pytest.approx(stats.TAIL_FLOOR / 40)
    assert stats.tail_p_value(float(draws.max()) * 1.0001, draws, "greater") <= 1 / 40


def test_tail_p_value_falls_back_on_the_rank_where_a_draw_is_censored():
    draws = np.array([1.0, 2.0, np.inf])
    assert stats.tail_p_value(3.0, draws, "greater") == stats.rank_p_value(3.0, draws, "greater")


@pytest.mark.parametrize("fill", [np.inf, np.nan, 0.0])
def test_a_tail_is_fitted_to_the_draws_of_that_side_alone(fill):
    draws = np.exp(np.random.default_rng(2).normal(size=39))
    draws[:5] = fill
    possible = {direction: stats.can_fit_tail(draws, direction) for direction in ("greater", "less")}
    assert possible == {"greater": fill == 0, "less": fill == np.inf}
    low = stats.tail_p_value(1e-6, draws, "less")
    assert (low < 1 / 40) == possible["less"]


def test_a_heavy_tail_misleads_by_no_more_than_the_floor():
    rng = np.random.default_rng(3)
    far = 1 + 20 * (rng.random((4000, 100)) < 0.02)  # of both the observation and its draws
    draws = np.exp(far * rng.normal(size=(4000, 100)))
    p_values = [stats.tail_p_value(float(row[0]), row[1:], "greater") for row in draws]
    assert min(p_values) == pytest.approx(stats.TAIL_FLOOR / 100)
    hits = sum(p_value <= 0.01 for p_value in p_values)  # what the rank alone may say
    assert scipy_stats.binomtest(hits, 4000, 0.01, alternative="greater").pvalue > 1e-4


def test_no_tail_is_fitted_to_draws_that_are_tied():
    tied = np.array([5.0, *[1.0] * 98])
    assert stats.tail_p_value(6.0, tied, "greater") == 1 / 100


def test_no_tail_is_fitted_to_draws_that_are_all_the_same():
    assert not stats.can_fit_tail(np.full(39, 2.0), "greater")
    assert stats.tail_p_value(3.0, np.full(39, 2.0), "greater") == 1 / 40


@pytest.mark.parametrize(
    ("alpha", "spare", "expected"), [(0.05, 0, 6), (0.05 / 12, 0, 9), (0.05 / 18, 0, 10), (0.05, 1, 9), (0.001, 1, 15)]
)
def test_replicates_needed_are_the_fewest_whose_order_statistics_decide(alpha, spare, expected):
    assert stats.replicates_needed(alpha, spare=spare) == expected
    against = np.repeat([-1.0, 1.0], [spare, expected - spare])
    assert stats.median_interval(against, alpha)[0] == 1.0
    assert stats.median_interval(against[:-1], alpha)[0] == (-1.0 if spare else -math.inf)


def test_no_replicate_is_spared_where_none_is_named():
    assert stats.replicates_needed(0.05) == stats.replicates_needed(0.05, spare=0) == 6


def test_the_interval_over_networks_is_an_order_statistic_of_their_own_intervals():
    rng = np.random.default_rng(5)
    rows = [rng.normal(size=200) + shift for shift in range(20)]
    ends = sorted(stats.median_interval(row, 0.1 * 0.05 / 20) for row in rows)
    rank = int(scipy_stats.binom.ppf(0.45 * 0.05, 20, 0.5))
    assert scipy_stats.binom.cdf(rank - 1, 20, 0.5) <= 0.45 * 0.05
    low, high = stats.replicated_interval(rows, 0.05, "median")
    assert (low, high) == (ends[rank - 1][0], sorted(end for _, end in ends)[20 - rank])


@pytest.mark.parametrize(
    "rows", [[], [np.zeros(64)] * 6, [np.zeros(3)] * 40], ids=["none", "few networks", "few inputs"]
)
def test_the_interval_over_networks_is_unbounded_where_networks_or_inputs_are_too_few(rows):
    assert stats.replicated_interval(rows, 0.02, "median") == (-math.inf, math.inf)
    low, high = stats.replicated_interval(rows, 0.02, "mean")
    assert low == 0.0
    assert high > 0.95 if len(rows) == 40 else high == 1.0


def test_nine_tenths_of_alpha_are_for_the_networks():
    """Six networks can show 2 (1/2)^6 = 0.03125, which is 0.9 times 0.0347."""
    rows = [np.zeros(64)] * 6
    assert stats.replicated_interval(rows, 0.034, "median") == (-math.inf, math.inf)
    assert stats.replicated_interval(rows, 0.0355, "median") == (0.0, 0.0)


NETWORKS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size) - math.log(2),
    "second mode": lambda rng, size: np.where(rng.random(size) < 0.4, rng.normal(5, 0.1, size), rng.normal(size=size)),
    "heavy tails": lambda rng, size: rng.standard_cauchy(size),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("noise", [0.01, 4.0], ids=["inputs agree", "inputs differ"])
def test_networks_whose_median_is_at_the_limit_are_seldom_decided_whatever_their_distribution(kind, noise):
    """Student's interval fails here for the distributions that are not normal; inputs are shared by the networks."""
    rng = np.random.default_rng(7)
    middle = float(np.median(NETWORKS[kind](np.random.default_rng(8), 400_000)))
    alpha, runs = 0.05, 250
    count = stats.replicates_needed(0.9 * alpha, spare=1)
    wrong = 0
    for _ in range(runs):
        shared = noise * rng.normal(size=48)
        rows = [shared + shift for shift in NETWORKS[kind](rng, count) - middle]
        low, high = stats.replicated_interval(rows, alpha, "median")
        wrong += low > 0 or high < 0
    assert scipy_stats.binomtest(wrong, runs, alpha, alternative="greater").pvalue > 1e-3


def test_inputs_to_decide_grows_as_the_share_nears_one_half():
    clear = np.array([1.0] * 9 + [-1.0])
    close = np.array([1.0] * 11 + [-1.0] * 9)
    needed_clear, needed_close = (stats.inputs_to_decide(values, 0.0, 0.05, "median") for values in (clear, close))
    assert needed_clear is not None
    assert needed_close is not None
    assert needed_clear < 40 < needed_close
    assert stats.inputs_to_decide(np.array([1.0, -1.0]), 0.0, 0.05, "median") is None


@pytest.mark.parametrize(("rate", "limit"), [(0.6, 0.5), (0.2, 0.1), (0.05, 0.1)])
def test_inputs_to_decide_gives_a_rate_the_power_it_promises(rate, limit):
    hits = round(rate * 200)
    needed = stats.inputs_to_decide(np.array([1.0] * hits + [0.0] * (200 - hits)), limit, 0.05, "mean")
    assert needed is not None
    counts = np.random.default_rng(4).binomial(needed, rate, 1000)
    ends = [stats.rate_interval(np.repeat([1.0, 0.0], [count, needed - count]), 0.05) for count in counts]
    assert 0.7 < np.mean([not low <= limit <= high for low, high in ends]) < 0.95


@pytest.mark.parametrize("common", [0.0, 1.0])
@pytest.mark.parametrize("summary", ["mean", "median"])
def test_inputs_to_decide_counts_what_is_unknown_against_the_side_of_the_summary(common, summary):
    known = [common] * 15 + [1 - common] * 2
    found = stats.inputs_to_decide(np.array([*known, *[math.nan] * 3]), 0.5, 0.05, summary)
    assert found == stats.inputs_to_decide(np.array([*known, *[1 - common] * 3]), 0.5, 0.05, summary) > 1


def test_an_order_statistic_may_err_as_often_as_alpha_says_and_no_oftener():
    """P(Bin(8, 1/2) = 0) is 1/256, and P(Bin(8, 1/2) <= 1) is 9/256."""
    values = np.arange(8.0)
    for tails, expected in ((1, (0.0, 7.0)), (8, (0.0, 7.0)), (9, (1.0, 6.0)), (0.99, (-math.inf, math.inf))):
        assert stats.median_interval(values, 2 * tails / 256) == expected


def test_a_rate_without_hits_or_misses_has_the_closed_form():
    """Where all n values are alike, the other end is (alpha / 2)^(1 / n)."""
    none, all_ = stats.rate_interval(np.zeros(7), 0.05), stats.rate_interval(np.ones(7), 0.05)
    assert none == (0.0, pytest.approx(1 - 0.025 ** (1 / 7)))
    assert all_ == (pytest.approx(0.025 ** (1 / 7)), 1.0)


@pytest.mark.parametrize("direction", ["greater", "less"])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.75])
def test_a_rate_is_tested_by_the_binomial_test_and_what_is_unknown_counts_against(direction, threshold):
    values = np.array([1.0] * 7 + [0.0] * 4 + [math.nan] * 2)
    hits = 7 if direction == "greater" else 9
    expected = scipy_stats.binomtest(hits, 13, threshold, alternative=direction).pvalue
    assert stats.rate_test(values, threshold, direction) == pytest.approx(expected)


def test_a_threshold_outside_zero_and_one_is_compared_as_the_nearest_rate():
    values = np.array([1.0, 1.0, 0.0])  # of a rate of 1 or 0, they are impossible
    assert (stats.rate_test(values, 1.5, "greater"), stats.rate_test(values, 1.5, "less")) == (1.0, 0.0)
    assert (stats.rate_test(values, -0.5, "greater"), stats.rate_test(values, -0.5, "less")) == (0.0, 1.0)


@pytest.mark.parametrize("direction", ["greater", "less"])
def test_a_rank_counts_draws_that_tie_and_draws_without_a_value(direction):
    draws = np.array([1.0, 2.0, 2.0, 3.0, math.nan])
    assert stats.rank_p_value(2.0, draws, direction) == (1 + 4) / 6
    assert stats.rank_p_value(2.5, draws, direction) == (1 + (2 if direction == "greater" else 4)) / 6


@pytest.mark.parametrize(("direction", "sign"), [("greater", 1), ("less", -1)])
def test_the_tail_beyond_all_draws_has_the_closed_form(direction, sign):
    """The logarithms of 39 draws are 0 to 38: nine of them, 5 above the tenth on average, belong to the tail."""

    def beyond(distance):
        return stats.tail_p_value(math.exp(sign * (38 + distance)), np.exp(sign * np.arange(39.0)), direction)

    for distance in (7, 20):
        assert beyond(distance) == pytest.approx(10 / 40 * (1 + (9 + distance) / (9 * 5)) ** -9)
    assert beyond(0.01) == 1 / 40  # the tail is above what the rank says
    assert beyond(600) == stats.TAIL_FLOOR / 40 == 1 / 400
    assert beyond(0) == 2 / 40  # a tie
    assert beyond(-2.5) == 4 / 40


@pytest.mark.parametrize("observed", [0.0, math.inf, -1.0])
def test_no_tail_is_fitted_for_what_has_no_logarithm(observed):
    for direction in ("greater", "less"):
        rank = stats.rank_p_value(observed, np.arange(1.0, 40.0), direction)
        assert stats.tail_p_value(observed, np.arange(1.0, 40.0), direction) == rank


def test_four_draws_have_an_outermost_quarter():
    assert [stats.can_fit_tail(np.arange(1.0, count + 1), "greater") for count in (3, 4)] == [False, True]


def test_inputs_to_decide_is_the_textbook_number():
    """0.6 against 0.5, two-sided 5 %, power 80 %: (1.96 * 0.5 + 0.8416 * 0.4899)^2 / 0.1^2 = 193.8."""
    for above, below in ((60, 40), (40, 60)):
        rate, median = np.repeat([1.0, 0.0], [above, below]), np.repeat([3.0, 1.0], [above, below])
        assert stats.inputs_to_decide(rate, 0.5, 0.05, "mean") == 194
        assert stats.inputs_to_decide(median, 2.0, 0.05, "median") == 194
    assert stats.inputs_to_decide(np.repeat([1.0, 0.0], [20, 80]), 0.1, 0.05, "mean") == 86  # (0.588 + 0.3366)^2 / 0.01


def test_values_at_the_limit_or_unknown_count_against_either_side():
    for other in (2.0, math.nan):
        assert stats.inputs_to_decide(np.repeat([3.0, other], [60, 40]), 2.0, 0.05, "median") == 194
        assert stats.inputs_to_decide(np.repeat([1.0, other], [60, 40]), 2.0, 0.05, "median") == 194
        assert stats.inputs_to_decide(np.repeat([3.0, other, 1.0], [40, 20, 40]), 2.0, 0.05, "median") is None
    assert stats.inputs_to_decide(np.repeat([1.0, math.nan], [60, 40]), 0.5, 0.05, "mean") == 194
    assert stats.inputs_to_decide(np.repeat([1.0, math.nan, 0.0], [40, 20, 40]), 0.5, 0.05, "mean") is None


@pytest.mark.parametrize(
    ("hits", "limit"), [(0, 0.0), (10, 1.0), (0, 1.0), (10, 0.0), (5, 0.5)], ids=["0", "1", "far", "far too", "at it"]
)
def test_no_number_of_inputs_decides_a_rate_at_its_limit_or_against_the_end_of_the_range(hits, limit):
    values = np.repeat([1.0, 0.0], [hits, 10 - hits])
    assert stats.inputs_to_decide(values, limit, 0.05, "mean") is None


def test_above_a_million_inputs_none_are_advised_and_without_values_neither():
    shares = [0.5 + 0.5 * excess for excess in (0.0028, 0.0029)]
    counts = [
        stats.inputs_to_decide(
            np.repeat([1.0, 0.0], [round(share * 10**5), round((1 - share) * 10**5)]), 0.5, 0.05, "mean"
        )
        for share in shares
    ]
    assert counts[0] is None
    assert 930_000 < counts[1] <= 1_000_000
    assert stats.inputs_to_decide(np.array([]), 0.5, 0.05, "median") is None
