"""Which claims fail a run depends on what the subject declares, and is settled in one place."""

from __future__ import annotations

from dataclasses import replace

import pytest
import views

import dmmcheck
from dmmcheck import worlds
from dmmcheck.checks.plan import for_subject, plan
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import CheckError, ConfigError
from dmmcheck.run import Run

ABOUT_STANDARD = {
    "off-manifold-energy",
    "on-manifold-distance",
    "off-manifold-suffices",
    "projection-restores",
    "noise-like",
    "boundary-clings",
    "boundary-parallel",
    "dimples-shallow",
}
SMALL = {"ambient_dim": 12, "dim": 3, "samples": 48}


def gating(subject, **settings):
    return {planned.id for planned in Run(subject, Settings(**settings)).planned if planned.gating}


@pytest.mark.parametrize(
    "declared", [{"robustly_trained": True}, {"reference": views.network(1)}], ids=["flag", "twin"]
)
def test_claims_about_standard_training_do_not_gate_a_robust_model(declared):
    standard, robust = gating(views.subject()), gating(views.subject(**declared))
    assert {id for id in standard - robust if "-stated-" in id} == {f"{id}-stated-builtin" for id in ABOUT_STANDARD}
    assert "every-class-near-stated-builtin" in robust
    everything = gating(views.subject(**declared), gate=("stated", "controlled", "mechanism"))
    assert not any(id.startswith(tuple(ABOUT_STANDARD)) and "training-points" not in id for id in everything)


def test_the_alpha_of_a_robust_model_is_shared_by_the_claims_that_gate_it():
    run = Run(views.subject(robustly_trained=True), Settings())
    allowed = [one for one in run.planned if one.gating and set(one.test.needs) <= run.subject.provides]
    assert run.gating_alpha == 0.05 / len(allowed)


@pytest.mark.usefixtures("fewer_gates")
def test_a_refuted_claim_about_standard_training_says_why_it_is_advisory():
    subject = replace(worlds.hyperplane(angle=0, seed=0, **SMALL).subject, robustly_trained=True)
    report = dmmcheck.run(subject, checks=["off-manifold-energy"], tiers=["stated"])
    (finding,) = report.findings
    assert (finding.verdict, finding.gating, report.failures) == ("refuted", False, ())
    assert finding.reason == (
        "advisory: the claim is about what standard training leaves, and the model under test is declared robust (by "
        "reference or robustly-trained)"
    )
    plain = dmmcheck.run(replace(subject, robustly_trained=False), checks=["off-manifold-energy"], tiers=["stated"])
    assert len(plain.failures) == 1


def test_an_expected_failure_of_a_claim_that_cannot_gate_is_an_error_with_its_reason():
    settings = Settings(checks={"off-manifold-energy": CheckSettings(expected_failure="robust")})
    words = "'off-manifold-energy', none of whose claims gates for this subject: the claim is about .*; remove it"
    with pytest.raises(ConfigError, match=words):
        Run(views.subject(robustly_trained=True), settings)
    assert Run(views.subject(), settings)


def test_beyond_chance_makes_the_comparisons_with_controls_gate():
    assert Settings(gate=("stated", "beyond-chance")).gate == ("stated", "beyond-chance")
    stated, beyond = (gating(views.subject(), gate=gate) for gate in (("stated",), ("stated", "beyond-chance")))
    assert stated < beyond
    compared = {item.id for item in plan(Settings()) if item.test.control}
    assert beyond - stated <= compared
    assert "off-manifold-energy-controlled-spectrum" in beyond
    expected = {"component-flips": CheckSettings(expected_failure="tracked")}
    assert plan(Settings(gate=("beyond-chance",), checks=expected))
    with pytest.raises(CheckError, match="none of whose tiers"):
        plan(Settings(gate=("stated",), checks=expected))


def test_a_test_of_the_plan_gets_the_gating_of_the_subject_whoever_asks():
    run = Run(views.subject(robustly_trained=True), Settings())
    unsettled = next(one for one in plan(Settings()) if one.id == "off-manifold-energy-stated-builtin")
    assert unsettled.gating
    assert not run.finding(unsettled).gating
    settled = for_subject(unsettled, provides=frozenset(), is_robust=True)
    assert (settled.gating, for_subject(unsettled, provides=frozenset(), is_robust=False)) == (False, unsettled)
