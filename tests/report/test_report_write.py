"""Reports in files: the right format, whole or not at all, or a clear error."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import reports

from dmmcheck.errors import RegistryError, ReportError
from dmmcheck.report import json, markdown, write


@pytest.mark.parametrize(
    ("name", "render"), [("r.json", json.render), ("r.md", markdown.render), ("R.MD", markdown.render)]
)
def test_format_by_suffix_in_a_new_folder(tmp_path: Path, name: str, render):
    path = tmp_path / "a" / "b" / name
    write.write(reports.report(), path)
    assert path.read_text(encoding="utf-8") == render(reports.report())
    assert os.listdir(path.parent) == [name]


def test_a_report_is_as_readable_as_any_file(tmp_path: Path):
    write.write(reports.report(), tmp_path / "r.json")
    (tmp_path / "other").write_text("")
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


@pytest.mark.parametrize("name", ["report.txt", "report", ".json.bak"])
def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path, name: str):
    for attempt in (write.check_path, lambda path: write.write(reports.report(), path)):
        with pytest.raises(ReportError, match=r"no report format has the suffix .*; use one of \.json, \.md"):
            attempt(tmp_path / name)
    assert not os.listdir(tmp_path)


def test_the_old_report_stays_where_the_new_one_fails(tmp_path: Path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("old")

    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ReportError, match=r"r\.json \(No space left on device\); choose another path"):
        write.write(reports.report(), path)
    assert os.listdir(tmp_path) == ["r.json"]
    assert path.read_text() == "old"


def test_a_part_of_a_report_whose_run_was_killed_is_removed_by_a_later_run(tmp_path: Path):
    old, new, other = (tmp_path / f".dmmcheck-{name}" for name in ("old.tmp", "new.tmp", "other.old"))
    for path in (old, new, other):
        path.write_text("part")
        os.utime(path, (0, 0))
    os.utime(new)
    write.write(reports.report(), tmp_path / "r.json")
    assert sorted(os.listdir(tmp_path)) == [".dmmcheck-new.tmp", ".dmmcheck-other.old", "r.json"]


def test_a_folder_in_place_of_the_file(tmp_path: Path):
    (tmp_path / "r.json").mkdir()
    with pytest.raises(ReportError, match="is a folder; name a file in it"):
        write.check_path(tmp_path / "r.json")


def test_a_file_in_place_of_the_folder(tmp_path: Path):
    (tmp_path / "a").write_text("")
    with pytest.raises(ReportError, match="is a file; choose another path"):
        write.write(reports.report(), tmp_path / "a" / "b" / "r.json")


def test_a_folder_that_may_not_be_written(tmp_path: Path, read_only):
    (tmp_path / "r.json").write_text("old")
    read_only(tmp_path)
    for name in ("r.json", "a/r.json"):
        with pytest.raises(ReportError, match=r"no file can be made in .* \(Permission denied\); choose another path"):
            write.write(reports.report(), tmp_path / name)
    assert os.listdir(tmp_path) == ["r.json"]
    assert (tmp_path / "r.json").read_text() == "old"


def test_checking_a_path_leaves_nothing_behind(tmp_path: Path):
    assert write.check_path(tmp_path / "a" / "r.md") == tmp_path / "a" / "r.md"
    assert not os.listdir(tmp_path)


def test_a_relative_path(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write.write(reports.report(), "r.md")
    assert (tmp_path / "r.md").exists()


def test_text_that_is_no_unicode_is_still_written(tmp_path: Path):
    odd = reports.report(reports.ENERGY, device="\udce9")
    write.write(odd, tmp_path / "r.json")
    assert json.parse((tmp_path / "r.json").read_text(encoding="utf-8")).device == "\udce9"


@pytest.fixture
def own_format(own_registries):
    """A report format with the suffix .txt."""

    @write.report_format(".txt")
    def count(report):
        return f"{report.summary.planned} planned\n"

    return count


def test_a_format_of_the_users_own_is_written(tmp_path: Path, own_format):
    write.write(reports.report(), tmp_path / "a" / "r.TXT")
    assert (tmp_path / "a" / "r.TXT").read_text() == "6 planned\n"
    with pytest.raises(
        ReportError, match=r"suffix '\.docx' of 'r\.docx'; use one of \.json, \.md, \.html, \.csv, \.txt$"
    ):
        write.check_path("r.docx")
    assert own_format(reports.report()) == "6 planned\n"


def test_a_suffix_has_one_format(own_format):
    write.report_format(".txt")(own_format)  # the same again, as a reloaded module does
    for suffix, where in ((".txt", "test_report_write"), (".json", "dmmcheck")):
        with pytest.raises(RegistryError, match=rf"report format '\{suffix}' exists already \(in .*{where}"):
            write.report_format(suffix)(lambda report: "")


@pytest.mark.parametrize("suffix", ["txt", ".TXT", ".tar.gz", ".", ""])
def test_a_malformed_suffix_is_refused(own_registries, suffix: str):
    with pytest.raises(RegistryError, match=r"use a dot and lower-case letters or digits, e\.g\. '\.txt'"):
        write.report_format(suffix)


@pytest.mark.parametrize(
    ("render", "words"),
    [
        (lambda report: {}["a"], r"'\.txt' \(.*<lambda>\) raised KeyError: 'a'; correct that function"),
        (lambda report: b"", r"'\.txt' \(.*<lambda>\) returned a bytes, expected a text; return a str"),
    ],
    ids=["raises", "bytes"],
)
def test_a_format_that_fails_is_named_and_leaves_nothing(tmp_path: Path, own_registries, render, words: str):
    write.report_format(".txt")(render)
    with pytest.raises(ReportError, match=words):
        write.write(reports.report(), tmp_path / "r.txt")
    assert not os.listdir(tmp_path)


def test_an_error_of_a_format_that_says_what_to_do_is_passed_on(tmp_path: Path):
    with pytest.raises(ReportError, match=r"^report\.findings\[0\]\.estimate is a complex"):
        write.write(reports.report(replace(reports.ENERGY, estimate=1j)), tmp_path / "r.json")
