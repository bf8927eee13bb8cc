"""What GitHub is told, without a run."""

from __future__ import annotations

import pytest

from dmmcheck.pytest_plugin import github


@pytest.mark.parametrize("room", [0, 10, 200, 1000])
def test_a_summary_is_cut_to_the_room_there_is_at_the_end_of_a_line(room):
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


def test_a_summary_that_cannot_be_written_is_said_and_no_crash(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "summary.md"))
    assert "cannot be written" in github.add_summary([])


def test_an_annotation_is_one_line_whatever_is_in_it():
    assert github._data("50 %\nof a: b") == "50 %25%0Aof a: b"
    assert github._property("a: b, c") == "a%3A b%2C c"
