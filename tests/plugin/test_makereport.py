"""The report of each test: its message, the command that repeats it, and what is skipped after an error."""

from __future__ import annotations

from types import SimpleNamespace

from projects import FIXTURES, ID, ONE, SUFFICES, printed

from dmmcheck.pytest_plugin.distances import DistanceTest
from dmmcheck.pytest_plugin.makereport import _outcome_word


def test_a_failure_says_what_was_found_and_how_to_repeat_it(project):
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*FAILURES*",
            f"*_ {ID} _*",
            "4.60 *, not < 1.25",
            "claim * leaving the manifold costs almost nothing extra",
            "statistic * inputs)",
            f"more * pytest --dmm-explain {SUFFICES}",
            f"rerun * pytest --dmm --dmm-model world:on pyproject.toml::{ID}",
            "*= dmmcheck =*",
            f"FAILED pyproject.toml::{ID} - 4.60 *",
            "*1 failed*",
        ]
    )


def test_an_error_of_the_subject_is_shown_once_and_the_other_checks_are_skipped(empty):
    empty.makeconftest(FIXTURES.replace("return world.off", "return 3"))
    result = empty.runpytest_inprocess("--dmm-only", "--dmm-tier", "stated", "-rs")
    outcomes = result.parseoutcomes()
    assert outcomes["errors"] == 1
    assert set(outcomes) == {"errors", "skipped"}
    assert "could not be checked: the model is a int" in printed(result)


def test_an_error_of_one_subject_leaves_the_others_alone(project):
    project.makepyfile(
        test_shop=f"""
        import dmmcheck

        @dmmcheck.parametrize(dict, checks=["{SUFFICES}", "boundary-clings"], tiers=["stated"])
        def test_geometry(dmm_check):
            dmm_check()
        """
    )
    result = project.runpytest_inprocess("--dmm", "--dmm-checks", SUFFICES)
    assert result.parseoutcomes() == {"passed": 1, "errors": 1, "skipped": 1}


def test_a_distance_of_which_nothing_is_told_is_inconclusive_and_one_without_a_baseline_is_skipped():
    report = SimpleNamespace(distance_changes={"free": "a change"})
    assert [_outcome_word(DistanceTest(name), report) for name in ("free", "off")] == ["inconclusive", ""]


def test_a_skipped_check_is_located_at_the_root_file(project):
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", "two-phases", "-rs")
    assert "SKIPPED [2] pyproject.toml:1: needs models along training" in printed(result)


def test_a_note_is_part_of_the_failure_and_of_the_table(project):
    project.makeconftest(
        """
        import dmmcheck

        @dmmcheck.check("is-noted", statement="s", threshold=1.0, direction="greater")
        def is_noted(view):
            return dmmcheck.Evidence.of(view.x[:, 0] * 0, note="lowest at step 16")
        """
    )
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", "is-noted")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["note * lowest at step 16", "*= dmmcheck =*", "note * is-noted (stated): lowest at step 16"]
    )
