"""The hooks that pytest calls for each test, which the plugin takes away before the first one where none is a check."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import pytest

from dmmcheck.pytest_plugin.options import ARGUMENT, is_check


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a check whose subject has proved unusable in an earlier check."""
    if is_check(item):
        from dmmcheck.pytest_plugin.makereport import skip_if_unusable

        skip_if_unusable(item)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Test a distance beside the baseline without the body of a test function under `dmmcheck.parametrize`."""
    __tracebackhide__ = True
    if ARGUMENT not in pyfuncitem.fixturenames:
        return None
    from dmmcheck.pytest_plugin.parametrize import concluded_distance

    return concluded_distance(pyfuncitem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Collect what Hypothesis says of a search."""
    if not is_check(item):
        return (yield)
    from dmmcheck.pytest_plugin.items import is_search

    if not is_search(item):
        return (yield)
    from dmmcheck.strategies.statistics import statistics_collected

    with statistics_collected(item.nodeid, partial(setattr, item, "hypothesis_statistics")):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the finding of a check to pytest's report of the test."""
    report = yield
    if is_check(item):
        from dmmcheck.pytest_plugin.makereport import add_record

        add_record(report, item, call.excinfo)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Give inconclusive claims and advisory refutations outcome words of their own."""
    word = getattr(report, "dmmcheck_word", "")
    return (word, "?" if word == "inconclusive" else "a", (word.upper(), {"yellow": True})) if word else None
