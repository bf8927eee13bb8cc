"""A report beside a baseline: what changed, and which baselines are refused."""

from __future__ import annotations

import json as plain_json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import views
from compared_reports import with_evidence

from dmmcheck.config.settings import Settings
from dmmcheck.errors import BaselineError
from dmmcheck.report import json, markdown, terminal
from dmmcheck.report.changes import compared
from dmmcheck.report.headline import headline
from dmmcheck.report.model import EFFORT_USED, Soundness
from dmmcheck.report.write import write
from dmmcheck.run import Run

BEFORE = with_evidence()


def test_a_shorter_distance_is_worse_and_fails_where_that_is_asked():
    found = compared(with_evidence(factor=0.7), BEFORE, name="main.json", is_gate=True)
    assert found.baseline.common == 128
    assert set(found.regressions) == {
        "boundary-clings-stated-builtin",
        *("distance free", "distance on", "distance off"),
    }
    change = found.regressions["boundary-clings-stated-builtin"]
    assert change.estimate == pytest.approx(0.7)
    assert not compared(with_evidence(factor=0.7), BEFORE).regressions
    for text in (terminal.render(found), markdown.render(found).replace("\\", "")):
        words = " ".join(text.split())
        assert "boundary-clings-stated-builtin is worse 0.70x [0.70, 0.70] beside the baseline" in words
        assert "--dmm-update-baseline accepts it" in words


@pytest.mark.parametrize(
    ("factor", "is_gate", "sentence"),
    [
        (0.7, True, "4 of 4 numbers compared with the baseline are worse, and 4 of these fail."),
        (0.7, False, "4 of 4 numbers compared with the baseline are worse."),
        (1.0, True, "None of 4 numbers compared with the baseline is worse."),
    ],
    ids=["failing", "told", "unchanged"],
)
def test_the_headline_says_what_got_worse(factor, is_gate, sentence):
    found = compared(with_evidence(factor=factor), BEFORE, is_gate=is_gate)
    assert sentence in headline(found)
    assert headline(with_evidence()) in headline(found).replace(f" {sentence}", "")


def test_the_headline_counts_what_is_not_told_and_says_nothing_of_nothing():
    found = compared(with_evidence(), BEFORE)
    open_one = replace(found.baseline.distances["free"], word="not-told")
    some = replace(found, baseline=replace(found.baseline, distances={**found.baseline.distances, "free": open_one}))
    assert "None of 4 numbers compared with the baseline is worse; for 1 it is not told." in headline(some)
    nothing = replace(found, findings=(), baseline=replace(found.baseline, distances={}))
    assert "baseline" not in headline(nothing)


def test_what_is_worse_by_less_than_its_interval_does_not_fail():
    """Each input changes on its own, by a factor whose median is 0.95: the interval holds no change as well."""
    factors = 0.95 * np.random.default_rng(1).lognormal(sigma=0.5, size=128)
    finding, evidence = BEFORE.findings[0], BEFORE.evidence
    now = replace(
        BEFORE,
        findings=(replace(finding, values=tuple(np.multiply(finding.values, factors).tolist())), *BEFORE.findings[1:]),
        evidence=replace(
            evidence,
            distances={name: tuple(np.multiply(one, factors).tolist()) for name, one in evidence.distances.items()},
        ),
    )
    found = compared(now, BEFORE, is_gate=True)
    changes = [*found.distance_changes.values(), found.findings[0].change]
    assert all(change.estimate < 1 < change.interval[1] for change in changes)
    assert {change.word for change in changes} == {"not-told"}
    assert not found.regressions


def test_other_inputs_are_left_out_and_an_unchanged_model_has_no_change():
    found = compared(with_evidence(first=40), BEFORE)
    assert found.baseline.common == 88
    assert {change.word for change in found.distance_changes.values()} == {"no-change"}


def test_a_report_with_its_evidence_and_changes_is_valid_and_survives_writing_and_reading():
    found = compared(with_evidence(factor=0.7), BEFORE, is_gate=True)
    text = json.render(found)
    jsonschema.Draft202012Validator(json.schema()).validate(plain_json.loads(text))
    assert json.parse(text) == found


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (replace(BEFORE, evidence=None), BEFORE, "has no evidence per input"),
        (replace(BEFORE, dmmcheck="0.0.9"), BEFORE, "was measured by dmmcheck 0.0.9"),
        (with_evidence(first=100), BEFORE, "28 of 128 inputs are in both"),
        (
            replace(BEFORE, evidence=replace(BEFORE.evidence, settings={"effort": "quick", "units": "input"})),
            BEFORE,
            "effort was quick and is default",
        ),
        (
            replace(BEFORE, evidence=replace(BEFORE.evidence, tangent_shares=(0.2,) * 128)),
            BEFORE,
            "the manifold estimate differs: the tangent spaces",
        ),
        (BEFORE, replace(BEFORE, evidence=None), "write it with --dmm-evidence true"),
    ],
    ids=["evidence", "version", "data", "settings", "manifold", "own evidence"],
)
def test_a_baseline_that_is_not_comparable_is_refused_with_the_reason(before, now, words):
    with pytest.raises(BaselineError, match=words):
        compared(now, before)


def test_a_claim_that_is_measured_otherwise_is_not_compared():
    finding = replace(BEFORE.findings[0], statistic="another number")
    found = compared(BEFORE, replace(BEFORE, findings=(finding,)))
    assert found.findings[0].change is None


def in_a_box(report, *, box="0 to 1"):
    """The report as of a run whose search stays in a box."""
    return replace(report, evidence=replace(report.evidence, settings={**report.evidence.settings, "box": box}))


@pytest.mark.parametrize(
    ("now", "before", "words"),
    [
        (BEFORE, in_a_box(BEFORE), "box was 0 to 1 and is not set"),
        (in_a_box(BEFORE), BEFORE, "box was not set and is 0 to 1"),
        (in_a_box(BEFORE), in_a_box(BEFORE, box="-1 to 2"), "box was -1 to 2 and is 0 to 1"),
    ],
)
def test_distances_in_different_boxes_are_not_compared(now, before, words):
    with pytest.raises(BaselineError, match=words):
        compared(now, before)


def test_a_change_is_not_told_where_one_run_raised_the_effort_of_its_search():
    raised = Soundness(name=EFFORT_USED, family="attack", ok=None, value=None, limit=None, message="raised")
    now = with_evidence(factor=0.5)
    evidence = replace(now.evidence, settings={**now.evidence.settings, "effort": "thorough"})
    with pytest.raises(BaselineError, match="effort was default and is thorough"):
        compared(replace(now, evidence=evidence), BEFORE)
    found = compared(replace(now, evidence=evidence, soundness=(*now.soundness, raised)), BEFORE, is_gate=True)
    changes = [*found.distance_changes.values(), found.findings[0].change]
    assert {change.word for change in changes} == {"not-told"}
    assert all(
        "the search of this run needed thorough effort, and the baseline has default effort" in change.reason
        for change in changes
    )
    assert not found.regressions


@pytest.mark.parametrize(
    ("settings", "effort"),
    [({}, "thorough"), ({"fast": True}, "quick"), ({"baseline": None}, "default"), ({"baseline": "new"}, "default")],
    ids=["beside the baseline", "fast", "without a baseline", "baseline to be written"],
)
def test_a_run_starts_with_the_effort_of_its_baseline(tmp_path, settings, effort):
    evidence = replace(BEFORE.evidence, settings={"effort": "thorough"})
    write(replace(BEFORE, evidence=evidence), tmp_path / "b.json", evidence=True)
    run = Run(views.subject(), Settings(**{"baseline": "b.json"} | settings), root=tmp_path)
    assert run.measure.effort == effort
