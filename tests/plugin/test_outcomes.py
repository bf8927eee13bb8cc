"""What each verdict is to pytest, to JUnit and to the exit status."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from projects import ID, ONE, SUFFICES, configure, findings_in, said

FEW = ("--dmm-only", "--dmm-checks", f"{SUFFICES},component-flips,adversarial-training-deepens")
EXPECTED = f'[tool.dmmcheck.checks.{SUFFICES}]\nexpected-failure = "tracked in #12"\n'


def junit(pytester) -> dict[str, str]:
    """From the name of each test case to the kind and message of what it holds."""
    cases = ElementTree.parse(pytester.path / "junit.xml").getroot().iter("testcase")
    return {case.get("name"): " ".join(f"{child.tag}: {child.get('message')}" for child in case) for case in cases}


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])
def test_each_verdict_has_its_word_letter_and_junit(project, workers):
    result = project.runpytest_inprocess(*FEW, *workers, "--junitxml=junit.xml", "--dmm-report", "r.json", "-rs")
    verdicts = {f"{f['check']}-{f['tier']}-{f['variant']}": f["verdict"] for f in findings_in(project.path / "r.json")}
    assert set(verdicts.values()) == {"supported", "refuted", "not-run"}
    assert result.parseoutcomes() == {
        "passed": 1,
        "skipped": sum(verdict == "not-run" for verdict in verdicts.values()),
        "refuted": 1,
    }
    assert "1 refuted (advisory)" in said(result)
    cases = junit(project)
    assert cases[ID] == ""
    assert cases["component-flips-controlled-builtin"].startswith("skipped: 1.00 [")
    assert "not > 1" in cases["component-flips-controlled-builtin"]
    assert "set `reference`" in cases["adversarial-training-deepens-mechanism-depth"]
    assert "SKIPPED [3] pyproject.toml:1: needs a standard/robust pair" in said(result)
    assert result.ret == 0


def test_verbose_output_says_the_words(project):
    result = project.runpytest_inprocess(*FEW, "-v")
    result.stdout.fnmatch_lines(
        [
            f"*::{ID} PASSED*",
            "*::component-flips-controlled-builtin REFUTED (ADVISORY) *",
            "*::adversarial-training-deepens-mechanism-depth SKIPPED *",
        ]
    )


def test_an_inconclusive_claim_is_no_failure_unless_it_is_asked_to_be(project):
    configure(project, "[tool.dmmcheck.checks.boundary-clings]\nthreshold = 0.272\n")
    options = ("--dmm-only", "--dmm-checks", "boundary-clings,on-manifold-distance", "--dmm-tier", "stated")
    result = project.runpytest_inprocess(*options, "--junitxml=junit.xml", "-v")
    assert result.ret == 0
    assert "1 passed, 1 inconclusive" in said(result)
    result.stdout.fnmatch_lines(["*::boundary-clings-stated-builtin INCONCLUSIVE*"])
    assert junit(project)["boundary-clings-stated-builtin"].startswith("skipped: the interval holds the limit 0.272")
    strict = project.runpytest_inprocess(*options, "--dmm-on-inconclusive", "fail")
    assert strict.ret == 1
    strict.assert_outcomes(passed=1, failed=1)
    strict.stdout.fnmatch_lines(["inconclusive: the interval holds the limit 0.272*"])


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])
def test_a_run_without_a_verdict_fails(project, workers):
    configure(project, "[tool.dmmcheck.checks.boundary-clings]\nthreshold = 0.272\n")
    result = project.runpytest_inprocess(
        "--dmm-only", "--dmm-checks", "boundary-clings", "--dmm-tier", "stated", *workers
    )
    assert result.ret == 1
    assert "no gating check reached a verdict" in said(result)
    assert "1 planned, 1 ran" in said(result)


def test_a_run_of_checks_that_gate_nothing_may_end_without_a_verdict(project):
    result = project.runpytest_inprocess(*FEW, "--dmm-tier", "controlled")
    assert result.ret == 0
    gating = project.runpytest_inprocess(*FEW, "--dmm-tier", "controlled", "--dmm-gate", "controlled")
    assert gating.ret == 1
    assert f"{gating.parseoutcomes()['failed']} failed" in said(gating)


def test_an_expected_failure_is_one_to_pytest(project):
    configure(project, EXPECTED)
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on", "-rx", "--dmm-report", "r.json")
    assert result.ret == 0
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["*refuted (expected)*", f"XFAIL pyproject.toml::{ID} - tracked in #12"])
    assert findings_in(project.path / "r.json")[0]["expected_failure"] == "tracked in #12"
    run = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on", "--runxfail")
    run.assert_outcomes(failed=1)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])
def test_an_expected_failure_that_does_not_come_is_an_error(project, workers):
    configure(project, EXPECTED)
    result = project.runpytest_inprocess(*ONE, *workers)
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    assert "expected to fail (tracked in #12); remove expected-failure from checks.off-manifold-suffices" in said(
        result
    )


def test_an_expected_failure_is_met_where_one_of_the_gating_tests_of_the_check_fails(project):
    project.makepyfile(twins="import world\n\ndef untrained(seed):\n    return world.hyperplane(*[9.0] + [0.1] * 7)\n")
    table = '[tool.dmmcheck.checks.boundary-clings]\nexpected-failure = "known"\nthreshold = 0.01\n'
    configure(project, f'factory = "twins:untrained"\n{table}')
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", "boundary-clings", "--dmm-report", "r.json")
    gating = {f["tier"]: f["verdict"] for f in findings_in(project.path / "r.json") if f["gating"]}
    assert gating == {"stated": "refuted", "mechanism": "supported"}
    assert result.ret == 0
    assert "1 passed" in said(result)
    assert "1 xfailed" in said(result)


def test_a_setting_of_a_check_that_did_not_run_is_an_error_on_complete_runs_only(project):
    configure(project, '[tool.dmmcheck.checks.two-phases]\nexpected-failure = "later"\n')
    complete = project.runpytest_inprocess("--dmm-only")
    assert complete.ret == pytest.ExitCode.USAGE_ERROR
    assert "checks.two-phases is set, and the check did not run (needs models along training" in said(complete)
    assert project.runpytest_inprocess(*ONE).ret == 0


def test_a_report_is_written_in_each_format_and_nothing_else_is(project):
    result = project.runpytest_inprocess(*ONE, "--dmm-report", "out/r.json", "--dmm-report", "r.md")
    assert result.ret == 0
    assert "## dmmcheck" in (project.path / "r.md").read_text(encoding="utf-8")
    assert [path.name for path in (project.path / "out").iterdir()] == ["r.json"]
    assert "report r.md" in said(result)


def test_github_is_told_in_its_own_words(project, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    (project.path / "summary.md").write_text("before\n")
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on", "-n", "2")
    result.stdout.fnmatch_lines([f"::error title=dmmcheck%3A {ID}::{SUFFICES} (stated): 4.60 *"])
    summary = (project.path / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("before\n## dmmcheck")
    assert summary.count("## dmmcheck") == 1


def test_the_same_verdicts_come_from_any_order_and_selection(project):
    full = ("--dmm-only", "--dmm-checks", f"{SUFFICES},boundary-parallel,noise-like")
    project.runpytest_inprocess(*full, "--dmm-report", "full.json")
    project.runpytest_inprocess("--dmm-only", "--dmm-checks", "noise-like", "--dmm-report", "part.json")
    part = findings_in(project.path / "part.json")
    assert part == [f for f in findings_in(project.path / "full.json") if f["check"] == "noise-like"]


def test_an_interrupted_run_shows_what_it_found_and_writes_no_report(project):
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
    text = said(result)
    assert "off-manifold-suffices stated" in text
    assert "the run stopped early: " in text
    assert "no report was written: the run was interrupted" in text
    assert not (project.path / "r.json").exists()


def test_a_failure_tells_what_was_seen_beside_its_number(project):
    project.makeconftest(
        """
        import dmmcheck

        @dmmcheck.check("is-noted", statement="s", threshold=1.0, direction="greater")
        def is_noted(measure):
            return dmmcheck.Evidence.of(measure.x[:, 0] * 0, note="lowest at step 16")
        """
    )
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", "is-noted")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["note * lowest at step 16", "*= dmmcheck =*", "note * is-noted (stated): lowest at step 16"]
    )
