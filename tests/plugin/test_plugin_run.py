"""The main job, with and without pytest-xdist: verdicts, words, counts, exit status, report."""

from __future__ import annotations

import json

import pytest
from projects import ID, ONE, configure, findings_in, said

import dmmcheck
from dmmcheck.report import json as as_json

CHECKS = ["off-manifold-suffices", "off-manifold-energy", "adversarial-training-deepens"]
XDIST = [(), ("-n", "0"), ("-n", "2")]


@pytest.fixture(params=XDIST, ids=["plain", "n0", "n2"])
def workers(request):
    return request.param


def subject_of(world, model="off"):
    return dmmcheck.Subject(model=getattr(world, model), x=world.data[0], y=world.data[1], manifold=world.Plane())


@pytest.mark.parametrize(("model", "status"), [("off", 0), ("on", 1)])
def test_a_run_gives_the_report_of_the_function(project, world, workers, model, status):
    options = (
        "--dmm-only",
        "--dmm-checks",
        ",".join(CHECKS),
        "--dmm-model",
        f"world:{model}",
        "--dmm-report",
        "r.json",
    )
    result = project.runpytest_inprocess(*options, *workers)
    assert result.ret == status
    expected = json.loads(as_json.render(dmmcheck.run(subject_of(world, model), checks=CHECKS, samples=24)))
    found = json.loads((project.path / "r.json").read_text())
    for finding in [*expected["findings"], *found["findings"]]:
        del finding["cost"]["seconds"]
    assert found == expected
    verdicts = [finding["verdict"] for finding in found["findings"]]
    outcomes = result.parseoutcomes()
    failures = verdicts.count("refuted") if model == "on" else 0
    advisory = sum(f["verdict"] == "refuted" and not f["gating"] for f in found["findings"])
    assert outcomes.get("failed", 0) == failures - advisory
    assert outcomes.get("passed", 0) == verdicts.count("supported")
    assert outcomes.get("skipped", 0) == verdicts.count("not-run") > 0
    assert f"{len(verdicts)} planned" in said(result)
    assert f"{verdicts.count('not-run')} not run" in said(result)


def test_the_table_is_printed_and_failures_say_what_was_found_and_how_to_repeat_it(project):
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*FAILURES*",
            f"*_ {ID} _*",
            "4.60 *, not < 1.25",
            "claim * leaving the manifold costs almost nothing extra",
            "statistic * inputs)",
            f"rerun * pytest --dmm --dmm-model world:on pyproject.toml::{ID}",
            "*= dmmcheck =*",
            "check *estimate*threshold*verdict",
            "off-manifold-suffices *4.* < 1.25 * refuted",
            "subject *D = 8*",
            "counts *1 planned, 1 ran: 0 supported, 1 refuted (1 gating)*",
            f"rerun * pytest --dmm --dmm-model world:on pyproject.toml::{ID}",
            f"FAILED pyproject.toml::{ID} - 4.60 *",
            "*1 failed*",
        ]
    )


def test_the_users_tests_come_first_and_run_too(project):
    project.makepyfile(test_mine="def test_mine():\n    assert True\n")
    result = project.runpytest_inprocess("--dmm", "--dmm-checks", "off-manifold-suffices", "-v")
    result.stdout.fnmatch_lines(["test_mine.py::test_mine PASSED*", f"pyproject.toml::{ID} PASSED*", "*2 passed*"])
    assert result.ret == 0


def test_without_dmm_there_is_no_item_and_no_line(project):
    project.makepyfile(test_mine="def test_mine():\n    assert True\n")
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    assert "dmmcheck" not in said(result).replace("dmmcheck-0.1.0", "")


def test_workers_that_train_different_models_are_found_out(project):
    project.makepyfile(model="import world, torch\nnet = world.hyperplane(*(0.1 + torch.rand(8)).tolist())\n")
    options = ("--dmm-only", "--dmm-checks", "off-manifold-suffices,on-manifold-distance,boundary-clings", "-n", "2")
    result = project.runpytest_inprocess(*options, "--dmm-model", "model:net")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "tested 2 different models" in said(result)
    assert "--dist loadfile" in said(result)


def test_a_sound_run_says_so_on_a_narrow_terminal_too(project, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = project.runpytest_inprocess(*ONE)
    table = result.outlines[result.outlines.index(next(line for line in result.outlines if "= dmmcheck" in line)) :]
    assert max(map(len, table)) <= 80


def test_a_check_of_the_users_own_is_tested_like_any_other(project):
    project.makeconftest(
        """
        import dmmcheck

        @dmmcheck.check("is-wide", statement="margins are wide", threshold=100.0, direction="greater", unit="logits")
        def is_wide(measure):
            "Margin of each input."
            return dmmcheck.Evidence.of(measure.margins())
        """
    )
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", "is-wide", "--dmm-report", "r.json")
    assert result.ret == 1
    assert [finding["verdict"] for finding in findings_in(project.path / "r.json")] == ["refuted"]
    listed = project.runpytest_inprocess("--dmm-list")
    listed.stdout.fnmatch_lines(["is-wide (stated)", "*claim *margins are wide"])


def test_a_threshold_moves_the_verdict(project):
    configure(project, f"[tool.dmmcheck.checks.{ID.partition('-stated')[0]}]\nthreshold = 1.0001\n")
    assert project.runpytest_inprocess(*ONE).ret == 1
