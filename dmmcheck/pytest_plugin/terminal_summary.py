"""The end of a run in the controlling process: exit status, report files, the table, and the output for GitHub."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dmmcheck.errors import ReportError
from dmmcheck.errors.text import harmless, told
from dmmcheck.inference.types import SEARCH
from dmmcheck.pytest_plugin import github, options
from dmmcheck.pytest_plugin.results import Results, read
from dmmcheck.pytest_plugin.selection import BASELINE_PATH, SELECTION, loaded_config
from dmmcheck.report import terminal, wording
from dmmcheck.report.harmless import harmless_report
from dmmcheck.report.model import Finding, Report
from dmmcheck.report.write import write

VERDICTS = {"supported", "refuted"}
NARROWING = ("keyword", "markexpr", "lf", "stepwise", "deselect")
"""Options of pytest by which a user chooses tests."""
BUG = "this is an error of dmmcheck itself, please report it"
REPLACEABLE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
"""Exit statuses of pytest that an error of the run as a whole replaces."""


class RunSummary:
    """The end of a run: judged and written when it is constructed, printed by `show` in pytest's summary."""

    def __init__(self, session: pytest.Session, texts: Iterable[str]) -> None:
        self._config = session.config
        self._notes: list[str] = []
        self._written: list[Path] = []
        self._results, self._reports = Results(), dict[str, Report]()
        try:
            self._end(session, texts)
        except Exception as error:  # nothing here may hide the failures of the user's own tests
            self._notes.append(f"the run cannot be summed up, and a report may be missing ({told(error)}); {BUG}")
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _end(self, session: pytest.Session, texts: Iterable[str]) -> None:
        """Read the results, and judge the run if it came to its end."""
        self._results = read(texts)
        self._reports = {label: self._whole(label, report) for label, report in self._results.reports().items()}
        if self._results.unreached > 0 and not self._results.usage_errors:
            self._notes.append(f"the run stopped early: {self._results.unreached} selected tests were not reached")
        if session.exitstatus == pytest.ExitCode.INTERRUPTED:
            self._notes += self._write()
            if self._written:
                self._notes.append(
                    "the run was interrupted: the report lists the tests that ran, and has the others as errors"
                )
        elif not self._config.getoption("collectonly"):
            self._judge(session)

    def _whole(self, label: str, report: Report) -> Report:
        """Return a report with the ids of all selected tests, and the errors that left some without a finding."""
        planned = [finding.id for finding in report.findings]
        if not label and SELECTION in self._config.stash:
            selection = self._config.stash[SELECTION]
            if len(selection.tests) == self._results.selected:  # none was deselected by a node id, -k or -m
                planned = [item.id for item in selection.selected]
        found = {finding.id for finding in report.findings}
        late = any(finding.out_of_time for finding in report.findings)
        erred = self._results.errors(label)
        planned += [id for id in erred if id not in planned]
        missing = {id: erred.get(id, "the test did not end") for id in planned if id not in found}
        return replace(
            report,
            planned=tuple(planned),
            complete=not missing and self._results.unreached <= 0 and not late,
            errors=(*self._results.usage_errors, *(f"{id}: {error}" for id, error in missing.items())),
        )

    def _judge(self, session: pytest.Session) -> None:
        """Write the reports, note what is wrong with the whole run, and set the exit status."""
        status = pytest.ExitCode.OK
        if self._no_gating_verdict() and self._is_shard():
            self._notes.append("no gating check of this part of the run reached a verdict; its other parts decide")
        elif self._no_gating_verdict():
            self._notes.append(
                "no gating check reached a verdict, so nothing was tested and the run fails; the reasons are above"
            )
            status = pytest.ExitCode.TESTS_FAILED
        if any(report.regressions for report in self._reports.values()):  # also a distance whose test was not selected
            status = pytest.ExitCode.TESTS_FAILED
        results = self._results
        for message in (
            *results.usage_errors,
            *results.worker_differences(),
            *self._unused_settings(),
            *self._write(),
            *self._update_baseline(),
        ):
            self._notes.append(message)
            status = pytest.ExitCode.USAGE_ERROR
        if session.exitstatus in REPLACEABLE and status != pytest.ExitCode.OK:
            session.exitstatus = status

    def _no_gating_verdict(self) -> bool:
        """Return whether gating tests ended, and none of them with a verdict, nor with a search that found nothing."""
        findings = [finding for report in self._reports.values() for finding in report.findings]
        decided = any(
            finding.gating and (finding.verdict in VERDICTS or _has_searched(finding)) for finding in findings
        )
        gating = any(record.gating for record in self._results.records.values())
        return gating and not decided and not self._results.usage_errors

    def _is_shard(self) -> bool:
        """Return whether a plugin such as pytest-split, and not the user, has chosen a part of the tests."""
        if SELECTION not in self._config.stash:
            return False
        of_settings = [record for record in self._results.records.values() if not record.label]
        selected = max((record.selected for record in of_settings), default=0)
        chosen = any(self._config.getoption(name, None) for name in NARROWING)
        by_id = any("::" in arg for arg in self._config.args)
        return selected < len(self._config.stash[SELECTION].tests) and not chosen and not by_id

    def _unused_settings(self) -> Iterator[str]:
        """Yield a message for each check that has settings and did not run; nothing unless every planned test ended."""
        report = self._reports.get("")
        if SELECTION not in self._config.stash or report is None:
            return
        ended = {finding.id for finding in report.findings}
        if not ended.issuperset(planned.id for planned in self._config.stash[SELECTION].planned):
            return
        ran = {finding.check for finding in report.findings if finding.verdict != "not-run"}
        for id in loaded_config(self._config).settings.checks:
            if id not in ran:
                reason = next((finding.reason for finding in report.findings if finding.check == id), "")
                yield f"checks.{id} is set, but the check did not run ({reason}); remove it, or give what is needed"

    def _write(self) -> Iterator[str]:
        """Write the reports; a message for each one that could not be written."""
        paths = self._config.getoption("--dmm-report")
        if paths and not self._reports:
            self._notes.append("no report was written: no check came to an end")
        for path in paths:
            for label, report in self._reports.items():
                target = _path_for(path, label, alone=len(self._reports) == 1)
                try:
                    write(report, self._config.invocation_params.dir / target, evidence=self._has_evidence)
                except ReportError as error:
                    yield str(error)
                else:
                    self._written.append(target)

    @property
    def _has_evidence(self) -> bool:
        """Whether JSON reports hold the values per input."""
        return options.is_on(self._config) and loaded_config(self._config).settings.evidence

    def _update_baseline(self) -> Iterator[str]:
        """Write the baseline where that is asked for; a message if it cannot be written."""
        report, target = self._reports.get(""), self._config.stash.get(BASELINE_PATH, None)
        if target is None:
            return
        if report is None or not report.complete or report.errors:
            yield f"the baseline {target} was not written, since not every selected check came to an end"
            return
        try:
            write(report, target, evidence=True)
        except ReportError as error:
            yield str(error)
        else:
            self._written.append(target)

    def show(self, reporter: pytest.TerminalReporter) -> None:
        """Print the table of each subject, then the files written and the notes on the whole run."""
        if self._config.getoption("collectonly"):
            return
        named = terminal.written(self._written, _known_width(self._config))
        for label, report in self._reports.items():
            reporter.write_sep("=", harmless(f"dmmcheck: {label}") if label else "dmmcheck")
            try:
                reporter.write_line(self._drawn(label, report, len(named) + len(self._notes)))
            except Exception as error:  # the findings are in the reports, and pytest lists what failed
                self._notes.append(f"the table cannot be shown ({told(error)}); {BUG}")
        if not self._reports:
            reporter.write_sep("=", "dmmcheck")
            reporter.write_line(self._results.counts())
        for line in named:
            reporter.write_line(line)
        for line in self._notes:
            reporter.write_line(harmless(f"dmmcheck: {line}"), red=True)
        if github.is_active():
            try:
                _report_to_github(reporter, self._reports)
            except Exception as error:
                reporter.write_line(harmless(f"dmmcheck: GitHub's summary cannot be made ({told(error)}); {BUG}"))

    def complain(self) -> None:
        """Print what fails the run, and the notes on the whole run, on the error output."""
        lines = list(self._notes)
        try:
            lines[:0] = self._failures()
        except Exception as error:
            lines.append(f"what fails the run cannot be shown ({told(error)}); {BUG}")
        for line in lines:
            print(harmless(f"dmmcheck: {line}"), file=sys.stderr)

    def _failures(self) -> list[str]:
        """Return a line for each claim that fails the run, each undecided claim, and each error of a test.

        Undecided claims are listed where the setting ``on-inconclusive`` lets them fail the run. The line of a subject
        begins with its name where there are several.
        """
        found: list[str] = []
        fails = options.is_on(self._config) and loaded_config(self._config).settings.on_inconclusive == "fail"
        for label, report in self._reports.items():
            shown = harmless_report(report)
            undecided = [one for one in shown.findings if fails and one.gating and one.verdict == "inconclusive"]
            lines = [*map(wording.failure, shown.failures), *wording.regressions(shown).values()]
            lines += [f"{one.id} is inconclusive: {one.reason}" for one in undecided if one.tier != SEARCH]
            lines += [error for error in shown.errors if error not in self._results.usage_errors]
            found += [f"{label}: {line}" if label and len(self._reports) > 1 else line for line in lines]
        return found

    def _drawn(self, label: str, report: Report, lines_below: int) -> str:
        """Return the table of a subject, above a number of lines of the whole run."""
        nodeids = self._results.nodeids(label)
        return terminal.render(
            report,
            colour=self._config.get_terminal_writer().hasmarkup,
            width=_known_width(self._config),
            reruns={test: options.rerun_command(self._config, nodeid) for test, nodeid in nodeids.items()},
            encoding=getattr(sys.__stdout__, "encoding", None) or "utf-8",
            verbose=self._config.get_verbosity() > 0,
            lines_below=lines_below,
        )


def _has_searched(finding: Finding) -> bool:
    """Return whether a search has tried candidates, which is all that it can do for a claim."""
    return finding.tier == SEARCH and finding.n > 0


def _path_for(path: str, label: str, *, alone: bool) -> Path:
    """Return the path; for a subject that is not the main one of several, with the name of its test function added."""
    target = Path(path)
    if alone or not label:
        return target
    return target.with_stem(f"{target.stem}-{label.rpartition('::')[2]}")


def _known_width(config: pytest.Config) -> int | None:
    """Return the number of columns of the terminal, or the one that COLUMNS sets; None where neither is known."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return config.get_terminal_writer().fullwidth if known else None


def _report_to_github(reporter: pytest.TerminalReporter, reports: dict[str, Report]) -> None:
    error = github.add_summary(reports.values())
    if error:
        reporter.write_line(harmless(f"dmmcheck: {error}"), red=True)
    for line in github.annotation_lines(reports):
        reporter.write_line(line)
