"""Output for GitHub Actions: the Markdown report in the summary of the step, and one annotation for each failure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from dmmcheck.report import markdown, wording
from dmmcheck.report.harmless import harmless_report
from dmmcheck.report.model import Report

LARGEST_SUMMARY = 1024 * 1024
CUT = "\n\nThe summary is cut here: GitHub takes 1 MiB a step.\n"


def is_active() -> bool:
    """Return whether the run is part of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def add_summary(reports: Iterable[Report]) -> str:
    """Append the reports to the summary of the step; returns the message of an error, or ""."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return ""
    try:
        with open(path, "ab") as file:
            room = LARGEST_SUMMARY - file.tell()
            file.write(_cut("\n".join(map(markdown.render, reports)).encode("utf-8", "backslashreplace"), room))
    except OSError as error:
        reason = error.strerror or error
        return f"the summary of the step cannot be written to {path} ({reason}); use --dmm-report report.md"
    return ""


def annotation_lines(reports: Mapping[str, Report]) -> Iterator[str]:
    """Return a workflow command for each refuted gating claim, and for each change that fails the run."""
    for report in map(harmless_report, reports.values()):
        for finding in report.failures:
            yield f"::error title={_property(f'dmmcheck: {finding.id}')}::{_data(wording.failure(finding))}"
        for name, text in wording.regressions(report).items():
            yield f"::error title={_property(f'dmmcheck: {name}')}::{_data(text)}"


def _cut(text: bytes, room: int) -> bytes:
    """Return the text; where it is longer than `room` bytes, return its first lines and a note that it is cut."""
    if len(text) <= room:
        return text
    note = CUT.encode()
    kept = text[: max(0, room - len(note))]
    return (kept.rpartition(b"\n")[0] + note)[: max(0, room)]


def _data(text: str) -> str:
    """Return the message of a workflow command, escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Return a property of a workflow command, escaped."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
