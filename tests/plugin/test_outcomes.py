"""From a verdict to an outcome of pytest, to JUnit and to the words on the terminal."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from projects import ID, ONE, OPEN, SUFFICES, configure, findings_in, printed

from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.pytest_plugin.outcomes import (
    InconclusiveError,
    NoVerdict,
    RefutedError,
    RegressedError,
    UnexpectedlySupportedError,
    conclude,
    conclude_distance,
    describe,
    headline,
    outcome_word,
)
from dmmcheck.report.model import Change, Control, Finding

FEW = ("--dmm-only", "--dmm-checks", f"{SUFFICES},off-manifold-energy,adversarial-training-deepens")
EXPECTED = f'[tool.dmmcheck.checks.{SUFFICES}]\nexpected-failure = "tracked in #12"\n'
PLANNED = next(planned for planned in plan(Settings()) if planned.id == ID)
FINDING = Finding(
    check=SUFFICES,
    tier="stated",
    variant="builtin",
    statement="leaving the manifold costs almost nothing extra",
    statistic="d_off / d_free",
    unit="ratio",
    direction="less",
    verdict="supported",
    gating=True,
    estimate=1.1,
    interval=(1.0, 1.2),
    confidence=0.99,
    threshold=1.25,
    n=24,
    reason="a note",
)
REFUTED = replace(FINDING, verdict="refuted", estimate=4.6, interval=(4.5, 4.7), censored=3)
EXPECTING = Settings(checks={SUFFICES: CheckSettings(expected_failure="tracked in #12")})
STRICT = Settings(on_inconclusive="fail")


def junit(pytester) -> dict[str, str]:
    """The kinds and messages of the elements of each test case, by the name of the case."""
    cases = ElementTree.parse(pytester.path / "junit.xml").getroot().iter("testcase")
    return {case.get("name"): " ".join(f"{child.tag}: {child.get('message')}" for child in case) for case in cases}


def conclusion(finding: Finding, settings: Settings, *, others: bool = False) -> BaseException | None:
    """What a finding raises."""
    try:
        conclude(finding, PLANNED, settings, others_refuted=lambda: others)
    except BaseException as error:
        return error
    return None


@pytest.mark.parametrize(
    ("finding", "settings", "kind", "words"),
    [
        (REFUTED, Settings(), RefutedError, "4.60 [4.50, 4.70], not < 1.25\nclaim "),
        (replace(REFUTED, gating=False), Settings(), NoVerdict, "4.60 [4.50, 4.70], not < 1.25"),
        (REFUTED, EXPECTING, pytest.xfail.Exception, "tracked in #12"),
        (replace(FINDING, verdict="not-run", reason="needs x"), STRICT, NoVerdict, "needs x"),
        (replace(FINDING, verdict="inconclusive", reason="open"), Settings(), NoVerdict, "open"),
        (replace(FINDING, verdict="inconclusive", reason="open"), STRICT, InconclusiveError, "inconclusive: open\n"),
        (replace(FINDING, verdict="inconclusive", gating=False, reason="open"), STRICT, NoVerdict, "open"),
        (
            FINDING,
            EXPECTING,
            UnexpectedlySupportedError,
            "1.10 [1.00, 1.20], < 1.25, which was expected to fail (tracked in #12); remove expected-failure from "
            f"checks.{SUFFICES}\n",
        ),
    ],
    ids=["refuted", "advisory", "expected", "not-run", "inconclusive", "strict", "strict-advisory", "unexpected"],
)
def test_each_verdict_raises_its_outcome(finding, settings, kind, words):
    error = conclusion(finding, settings)
    assert type(error) is kind
    assert str(error.msg if hasattr(error, "msg") else error).startswith(words)


@pytest.mark.parametrize(
    ("finding", "settings", "others"),
    [(FINDING, Settings(), False), (replace(FINDING, gating=False), EXPECTING, False), (FINDING, EXPECTING, True)],
    ids=["plain", "advisory", "another-test-is-refuted"],
)
def test_a_supported_claim_passes(finding, settings, others):
    assert conclusion(finding, settings, others=others) is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, ""),
        ({"verdict": "inconclusive"}, "inconclusive"),
        ({"verdict": "refuted"}, ""),
        ({"verdict": "refuted", "gating": False}, "refuted (advisory)"),
        ({"verdict": "not-run"}, ""),
    ],
)
def test_only_inconclusive_and_advisory_have_words_of_their_own(changes, word):
    assert outcome_word(replace(FINDING, **changes)) == word


def test_a_finding_is_described_line_by_line():
    control = Control(name="rotated tangent spaces", estimate=2.0, interval=(1.5, 2.5))
    assert headline(FINDING) == "1.10 [1.00, 1.20], < 1.25"
    assert describe(replace(REFUTED, control=control, p_value=0.02)).splitlines() == [
        "claim      leaving the manifold costs almost nothing extra, beyond rotated tangent spaces",
        "statistic  d_off / d_free (99 % interval, 24 inputs, 3 of them censored)",
        "control    2.00 [1.50, 2.50] p 0.02",
        "note       a note",
        f"more       pytest --dmm-explain {SUFFICES}",
    ]
    assert "note" not in describe(replace(FINDING, verdict="inconclusive"))


ACCEPTED = "pytest --dmm-update-baseline accepts it"
SHORTER = Change(word="worse", estimate=0.7, interval=(0.68, 0.73), confidence=0.99, n=96, worse="less", gating=True)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (SHORTER, RegressedError, "distance off is worse 0.70x [0.68, 0.73] beside the baseline, on 96 inputs"),
        (SHORTER, RegressedError, f"that both have; {ACCEPTED}\nclaim      the nearest label change off the manifold"),
        (SHORTER, RegressedError, "of each input (99 % interval, 96 inputs)"),
        (
            replace(SHORTER, word="not-told", reason="too few"),
            NoVerdict,
            "not told whether it is worse than in the baseline: too few",
        ),
        (replace(SHORTER, word="no-change"), None, ""),
        (replace(SHORTER, word="better"), None, ""),
        (None, NoVerdict, "not compared: set baseline to a report"),
    ],
    ids=["worse", "the remedy", "the statistic", "not told", "no change", "better", "no baseline"],
)
def test_the_change_of_a_distance_ends_its_test(change, kind, words):
    raised = contextlib.nullcontext() if kind is None else pytest.raises(kind, match=re.escape(words))
    with raised:
        conclude_distance("off", change, ACCEPTED, why_not="set baseline to a report")


def test_each_verdict_has_its_word_and_junit(project):
    result = project.runpytest_inprocess(*FEW, "--junitxml=junit.xml", "--dmm-report", "r.json", "-rs", "-v")
    verdicts = {f"{f['check']}-{f['tier']}-{f['variant']}": f["verdict"] for f in findings_in(project.path / "r.json")}
    assert set(verdicts.values()) == {"supported", "refuted", "inconclusive", "not-run"}
    assert result.parseoutcomes() == {
        "passed": sum(verdict == "supported" for verdict in verdicts.values()),
        "skipped": sum(verdict == "not-run" for verdict in verdicts.values()),
        "inconclusive": 1,
        "refuted": 1,
    }
    assert "1 refuted (advisory)" in printed(result)
    cases = junit(project)
    assert cases[ID] == ""
    assert re.match(r"skipped: 0.9\d+ \[.*\], not > 0.9", cases["off-manifold-energy-controlled-covariance"])
    assert "set `reference`" in cases["adversarial-training-deepens-mechanism-depth"]
    assert "SKIPPED [3] pyproject.toml:1: needs a standard" in printed(result)
    result.stdout.fnmatch_lines(
        [
            "*::off-manifold-energy-controlled-covariance REFUTED (ADVISORY) *",
            f"*::{ID} PASSED*",
            "*::adversarial-training-deepens-mechanism-depth SKIPPED *",
        ]
    )
    assert result.ret == 0


def test_an_inconclusive_claim_fails_only_where_the_settings_say_so(project):
    configure(project, OPEN)
    options = ("--dmm-only", "--dmm-checks", "boundary-clings,on-manifold-distance", "--dmm-tier", "stated")
    result = project.runpytest_inprocess(*options, "--junitxml=junit.xml", "-v")
    assert result.ret == 0
    assert "1 passed, 1 inconclusive" in printed(result)
    result.stdout.fnmatch_lines(["*::boundary-clings-stated-builtin INCONCLUSIVE*"])
    assert junit(project)["boundary-clings-stated-builtin"].startswith("skipped: the interval holds the limit 0.272")
    strict = project.runpytest_inprocess(*options, "--dmm-on-inconclusive", "fail")
    assert strict.ret == 1
    strict.assert_outcomes(passed=1, failed=1)
    strict.stdout.fnmatch_lines(["inconclusive: the interval holds the limit 0.272*"])


def test_an_expected_failure_is_one_to_pytest(project):
    configure(project, EXPECTED)
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on", "-rx", "--dmm-report", "r.json")
    assert result.ret == 0
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["*refuted (expected)*", f"XFAIL pyproject.toml::{ID} - tracked in #12"])
    assert findings_in(project.path / "r.json")[0]["expected_failure"] == "tracked in #12"
    run = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on", "--runxfail")
    run.assert_outcomes(failed=1)


def test_an_expected_failure_that_does_not_come_is_an_error(project):
    configure(project, EXPECTED)
    result = project.runpytest_inprocess(*ONE)
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    words = "expected to fail (tracked in #12); remove expected-failure from checks.off-manifold-suffices"
    assert words in printed(result)


def test_an_expected_failure_is_met_where_one_gating_test_of_the_check_fails(project):
    project.makepyfile(
        other="import world\n\ndef untrained(seed):\n    return world.hyperplane(*[9.0 + seed] + [0.1] * 7)\n"
    )
    table = '[tool.dmmcheck.checks.boundary-clings]\nexpected-failure = "known"\nthreshold = 0.01\n'
    configure(project, f'factory = "other:untrained"\n{table}')
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", "boundary-clings", "--dmm-report", "r.json")
    gating = {f["tier"]: f["verdict"] for f in findings_in(project.path / "r.json") if f["gating"]}
    assert gating == {"stated": "refuted", "mechanism": "supported"}
    assert result.ret == 0
    assert "1 passed" in printed(result)
    assert "1 xfailed" in printed(result)
