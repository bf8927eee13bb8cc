"""The pytest plugin: options, fixtures and hooks, all of them thin.

The way of a check: `anchor` gives the tests a place in the tree, `items` makes them, `sources` finds what is under
test, `suite` measures and decides, `outcomes` says it to pytest, `crossing` sends it along with pytest's reports to the
controlling process, where `ledger` keeps it and `closing` draws the table, writes the reports and sets the exit status.
Hooks import what they need when they need it: without ``--dmm`` nothing heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dmmcheck.pytest_plugin import collection_root, options

if TYPE_CHECKING:
    from dmmcheck.pytest_plugin.session import Suite
    from dmmcheck.pytest_plugin.terminal_summary import Closing

ARGUMENT, MARK = "dmm_check", "dmm"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    options.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer --dmm-list and --dmm-explain instead of running tests."""
    if not (config.getoption("--dmm-list") or config.getoption("--dmm-explain")):
        return None
    from dmmcheck.pytest_plugin.listing import answer

    return answer(config)


def pytest_configure(config: pytest.Config) -> None:
    """Register mark and recorder; where the checks are asked for, settle what can be settled before anything runs."""
    config.addinivalue_line("markers", f"{MARK}: a claim about the geometry of a classifier, tested by dmmcheck")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config), "dmmcheck-recorder")
    if config.getoption("--dmm-report"):
        from dmmcheck.pytest_plugin.selection import check_reports

        check_reports(config)
    if options.is_on(config) or collection_root.is_pasted(config):
        from dmmcheck.pytest_plugin.selection import prepare

        prepare(config)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Add the checks below the anchor."""
    collected = yield
    if collection_root.ANCHOR not in parent.config.stash:
        return collected
    from dmmcheck.pytest_plugin.items import with_checks

    return with_checks(collected, file_path, parent)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each claim where `dmmcheck.parametrize` is."""
    if ARGUMENT in metafunc.fixturenames:
        from dmmcheck.pytest_plugin.parametrize import generate

        generate(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the checks last, and leave everything else out where they alone are asked for."""
    if collection_root.ANCHOR in config.stash:
        from dmmcheck.pytest_plugin.items import arrange

        arrange(config, items)


@pytest.fixture(scope="session")
def _dmm_suite(request: pytest.FixtureRequest) -> Suite:
    """What is under test, measured on demand; shared by all checks in a process."""
    from dmmcheck.pytest_plugin.session import of_session

    return of_session(request)


@pytest.fixture
def dmm_check(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Tests one claim when it is called; for test functions under `dmmcheck.parametrize`."""
    from dmmcheck.pytest_plugin.parametrize import resolve

    return resolve(request)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot be checked any more."""
    if item.get_closest_marker(MARK):
        from dmmcheck.pytest_plugin.makereport import skip_if_stopped

        skip_if_stopped(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send what a check found along with pytest's report of it."""
    report = yield
    if item.get_closest_marker(MARK):
        from dmmcheck.pytest_plugin.makereport import complete

        complete(report, item, call.excinfo)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Say inconclusive, and refuted where that fails nothing, in words of their own."""
    word = getattr(report, "dmmcheck_word", "")
    return (word, "?" if word == "inconclusive" else "a", (word.upper(), {"yellow": True})) if word else None


class Recorder:
    """Gathers what the checks found, in the process that has the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._texts: list[str] = []
        self._closing: Closing | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what came with a report."""
        text = getattr(report, "dmmcheck_entry", "")
        if text:
            self._texts.append(text)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge the run as a whole."""
        if self._texts or collection_root.ANCHOR in self._config.stash:
            from dmmcheck.pytest_plugin.terminal_summary import Closing

            self._closing = Closing(session, self._texts)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table."""
        if self._closing:
            self._closing.show(terminalreporter)
