"""From a test to its report: what the controlling process and the reader are told of it."""

from __future__ import annotations

import pytest

from dmmcheck.errors import CheckError, DmmError
from dmmcheck.pytest_plugin import outcomes, tracebacks
from dmmcheck.pytest_plugin.items import CheckItem, stand_of
from dmmcheck.pytest_plugin.options import rerun_command
from dmmcheck.pytest_plugin.progress import teller
from dmmcheck.pytest_plugin.results import Entry

STOPPED = pytest.StashKey[dict[str, str]]()
"""What was wrong with settings or subject, by label of the subject, in the process that found out."""


def skip_if_stopped(item: pytest.Item) -> None:
    """Skip a check whose subject was found unusable by one before it."""
    stand, stopped = stand_of(item), item.config.stash.get(STOPPED, {})
    if stand is not None and stand.label in stopped:
        pytest.skip(f"could not be checked: {stopped[stand.label]}")


def complete(report: pytest.TestReport, item: pytest.Item, raised: pytest.ExceptionInfo[BaseException] | None) -> None:
    """Put what is known of a check into its report."""
    stand = stand_of(item)
    if stand is None or report.when == "teardown" or (report.when == "setup" and report.passed):
        return
    teller(item.config).close(item.nodeid)
    wrong = ""
    if raised is not None:
        wrong = _wrong(raised.value)
        if wrong:
            item.config.stash.setdefault(STOPPED, {})[stand.label] = wrong
        _show(report, item, raised.value)
    found = None if stand.suite is None else stand.suite.report(stand.planned)
    if found is not None and report.when == "call" and report.skipped and not hasattr(report, "wasxfail"):
        vars(report)["dmmcheck_word"] = outcomes.word(found.findings[0])
    entry = Entry(
        test=stand.planned.id,
        suite=stand.label,
        nodeid=item.nodeid,
        place=stand.place,
        gating=stand.planned.gating,
        selected=sum(stand_of(other) is not None for other in item.session.items),
        wrong=wrong,
        report=None if found is None else found.as_dict(),
    )
    vars(report)["dmmcheck_entry"] = entry.dump()


def _wrong(error: BaseException) -> str:
    """What is wrong with settings or subject, if that is what an exception says, and not that a check failed."""
    usage = isinstance(error, (DmmError, pytest.UsageError)) and not isinstance(error, CheckError)
    return str(error) if usage else ""


def _show(report: pytest.TestReport, item: pytest.Item, error: BaseException) -> None:
    """Messages without frames of ours, and the anchor as the place."""
    ours = isinstance(item, CheckItem)
    if isinstance(error, (DmmError, pytest.UsageError)) or (ours and isinstance(error, outcomes.FAILURES)):
        style = item.config.getoption("tbstyle", "auto")
        again = f"\nrerun      {rerun_command(item.config, item.nodeid)}" * isinstance(error, outcomes.FAILURES)
        style = "long" if style == "auto" else style
        report.longrepr = tracebacks.shown(error, f"{error}{again}", item.path, style)
    elif ours and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].partition(": ")[2]
        report.longrepr = (str(item.path), 1, f"Skipped: {reason}")
