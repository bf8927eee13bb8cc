"""From a test to its report: the record for the controlling process, and the message for the reader."""

from __future__ import annotations

import pytest

from dmmcheck.checks.plan import Planned
from dmmcheck.errors import CheckError, DmmError
from dmmcheck.errors.text import harmless, told
from dmmcheck.pytest_plugin import outcomes, tracebacks
from dmmcheck.pytest_plugin.distances import DistanceTest
from dmmcheck.pytest_plugin.items import CheckItem, ItemInfo, item_info
from dmmcheck.pytest_plugin.options import rerun_command
from dmmcheck.pytest_plugin.progress import progress_line
from dmmcheck.pytest_plugin.results import TestRecord
from dmmcheck.pytest_plugin.session import workers_of
from dmmcheck.pytest_plugin.workers_progress import forecast_of
from dmmcheck.report.model import Report

UNUSABLE = pytest.StashKey[dict[str, str]]()
"""Messages of wrong settings and unusable subjects, by label of the subject, in the process where they were raised."""

FORECAST_SENT = pytest.StashKey[set[str]]()
"""Labels of the subjects whose expected cost this worker of pytest-xdist has sent."""


def skip_if_unusable(item: pytest.Item) -> None:
    """Skip a check whose subject an earlier check found unusable."""
    info, unusable = item_info(item), item.config.stash.get(UNUSABLE, {})
    if info is not None and info.label in unusable:
        pytest.skip(f"could not be checked: {unusable[info.label]}")


def add_record(
    report: pytest.TestReport, item: pytest.Item, raised: pytest.ExceptionInfo[BaseException] | None
) -> None:
    """Add to the report of a check: its record, its outcome word, and its message where it raised.

    Args:
        report: pytest's report of one phase of the test; it is changed.
        item: The test.
        raised: What that phase raised, if anything.
    """
    info = item_info(item)
    if info is None:
        return
    if report.when == "setup" and report.passed:
        _add_forecast(report, item.config, info)
        return
    is_own = isinstance(info.planned, DistanceTest)
    if report.when == "teardown":
        if raised is not None:
            _set_message(report, item, raised.value, is_own=is_own)
        return
    progress_line(item.config).close(item.nodeid)
    usage_error = error = ""
    if raised is not None:
        usage_error = _usage_error(raised.value)
        error = "" if usage_error or not report.failed else harmless(told(raised.value))
        if usage_error:
            item.config.stash.setdefault(UNUSABLE, {})[info.label] = usage_error
        _set_message(report, item, raised.value, is_own=is_own)
    found = None if info.session is None else info.session.report(info.planned)
    if found is not None and report.when == "call" and report.skipped and not hasattr(report, "wasxfail"):
        vars(report)["dmmcheck_word"] = _outcome_word(info.planned, found)
    record = TestRecord(
        test=info.planned.id,
        label=info.label,
        nodeid=item.nodeid,
        position=info.position,
        gating=_gates(info),
        selected=sum(item_info(other) is not None for other in item.session.items),
        usage_error=usage_error,
        error=error,
        report=None if found is None else found.as_dict(),
    )
    vars(report)["dmmcheck_record"] = record.dump()


def _add_forecast(report: pytest.TestReport, config: pytest.Config, info: ItemInfo) -> None:
    """Add to the report of a test what its run is expected to cost, once for each worker of pytest-xdist and subject.

    Args:
        report: pytest's report of the setup of the test; it is changed.
        config: Of this process.
        info: What the plugin knows of the test.
    """
    sent = config.stash.setdefault(FORECAST_SENT, set())
    if hasattr(config, "workerinput") and info.session is not None and info.label not in sent:
        sent.add(info.label)
        vars(report)["dmmcheck_forecast"] = forecast_of(info, workers_of(config))


def _outcome_word(test: Planned | DistanceTest, report: Report) -> str:
    """Return the outcome word of a test that ends without failing."""
    if isinstance(test, Planned):
        return outcomes.outcome_word(report.findings[0])
    return outcomes.INCONCLUSIVE if test.name in report.distance_changes else ""


def _gates(info: ItemInfo) -> bool:
    """Return whether the test is of a claim that gates; where its subject is known, that is what the subject says."""
    if not isinstance(info.planned, Planned):
        return False
    return info.planned.gating if info.session is None else info.session.gates(info.planned)


def _usage_error(error: BaseException) -> str:
    """Return the message of an error in settings or subject; "" for every other exception, such as a failed check."""
    is_usage_error = isinstance(error, (DmmError, pytest.UsageError)) and not isinstance(error, CheckError)
    return str(error) if is_usage_error else ""


def _set_message(report: pytest.TestReport, item: pytest.Item, error: BaseException, *, is_own: bool) -> None:
    """Show the message without frames of this package, and the file of the test as the location.

    Args:
        report: pytest's report of the test; it is changed.
        item: The test.
        error: What it raised.
        is_own: Whether the test has no function of the user's, though a test function of the user's made it.
    """
    is_check = isinstance(item, CheckItem) or is_own
    if isinstance(error, outcomes.SHOWN_ALONE if is_check else (DmmError, pytest.UsageError)):
        style = item.config.getoption("tbstyle", "auto")
        rerun = f"\nrerun      {rerun_command(item.config, item.nodeid)}" * isinstance(error, outcomes.FAILURES)
        style = "long" if style == "auto" else style
        report.longrepr = tracebacks.representation(error, f"{error}{rerun}", item.path, style)
    elif is_check and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].partition(": ")[2]
        report.longrepr = (str(item.path), 1, f"Skipped: {reason}")
