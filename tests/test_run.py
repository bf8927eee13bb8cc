"""run: each finding depends on subject and settings alone, and errors name what is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import dmmcheck
from dmmcheck import worlds
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import CheckError, ConfigError, DmmError, ModelError, SubjectError
from dmmcheck.inference.cost import Cost
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement import nulls
from dmmcheck.registry import GATES
from dmmcheck.report import json, markdown, terminal
from dmmcheck.run import Run

SHAPE = {"ambient_dim": 12, "dim": 3}
STATED = ("stated", "mechanism")


ALL_GATES = {
    "test_the_same_seed_gives_the_same_report_and_another_seed_other_numbers",
    "test_neither_global_generators_nor_the_model_are_touched",
    "test_a_report_has_the_subject_the_distances_and_the_soundness_items",
    "test_the_effort_of_the_settings_is_that_of_the_search_and_is_compared_with_the_next_one",
    "test_a_model_of_a_pair_at_chance_decides_nothing",
}


@pytest.fixture(autouse=True)
def fewer_gates(request, own_registries):
    """Tests that are not about soundness leave out the gates that search, which would take most of the time."""
    if request.function.__name__ not in ALL_GATES:
        for name, gate in list(GATES.items()):
            if gate.ask.__module__ == "dmmcheck.soundness.probes" or name == "effort":
                del GATES._things[name]


def test_the_tests_that_need_all_gates_exist():
    assert set(globals()) >= ALL_GATES


@cache
def world(samples=64):
    return worlds.sphere(**SHAPE, samples=samples, seed=0)


@cache
def whole():
    """All findings on the world, by id."""
    return {finding.id: finding for finding in dmmcheck.run(world().subject).findings}


def untimed(finding):
    """A finding without the seconds it took."""
    return replace(finding, cost=Cost())  # which depends on what was measured before


def linear():
    """A layer that changes nothing."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
        layer.bias.zero_()
    return layer


def asked(ask, **options):
    """Register a function as a check and run it."""
    ask.__doc__ = "A statistic."
    dmmcheck.check("my-own", statement="mine", threshold=0.5, direction="greater", **options)(ask)
    (finding,) = dmmcheck.run(world().subject, checks=["my-own"]).findings
    return finding


@pytest.mark.parametrize("selected", [["off-manifold-energy"], ["boundary-clings", "on-manifold-distance"]])
def test_a_finding_does_not_depend_on_what_else_is_selected(selected):
    report = dmmcheck.run(world().subject, checks=selected)
    assert {finding.check for finding in report.findings} == set(selected)
    for finding in report.findings:
        assert untimed(finding) == untimed(whole()[finding.id])


def test_a_finding_does_not_depend_on_the_order_of_the_checks():
    session = Run(world().subject, Settings())
    chosen = [item for item in session.planned if item.tier == "stated"]
    for planned in reversed(chosen):
        assert untimed(session.finding(planned)) == replace(untimed(whole()[planned.id]), chance=None)


def test_findings_come_in_the_order_of_the_plan():
    names = ["boundary-clings", "off-manifold-energy"]
    found = dmmcheck.run(world().subject, checks=names, tiers=STATED).findings
    assert [finding.id for finding in found] == [
        item.id for item in plan(Settings()) if item.check.id in names and item.tier in STATED
    ]
    assert found[0].check == "off-manifold-energy"


def test_tiers_and_exclusions_select():
    report = dmmcheck.run(world().subject, tiers=["stated"], exclude=["noise-like"])
    assert {finding.tier for finding in report.findings} == {"stated"}
    assert "noise-like" not in {finding.check for finding in report.findings}
    assert (
        report.summary.planned
        == len(report.findings)
        == sum(item.tier == "stated" and item.check.id != "noise-like" for item in plan(Settings()))
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y, order: (x[order], y[order]),
        lambda x, y, order: (torch.cat([x, x[order[:20]]]), torch.cat([y, y[order[:20]]])),
    ],
    ids=["shuffled", "some twice"],
)
def test_a_finding_depends_neither_on_the_order_nor_on_copies_of_inputs(change):
    subject = world().subject
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    x, y = change(subject.x, subject.y, order)
    for finding in dmmcheck.run(replace(subject, x=x, y=y), checks=["off-manifold-energy", "boundary-clings"]).findings:
        assert untimed(finding) == untimed(whole()[finding.id])


def test_the_same_seed_gives_the_same_report_and_another_seed_other_numbers():
    subject = world(200).subject
    options = {"checks": ["off-manifold-energy"], "tiers": ["controlled"], "samples": 64}
    one, same, other = (dmmcheck.run(subject, seed=seed, **options) for seed in (3, 3, 4))
    assert [untimed(finding) for finding in one.findings] == [untimed(finding) for finding in same.findings]
    assert one.soundness == same.soundness
    assert one.distances == same.distances
    assert one.subject == same.subject
    assert one.findings[0].estimate != other.findings[0].estimate
    assert (one.seed, other.seed) == (3, 4)


def test_neither_global_generators_nor_the_model_are_touched():
    model = nn.Sequential(world().subject.model, nn.Dropout(0.0), linear()).train()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002  # that it is left alone
    dmmcheck.run(replace(world().subject, model=model), checks=["off-manifold-energy"])
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    assert all(module.training for module in model)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_a_fast_run_has_the_stated_claims_with_quick_effort_and_says_so_in_every_format():
    report = dmmcheck.run(world().subject, fast=True, effort="thorough")
    stated = {planned.id for planned in plan(Settings()) if planned.tier == "stated"}
    assert {finding.id for finding in report.findings} == stated == set(report.planned)
    assert all(finding.dims is None for finding in report.findings)
    assert any(finding.meaningless is not None for finding in report.findings)
    assert Run(world().subject, Settings(fast=True, effort="thorough")).measure.effort == "quick"
    for text in (json.render(report), markdown.render(report), terminal.render(report)):
        assert "Fast run: stated claims only, searched with quick effort." in text
    assert json.parse(json.render(report)).fast
    assert "Fast run" not in terminal.render(replace(report, fast=False))


def test_a_clear_verdict_takes_few_inputs():
    finding = Run(world(200).subject, Settings()).finding(plan(Settings())[0])
    assert (finding.verdict, finding.n) == ("supported", 32)


def test_every_finding_has_its_cost():
    finding = whole()["off-manifold-energy-stated-builtin"]
    assert finding.cost.seconds > 0
    searched = whole()["on-manifold-distance-controlled-builtin"]
    assert searched.cost.gradient_evaluations > finding.cost.gradient_evaluations  # the searched draws count
    assert whole()["two-phases-mechanism-builtin"].cost.gradient_evaluations == 0


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("two-phases-mechanism-builtin", "set `checkpoints`"),
        ("adversarial-training-deepens-mechanism-depth", "set `reference` .* or `robust`"),
        ("normal-gradient-growth-mechanism-builtin", "set `factory`"),
        ("wrong-label-training-mechanism-builtin", "set `trainer`"),
        ("every-class-near-stated-builtin", "at least three classes"),
        ("off-manifold-energy-controlled-spectrum", "are not images"),
        ("off-manifold-energy-controlled-same-class", "use a local manifold"),
    ],
)
def test_a_test_that_cannot_run_names_what_it_needs(id, words):
    finding = whole()[id]
    assert finding.verdict == "not-run"
    assert finding.estimate is None
    assert re.search(words, finding.reason)


def test_alpha_is_shared_by_the_gating_tests_that_the_subject_allows_whatever_is_selected():
    session = Run(world().subject, Settings(alpha=0.04))
    allowed = [item for item in session.planned if item.gating and set(item.test.needs) <= world().subject.provides]
    assert session.gating_alpha == 0.04 / len(allowed)
    assert len(allowed) == sum(finding.gating and finding.verdict != "not-run" for finding in whole().values())
    assert whole()["off-manifold-energy-stated-builtin"].confidence == 1 - 0.05 / len(allowed)
    assert whole()["off-manifold-energy-controlled-builtin"].confidence == 0.95  # advisory: the whole alpha


def test_gating_is_what_the_settings_say(monkeypatch):
    monkeypatch.setitem(nulls.BUDGETS, "energy", nulls.DrawBudget(3, 99, 99))  # whether a claim gates needs no draw
    report = dmmcheck.run(world().subject, checks=["off-manifold-energy"], gate=("controlled",))
    assert {finding.tier: finding.gating for finding in report.findings} == {"stated": False, "controlled": True}


def test_a_configured_threshold_is_that_of_the_stated_claim_alone():
    checks = {"off-manifold-energy": CheckSettings(threshold=0.999)}
    report = dmmcheck.run(world().subject, checks=["off-manifold-energy"], settings=Settings(checks=checks))
    stated, controlled, *_ = report.findings
    assert (stated.threshold, stated.verdict) == (0.999, "refuted")
    assert untimed(controlled) == untimed(whole()[controlled.id])


def test_a_configured_minimum_effect_moves_the_limit_of_the_controlled_claim():
    id = "off-manifold-energy-controlled-builtin"
    checks = {"off-manifold-energy": CheckSettings(min_effect=0.5)}
    report = dmmcheck.run(world().subject, checks=["off-manifold-energy"], settings=Settings(checks=checks))
    found = {finding.id: finding for finding in report.findings}[id]
    room = 1 - found.control.estimate
    assert found.threshold == pytest.approx(found.control.estimate + 0.5 * room)
    assert whole()[id].threshold < found.threshold


def test_an_expected_failure_is_no_failure():
    checks = {"boundary-clings": CheckSettings(threshold=1e-6, expected_failure="tracked in #12")}
    settings = Settings(checks=checks)
    report = dmmcheck.run(world().subject, checks=["boundary-clings"], tiers=["stated"], settings=settings)
    (finding,) = report.findings
    assert (finding.verdict, finding.expected_failure) == ("refuted", "tracked in #12")
    assert report.failures == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"checks": ["no-such"]}, "unknown check 'no-such'; valid: off-manifold-energy, "),
        ({"exclude": ["no-such"]}, "unknown check 'no-such'"),
        ({"tiers": ["loud"]}, "unknown tier 'loud'; valid: stated, controlled, mechanism"),
    ],
)
def test_unknown_names_are_an_error_that_lists_the_valid_ones(options, words):
    with pytest.raises(CheckError, match=words):
        dmmcheck.run(world().subject, **options)


@pytest.mark.usefixtures("own_registries")
def test_a_check_of_the_user_is_judged_like_the_others():
    finding = asked(lambda view: Evidence.of(view.distance("free") / view.distance("free")), unit="ratio")
    assert (finding.verdict, finding.estimate, finding.n, finding.statistic) == ("supported", 1.0, 32, "A statistic")


@pytest.mark.usefixtures("own_registries")
def test_a_check_that_raises_is_an_error_with_its_name_and_no_verdict():
    def ask(view):
        raise ZeroDivisionError("by nothing")

    with pytest.raises(
        CheckError, match="check 'my-own-stated-builtin' raised ZeroDivisionError: by nothing"
    ) as caught:
        asked(ask)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.usefixtures("own_registries")
def test_a_check_that_returns_no_evidence_is_an_error():
    with pytest.raises(CheckError, match=r"returned a float, expected Evidence; return dmmcheck.Evidence.of\(values\)"):
        asked(lambda view: 0.7)


@pytest.mark.usefixtures("own_registries")
def test_values_that_are_no_numbers_are_inconclusive():
    finding = asked(lambda view: Evidence.of(np.full(view.n, np.nan)))
    assert (finding.verdict, finding.n) == ("inconclusive", 64)


def test_a_model_whose_logits_are_nan_is_an_error():
    subject = world().subject
    sometimes = nn.Sequential(subject.model, Poisoned())
    with pytest.raises(ModelError, match="logits of the model are NaN or infinite on 1 of 64 inputs"):
        dmmcheck.run(replace(subject, model=sometimes))


class Poisoned(nn.Module):
    """NaN in one row of every larger batch."""

    def forward(self, z):
        return z if len(z) < 4 else torch.cat([z[:-1], torch.nan * z[-1:]])


def test_labels_that_do_not_belong_to_the_inputs_are_an_error():
    subject = world().subject
    with pytest.raises(SubjectError, match="classifies 0 of 64 distinct inputs correctly, at least 8"):
        dmmcheck.run(replace(subject, y=1 - subject.y))


def test_another_device_gets_copies_of_the_models():
    world = worlds.training(**SHAPE, samples=40, seed=0)
    moved = Run(world.subject, Settings(device="cpu")).subject
    assert moved.model is not world.subject.model
    report, plain = (
        dmmcheck.run(world.subject, checks=["off-manifold-energy"], tiers=STATED, device=device)
        for device in ("cpu", None)
    )
    assert [untimed(finding) for finding in report.findings] == [untimed(finding) for finding in plain.findings]
    assert report.device == "cpu"


def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(DmmError, match=r"device 'cuda:7' cannot be used here .* choose another, e.g. 'cpu'"):
        dmmcheck.run(world().subject, device="cuda:7")


def test_a_report_has_the_subject_the_distances_and_the_soundness_items():
    report = dmmcheck.run(world().subject, checks=["off-manifold-energy"], tiers=["stated"])
    assert (report.subject.model, report.subject.inputs, report.subject.manifold.name) == ("Ball", 64, "linear")
    assert set(report.distances) == {"free", "on", "off", "random"}
    assert report.distances["on"].median == pytest.approx(float(world().distance["tangent"].median()), rel=0.1)
    assert {item.family for item in report.soundness} == {"model", "attack", "manifold"}
    assert report.dmmcheck == dmmcheck.__version__
    assert report.versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]


@pytest.mark.parametrize(
    ("answer", "options", "words"),
    [
        (lambda view: view.x, {}, r"the evidence has the shape \(32, 12\).* return one number per input"),
        (
            lambda view: view.x[:, 0],
            {"summary": "mean"},
            "'mean', which is of values 0 and 1 .*; return 0 and 1, or use summary='median'",
        ),
    ],
    ids=["a row per input", "fractions"],
)
@pytest.mark.usefixtures("own_registries")
def test_what_is_not_one_number_per_input_gets_no_verdict(answer, options, words):
    with pytest.raises(CheckError, match=words):
        asked(lambda view: Evidence.of(answer(view), **options), needs=(), controls=())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 5}, "alpha is 5, expected a number above 0 and below 1"),
        ({"samples": 3}, "samples is 3, expected a whole number"),
        ({"samples": "64"}, "samples is '64', expected a whole number"),
        ({"gate": ("statd",)}, "'statd' is none.*; did you mean 'stated'"),
        ({"on_inconclusive": "Fail"}, "on_inconclusive is 'Fail', expected 'warn' or 'fail'"),
        ({"sampels": 64}, "unknown setting 'sampels'.*samples.*valid: "),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_error(options, words):
    with pytest.raises(ConfigError, match=words):
        dmmcheck.run(world().subject, checks=["off-manifold-energy"], **options)


def test_a_model_of_a_pair_at_chance_decides_nothing():
    subject = worlds.pair(**SHAPE, samples=64, seed=0).subject
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn((SHAPE["ambient_dim"], 2), generator=generator, dtype=subject.x.dtype)
    key = "robust" if subject.robust is not None else "reference"
    guessing = replace(subject, **{key: lambda x: (x - x.mean(0)) @ weights.to(x)})
    report = dmmcheck.run(guessing, checks=["adversarial-training-deepens"])
    assert {finding.verdict for finding in report.findings} == {"inconclusive"}
    assert all("accuracy" in finding.reason for finding in report.findings)


def test_a_reference_model_that_cannot_be_used_is_named():
    subject = replace(world().subject, factory=lambda seed: lambda x: x[:, :2] * float("nan"))
    with pytest.raises(CheckError, match=r"the logits of the model of factory\(0\) are NaN"):
        dmmcheck.run(subject, checks=["normal-gradient-growth"])


def spent(effort):
    """Gradient evaluations of the searches of a run, and what its gate on effort says."""
    report = dmmcheck.run(world().subject, checks=["off-manifold-energy"], tiers=["stated"], effort=effort)
    (item,) = (item for item in report.soundness if item.name == "effort")
    return report.cost.parts["search"].gradient_evaluations, item.message


def test_the_effort_of_the_settings_is_that_of_the_search_and_is_compared_with_the_next_one():
    quick, default, thorough = (spent(effort) for effort in ("quick", "default", "thorough"))
    assert 0 < quick[0] < default[0] < thorough[0]
    assert quick[1].startswith("a thorough search shortens")
    assert default[1].startswith("a thorough search shortens")
    assert thorough[1].startswith("an exhaustive search shortens")


class TowardsTheCentre:
    """An own attack on a sphere: along the ray through its centre, in the search space."""

    def __init__(self, centre):
        self.centre = centre

    def __call__(self, model, x, y, *, space, bounds=None, generator):
        direction = space.project(x - self.centre)
        points = x
        for length in torch.linspace(-3, 3, 241).tolist():
            tried = x + length * direction / direction.norm(dim=1, keepdim=True)
            nearer = (tried - x).norm(dim=1) < torch.where(points.eq(x).all(1), torch.inf, (points - x).norm(dim=1))
            crossed = model.logits(tried).argmax(1) != y
            points = torch.where((nearer & crossed)[:, None], tried, points)
        return dmmcheck.Crossing.at(points, model, x, y)


def test_an_own_attack_appears_as_a_variant_of_the_checks_that_take_attacks():
    attack = TowardsTheCentre(world().subject.model.centre)
    report = dmmcheck.run(world().subject, checks=["off-manifold-energy", "noise-like"], attacks=(attack,))
    variants = {finding.id: finding for finding in report.findings if finding.variant == "towards-the-centre"}
    assert set(variants) == {
        "off-manifold-energy-stated-towards-the-centre",
        "off-manifold-energy-controlled-towards-the-centre",
    }
    stated = variants["off-manifold-energy-stated-towards-the-centre"]
    own = whole()["off-manifold-energy-stated-builtin"]
    assert stated.verdict == "supported"
    assert stated.estimate == pytest.approx(own.estimate, abs=0.01)
    assert stated.estimate != own.estimate


def test_an_own_attack_that_often_finds_nothing_gives_no_verdict():
    def give_up(model, x, y, *, space, bounds=None, generator):
        return dmmcheck.Crossing.at(x, model, x, y)

    report = dmmcheck.run(world().subject, checks=["off-manifold-energy"], tiers=["stated"], attacks=(give_up,))
    finding = report.findings[1]
    assert (finding.variant, finding.verdict) == ("give-up", "inconclusive")
    assert "the attack give-up found a label change for 0% of inputs (at least 95%)" in finding.reason


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: 1 / 0, "the attack own raised ZeroDivisionError: division by zero; leave it out of attacks"),
        (
            lambda x: x,
            "the attack own returned a Tensor, expected a Crossing with points of shape .* return dmmcheck.Cross",
        ),
    ],
    ids=["raises", "tensor"],
)
def test_an_own_attack_that_raises_or_returns_something_else_is_one_clear_error(answer, words):
    def own(model, x, y, *, space, bounds=None, generator):
        return answer(x)

    with pytest.raises(CheckError, match=words):
        dmmcheck.run(world().subject, checks=["off-manifold-energy"], tiers=["stated"], attacks=(own,))


def test_an_own_classifier_is_measured_as_the_same_function_is():
    class Mine(dmmcheck.Classifier):
        name, classes, input_shape = "mine", 2, (SHAPE["ambient_dim"],)
        device, dtype = torch.device("cpu"), torch.float32

        def logits(self, x):
            return world().subject.model(x)

    report = dmmcheck.run(replace(world().subject, model=Mine()), checks=["off-manifold-energy"], tiers=["stated"])
    assert report.subject.model == "mine"
    assert report.findings[0].estimate == whole()["off-manifold-energy-stated-builtin"].estimate


def test_progress_is_a_line_before_each_network_that_is_trained():
    lines = []
    generator = torch.Generator().manual_seed(0)

    def trainer(x, y, seed):
        weight = torch.randn(SHAPE["ambient_dim"], 2, generator=generator)
        return lambda points: points @ weight

    subject = replace(world().subject, trainer=trainer)
    Run(subject, Settings(), lines.append)
    dmmcheck.run(subject, checks=["wrong-label-training"], tiers=["mechanism"], progress=lines.append)
    lines = [line for line in lines if line.startswith("wrong-label-training: ")]
    assert len(lines) == 27  # three conditions, nine networks each
    assert lines[0] == "wrong-label-training: random-targets, network 1 of 9"


def test_gate_beyond_chance_fails_a_claim_that_is_like_chance():
    """A Haar subspace of a linear model is like chance; the stated claim is supported all the same."""
    subject = worlds.hyperplane(ambient_dim=64, dim=8, samples=128, seed=0, angle=69.3).subject
    report = dmmcheck.run(subject, gate=("stated", "beyond-chance"), checks=["off-manifold-energy"])
    stated, rotation = (next(one for one in report.findings if one.tier == tier) for tier in ("stated", "controlled"))
    assert stated.verdict == "supported"
    assert rotation.gating
    assert (rotation.chance.word, rotation.verdict) == ("like", "refuted")


@pytest.mark.parametrize(
    ("samples", "options", "words"),
    [
        (8, {}, r"8 inputs cannot .* alpha of 0\.0063 needs at least 9 .*; pass more inputs"),
        (9, {}, ""),
        (64, {"samples": 8}, "; set samples to 9 or more"),
    ],
)
def test_inputs_too_few_for_any_verdict_are_said_before_anything_is_measured(samples, options, words):
    said = []
    subject = worlds.hyperplane(**SHAPE, angle=85.0, samples=samples, seed=0).subject
    run = Run(subject, Settings(**options), said.append)
    run.soundness = ()
    report = run.whole_report([one for one in run.planned if one.id == "off-manifold-energy-stated-builtin"])
    assert ("cannot decide" in said[0]) == bool(words) == (report.findings[0].verdict == "inconclusive")
    assert re.search(words, said[0])


def test_after_max_time_nothing_is_measured_and_everything_says_so():
    report = dmmcheck.run(world().subject, max_time=1e-9, checks=["off-manifold-energy", "every-class-near"])
    ran = [finding for finding in report.findings if finding.verdict != "not-run"]
    assert {(finding.verdict, finding.out_of_time) for finding in ran} == {("inconclusive", True)}
    assert all("1e-09 s of max-time were over before this was measured" in finding.reason for finding in ran)
    assert (report.complete, report.soundness, report.distances) == (False, (), {})
    assert report.cost.total.gradient_evaluations == 2 * 64  # the probe of the model's speed
    assert json.parse(json.render(report)).findings[0].out_of_time
    assert "max-time" in terminal.render(report)


def test_after_max_time_nothing_is_said_beside_a_baseline():
    subject = replace(world().subject, baseline_model=world().subject.model)
    report = dmmcheck.run(subject, max_time=1e-9, checks=["off-manifold-energy"], tiers=["stated"])
    assert [finding.out_of_time for finding in report.findings] == [True]
    assert (report.baseline, report.complete) == (None, False)


def test_what_was_measured_before_max_time_keeps_its_verdict(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("dmmcheck.measurement.meter.time.monotonic", lambda: now[0])
    session = Run(world().subject, Settings(max_time="10 min"))
    stated, controlled = (
        next(one for one in session.planned if (one.check.id, one.tier) == ("on-manifold-distance", tier))
        for tier in ("stated", "controlled")
    )
    first = session.finding(stated)
    now[0] = 601.0
    last = session.finding(controlled)
    report = session.report([first, last])
    assert (first.verdict, first.out_of_time) == (whole()[stated.id].verdict, False)
    assert (last.verdict, last.out_of_time) == ("inconclusive", True)
    assert report.soundness
    assert {"free", "on", "off"} <= set(report.distances)


@pytest.mark.parametrize(
    ("given", "seconds"), [("10 min", 600), ("90 s", 90), ("2h", 7200), ("1.5 hours", 5400), (30, 30)]
)
def test_max_time_is_a_number_and_a_unit(given, seconds):
    assert Settings(max_time=given).max_time == seconds


@pytest.mark.parametrize("given", ["soon", "10 parsecs", "-1 s", 0, True, "5"])
def test_a_time_that_cannot_be_is_one_clear_error(given):
    with pytest.raises(ConfigError, match=r'expected a time above 0, e\.g\. "10 min"'):
        Settings(max_time=given)
