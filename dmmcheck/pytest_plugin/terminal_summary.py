"""The end of a run, in the controlling process: exit status, reports, the table, and what GitHub is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from dmmcheck.errors import ReportError
from dmmcheck.pytest_plugin import github, options
from dmmcheck.pytest_plugin.results import read
from dmmcheck.pytest_plugin.selection import PREPARED, configured
from dmmcheck.report import terminal
from dmmcheck.report.model import Report
from dmmcheck.report.write import write

VERDICTS = {"supported", "refuted"}
OVERRULED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


class Closing:
    """The end of a run: judged and written when it is made, shown when pytest comes to its summary."""

    def __init__(self, session: pytest.Session, texts: Iterable[str]) -> None:
        self._config = session.config
        self._ledger = read(texts)
        self._reports = self._ledger.reports()
        self._notes: list[str] = []
        self._written: list[Path] = []
        if self._ledger.unreached > 0 and not self._ledger.wrong:
            self._notes.append(f"the run stopped early: {self._ledger.unreached} selected tests were not reached")
        if session.exitstatus == pytest.ExitCode.INTERRUPTED:
            self._notes += ["no report was written: the run was interrupted"] * bool(
                self._config.getoption("--dmm-report")
            )
        elif not self._config.getoption("collectonly"):
            self._judge(session)

    def _judge(self, session: pytest.Session) -> None:
        status = pytest.ExitCode.OK
        if self._without_verdict():
            self._notes.append("no gating check reached a verdict, so nothing was tested, and the run fails")
            status = pytest.ExitCode.TESTS_FAILED
        for message in (*self._ledger.wrong, *self._ledger.differing(), *self._unused(), *self._write()):
            self._notes.append(message)
            status = pytest.ExitCode.USAGE_ERROR
        if session.exitstatus in OVERRULED and status != pytest.ExitCode.OK:
            session.exitstatus = status

    def _without_verdict(self) -> bool:
        """Whether gating tests ended, and none of them with a verdict."""
        findings = [finding for report in self._reports.values() for finding in report.findings]
        decided = any(finding.gating and finding.verdict in VERDICTS for finding in findings)
        return any(entry.gating for entry in self._ledger.entries.values()) and not decided and not self._ledger.wrong

    def _unused(self) -> Iterator[str]:
        """Settings of checks that did not run, where every planned test ended."""
        report = self._reports.get("")
        if PREPARED not in self._config.stash or report is None:
            return
        ended = {finding.id for finding in report.findings}
        if not ended.issuperset(planned.id for planned in self._config.stash[PREPARED].planned):
            return
        ran = {finding.check for finding in report.findings if finding.verdict != "not-run"}
        for id in configured(self._config).settings.checks:
            if id not in ran:
                reason = next((finding.reason for finding in report.findings if finding.check == id), "")
                yield f"checks.{id} is set, and the check did not run ({reason}); remove it, or give what is needed"

    def _write(self) -> Iterator[str]:
        """Write the reports; what went wrong."""
        paths = self._config.getoption("--dmm-report")
        if paths and not self._reports:
            self._notes.append("no report was written: no check came to an end")
        for path in paths:
            for label, report in self._reports.items():
                target = _path_for(path, label, alone=len(self._reports) == 1)
                try:
                    write(report, self._config.invocation_params.dir / target)
                except ReportError as error:
                    yield str(error)
                else:
                    self._written.append(target)

    def show(self, reporter: pytest.TerminalReporter) -> None:
        """The table of each subject, and what the run as a whole has to say."""
        if self._config.getoption("collectonly"):
            return
        for label, report in self._reports.items():
            reporter.write_sep("=", f"dmmcheck: {label}" if label else "dmmcheck")
            nodeids = self._ledger.nodeids(label)
            reruns = {test: options.rerun_command(self._config, nodeid) for test, nodeid in nodeids.items()}
            reporter.write_line(_table(self._config, report, reruns))
        if not self._reports:
            reporter.write_sep("=", "dmmcheck")
            reporter.write_line(self._ledger.counts())
        for path in self._written:
            reporter.write_line(f"report       {path}")
        for line in self._notes:
            reporter.write_line(f"dmmcheck: {line}", red=True)
        if github.is_there():
            _tell_github(reporter, self._reports)


def _path_for(path: str, label: str, *, alone: bool) -> Path:
    """The path itself; of several subjects, the name of the test function goes into those that are not the main one."""
    target = Path(path)
    if alone or not label:
        return target
    return target.with_stem(f"{target.stem}-{label.rpartition('::')[2]}")


def _table(config: pytest.Config, report: Report, reruns: dict[str, str]) -> str:
    writer = config.get_terminal_writer()
    known_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return terminal.render(
        report,
        colour=writer.hasmarkup,
        width=writer.fullwidth if known_width else None,
        reruns=reruns,
        encoding=getattr(sys.__stdout__, "encoding", None) or "utf-8",
    )


def _tell_github(reporter: pytest.TerminalReporter, reports: dict[str, Report]) -> None:
    wrong = github.add_summary(reports.values())
    if wrong:
        reporter.write_line(f"dmmcheck: {wrong}", red=True)
    for line in github.annotated(reports):
        reporter.write_line(line)
