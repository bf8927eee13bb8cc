"""The pytest plugin: options, fixtures and hooks, all of them thin.

The modules in the order in which a run uses them: `options` adds the options, `selection` reads the settings and
chooses the tests, `old_reports` hides the reports of earlier runs, `collection_root` finds the file that the tests
appear below, `items` makes the tests, `fixtures` finds what is under test, `session` measures and decides, `outcomes`
turns a verdict into an outcome of pytest, and `makereport` sends the finding with pytest's report to the controlling
process. There `workers_progress` shows how much workers of pytest-xdist have done, `results` keeps the findings, and
`terminal_summary` prints the table, writes the reports and sets the exit status. `parametrize` does the same for test
functions of the user.

Hooks import their modules when they are called: without ``--dmm`` nothing heavy is loaded. Those that pytest calls for
each test are in `item_hooks`, and are taken away where no test is a check.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dmmcheck.pytest_plugin import collection_root, options
from dmmcheck.pytest_plugin.options import ARGUMENT, MARK

if TYPE_CHECKING:
    from dmmcheck.pytest_plugin.old_reports import OldReports
    from dmmcheck.pytest_plugin.session import SubjectSession
    from dmmcheck.pytest_plugin.terminal_summary import RunSummary
    from dmmcheck.pytest_plugin.workers_progress import WorkersProgress

pytest_plugins = ("dmmcheck.pytest_plugin.item_hooks",)
"""pytest registers these modules with this one."""
RECORDER = "dmmcheck-recorder"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of dmmcheck."""
    options.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer --dmm-list and --dmm-explain instead of running tests."""
    if not config.getoption("--dmm-list") and config.getoption("--dmm-explain") is None:
        return None
    from dmmcheck.pytest_plugin.listing import answer

    return answer(config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark and the recorder; where checks are to run, read the settings and choose the tests."""
    config.addinivalue_line("markers", f"{MARK}: a claim about the geometry of a classifier, tested by dmmcheck")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config), RECORDER)
    if config.getoption("--dmm-report"):
        from dmmcheck.pytest_plugin.selection import check_reports

        check_reports(config)
    if options.is_on(config) or collection_root.has_check_id(config):
        from dmmcheck.pytest_plugin.selection import prepare

        prepare(config)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Add the checks below the root file."""
    collected = yield
    if collection_root.ROOT_FILE not in parent.config.stash:
        return collected
    from dmmcheck.pytest_plugin.items import with_checks

    return with_checks(collected, file_path, parent)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each claim from a test function under `dmmcheck.parametrize`."""
    if ARGUMENT in metafunc.fixturenames:
        from dmmcheck.pytest_plugin.parametrize import generate

        generate(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the checks last; under ``--dmm-only``, deselect all other tests."""
    if collection_root.ROOT_FILE in config.stash:
        from dmmcheck.pytest_plugin.items import arrange

        arrange(config, items)


@pytest.fixture(scope="session")
def _dmm_session(request: pytest.FixtureRequest) -> SubjectSession:
    """The run of the subject that settings and fixtures name; all checks of a process share it."""
    from dmmcheck.pytest_plugin.session import session_from_settings

    return session_from_settings(request)


@pytest.fixture
def dmm_check(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """A function that tests one claim when it is called; for test functions under `dmmcheck.parametrize`."""
    from dmmcheck.pytest_plugin.parametrize import resolve

    return resolve(request)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Where no test is a check, take away all hooks that pytest would call for each test."""
    manager = session.config.pluginmanager
    if collection_root.ROOT_FILE in session.config.stash or any(map(options.is_check, session.items)):
        return
    for name in filter(manager.has_plugin, (*pytest_plugins, RECORDER)):
        manager.unregister(name=name)


class Recorder:
    """Collects the findings of all checks in the process that has the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._texts: list[str] = []
        self._summary: RunSummary | None = None
        self._old: OldReports | None = None
        self._workers: WorkersProgress | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist how tests are distributed among the workers, which it does not see."""
        node.workerinput[options.DISTRIBUTION] = self._config.getoption("dist")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        """Keep the record that a test report carries, and show how much the workers of pytest-xdist have done."""
        text, forecast = getattr(report, "dmmcheck_record", ""), getattr(report, "dmmcheck_forecast", "")
        if text:
            self._texts.append(text)
        if forecast:
            from dmmcheck.pytest_plugin.workers_progress import WorkersProgress

            self._workers = self._workers or WorkersProgress(self._config, self._texts)
            self._workers.begin(forecast)
        if not self._workers:
            return (yield)
        if report.when == "call" or not report.passed:
            self._workers.close()
        result = yield
        if text:
            self._workers.end(text)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Hide reports of earlier runs, so that none is mistaken for that of this run if it is killed.

        Where pytest refuses an option or a path, nothing is run, and they are put back. Workers of pytest-xdist collect
        later than their controlling process, which has them hidden until one of them refuses, or a test begins.
        """
        if not self._config.getoption("--dmm-report") or self._config.getoption("collectonly"):
            return (yield)
        from dmmcheck.pytest_plugin.old_reports import OldReports

        self._old = OldReports(self._config)
        try:
            collected = yield
        except pytest.UsageError:
            self._old.put_back()
            raise
        except BaseException:
            self.drop_old_reports()
            raise
        if self._config.getoption("dist", "no") == "no":
            self.drop_old_reports()
        return collected

    def pytest_runtest_logstart(self) -> None:
        """Remove the hidden reports of earlier runs once a test begins."""
        self.drop_old_reports()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Put reports of earlier runs back where a worker of pytest-xdist has refused an option or a path."""
        ended = getattr(node, "workeroutput", {})
        if self._old and ended.get("exitstatus") == pytest.ExitCode.USAGE_ERROR:
            self._old.put_back()

    def drop_old_reports(self) -> None:
        """Remove the reports of earlier runs that are hidden."""
        if self._old:
            self._old.remove()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
        """Judge the whole run: set the exit status and write the reports.

        The status of a usage error is set again at the end: syrupy combines statuses by bits, and 4 and 1 become 5.
        """
        self.drop_old_reports()
        if self._texts or collection_root.ROOT_FILE in self._config.stash:
            from dmmcheck.pytest_plugin.terminal_summary import RunSummary

            self._summary = RunSummary(session, self._texts)
        status = getattr(session, "exitstatus", exitstatus)
        yield
        if self._summary and status == pytest.ExitCode.USAGE_ERROR:
            session.exitstatus = status

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Say on the error output what is wrong with the run, where pytest has no terminal (``-p no:terminal``)."""
        if self._summary and not config.pluginmanager.has_plugin("terminalreporter"):
            self._summary.complain()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if self._summary:
            self._summary.show(terminalreporter)
