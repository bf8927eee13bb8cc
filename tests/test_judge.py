"""The decision on one test: looks, draws of a control, limits, and evidence that is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import views
from sklearn.ensemble import RandomForestClassifier

import dmmcheck
from dmmcheck import worlds
from dmmcheck.checks.base import claim, declare
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import CheckError, ModelError
from dmmcheck.inference import stats
from dmmcheck.inference.evidence import Evidence
from dmmcheck.inference.search_error import search_error
from dmmcheck.judge import draft, judge, values_of
from dmmcheck.measurement.nulls import BUDGETS, null_draws
from dmmcheck.run import Run

pytestmark = pytest.mark.usefixtures("own_registries")


def planned(id, **settings):
    return next(item for item in plan(Settings(**settings)) if item.id == id)


def own(ask, **options):
    """A check of the user, and the ids of its tests."""
    ask.__doc__ = "A statistic."
    settings = {"statement": "s", "threshold": 0.5, "direction": "greater", **options}
    dmmcheck.check("mine", **settings)(ask)
    return [item.id for item in plan(Settings()) if item.check.id == "mine"]


def decided(id, subject=None, *, alpha=0.05, settings=None, **run):
    """The finding of a test on a subject."""
    measure = Run(subject or views.subject(samples=128), Settings(samples=128, **run)).measure
    return judge(planned(id), lambda: measure, settings or CheckSettings(), alpha=alpha)


def test_before_a_measurement_a_finding_has_the_words_of_its_test_and_no_numbers():
    settings = CheckSettings(threshold=0.7, expected_failure="tracked")
    stated = draft(planned("off-manifold-energy-stated-builtin"), settings)
    assert (stated.verdict, stated.estimate, stated.interval, stated.n) == ("inconclusive", None, None, 0)
    assert (stated.threshold, stated.unit, stated.direction, stated.gating) == (0.7, "share", "greater", True)
    assert stated.expected_failure == "tracked"
    assert stated.statistic == "rho_N of the smallest perturbation"
    assert stated.reference == planned("off-manifold-energy-stated-builtin").check.source != ""
    controlled = draft(planned("off-manifold-energy-controlled-builtin"), settings)
    assert (controlled.threshold, controlled.expected_failure) == (None, "")  # advisory: it cannot fail a run


def test_a_test_without_draws_looks_at_more_inputs_until_the_verdict_is_clear():
    asked = []

    def ask(view):
        asked.append(view.n)
        values = np.zeros(view.n)
        values[: view.n // 2] = 1.0
        if view.n == 128:
            values[:] = 1.0
        return Evidence.of(values)

    own(ask)
    finding = decided("mine-stated-builtin")
    assert asked == [32, 64, 128]
    assert (finding.verdict, finding.n) == ("supported", 128)
    assert finding.confidence == 0.95


def test_alpha_is_shared_among_the_looks():
    own(lambda view: Evidence.of(np.arange(view.n) + 100.0))
    finding = decided("mine-stated-builtin", alpha=0.03)
    expected = stats.median_interval(np.arange(32) + 100.0, 0.03 / 3)
    assert (finding.n, finding.interval) == (32, expected)


@pytest.mark.parametrize(("cost", "effort"), [("forward", None), ("search", "quick")])
def test_a_test_whose_draws_evaluate_the_model_takes_one_look_at_64_inputs(cost, effort):
    asked = []

    def ask(view):
        asked.append((view.n, view.effort))
        return Evidence.of(np.zeros(view.n))

    own(ask, draw_cost=cost)
    finding = decided("mine-stated-builtin")
    assert asked == [(64, effort)]
    assert (finding.verdict, finding.n) == ("refuted", 64)


@pytest.mark.parametrize(
    ("quick", "effort", "asked", "verdict"),
    [
        (np.ones, "default", ["quick", None], "refuted"),
        (lambda n: np.arange(n) % 2, "default", ["quick"], "inconclusive"),
        (np.ones, "quick", ["quick"], "supported"),
    ],
    ids=["clear", "unclear", "a quick run"],
)
def test_quick_searches_alone_do_not_decide_a_claim_about_untrained_networks(quick, effort, asked, verdict):
    efforts = []

    def ask(view):
        efforts.append(view.effort)
        return Evidence.of(quick(view.n) if view.effort == "quick" else np.zeros(view.n))

    own(ask, draw_cost="search", needs=("factory",))
    finding = decided("mine-stated-builtin", views.subject(samples=128, factory=views.network), effort=effort)
    assert (efforts, finding.verdict) == (asked, verdict)


def test_the_first_look_at_untrained_networks_takes_no_error_bar():
    asked = []

    def ask(view):
        asked.append((view.effort, view.n))
        return Evidence.of(np.ones(view.n))

    (name,) = own(ask, draw_cost="search", needs=("factory",))
    measure = Run(views.subject(samples=128, factory=views.network), Settings(samples=128)).measure
    finding = judge(planned(name), lambda: measure, CheckSettings(), alpha=0.05, widen=True)
    assert asked == [("quick", 64), (None, 64), (None, 32), (None, 32)]  # the error bar is that of the second look
    assert finding.search_error is not None


def spread_around_one(view):
    """Numbers half of which lie on either side of 1 in every look, so that no number of inputs decides."""
    return np.where(np.arange(view.n) % 2, 0.5, 1.5)


def costly_looks(values, **options):
    """The numbers of inputs that a claim with costly looks was asked for, and its finding."""
    asked = []

    def statistic(view):
        asked.append(view.n)
        return Evidence.of(values(view))

    declare("mine", "s", claim(statistic, threshold=1.0, direction="greater", unit="ratio", **options))
    return asked, decided("mine-stated-builtin")


def test_costly_looks_end_where_all_inputs_would_hardly_decide():
    asked, finding = costly_looks(spread_around_one, costly_looks=True)
    assert asked == [32, 64]
    assert (finding.verdict, finding.n) == ("inconclusive", 64)
    assert "the other 64 of 128 inputs were not searched, since they would hardly decide it" in finding.reason


def test_looks_that_cost_nothing_take_all_inputs():
    asked, finding = costly_looks(spread_around_one)
    assert asked == [32, 64, 128]
    assert "not searched" not in finding.reason


def test_costly_looks_go_on_where_more_inputs_may_decide():
    def mostly_above(view):
        return np.where(np.arange(view.n) % 10 < 6, 1.5, 0.5)  # 60 %: some 260 inputs decide

    asked, _ = costly_looks(mostly_above, costly_looks=True)
    assert asked == [32, 64, 128]


def test_a_costly_look_is_not_taken_for_the_word_beside_chance():
    """The verdict is clear at 32 inputs, and the word never: the numbers lie on either side of the end of chance."""
    asked = []

    def below(view):
        if view.draw is None:
            asked.append(view.n)
        return Evidence.of(np.where(np.arange(view.n) % 2, 0.9, 1.0) if view.draw is None else np.full(view.n, 1.02))

    options = {"threshold": 1.0, "direction": "greater", "unit": "ratio", "min_effect": 0.05, "controls": ("rotation",)}
    declare("mine", "s", claim(below, **options, costly_looks=True))
    costly = decided("mine-controlled-builtin")
    assert (costly.verdict, costly.chance.word, asked[-1]) == ("refuted", "not-told", 64)
    declare("yours", "s", claim(below, **options))
    free = decided("yours-controlled-builtin")
    assert (free.verdict, free.chance.word, asked[-1]) == ("refuted", "not-told", 128)


@pytest.mark.parametrize(("more", "verdict"), [(1.0, "refuted"), (0.5, "inconclusive")])
def test_targeted_distances_refute_only_beyond_the_error_of_a_search_with_more_effort(more, verdict):
    """The statistic is 1.5, and a thorough search finds this share of it; the claim says that it is at most 1."""

    def statistic(view):
        return Evidence.of(np.full(view.n, 1.5) * (more if view.measurement.effort == "thorough" else 1.0))

    options = {"threshold": 1.0, "direction": "less", "unit": "ratio"}
    declare("mine", "s", claim(statistic, **options, is_targeted=True))
    finding = decided("mine-stated-builtin")
    assert (finding.verdict, finding.search_error) == (verdict, (more, 1.0))
    declare("yours", "s", claim(statistic, **options))
    plain = decided("yours-stated-builtin")
    assert (plain.verdict, plain.search_error) == ("refuted", None)


@pytest.mark.parametrize(
    ("has_gradients", "widen", "own", "of_draws"),
    [(True, False, None, "brief"), (False, False, "quick", "quick"), (True, True, "quick", "quick")],
)
def test_draws_are_searched_briefly_beside_the_run_where_the_search_converges(has_gradients, widen, own, of_draws):
    """Where it does not, what it misses is about the same in the manifold and in the draws."""
    subject = views.subject(samples=64)
    if not has_gradients:
        forest = RandomForestClassifier(3, random_state=0).fit(subject.x_train.numpy(), subject.y_train.numpy())
        labels = torch.tensor(forest.predict(subject.x.numpy()))
        subject = replace(subject, model=forest, y=labels)
    efforts = []

    def statistic(view):
        efforts.append(view.effort)
        return Evidence.of(np.ones(view.n))

    controls = {"controls": ("rotation",), "draw_cost": "search", "min_effect": 0.05}
    declare("mine", "s", claim(statistic, tier="controlled", threshold=1.0, direction="greater", **controls))
    measure = Run(subject, Settings()).measure
    judge(planned("mine-controlled-builtin"), lambda: measure, CheckSettings(), alpha=0.05, widen=widen)
    assert efforts[0] == own
    assert set(efforts[1:20]) == {of_draws}


def test_the_minimum_effect_of_the_settings_replaces_the_declared_one():
    limits = [
        decided("off-manifold-energy-controlled-builtin", settings=CheckSettings(min_effect=effect))
        for effect in (None, 0.5)
    ]
    for finding, effect in zip(limits, (0.05, 0.5), strict=True):
        control = finding.control.estimate
        assert finding.threshold == pytest.approx(control + effect * (1 - control))


def test_the_threshold_of_the_settings_is_that_of_stated_claims_alone():
    settings = CheckSettings(threshold=0.9)
    assert decided("off-manifold-energy-stated-builtin", settings=settings).threshold == 0.9
    assert decided("off-manifold-energy-controlled-builtin", settings=settings).threshold != 0.9


def test_a_chance_level_replaces_the_threshold_and_only_tightens_a_control():
    def ask(view):
        return Evidence.of(1 - view.tangent_share(view.delta()), chance=0.99)

    own(ask, controls=("rotation",), unit="share")
    assert decided("mine-stated-builtin").threshold == 0.99
    assert decided("mine-controlled-builtin").threshold == 0.99


def test_draws_without_a_value_are_left_out_of_the_control_and_count_as_extreme():
    def ask(view):
        missing = view.draw is not None and view.draw[1] < 20
        share = 1 - view.tangent_share(view.x[:, [0]].expand(-1, views.D) + view.noise("v"))
        return Evidence.of(torch.full((view.n,), math.nan) if missing else share)

    own(ask, controls=("rotation",), unit="share")
    finding = decided("mine-controlled-builtin")
    assert np.isfinite(finding.control.estimate)
    draws = BUDGETS["energy"].draws(0.05 / 3)
    assert finding.p_value >= 21 / (draws + 1)


def asked_of_draws(values, *, direction="greater", cost="forward", alpha=0.05):
    """The draws that were made of a control with these values, and the finding of a test whose statistic is 1."""
    made = set()

    def ask(view):
        if view.draw is None:
            return Evidence.of(np.full(view.n, 1.0))
        made.add(view.draw[1])
        return Evidence.of(np.full(view.n, values(view.draw[1])))

    own(ask, controls=("rotation",), draw_cost=cost, direction=direction)
    finding = decided("mine-controlled-builtin", alpha=alpha)
    return len(made), finding


@pytest.mark.parametrize("direction", ["greater", "less"])
@pytest.mark.parametrize(
    ("beyond", "draws", "verdict"), [(0, 59, "supported"), (1, 59, "supported"), (2, 39, ""), (39, 39, "refuted")]
)
def test_draws_end_where_all_of_them_could_not_support_the_claim(direction, beyond, draws, verdict):
    """At alpha = 0.05, 1 of 59 draws may lie beyond the statistic: p = 2/60. With 2 of them p is not below 0.05."""
    milder, extreme = (0.5, 2.0) if direction == "greater" else (2.0, 0.5)
    made, finding = asked_of_draws(lambda number: extreme if number < beyond else milder, direction=direction)
    assert (made, len(finding.draws), finding.chance.draws) == (draws, draws, draws)
    assert finding.p_value == (1 + beyond) / (draws + 1)
    assert not verdict or finding.verdict == verdict
    assert (finding.verdict == "supported") is (beyond < 2)


@pytest.mark.parametrize(("below", "draws", "word"), [(0, 39, "less"), (1, 59, "less"), (2, 39, "like")])
def test_draws_go_on_where_they_may_tell_that_the_statistic_is_less_than_chance(below, draws, word):
    """With 1 of 39 draws below the statistic, p on that side is 2/40; with 1 of 59 it is 2/60, below alpha = 0.05."""
    made, finding = asked_of_draws(lambda number: 0.5 if number < below else 2.0)
    assert (made, finding.chance.word) == (draws, word)


def test_draws_end_at_every_alpha_where_they_could_not_support_the_claim():
    """Also where the product of alpha and the number of draws is a whole number only up to rounding errors."""
    alpha = 0.05 / 7
    assert (BUDGETS["energy"].first_draws(alpha), BUDGETS["energy"].draws(alpha)) == (279, 419)
    looks = 3
    made, _ = asked_of_draws(lambda number: 2.0 if number < 2 else 0.5, cost="energy", alpha=looks * alpha)
    assert made == 279  # with 2 of 419 draws beyond, p is 3/420, which is alpha


def test_draws_that_all_lack_a_value_give_no_verdict():
    def ask(view):
        values = torch.full((view.n,), math.nan if view.draw is not None else 1.0)
        return Evidence.of(values)

    own(ask, controls=("rotation",), unit="share")
    finding = decided("mine-controlled-builtin")
    assert finding.verdict == "inconclusive"
    assert math.isnan(finding.control.estimate)


def test_a_claim_whose_draws_only_evaluate_the_model_can_be_supported_where_it_gates():
    subject = worlds.hyperplane(angle=89, ambient_dim=32, dim=30, samples=64, seed=0).subject
    finding = views.finding(subject, "component-flips-controlled-builtin", gate=("stated", "controlled"))
    assert finding.gating
    assert 1 - finding.confidence < 1 / 100
    assert (finding.verdict, finding.estimate) == ("supported", 1.0)
    assert finding.p_value < 1 - finding.confidence


def test_four_thousand_draws_that_are_too_few_are_named():
    subject = worlds.hyperplane(angle=89, ambient_dim=16, dim=3, samples=64, seed=0).subject
    finding = views.finding(subject, "off-manifold-energy-controlled-builtin", alpha=1e-4)
    assert finding.verdict == "inconclusive"
    assert finding.reason.endswith("; 4999 draws cannot show p < 0.0002, alpha here is 5e-05")  # one of two looks


@pytest.mark.parametrize(("unit", "verdict"), [("ratio", "supported"), ("difference", "inconclusive")])
def test_only_ratios_have_a_tail_beyond_the_ranks_of_searched_draws(unit, verdict):
    def ask(view):
        return Evidence.of(view.distance("tangent"))

    own(ask, tier="controlled", threshold=1.0, unit=unit, controls=("rotation",), draw_cost="search")
    subject = worlds.hyperplane(angle=89, ambient_dim=16, dim=8, samples=64, seed=0).subject
    finding = views.finding(subject, "mine-controlled-builtin", alpha=0.004)
    assert finding.verdict == verdict, finding
    assert ("99 draws cannot show p < 0.01, alpha here is 0.0032" in finding.reason) == (unit == "difference")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda view: [1.0], r"the check returned a list, expected Evidence; return dmmcheck.Evidence.of\(values\)"),
        (lambda view: None, "the check returned a NoneType, expected Evidence"),
        (lambda view: Evidence.of(view.x), r"the evidence has the shape \(32, 12\).* return one number per input"),
        (
            lambda view: Evidence.of(view.x[:, 0], summary="mean"),
            "'mean', which is of values 0 and 1 .*; return 0 and 1, or use summary='median'",
        ),
        (lambda view: 1 / 0, "check 'mine-stated-builtin' raised ZeroDivisionError: division by zero"),
    ],
    ids=["list", "nothing", "a row per input", "fractions", "raises"],
)
def test_what_is_no_evidence_is_one_clear_error(answer, words):
    own(lambda view: answer(view))  # noqa: PLW0108  # a new function, whose docstring is set
    with pytest.raises(CheckError, match=words):
        decided("mine-stated-builtin")


def test_an_error_of_dmmcheck_that_a_check_raises_keeps_its_words():
    def ask(view):
        raise ModelError("the model has no name")

    own(ask)
    with pytest.raises(ModelError, match=r"^the model has no name$"):
        decided("mine-stated-builtin")


def test_an_attack_that_often_finds_nothing_gives_no_verdict():
    def alternate(model, x, y, *, space, bounds=None, generator):
        found = dmmcheck.boundary_search(model, x, y, space=space, generator=generator)
        missed = torch.arange(len(x)) % 2 == 0
        return dmmcheck.Crossing.at(torch.where(missed[:, None], x, found.point), model, x, y)

    finding = views.finding(views.subject(), "off-manifold-energy-stated-alternate", attacks=(alternate,))
    assert finding.verdict == "inconclusive"
    assert (
        "the attack alternate found a label change for 50% of inputs (at least 95%); give it more steps"
        in finding.reason
    )


def test_a_note_of_the_evidence_follows_the_reason():
    own(lambda view: Evidence.of(np.full(view.n, np.nan), note="nothing to see"))
    assert decided("mine-stated-builtin").reason.endswith("; nothing to see")


def test_a_claim_that_a_meaningless_manifold_passes_says_so_and_at_which_dimensions_it_holds():
    subject = worlds.hyperplane(angle=89, ambient_dim=32, dim=3, samples=64, seed=0).subject
    finding = views.finding(subject, "off-manifold-energy-stated-builtin")
    assert (finding.verdict, finding.meaningless) == ("supported", "supported")  # chance is 29 / 32
    assert finding.dims is None  # the subspace of this world cannot be fitted again


def test_a_verdict_is_repeated_at_four_other_dimensions_of_a_fitted_manifold():
    """The gradient is the fifth principal direction: the claim holds for fewer dimensions than that."""
    x = torch.randn(400, views.D, generator=torch.Generator().manual_seed(0)) * torch.linspace(3, 0.3, views.D)

    def model(points):
        return torch.stack([points[:, 4], -points[:, 4]], 1)

    manifold = dmmcheck.manifolds.PCA(dim=4).fit(x[200:])
    subject = dmmcheck.Subject(model=model, x=x[:200], y=model(x[:200]).argmax(1), manifold=manifold)
    finding = views.finding(subject, "off-manifold-energy-stated-builtin")
    assert finding.dims == {1: "supported", 2: "supported", 4: "supported", 8: "refuted", 3: "supported"}
    searched = views.finding(subject, "off-manifold-suffices-stated-builtin")
    assert searched.dims == {1: "supported", 2: "supported", 4: "supported", 8: "refuted", 3: "supported"}


def test_a_claim_without_tangent_spaces_has_one_verdict_for_every_manifold():
    own(lambda view: Evidence.of(view.distance("free") + 100))
    finding = decided("mine-stated-builtin")
    assert (finding.verdict, finding.meaningless, finding.dims) == ("supported", "supported", None)


def test_a_rate_whose_control_is_at_one_cannot_exceed_it_and_says_so():
    own(lambda view: Evidence.of(np.ones(view.n), summary="mean"), unit="rate", controls=("rotation",), min_effect=0.05)
    finding = decided("mine-controlled-builtin")
    assert (finding.verdict, finding.threshold) == ("inconclusive", 1.0)
    assert finding.reason == "the control is at 1, and no rate lies above 1, so nothing can be beyond it"
    assert finding.chance.word == "like"


def test_a_rate_without_a_value_does_not_say_that_its_control_is_at_an_end():
    """Neither the rate nor its control is known, so that the reason names neither 1 nor 0."""
    own(
        lambda view: Evidence.of(np.full(view.n, np.nan), summary="mean"),
        unit="rate",
        controls=("rotation",),
        min_effect=0.05,
    )
    finding = decided("mine-controlled-builtin")
    assert (finding.verdict, finding.reason) == ("inconclusive", "the statistic or its control is undefined (NaN)")


def test_a_shortfall_of_the_search_widens_the_interval_and_is_reported():
    """Every distance of the more thorough measurement is a tenth shorter, which is the error bar."""
    own(lambda view: Evidence.of(view.distance("free") / (1 + 0.1 * (view.measurement.effort == "thorough"))))
    measure = Run(views.subject(samples=128), Settings(samples=128)).measure
    item = planned("mine-stated-builtin")
    plain, widened = (
        judge(item, lambda: measure, CheckSettings(threshold=0.01), alpha=0.05, widen=widen) for widen in (False, True)
    )
    assert plain.search_error is None
    low, high = widened.search_error
    assert (widened.verdict, high) == ("supported", 0.0)
    assert -0.2 < low < -0.01
    assert widened.interval[0] < plain.interval[0]


def test_a_verdict_stays_that_of_the_look_at_which_it_was_clear():
    """The first 32 inputs refute the claim; they are too few draws from chance to tell more, and the rest says nothing.

    Four of the 199 draws lie far below, so that p = 5 / 200 on that side is above the 0.05 / 3 of a look.
    """
    seen = []

    def ask(view):
        if view.draw is not None:
            return Evidence.of(np.full(view.n, -10.0 if view.draw[1] % 50 == 0 else 0.5 + 0.01 * (view.draw[1] % 7)))
        seen.append(view.n)
        return Evidence.of(np.where(np.arange(view.n) < 32, np.arange(view.n) % 8 - 7.0, np.nan))

    own(ask, tier="controlled", threshold=0.5, controls=("rotation",), min_effect=0.05)
    finding = decided("mine-controlled-builtin")
    assert seen == [32, 64, 128]
    assert (finding.verdict, finding.n, finding.interval[1] < 0) == ("refuted", 32, True)
    assert finding.chance.word == "not-told"


@pytest.fixture(scope="module")
def seen():
    """The measurement of a subject of 128 inputs, shared by all tests that declare a statistic."""
    return Run(views.subject(samples=128), Settings(samples=128)).measure


def judged(seen, id="mine-stated-builtin", *, alpha=0.06, settings=None, **options):
    return judge(planned(id), lambda: seen, settings or CheckSettings(), alpha=alpha, **options)


def test_a_check_may_leave_inputs_out_and_not_add_any(seen):
    own(lambda view: Evidence.of(np.arange(view.n - 1.0) + 9))
    finding = judged(seen)
    assert (finding.verdict, finding.n, finding.values) == ("supported", 31, ())
    dmmcheck.check("more", statement="s", threshold=0.5, direction="greater")(
        lambda view: Evidence.of(np.ones(view.n + 1))
    )
    with pytest.raises(CheckError, match="the check returned 33 numbers for 32 inputs; return one number per input"):
        judged(seen, "more-stated-builtin")


def test_a_finding_keeps_the_numbers_that_it_follows_from(seen):
    own(lambda view: Evidence.of(np.arange(view.n) + 9.0, censored=view.n // 4, note="a note"), worse="less")
    finding = judged(seen)
    assert finding.values == tuple(np.arange(32) + 9.0)
    assert (finding.n, finding.censored, finding.reason, finding.worse) == (32, 8, "a note", "less")
    assert (finding.unit_of_replication, finding.replicates) == ("input", 32)
    assert (finding.confidence, finding.draws, finding.chance, finding.control) == (0.94, (), None, None)
    assert finding.estimate == np.median(finding.values)
    assert finding.p_value == stats.sign_test(np.array(finding.values), 0.5, "greater")


def values(id, seen, n=32):
    return values_of(planned(id), seen, replace(draft(planned(id), CheckSettings()), n=n))


def test_values_of_a_baseline_are_those_of_claims_about_each_input_alone(seen):
    own(lambda view: Evidence.of(np.arange(view.n)), controls=("rotation",))
    assert values("mine-stated-builtin", seen).values.tolist() == list(range(128))
    assert values("mine-controlled-builtin", seen) is None
    for name, ask, options in (
        ("fewer", lambda view: Evidence.of(np.arange(view.n - 1)), {}),
        ("trainings", lambda view: Evidence.of(np.arange(view.n), unit="training"), {}),
        ("searched", lambda view: Evidence.of(np.arange(view.n)), {"draw_cost": "search"}),
        ("paired", lambda view: Evidence.of(np.arange(view.n)), {"needs": ("pair",)}),
    ):
        dmmcheck.check(name, statement="s", threshold=0.5, direction="greater", **options)(ask)
        assert values(f"{name}-stated-builtin", seen) is None
    dmmcheck.check("examples", statement="s", threshold=0.5, direction="greater", needs=("examples",))(
        lambda view: Evidence.of(np.arange(view.n))
    )
    assert len(values("examples-stated-builtin", seen).values) == 128


@pytest.mark.parametrize(("n", "kept"), [(64, 64), (512, 128)])
def test_values_that_cost_searches_of_their_own_are_those_of_the_inputs_that_the_finding_took(seen, n, kept):
    declare(
        "costly",
        "s",
        claim(
            lambda view: Evidence.of(np.arange(view.n)),
            threshold=1.0,
            direction="greater",
            unit="ratio",
            costly_looks=True,
        ),
    )
    assert values("costly-stated-builtin", seen, n).values.tolist() == list(range(kept))


@pytest.mark.parametrize(("direction", "level", "end"), [("greater", 1.0, "above 1"), ("less", 0.0, "below 0")])
def test_a_control_at_the_end_of_the_range_leaves_nothing_beyond_it(seen, direction, level, end):
    own(
        lambda view: Evidence.of(np.full(view.n, level), summary="mean"),
        unit="rate",
        controls=("rotation",),
        min_effect=0.05,
        direction=direction,
    )
    finding = judged(seen, "mine-controlled-builtin")
    assert (finding.verdict, finding.threshold) == ("inconclusive", level)
    assert finding.reason == f"the control is at {level:.0f}, and no rate lies {end}, so nothing can be beyond it"


def test_a_control_is_the_middle_of_its_draws_with_the_central_95_per_cent(seen):
    """The statistic of draw i is i; there are 199 draws, and the claim exceeds all of them by far."""
    own(
        lambda view: Evidence.of(np.full(view.n, 1e4 if view.draw is None else float(view.draw[1]))),
        controls=("rotation",),
        min_effect=1.0,
    )
    finding = judged(seen, "mine-controlled-builtin")
    assert finding.draws == tuple(float(i) for i in range(199))
    assert (finding.control.estimate, finding.control.interval) == (99.0, (5.0, 193.0))
    assert (finding.threshold, finding.p_value) == (100.0, 1 / 200)
    assert (finding.verdict, finding.chance.word, finding.chance.draws) == ("supported", "more", 199)
    assert (finding.unit_of_replication, finding.replicates, finding.values) == ("draw", 199, ())
    low, high = stats.median_interval(np.arange(199.0), 0.06 / 3)
    assert finding.chance.interval == (1e4 - high, 1e4 - low)


@pytest.mark.parametrize(("direction", "chance", "limit"), [("greater", 150.0, 150.0), ("less", 50.0, 50.0)])
def test_the_stricter_of_control_and_chance_level_is_the_limit_on_either_side(seen, direction, chance, limit):
    for level in (chance, 99.0):
        name = f"at-{level:.0f}"
        dmmcheck.check(name, statement="s", threshold=0.5, direction=direction, controls=("rotation",))(
            lambda view, level=level: Evidence.of(
                np.full(view.n, 99.0 if view.draw is None else float(view.draw[1])), chance=level
            )
        )
        finding = judged(seen, f"{name}-controlled-builtin")
        assert finding.threshold == (limit if level == chance else 99.0)
        assert "cannot show" not in finding.reason  # 199 draws are enough at this alpha


def test_each_look_has_its_share_of_alpha_and_half_of_it_beside_an_error_bar(seen):
    asked = []

    def ask(view):
        asked.append((view.n, view.measurement.effort, view.alpha))
        return Evidence.of(np.arange(view.n) + 9.0)

    own(ask)
    judged(seen)
    assert asked == [(32, "default", pytest.approx(0.02))]
    asked.clear()
    judged(seen, widen=True)
    assert asked == [(32, effort, pytest.approx(0.01)) for effort in ("default", "default", "thorough")]


def test_an_error_bar_is_known_from_32_inputs_and_asked_for_where_the_verdict_is_clear(seen):
    asked = []

    def ask(view):
        asked.append((view.n, view.measurement.effort))
        return Evidence.of(np.arange(view.n) + (9.0 if len(asked) < 9 else 0.0))

    own(ask, draw_cost="forward")
    assert judged(seen, widen=True).search_error == (0.0, 0.0)
    assert asked == [(64, "default"), (32, "default"), (32, "thorough")]
    dmmcheck.check("open", statement="s", threshold=16.0, direction="greater")(
        lambda view: Evidence.of(np.arange(33.0)[: view.n])
    )
    assert judged(seen, "open-stated-builtin", widen=True).search_error is None


def test_other_manifolds_are_judged_on_32_inputs_with_the_whole_alpha(seen):
    asked = []

    def ask(view):
        view.tangent_share(view.delta())
        asked.append(view.n)
        return Evidence.of(np.full(view.n, 9.0))

    own(ask)
    finding = judged(seen)
    assert asked == [32, 32]
    assert (finding.verdict, finding.meaningless) == ("supported", "supported")


@pytest.mark.parametrize(("cost", "is_advised"), [("energy", True), ("forward", False)])
def test_the_advice_goes_up_to_the_inputs_that_are_there_and_that_the_test_takes(cost, is_advised):
    """41 of 64 inputs lie above the limit: 125 would decide at an alpha of 0.02, and 128 are labelled."""

    def ask(view):
        return Evidence.of(np.where(np.arange(view.n) % 64 < 41 if view.n > 32 else np.arange(32) % 2 == 0, 1.0, -1.0))

    own(ask, draw_cost=cost)
    measure = Run(views.subject(samples=128), Settings(samples=64)).measure
    finding = judged(measure, alpha=0.04 if cost == "energy" else 0.02)
    advice = "; about 125 inputs would likely decide" * is_advised
    assert finding.reason == f"the interval holds the limit 0.5{advice}"


def test_upper_bounds_count_beside_a_threshold_and_not_beside_a_control_which_has_none():
    def ask(view):
        values = np.linspace(0.25, 0.35, view.n)
        return Evidence.of(values, at_most=values + 0.4)

    stated, controlled, *_ = own(ask, direction="less", controls=("rotation",), unit="share")
    beside_threshold, beside_control = decided(stated), decided(controlled)
    assert (beside_threshold.verdict, beside_threshold.interval[1] > 0.5) == ("inconclusive", True)
    assert "its statistic lies between 0.3 and 0.7" in beside_threshold.reason
    assert beside_control.interval[1] < 0.35


def among_searched_draws(seen, value, *, last, **options):
    """The finding of a statistic beside 99 searched draws, of 1 to 99, where the last look has this level."""
    own(
        lambda view: Evidence.of(np.full(view.n, value if view.draw is None else 1.0 + view.draw[1])),
        draw_cost="search",
        controls=("rotation",),
        **options,
    )
    finding = judged(seen, "mine-controlled-builtin", alpha=last / 0.8)
    assert sorted(finding.draws) == [float(i) for i in range(1, 100)]
    return finding


@pytest.mark.parametrize(("last", "are_too_few"), [(0.01005, False), (0.00995, True)])
def test_99_draws_are_enough_for_a_level_above_one_in_100(seen, last, are_too_few):
    finding = among_searched_draws(seen, 50.0, last=last)
    assert finding.verdict == "inconclusive"
    assert ("; 99 draws cannot show p < 0.01, alpha here is 0.01" in finding.reason) == are_too_few


@pytest.mark.parametrize(
    ("direction", "value", "has_tail"),
    [("less", 0.0, False), ("less", 0.5, True), ("greater", math.inf, False), ("greater", 100.0, True)],
)
def test_a_ratio_of_zero_or_infinity_has_no_tail_beyond_the_ranks(seen, direction, value, has_tail):
    """The level asks for a p-value below those of ranks. A tail is fitted to logarithms, which must be finite."""
    finding = among_searched_draws(seen, value, last=0.005, direction=direction, unit="ratio")
    assert ("99 draws cannot show p < 0.01, alpha here is 0.005" in finding.reason) == (not has_tail)


def test_the_error_bar_of_a_search_has_half_of_the_alpha_of_a_look(seen):
    def values(effort, n):
        return Evidence.of(np.arange(n) + 9.0 + (np.arange(n) * 7 % 32 / 100 if effort == "thorough" else 0.0))

    own(lambda view: values(view.measurement.effort, view.n), draw_cost="forward")
    finding = judged(seen, alpha=0.06, widen=True)
    expected = search_error(values("default", 32), values("thorough", 32), 0.03, is_ratio=False)
    assert finding.search_error == (expected.low, expected.high)
    others = {
        search_error(values("default", 32), values("thorough", 32), alpha, is_ratio=False).high
        for alpha in (0.06, 0.12)
    }
    assert expected.high not in others


@pytest.mark.parametrize("id", ["off-manifold-energy", "boundary-parallel", "mine"])
def test_draws_depend_on_the_measured_model_alone_in_checks_of_the_library(seen, monkeypatch, id):
    """Their draws are then kept for other runs; the code of a user can use any model."""
    asked = []

    def draws(*given, own, **options):
        asked.append(own)
        return null_draws(*given, own=own, **options)

    monkeypatch.setattr("dmmcheck.judge.null_draws", draws)
    own(lambda view: Evidence.of(np.arange(view.n) + 0.0), controls=("rotation",))
    judged(seen, f"{id}-controlled-builtin")
    assert set(asked) == {id != "mine"}
