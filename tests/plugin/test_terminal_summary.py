"""The end of a run: the table, the notes on the whole run, the report files and the exit status."""

from __future__ import annotations

import json

import pytest
from projects import ID, ONE, OPEN, SUFFICES, configure, printed

from dmmcheck.registry import CHECKS


def test_the_table_the_facts_and_the_rerun_commands_are_printed(project):
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*= dmmcheck =*",
            "0 of 1 stated claims hold; a manifold that means nothing*",
            "claim *estimate*asked*beside chance*verdict",
            "off-manifold-suffices *4.* < 1.25 * refuted",
            "subject *D = 8*",
            "counts *1 planned, 1 ran: 0 supported, 1 refuted (1 gating)*",
            f"rerun * pytest --dmm --dmm-model world:on pyproject.toml::{ID}",
            f"FAILED pyproject.toml::{ID} - 4.60 *",
            "*1 failed*",
        ]
    )


def test_the_table_fits_a_narrow_terminal(project, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = project.runpytest_inprocess(*ONE)
    table = result.outlines[result.outlines.index(next(line for line in result.outlines if "= dmmcheck" in line)) :]
    assert max(map(len, table)) <= 80


def test_a_run_without_a_verdict_fails(project):
    configure(project, OPEN)
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", "boundary-clings", "--dmm-tier", "stated")
    assert result.ret == 1
    words = "no gating check reached a verdict, so nothing was tested and the run fails; the reasons are above"
    assert words in printed(result)
    assert "1 planned, 1 ran" in printed(result)


def test_a_run_of_advisory_checks_may_end_without_a_verdict(project):
    chosen = ("--dmm-only", "--dmm-checks", "off-manifold-energy", "--dmm-tier", "controlled")
    options = (*chosen, "--dmm-model", "world:on", "--dmm-alpha", "0.4")  # few draws
    result = project.runpytest_inprocess(*options)
    assert result.ret == 0
    assert "2 refuted (advisory)" in printed(result)
    gating = project.runpytest_inprocess(*options, "--dmm-gate", "controlled")
    assert gating.ret == 1
    assert gating.parseoutcomes()["failed"] == 2


def test_settings_of_a_check_that_did_not_run_are_an_error_on_complete_runs_only(project):
    for id in set(CHECKS) - {SUFFICES, "two-phases"}:
        del CHECKS._things[id]
    configure(project, '[tool.dmmcheck.checks.two-phases]\nexpected-failure = "later"\n')
    complete = project.runpytest_inprocess("--dmm-only")
    assert complete.ret == pytest.ExitCode.USAGE_ERROR
    text = printed(complete)
    assert "checks.two-phases is set, but the check did not run (needs models along training" in text
    assert "remove it, or give what is needed" in text
    assert project.runpytest_inprocess(*ONE).ret == 0


def test_a_report_is_written_in_each_format_and_nothing_else_is(project):
    result = project.runpytest_inprocess(*ONE, "--dmm-report", "out/r.json", "--dmm-report", "r.md")
    assert result.ret == 0
    assert "## dmmcheck" in (project.path / "r.md").read_text(encoding="utf-8")
    assert [path.name for path in (project.path / "out").iterdir()] == ["r.json"]
    assert "report out/r.json, r.md" in printed(result)


def test_a_report_that_cannot_be_written_is_an_error_of_the_run(project):
    project.makeconftest(
        """
        import dmmcheck

        @dmmcheck.report_format(".txt")
        def render(report):
            return report.nothing
        """
    )
    result = project.runpytest_inprocess(*ONE, "--dmm-report", "r.txt", "--dmm-report", "r.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = printed(result)
    assert "dmmcheck: the report format '.txt' (conftest.render) raised AttributeError" in text
    assert "INTERNALERROR" not in text
    assert not (project.path / "r.txt").exists()
    assert (project.path / "r.md").exists()


def test_a_run_without_findings_says_that_no_report_was_written(project):
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "world:nothing", "--dmm-report", "r.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "1 planned, 0 ran" in printed(result)
    assert "no report was written: no check came to an end" in printed(result)


def test_an_interrupted_run_shows_and_writes_what_it_found(project):
    project.makeconftest(
        f"""
        def pytest_runtest_teardown(item):
            if item.name == "{ID}":
                raise KeyboardInterrupt
        """
    )
    options = ("--dmm-only", "--dmm-tier", "stated", "--dmm-report", "r.json", "-v")
    result = project.runpytest_inprocess(*options, no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    text = printed(result)
    assert "off-manifold-suffices 1." in text
    assert "the run stopped early: " in text
    assert "the run was interrupted: the report lists the tests that ran, and has the others as errors" in text
    report = json.loads((project.path / "r.json").read_text(encoding="utf-8"))
    assert report["complete"] is False
    assert "off-manifold-suffices" in [finding["check"] for finding in report["findings"]]
    assert len(report["findings"]) < len(report["planned"])
    assert any("the test did not end" in error for error in report["errors"])


def test_a_run_that_is_interrupted_before_a_check_ends_leaves_no_report_and_says_so(project):
    (project.path / "r.json").write_text('{"run": "earlier"}', encoding="utf-8")
    project.makeconftest("def pytest_runtest_call(item):\n    raise KeyboardInterrupt\n")
    result = project.runpytest_inprocess(*ONE, "--dmm-report", "r.json", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert not (project.path / "r.json").exists()
    assert "no report was written: no check came to an end" in printed(result)


def test_the_first_failure_stops_the_run_and_the_notes_say_so(project):
    options = ("--dmm-only", "--dmm-checks", f"{SUFFICES},on-manifold-distance", "--dmm-tier", "stated")
    result = project.runpytest_inprocess(*options, "-x", "--dmm-model", "world:on")
    result.assert_outcomes(failed=1)
    assert "stopped early: 1 selected tests were not reached" in printed(result)


def test_two_subjects_are_two_tables_and_two_files(project):
    project.makepyfile(
        test_shop=f"""
        import dmmcheck
        import world

        def subject():
            return dmmcheck.Subject(model=world.on, x=world.data[0], y=world.data[1], manifold=world.Plane())

        @dmmcheck.parametrize(subject, checks=["{SUFFICES}"], samples=24)
        def test_geometry(dmm_check):
            dmm_check()
        """
    )
    result = project.runpytest_inprocess("--dmm", "--dmm-checks", SUFFICES, "--dmm-report", "r.json")
    result.assert_outcomes(passed=1, failed=1)
    text = printed(result)
    assert "= dmmcheck =" in text
    assert "= dmmcheck: test_shop.py::test_geometry =" in text
    assert "report r.json, r-test_geometry.json" in text
    assert '"verdict": "supported"' in (project.path / "r.json").read_text()
    assert '"verdict": "refuted"' in (project.path / "r-test_geometry.json").read_text()
