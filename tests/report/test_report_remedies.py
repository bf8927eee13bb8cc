"""What the messages about reports advise is done word by word, and the report is then written or read."""

from __future__ import annotations

import json as stdlib_json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import reports

from dmmcheck.errors import DmmError
from dmmcheck.report import json, write


@dataclass(frozen=True)
class Case:
    """Something that is done wrongly, and then as the message advises.

    Attributes:
        do: Does it in a folder; the second argument is `bad` or `good`.
        bad: What the message is about.
        advice: The words of the message that say what to do.
        good: The same after doing that.
    """

    do: Callable[[Path, Any], bool]
    bad: Any
    advice: str
    good: Any


def write_to(folder: Path, name: str) -> bool:
    write.write(reports.report(), folder / name)
    return (folder / name).is_file()


def write_value(folder: Path, value: Any) -> bool:
    write.write(reports.report(replace(reports.ENERGY, estimate=value)), folder / "r.json")
    return json.parse((folder / "r.json").read_text()).findings[0].estimate == 1


def read(folder: Path, text: str) -> bool:
    return len(json.parse(text).findings) == 6


def register(folder: Path, suffix: str) -> bool:
    write.report_format(suffix)(lambda report: "text")
    return write_to(folder, f"r{suffix}")


def write_own(folder: Path, render: Callable[[Any], Any]) -> bool:
    write.report_format(".own")(render)
    return write_to(folder, "r.own")


def changed(**changes: Any) -> str:
    return stdlib_json.dumps({**json.as_json(reports.report()), **changes})


WRITTEN = json.render(reports.report())
CASES = {
    "suffix": Case(write_to, "r.docx", "use one of .json, .md", "r.json"),
    "folder": Case(write_to, "folder.json", "is a folder; name a file in it", "folder.json/report.json"),
    "file": Case(write_to, "file/r.json", "choose another path", "other/r.json"),
    "number": Case(write_value, 1j, "convert it first", abs(1j)),
    "not-json": Case(read, "# dmmcheck", "write it with --dmm-report PATH.json", WRITTEN),
    "schema": Case(read, changed(schema="dmmcheck.report/0"), "write it again", WRITTEN),
    "key": Case(read, '{"schema": "dmmcheck.report/1"}', "write it again", WRITTEN),
    "malformed": Case(read, changed(soundness=3), "write it again", WRITTEN),
    "dot": Case(register, "txt", "use a dot and lower-case letters or digits", ".txt"),
    "taken": Case(register, ".json", "choose another name", ".json2"),
    "raises": Case(write_own, lambda report: {}["a"], "correct that function", lambda report: "a"),
    "bytes": Case(write_own, lambda report: b"a", "return a str", lambda report: "a"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_advice_of_the_message_works(tmp_path, own_registries, case):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(DmmError) as error:
        case.do(tmp_path, case.bad)
    assert case.advice in str(error.value)
    assert case.do(tmp_path, case.good)


def test_another_path_is_written_where_a_folder_is_not_writable(tmp_path, read_only):
    (tmp_path / "open").mkdir()
    read_only(tmp_path)
    with pytest.raises(DmmError, match=r"no file can be made in .*; choose another path"):
        write_to(tmp_path, "closed/r.json")
    assert write_to(tmp_path, "open/r.json")


def test_another_path_is_written_where_a_disk_is_full(tmp_path, monkeypatch):
    replace_file = os.replace

    def fail(source: str, target: Path) -> None:
        if target.name == "full.json":
            raise OSError(28, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DmmError, match=r"No space left on device\); choose another path"):
        write_to(tmp_path, "full.json")
    assert write_to(tmp_path, "r.json")
