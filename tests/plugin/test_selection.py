"""Which tests are collected, where they stand, and what selects among them."""

from __future__ import annotations

import pytest
from projects import ID, ONE, SETTINGS, SUFFICES, configure, said

from dmmcheck.checks.base import registry
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings

ALL = [planned.id for planned in plan(Settings())]
LIST = ("--dmm-only", "--collect-only", "-q")


def collected(result) -> list[str]:
    """The ids of the collected checks."""
    return [line.partition("::")[2] for line in result.outlines if "::" in line and not line.startswith("test_")]


def test_every_planned_test_is_an_item_below_the_settings_in_the_order_of_the_plan(project):
    result = project.runpytest_inprocess(*LIST)
    assert collected(result) == ALL
    assert all(line.startswith("pyproject.toml::") for line in result.outlines if "::" in line)
    assert "[" not in "".join(ALL)
    assert "dmmcheck:" not in said(result)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--dmm-checks", f"{SUFFICES}, boundary-clings"], lambda id: id.startswith((SUFFICES, "boundary-clings"))),
        (
            ["--dmm-checks", SUFFICES, "--dmm-checks", "boundary-clings"],
            lambda id: id.startswith((SUFFICES, "boundary-clings")),
        ),
        (["--dmm-exclude", "two-phases"], lambda id: not id.startswith("two-phases")),
        (["--dmm-tier", "stated"], lambda id: "-stated-" in id),
        (["-k", "boundary-clings and controlled"], lambda id: id.startswith("boundary-clings-controlled")),
        (["-k", "same-class"], lambda id: "same-class" in id),
        (["-m", "not dmm"], lambda id: False),
    ],
    ids=["checks", "checks-twice", "exclude", "tier", "k", "k-variant", "m"],
)
def test_options_select(project, options, kept):
    assert collected(project.runpytest_inprocess(*LIST, *options)) == [id for id in ALL if kept(id)]


def test_a_mark_selects_the_checks_among_the_users_tests(project):
    project.makepyfile(test_mine="def test_mine():\n    assert False\n")
    result = project.runpytest_inprocess("--dmm", "-m", "dmm", "--collect-only", "-q")
    assert collected(result) == ALL
    assert "1 deselected" in said(result)


@pytest.mark.parametrize(
    "arguments", [["--dmm"], ["--dmm", "."], ["--dmm", "tests"], ["--dmm", "pyproject.toml", "tests"]]
)
def test_each_check_is_collected_once_and_last_whatever_the_arguments(project, arguments):
    project.mkdir("tests").joinpath("test_mine.py").write_text("def test_mine():\n    pass\n")
    result = project.runpytest_inprocess(*arguments, "--collect-only", "-q")
    ids = [line for line in result.outlines if "::" in line]
    assert ids == ["tests/test_mine.py::test_mine", *(f"pyproject.toml::{id}" for id in ALL)]


def test_only_leaves_test_files_alone(project):
    project.makepyfile(test_mine="raise RuntimeError('imported')\n")
    assert collected(project.runpytest_inprocess(*LIST)) == ALL


def test_only_keeps_what_is_marked_in_files_that_are_named(project):
    project.makepyfile(
        test_mine=f"""
        import dmmcheck

        @dmmcheck.parametrize("nothing", checks=["{SUFFICES}"])
        def test_geometry(dmm_check):
            dmm_check()

        def test_mine():
            pass
        """
    )
    result = project.runpytest_inprocess(*LIST, "test_mine.py", "--dmm-checks", "two-phases")
    ids = [line for line in result.outlines if "::" in line]
    assert ids[0] == f"test_mine.py::test_geometry[{ID}]"
    assert {line.partition("::")[0] for line in ids[1:]} == {"pyproject.toml"}
    assert "1 deselected" in said(result)


@pytest.mark.parametrize("options", [["--dmm"], []], ids=["dmm", "nothing-else"])
def test_a_pasted_id_runs_that_check(project, options):
    result = project.runpytest_inprocess(*options, f"pyproject.toml::{ID}", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"pyproject.toml::{ID} PASSED*"])


def test_a_pasted_id_works_from_a_folder_below_and_in_xdist(project, monkeypatch):
    monkeypatch.chdir(project.mkdir("sub"))
    result = project.runpytest_inprocess(f"../pyproject.toml::{ID}", "-n", "2", "--dmm-model", "world:on")
    result.assert_outcomes(failed=1)
    assert f"pytest --dmm --dmm-model world:on ../pyproject.toml::{ID}" in said(result)


def test_a_pasted_id_that_is_not_there_is_said_to_be_missing(project):
    result = project.runpytest_inprocess("--dmm", "pyproject.toml::no-such-check")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no-such-check" in said(result)


def test_last_failed_runs_the_failed_one_again(project):
    options = ("--dmm-only", "--dmm-checks", f"{SUFFICES},on-manifold-distance", "--dmm-tier", "stated")
    first = project.runpytest_inprocess(*options, "--dmm-model", "world:on")
    first.assert_outcomes(failed=2)
    configure(project, "[tool.dmmcheck.checks.on-manifold-distance]\nthreshold = 0.1\n")
    second = project.runpytest_inprocess(*options, "--dmm-model", "world:on", "--lf")
    second.assert_outcomes(failed=1, passed=1)
    third = project.runpytest_inprocess(*options, "--dmm-model", "world:on", "--lf", "-v")
    third.assert_outcomes(failed=1)
    assert f"pyproject.toml::{ID} FAILED" in said(third)


def test_first_failure_stops_and_the_table_says_so(project):
    result = project.runpytest_inprocess("--dmm-only", "--dmm-tier", "stated", "-x", "--dmm-model", "world:on")
    result.assert_outcomes(failed=1)
    stated = sum("-stated-" in id for id in ALL)
    assert f"stopped early: {stated - 1} selected tests were not reached" in said(result)


@pytest.mark.parametrize(
    ("files", "anchor"),
    [
        ({"pyproject.toml": ""}, "pyproject.toml"),
        ({"pyproject.toml": "", "dmmcheck.toml": "seed = 1"}, "dmmcheck.toml"),
        ({"pytest.ini": "[pytest]"}, "pytest.ini"),
        ({"tox.ini": "[pytest]", "conftest.py": ""}, "tox.ini"),
        ({"conftest.py": "def test_none(): pass"}, "conftest.py"),
    ],
    ids=["pyproject", "own-file", "pytest-ini", "tox-ini", "conftest"],
)
def test_checks_stand_below_the_file_with_the_settings_or_the_next_best(empty, files, anchor):
    for name, text in files.items():
        (empty.path / name).write_text(text)
    result = empty.runpytest_inprocess(*LIST, "--dmm-checks", SUFFICES)
    assert [line for line in result.outlines if "::" in line] == [f"{anchor}::{ID}"]
    again = empty.runpytest_inprocess("--dmm", f"{anchor}::{ID}", "--collect-only", "-q")
    assert [line for line in again.outlines if "::" in line] == [f"{anchor}::{ID}"]


def test_no_file_to_stand_below_is_one_clear_error(empty):
    (empty.path / "world.py").rename(empty.path / "other.py")
    result = empty.runpytest_inprocess("--dmm-only", "--dmm-model", "other:off")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no pyproject.toml, dmmcheck.toml or conftest.py" in said(result)


def test_the_list_names_every_check_with_claim_needs_and_source(pytester):
    result = pytester.runpytest_inprocess("--dmm-list")
    assert result.ret == 0
    for check in registry().values():
        assert f"{check.id} ({', '.join(check.tiers)})" in result.outlines
        assert check.statement in said(result)
    assert "set `checkpoints`" in said(result)
    clings, growth = (
        said(result).partition(f"{id} (")[2].partition(" source ")[0]
        for id in ("boundary-clings", "normal-gradient-growth")
    )
    assert clings.endswith("set `factory` (seed -> model), for the tier mechanism")
    assert growth.endswith("set `factory` (seed -> model)")
    assert "arXiv 2106.10151" in said(result)


def test_explain_tells_all_of_one_check(pytester):
    result = pytester.runpytest_inprocess("--dmm-explain", "boundary-clings")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["boundary-clings", "Statement: *", "Source: *", "Violated by: *"])
    wrong = pytester.runpytest_inprocess("--dmm-explain", "boundary-cling")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    assert "unknown check 'boundary-cling'; did you mean 'boundary-clings'?" in said(wrong)


def test_collecting_alone_tests_nothing(project):
    configure(project, "", SETTINGS.replace("world:off", "world:nothing"))
    assert project.runpytest_inprocess(*ONE, "--collect-only").ret == 0


def test_a_selection_that_leaves_no_check_is_a_usage_error(project):
    result = project.runpytest_inprocess("--dmm", "--dmm-checks", "component-flips", "--dmm-tier", "mechanism")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "leave no check; see --dmm-list" in said(result)


@pytest.mark.parametrize("options", [["--dmm-only"], ["--dmm-only", "--rootdir", ".."]], ids=["found", "asked-for"])
def test_settings_below_the_root_directory_are_not_passed_over_in_silence(project, monkeypatch, options):
    configure(project, '[tool.pytest.ini_options]\naddopts = ""\n')
    below = project.mkdir("below")
    (below / "pyproject.toml").write_text('[tool.dmmcheck]\nmodel = "world:on"\n')
    monkeypatch.chdir(below)
    result = project.runpytest_inprocess(*options, "--dmm-checks", SUFFICES)
    words = f"{below / 'pyproject.toml'} is not read: pytest's root directory is {project.path}"
    refused = len(options) == 1
    assert result.ret == (pytest.ExitCode.USAGE_ERROR if refused else 0)
    assert (words in said(result)) is refused
    assert ("add [tool.pytest.ini_options] to it, or --rootdir" in said(result)) is refused


def test_a_report_elsewhere_that_moves_the_root_directory_is_named(project, monkeypatch):
    below = project.mkdir("below")
    (below / "pyproject.toml").write_text('[tool.dmmcheck]\nmodel = "world:on"\n')
    (project.path / "r.json").write_text("{}")
    monkeypatch.chdir(below)
    result = project.runpytest_inprocess("--dmm-only", "--dmm-report", str(project.path / "r.json"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"looks for it from {project.path / 'r.json'}, too: join that to its option with =" in said(result)
