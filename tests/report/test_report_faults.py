"""Reports while something goes wrong: killed writers, full disks, two writers of one file. None is half-written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import reports

from dmmcheck.errors import ReportError
from dmmcheck.report import json, write

WRITER = f"""
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its commands in the background ignore it
sys.path.insert(0, {str(Path(__file__).parent)!r})
import reports
from dmmcheck.report import write
report = reports.report(device="x" * 200_000)
print("ready", flush=True)
while True:
    write.write(report, sys.argv[1])
"""


def is_whole(path: Path) -> bool:
    return len(json.read(path).findings) == 6


def killed(path: Path, by: signal.Signals, after: float) -> None:
    """Write one report again and again in a process, and end it."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(after)
        writer.send_signal(by)


@pytest.mark.heavy
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda by: by.name)
def test_a_killed_writer_leaves_a_whole_report(tmp_path: Path, by):
    path, generator = tmp_path / "r.json", random.Random(0)
    write.write(reports.report(), path)
    for _ in range(4):
        killed(path, by, generator.uniform(0.0, 0.05))
        assert is_whole(path)


@pytest.mark.parametrize("where", ["write_text", "replace"])
def test_a_full_disk_leaves_the_old_report_and_no_other_file(tmp_path: Path, monkeypatch, where):
    path = tmp_path / "r.json"
    write.write(reports.report(), path)

    def fail(*args: object, **_keywords: object) -> None:
        if where == "write_text":
            Path(str(args[0])).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((Path, where) if where == "write_text" else (os, where)), fail)
    with pytest.raises(ReportError, match=r"No space left on device\); choose another path"):
        write.write(reports.report(), path)
    monkeypatch.undo()
    assert is_whole(path)
    assert os.listdir(tmp_path) == ["r.json"]


def test_two_writers_of_one_report_leave_a_whole_one(tmp_path: Path):
    path, done = tmp_path / "r.json", threading.Event()
    write.write(reports.report(), path)

    def keep_writing() -> None:
        while not done.is_set():
            write.write(reports.report(), path)

    writers = [threading.Thread(target=keep_writing) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        assert all(is_whole(path) for _ in range(20))
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert os.listdir(tmp_path) == ["r.json"]


def test_an_old_report_is_set_aside_but_for_the_baseline(tmp_path: Path):
    path, other = tmp_path / "r.json", tmp_path / "other.json"
    for file in (path, other):
        file.write_text("old")
    assert write.set_aside(path, kept=tmp_path / "." / "r.json") is None
    assert write.set_aside(tmp_path / "none.json", kept=path) is None
    aside = write.set_aside(other, kept=path)
    assert aside is not None
    assert aside.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == sorted(["r.json", aside.name])


def test_an_old_report_that_cannot_be_set_aside_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ReportError, match=r"the old report .* cannot be replaced \(Not a directory\)"):
        write.set_aside(tmp_path / "file" / "r.json")


@pytest.mark.parametrize("name", ["x" * 300 + ".json", "a\0.json", "a\n.json", "x/" * 2500 + "r.json"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str):
    with pytest.raises(ReportError, match=r"the report's path .*; choose another path") as error:
        write.check_path(tmp_path / name)
    assert len(str(error.value)) < 400
