"""The output for GitHub Actions: the summary of the step, and annotations."""

from __future__ import annotations

import pytest
from projects import ID, ONE, SUFFICES

from dmmcheck.pytest_plugin import github


@pytest.mark.parametrize("room", [0, 10, 200, 1000])
def test_a_summary_is_cut_to_the_limit_at_the_end_of_a_line(room):
    text = b"".join(b"line %d\n" % number for number in range(100))
    cut = github._cut(text, room)
    assert len(cut) <= room
    if room == 1000:
        assert cut == text
    if room == 200:
        kept, _, note = cut.partition(b"\n\n")
        assert text.startswith(kept + b"\n")
        assert note.endswith(b"GitHub takes 1 MiB a step.\n")


def test_a_summary_is_appended_and_never_grows_beyond_the_limit(tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_bytes(b"x" * (github.LARGEST_SUMMARY - 300))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setattr(github.markdown, "render", lambda report: "word " * 200)
    assert github.add_summary([None]) == ""
    assert summary.stat().st_size <= github.LARGEST_SUMMARY
    assert summary.read_bytes().endswith(b"GitHub takes 1 MiB a step.\n")


def test_a_summary_that_cannot_be_written_is_a_message_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "summary.md"))
    message = github.add_summary([])
    assert "cannot be written to" in message
    assert message.endswith("(No such file or directory); use --dmm-report report.md")


def test_an_annotation_is_one_line_whatever_its_text():
    assert github._data("50 %\nof a: b") == "50 %25%0Aof a: b"
    assert github._property("a: b, c") == "a%3A b%2C c"


@pytest.mark.parametrize(("value", "active"), [("true", True), ("false", False), (None, False)])
def test_it_is_active_under_github_actions_only(monkeypatch, value, active):
    if value is not None:
        monkeypatch.setenv("GITHUB_ACTIONS", value)
    assert github.is_active() is active


def test_a_run_writes_a_summary_and_annotates_each_failure(project, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    (project.path / "summary.md").write_text("before\n")
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "world:on")
    result.stdout.fnmatch_lines([f"::error title=dmmcheck%3A {ID}::{SUFFICES} (stated): 4.60 *"])
    summary = (project.path / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("before\n## dmmcheck")
    assert summary.count("## dmmcheck") == 1


def test_a_run_goes_on_where_the_summary_cannot_be_written(project, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))
    result = project.runpytest_inprocess(*ONE)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["dmmcheck: the summary of the step cannot be written to *"])
