"""Reports in folders that cannot be written to: one clear line, nothing half-written, and findings after a run."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from projects import ID, ONE, printed

LOCKS = "import pathlib\n\ndef pytest_runtest_teardown():\n    pathlib.Path({folder!r}).chmod(0o555)\n"
"""A conftest.py that makes a folder read-only at the end of each test."""


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def locked(project, read_only):
    """A folder of the project that cannot be written to, with the report of an earlier run."""
    folder = project.mkdir("locked")
    (folder / "old.json").write_text("an earlier report")
    read_only(folder)
    return folder


@pytest.mark.parametrize("name", ["r.json", "old.json", "below/r.md"], ids=["new", "old", "folder"])
def test_a_report_there_is_refused_before_the_run(project, locked, name):
    before = files_in(locked)
    result = project.runpytest_inprocess(*ONE, "--dmm-report", "locked/" + name, "--dmm-report", "here.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line.strip()]
    assert line.startswith("ERROR: the report cannot be written to ")
    assert name in line
    assert line.endswith("(Permission denied); choose another path")
    assert files_in(locked) == before
    assert not [path for path in project.path.iterdir() if path.suffix in {".json", ".tmp"}]


def test_a_baseline_there_is_refused_before_the_run(project, locked):
    result = project.runpytest_inprocess(*ONE, "--dmm-update-baseline", "--dmm-baseline", "locked/main.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "main.json" in printed(result)
    assert "choose another path" in printed(result)
    assert list(files_in(locked)) == ["old.json"]


def test_a_folder_that_is_locked_during_the_run_costs_its_report_and_nothing_else(project, read_only):
    """The findings are printed, the files of other plugins are whole, and the exit status says what is missing."""
    folder = project.mkdir("reports")
    read_only(folder)
    folder.chmod(0o755)
    (folder / "old.json").write_text("an earlier report")
    project.makeconftest(LOCKS.format(folder=str(folder)))
    reports = ("--dmm-report", "reports/old.json", "--dmm-report", "reports/r.md", "--dmm-report", "here.json")
    result = project.runpytest_inprocess(*ONE, *reports, "--junitxml", "junit.xml")
    text = printed(result)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for name in ("old.json", "r.md"):
        assert f"reports/{name}: no file can be made in {folder} (Permission denied); choose another path" in text
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    assert "1 supported" in text
    assert files_in(folder) == {}
    assert json.loads((project.path / "here.json").read_text(encoding="utf-8"))["complete"] is True
    (case,) = ElementTree.parse(project.path / "junit.xml").getroot().iter("testcase")
    assert (case.get("name"), len(case)) == (ID, 0)
