"""The checks as items: their order, their place among the user's tests, marks and keywords."""

from __future__ import annotations

import pytest
from projects import ID, SUFFICES, printed

from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings
from dmmcheck.inference.types import SEARCH
from dmmcheck.pytest_plugin.items import item_info

ALL = [planned.id for planned in plan(Settings()) if planned.tier != SEARCH]
LIST = ("--dmm-only", "--collect-only", "-q")


def ids(result) -> list[str]:
    """The node ids that a run lists."""
    return [line for line in result.outlines if "::" in line]


def checks(result) -> list[str]:
    """The ids of the collected checks."""
    return [id.partition("::")[2] for id in ids(result) if not id.startswith("test_")]


def test_every_planned_test_is_an_item_below_the_root_file_in_the_order_of_the_plan(project):
    result = project.runpytest_inprocess(*LIST)
    assert ids(result) == [f"pyproject.toml::{id}" for id in ALL]
    assert "[" not in "".join(ALL)
    assert "dmmcheck:" not in printed(result)


@pytest.mark.parametrize(
    "arguments", [["--dmm"], ["--dmm", "."], ["--dmm", "tests"], ["--dmm", "pyproject.toml", "tests"]]
)
def test_each_check_is_collected_once_and_last_whatever_the_arguments(project, arguments):
    project.mkdir("tests").joinpath("test_mine.py").write_text("def test_mine():\n    pass\n")
    result = project.runpytest_inprocess(*arguments, "--collect-only", "-q")
    assert ids(result) == ["tests/test_mine.py::test_mine", *(f"pyproject.toml::{id}" for id in ALL)]


def test_the_users_tests_run_first(project):
    project.makepyfile(test_mine="def test_mine():\n    assert True\n")
    result = project.runpytest_inprocess("--dmm", "--dmm-checks", SUFFICES, "-v")
    result.stdout.fnmatch_lines(["test_mine.py::test_mine PASSED*", f"pyproject.toml::{ID} PASSED*", "*2 passed*"])
    assert result.ret == 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["-k", "boundary-clings and controlled"], lambda id: id.startswith("boundary-clings-controlled")),
        (["-k", "same-class"], lambda id: "same-class" in id),
        (["-m", "not dmm"], lambda id: False),
        (["-m", "dmm"], lambda id: True),
    ],
    ids=["k", "k-variant", "not-m", "m"],
)
def test_pytests_own_options_select(project, options, kept):
    assert checks(project.runpytest_inprocess(*LIST, *options)) == [id for id in ALL if kept(id)]


def test_the_mark_selects_the_checks_among_the_users_tests(project):
    project.makepyfile(test_mine="def test_mine():\n    assert False\n")
    result = project.runpytest_inprocess("--dmm", "-m", "dmm", "--collect-only", "-q")
    assert checks(result) == ALL
    assert "1 deselected" in printed(result)


def test_dmm_only_imports_no_test_file(project):
    project.makepyfile(test_mine="raise RuntimeError('imported')\n")
    assert checks(project.runpytest_inprocess(*LIST)) == ALL


def test_dmm_only_keeps_parametrized_checks_in_files_that_are_named(project):
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
    assert ids(result)[0] == f"test_mine.py::test_geometry[{ID}]"
    assert {line.partition("::")[0] for line in ids(result)[1:]} == {"pyproject.toml"}
    assert "1 deselected" in printed(result)


def test_what_is_known_of_an_item(project):
    source = f"""
        import dmmcheck

        @dmmcheck.parametrize("nothing", checks=["{SUFFICES}"])
        def test_geometry(dmm_check):
            dmm_check()

        def test_mine():
            pass
    """
    geometry, mine = project.getitems(source)
    info = item_info(geometry)
    assert (info.planned.id, info.position, info.session) == (ID, 0, None)
    assert info.label == geometry.nodeid.partition("[")[0]
    assert item_info(mine) is None


def test_collecting_alone_tests_nothing(project):
    result = project.runpytest_inprocess(*LIST, "--dmm-model", "world:nothing")
    assert result.ret == 0
    assert checks(result) == ALL
