"""The run of one subject in one process, shared by all of its tests there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmmcheck.checks.plan import Planned
from dmmcheck.config.settings import Settings
from dmmcheck.errors import CheckError, ReportError
from dmmcheck.pytest_plugin.distances import DistanceTest
from dmmcheck.pytest_plugin.options import DISTRIBUTION
from dmmcheck.pytest_plugin.outcomes import conclude, conclude_distance
from dmmcheck.pytest_plugin.progress import progress_line
from dmmcheck.pytest_plugin.selection import SELECTION, loaded_config
from dmmcheck.report import wording
from dmmcheck.report.json import as_json
from dmmcheck.report.model import Finding, Report

if TYPE_CHECKING:
    from dmmcheck.measurement.forecast import Forecast
    from dmmcheck.run import Run
    from dmmcheck.subject import Subject

SHARED_BY_ALL = ("load", "worksteal")  # values of --dist by which each worker takes the next tests, of whatever file


@dataclass(eq=False)
class SubjectSession:
    """The run of a subject; each finding is made once.

    Attributes:
        run: Measures and decides.
        settings: How to judge.
        forecast: What the run was expected to cost when it began.
        workers: How many processes share the threads of this machine.
    """

    run: Run
    settings: Settings
    forecast: Forecast
    workers: int = 1
    _findings: dict[str, Finding] = field(default_factory=dict)
    _first: str = ""

    def finding(self, planned: Planned) -> Finding:
        """Decide one test, or return the finding from before."""
        if planned.id not in self._findings:
            with _sharing_threads(self.workers):
                found = self.run.finding(planned)
            self._refuse_unwritable(found)
            self._findings[planned.id] = found
        return self._findings[planned.id]

    def _refuse_unwritable(self, found: Finding) -> None:
        """Make the report with a finding here, so that an error in it fails this test and not pytest's report."""
        report = replace(self._empty_report, findings=(found,), evidence=None)
        try:
            as_json(report)
        except ReportError as error:
            raise CheckError(f"the finding of {found.id!r} cannot be reported: {error}") from error

    @cached_property
    def _empty_report(self) -> Report:
        with _sharing_threads(self.workers):
            return self.run.report([])

    def report(self, planned: Planned | DistanceTest) -> Report | None:
        """Return the report with the finding of one test; None where the test has not been decided.

        For the test of a distance it has no finding: the distances stand in every report.
        """
        found = self._findings.get(planned.id)
        if "_empty_report" not in vars(self):  # its making has failed, or not begun
            return None
        if found is None and not isinstance(planned, DistanceTest):
            return None
        self._first = self._first or planned.id
        evidence = self._empty_report.evidence if planned.id == self._first else None  # once a process: it is large
        findings = () if found is None else (found,)
        return replace(self._empty_report, findings=findings, evidence=evidence, cost=self.run.cost)

    @property
    def _accepted(self) -> str:
        """What accepts a change for the worse; "" where nothing is compared with a baseline."""
        baseline = self._empty_report.baseline
        return "" if baseline is None else wording.acceptance(baseline.name, baseline.run)

    @property
    def _why_not_compared(self) -> str:
        """Why a distance is not compared with a baseline, where it is not."""
        if self._empty_report.baseline is not None:
            return "one of the two reports has no such distances; measure both with the same settings"
        if self.settings.baseline is None and self.run.subject.baseline_model is None:
            return "set baseline to a report, or baseline-model to another model"
        return "max-time was over before all inputs were measured; set a longer max-time"

    def gates(self, planned: Planned) -> bool:
        """Return whether the refutation of a test fails the run, which can depend on the subject."""
        return any(own.gating for own in self.run.planned if own.id == planned.id)

    def conclude(self, planned: Planned | DistanceTest) -> None:
        """Return if a claim is supported, or if a distance is not shorter than in the baseline, and raise otherwise.

        See `outcomes.conclude` and `outcomes.conclude_distance` for all other ends.
        """
        __tracebackhide__ = True
        if isinstance(planned, DistanceTest):
            change = self._empty_report.distance_changes.get(planned.name)
            conclude_distance(planned.name, change, self._accepted, why_not=self._why_not_compared)
            return
        check, found = planned.check.id, self.finding(planned)

        def others_refuted() -> bool:
            siblings = [other for other in self.run.planned if other.check.id == check and other.gating]
            return any(self.finding(other).verdict == "refuted" for other in siblings)

        conclude(found, planned, self.settings, others_refuted=others_refuted, accepted=self._accepted)


def start_session(
    subject: Subject,
    settings: Settings,
    progress: Callable[[str], None],
    *,
    root: Path | None = None,
    cache: Path | None = None,
    ids: Iterable[str] | None = None,
    keep: Callable[[str], None] = lambda line: None,
    workers: int = 1,
) -> SubjectSession:
    """Return a session whose sample is drawn, so that an error of the subject appears before any check runs.

    Args:
        subject: What is under test.
        settings: How to judge.
        progress: Shows one line that says what is being done.
        root: Folder that references to attacks start from; the current one where None.
        cache: Folder that measurements are kept in where the setting `cache` is true; none are kept where None.
        ids: Ids of the tests that are to be decided, which the forecast is made for; all tests where None.
        keep: Shows one line that stays, where the inputs are too few for a verdict.
        workers: How many processes share the threads of this machine, as `workers_of` has it.

    Raises:
        DmmError: The subject cannot be measured.
    """
    from dmmcheck.measurement.store import Store  # noqa: PLC0415  # loads torch
    from dmmcheck.run import Run  # noqa: PLC0415

    store = Store(cache) if settings.cache is True and cache is not None else None
    run = Run(subject, settings, progress, root=root, store=store)
    wanted = [planned.id for planned in run.planned] if ids is None else list(ids)
    with _sharing_threads(workers):
        few = run.too_few_inputs()
        if few:
            keep(few)
        session = SubjectSession(run, settings, run.forecast(wanted), workers)
        run.measure_ahead(wanted)
    return session


def _sharing_threads(workers: int) -> AbstractContextManager[None]:
    """Compute with this process's part of the threads in this context: if all took all, each would wait for others."""
    if workers == 1:
        return nullcontext()
    from dmmcheck.measurement.workers import sharing_threads  # noqa: PLC0415  # loads torch

    return sharing_threads(workers)


def workers_of(config: pytest.Config) -> int:
    """Return how many workers of pytest-xdist share the checks, with this one; 1 where one worker has them all."""
    sent = getattr(config, "workerinput", {})
    return int(sent["workercount"]) if sent.get(DISTRIBUTION) in SHARED_BY_ALL else 1


def session_from_settings(request: pytest.FixtureRequest) -> SubjectSession:
    """Return the session of the subject that options, settings and fixtures name.

    Raises:
        DmmError: They name none, or one that cannot be used.
    """
    from dmmcheck.models.process_state import neutral_state  # noqa: PLC0415  # loads torch
    from dmmcheck.pytest_plugin.fixtures import gather_subject  # noqa: PLC0415

    loaded = loaded_config(request.config)
    with neutral_state():
        subject = gather_subject(request, loaded)
    progress, cache = progress_line(request.config), cache_folder(request.config)
    names = {item.name for item in request.session.items}
    ids = [planned.id for planned in request.config.stash[SELECTION].selected if planned.id in names]
    return start_session(
        subject,
        loaded.settings,
        progress,
        root=loaded.root,
        cache=cache,
        ids=ids,
        keep=progress.keep,
        workers=workers_of(request.config),
    )


def cache_folder(config: pytest.Config) -> Path | None:
    """Return the folder of dmmcheck in pytest's cache; None without a cache (``-p no:cacheprovider``)."""
    cache = getattr(config, "cache", None)
    if cache is None:
        return None
    try:
        return Path(cache.mkdir("dmmcheck"))
    except OSError:  # the cost of the report says why it cannot be used, as it does of every such folder
        return Path(config.rootpath, config.getini("cache_dir"), "d", "dmmcheck")
