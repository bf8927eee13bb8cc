"""A baseline under pytest: written, compared with, refused, and failing the run where something got worse."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from projects import FEWER_GATES

SHALLOW = """
import dmmcheck
from dmmcheck.worlds.dimples import dimpled

def subject(depth):
    return dimpled(seed=0, depth=depth).subject

deep, shallow = subject(0.1), subject(0.07)
data = deep.x[:96], deep.y[:96]
manifold = deep.manifold
deep, shallow = deep.model, shallow.model
"""
SETTINGS = """
[tool.dmmcheck]
model = "dimples:deep"
data = "dimples:data"
manifold = "dimples:manifold"
samples = 96
gate = ["stated", "baseline"]
baseline = "main.json"
"""
CHECKS = ("--dmm-only", "--dmm-tier", "stated", "--dmm-checks", "boundary-clings,off-manifold-energy")


@pytest.fixture
def dimples(pytester, registries):
    exec(FEWER_GATES, {})
    pytester.makepyfile(dimples=SHALLOW)
    pytester.makefile(".toml", pyproject=SETTINGS)
    return pytester


def junit(pytester) -> dict[str, str]:
    """From the name of each test case to what GitLab shows of it: the kind of its end, and the text."""
    cases = ElementTree.parse(pytester.path / "junit.xml").getroot().iter("testcase")
    return {case.get("name"): " ".join(f"{child.tag}: {child.text}" for child in case) for case in cases}


def test_a_regression_fails_with_claim_change_and_the_command_that_accepts_it(dimples):
    missing = dimples.runpytest_inprocess(*CHECKS)
    assert missing.ret == pytest.ExitCode.USAGE_ERROR
    missing.stderr.fnmatch_lines(["*there is no baseline*write it first, with --dmm-update-baseline"])

    assert dimples.runpytest_inprocess(*CHECKS, "--dmm-update-baseline").ret == 0
    written = json.loads((dimples.path / "main.json").read_text())
    assert len(written["evidence"]["inputs"]) == 96

    same = dimples.runpytest_inprocess(*CHECKS, "--dmm-seed", "5")
    assert same.ret == 0
    words = " ".join(same.stdout.str().split())
    assert "96 inputs in both; distances: free no change 1.00x [1.00, 1.00]" in words
    assert "claims: 2 no change" in words

    worse = dimples.runpytest_inprocess(*CHECKS, "--dmm-model", "dimples:shallow", "--junitxml=junit.xml")
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    text = " ".join(worse.stdout.str().split())
    assert "boundary-clings-stated-builtin is worse 0.70x [0.70, 0.70] beside the baseline" in text
    assert "pytest --dmm-only --dmm-baseline main.json --dmm-update-baseline accepts it" in text
    cases = junit(dimples)
    assert cases["boundary-clings-stated-builtin"].startswith("failure: ")
    assert cases["off-manifold-energy-stated-builtin"] == ""
    for name in ("free", "off"):
        changed = cases[f"distance-{name}-baseline"]
        assert changed.startswith(f"failure: distance {name} is worse 0.7")
        assert "on 96 inputs that both have" in changed
        assert "pytest --dmm-only --dmm-baseline main.json --dmm-update-baseline accepts it" in changed
        assert f"pyproject.toml::distance-{name}-baseline" in changed  # how to rerun it
    assert cases["distance-on-baseline"] == ""

    assert dimples.runpytest_inprocess(*CHECKS, "--dmm-effort", "quick").ret == 0  # the baseline's effort is higher
    other = dimples.runpytest_inprocess(*CHECKS, "--dmm-effort", "thorough")
    assert other.ret == pytest.ExitCode.USAGE_ERROR
    assert "settings differ (effort was default and is thorough)" in " ".join(other.stdout.str().split())


def test_a_model_is_compared_with_another_one_in_the_same_run(dimples):
    settings = SETTINGS.replace('baseline = "main.json"', 'baseline-model = "dimples:deep"')
    dimples.makefile(".toml", pyproject=settings.replace("dimples:deep", "dimples:shallow", 1))
    found = dimples.runpytest_inprocess(*CHECKS, "--dmm-report", "now.json")
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    report = json.loads((dimples.path / "now.json").read_text())
    assert report["baseline"]["name"] == "the model Dimples"
    change = next(one["change"] for one in report["findings"] if one["check"] == "boundary-clings")
    assert (change["word"], round(change["estimate"], 3)) == ("worse", 0.7)


def test_distances_are_not_compared_where_the_gate_asks_for_it_and_there_is_no_baseline(dimples):
    dimples.makefile(".toml", pyproject=SETTINGS.replace('baseline = "main.json"', ""))
    found = dimples.runpytest_inprocess("--dmm", "pyproject.toml::distance-free-baseline", "-rs")
    assert found.ret == 0
    assert "not compared: set baseline to a report, or baseline-model to another model" in found.stdout.str()


def test_a_baseline_that_cannot_be_compared_with_is_refused_by_the_test_of_a_distance_alone(dimples):
    dimples.runpytest_inprocess(*CHECKS, "--dmm-update-baseline")
    alone = dimples.runpytest_inprocess("--dmm-only", "--dmm-samples", "40", "-k", "distance-free-baseline")
    assert alone.ret == pytest.ExitCode.USAGE_ERROR
    text = alone.stdout.str() + alone.stderr.str()
    assert "INTERNALERROR" not in text
    assert "inputs are in both (at least 64)" in " ".join(text.split())


PARAMETRIZED = """
import dimples
import dmmcheck

x, y = dimples.data
subject = dmmcheck.Subject(model=dimples.shallow, x=x, y=y, manifold=dimples.manifold)


@dmmcheck.parametrize(subject, checks=["off-manifold-energy"], tiers=["stated"])
def test_geometry(dmm_check):
    assert dmm_check().estimate > 0.5
"""


KEPT = []
"""The text of the baseline, once a test has made it."""


@pytest.fixture
def with_baseline(dimples):
    """The project, with the baseline of the model whose boundary is farther."""
    if not KEPT:
        assert dimples.runpytest_inprocess(*CHECKS, "--dmm-update-baseline").ret == 0
        KEPT.append((dimples.path / "main.json").read_text(encoding="utf-8"))
    (dimples.path / "main.json").write_text(KEPT[0], encoding="utf-8")
    return dimples


def test_a_shorter_distance_fails_a_test_under_parametrize_too(with_baseline):
    """The body of the test function, which expects a finding, is not called for it."""
    with_baseline.makepyfile(test_shop=PARAMETRIZED)
    found = with_baseline.runpytest_inprocess("--junitxml=junit.xml", "--dmm-report", "r.json")
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    found.assert_outcomes(passed=2, failed=2)
    cases = junit(with_baseline)
    assert cases["test_geometry[off-manifold-energy-stated-builtin]"] == ""
    assert cases["test_geometry[distance-on-baseline]"] == ""
    for name in ("free", "off"):
        changed = cases[f"test_geometry[distance-{name}-baseline]"]
        assert changed.startswith(f"failure: distance {name} is worse 0.7")
        assert f"rerun      pytest 'test_shop.py::test_geometry[distance-{name}-baseline]'" in changed
        assert "dmmcheck/" not in changed
    report = json.loads((with_baseline.path / "r.json").read_text(encoding="utf-8"))
    assert (report["complete"], report["planned"]) == (True, ["off-manifold-energy-stated-builtin"])
    updated = with_baseline.runpytest_inprocess("--dmm-update-baseline", "--collect-only", "-q")
    assert "distance-" not in updated.stdout.str()


def test_without_a_terminal_a_shorter_distance_is_printed_on_the_error_output(with_baseline):
    options = ("--dmm-model", "dimples:shallow", "-p", "no:terminal")
    found = with_baseline.runpytest_inprocess(*CHECKS, *options, "-k", "off-manifold-energy")
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    lines = found.stderr.str().splitlines()
    for name in ("distance free", "distance off"):
        assert [line for line in lines if line.startswith(f"dmmcheck: {name} is worse 0.7")]


def test_a_path_for_the_baseline_is_required(dimples):
    dimples.makefile(".toml", pyproject=SETTINGS.replace('baseline = "main.json"', ""))
    found = dimples.runpytest_inprocess(*CHECKS, "--dmm-update-baseline")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines(["*--dmm-update-baseline says no path; give it with --dmm-baseline PATH*"])


def test_a_report_that_is_also_the_baseline_is_compared_with_and_then_replaced(dimples):
    assert dimples.runpytest_inprocess(*CHECKS, "--dmm-update-baseline").ret == 0
    assert dimples.runpytest_inprocess(*CHECKS, "--dmm-report", "main.json").ret == 0
    assert json.loads((dimples.path / "main.json").read_text(encoding="utf-8"))["baseline"]["name"] == "main.json"
