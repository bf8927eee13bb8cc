"""The main job in one process: the same report as from Python, and nothing at all without --dmm."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from projects import ID, ONE, SUFFICES, configure, findings_in, printed, without_times

import dmmcheck
from dmmcheck.report import json as as_json

CHECKS = ["off-manifold-suffices", "off-manifold-energy", "adversarial-training-deepens"]


def total_cost(content):
    """Gradients of the whole run, from the JSON of its report."""
    return content["cost"]["total"]["gradient_evaluations"]


def subject_of(world, model="off"):
    return dmmcheck.Subject(model=getattr(world, model), x=world.data[0], y=world.data[1], manifold=world.Plane())


@pytest.mark.parametrize("workers", [(), ("-n", "0")], ids=["plain", "n0"])
@pytest.mark.parametrize(("model", "status"), [("off", 0), ("on", 1)])
def test_a_run_gives_the_report_of_the_function(project, world, workers, model, status):
    options = ("--dmm-only", "--dmm-checks", ",".join(CHECKS), "--dmm-model", f"world:{model}")
    result = project.runpytest_inprocess(*options, "--dmm-report", "r.json", *workers)
    assert result.ret == status
    run = dmmcheck.run(subject_of(world, model), checks=CHECKS, samples=24)
    expected = json.loads(as_json.render(replace(run, evidence=None)))
    found = json.loads((project.path / "r.json").read_text())
    assert without_times(found) == without_times(expected)
    verdicts = [finding["verdict"] for finding in found["findings"]]
    outcomes = result.parseoutcomes()
    failures = sum(f["verdict"] == "refuted" and f["gating"] for f in found["findings"])
    assert outcomes.get("failed", 0) == failures
    assert bool(failures) is bool(status)
    assert outcomes.get("passed", 0) == verdicts.count("supported")
    assert outcomes.get("skipped", 0) == verdicts.count("not-run") > 0
    assert f"{len(verdicts)} planned" in printed(result)
    assert f"{verdicts.count('not-run')} not run" in printed(result)


def test_without_dmm_there_is_no_item_and_no_line(project):
    project.makepyfile(test_mine="def test_mine():\n    assert True\n")
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    assert "dmmcheck" not in printed(result).replace(f"dmmcheck-{dmmcheck.__version__}", "")


def test_a_threshold_moves_the_verdict(project):
    configure(project, f"[tool.dmmcheck.checks.{SUFFICES}]\nthreshold = 1.0001\n")
    assert project.runpytest_inprocess(*ONE).ret == 1


def test_last_failed_runs_the_failed_one_again(project):
    options = ("--dmm-only", "--dmm-checks", f"{SUFFICES},on-manifold-distance", "--dmm-tier", "stated")
    first = project.runpytest_inprocess(*options, "--dmm-model", "world:on")
    first.assert_outcomes(failed=2)
    configure(project, "[tool.dmmcheck.checks.on-manifold-distance]\nthreshold = 0.1\n")
    second = project.runpytest_inprocess(*options, "--dmm-model", "world:on", "--lf")
    second.assert_outcomes(failed=1, passed=1)
    third = project.runpytest_inprocess(*options, "--dmm-model", "world:on", "--lf", "-v")
    third.assert_outcomes(failed=1)
    assert f"pyproject.toml::{ID} FAILED" in printed(third)


def test_torchattacks_add_variants(project):
    pytest.importorskip("torchattacks")
    options = ("--dmm-only", "--dmm-checks", "off-manifold-energy", "--dmm-tier", "stated", "--dmm-attacks", "fab")
    result = project.runpytest_inprocess(*options, "-v")
    result.stdout.fnmatch_lines(["pyproject.toml::off-manifold-energy-stated-fab PASSED*"])


def test_effort_is_a_key_an_option_and_an_argument(project, world):
    configure(project, 'effort = "thorough"')
    costs = {}
    for name, options in {"file": (), "option": ("--dmm-effort", "quick")}.items():
        assert project.runpytest_inprocess(*ONE, "--dmm-report", "r.json", *options).ret == 0
        costs[name] = total_cost(json.loads((project.path / "r.json").read_text()))
    subject = subject_of(world)
    for name, effort in {"file": "thorough", "option": "quick"}.items():
        report = dmmcheck.run(subject, checks=[SUFFICES], samples=24, effort=effort)
        assert report.cost.total.gradient_evaluations == costs[name]
    assert costs["option"] < costs["file"]


def test_reports_of_two_runs_are_equal(project):
    for name in ("first", "second"):
        assert project.runpytest_inprocess(*ONE, "--dmm-report", f"{name}.json").ret == 0
    assert findings_in(project.path / "first.json") == findings_in(project.path / "second.json")
