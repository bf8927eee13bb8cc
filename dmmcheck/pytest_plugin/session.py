"""One subject in one process: its run, and what the checks in it share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from dmmcheck.checks.plan import Planned
from dmmcheck.config.settings import Settings
from dmmcheck.pytest_plugin.outcomes import conclude
from dmmcheck.pytest_plugin.progress import teller
from dmmcheck.pytest_plugin.selection import configured
from dmmcheck.report.model import Finding, Report

if TYPE_CHECKING:
    from dmmcheck.run import Run
    from dmmcheck.subject import Subject


@dataclass(eq=False)
class Suite:
    """The run of a subject, each finding made once.

    Attributes:
        run: Measures and decides.
        settings: How to judge.
    """

    run: Run
    settings: Settings
    _findings: dict[str, Finding] = field(default_factory=dict)

    def finding(self, planned: Planned) -> Finding:
        """Decide one test, or recall how it was decided."""
        if planned.id not in self._findings:
            found = self.run.finding(planned)
            self._header  # what is wrong with it belongs to this test, not to the making of a report of it  # noqa: B018
            self._findings[planned.id] = found
        return self._findings[planned.id]

    @cached_property
    def _header(self) -> Report:
        return self.run.report([])

    def report(self, planned: Planned) -> Report | None:
        """The report with this one finding, where it is made."""
        found = self._findings.get(planned.id)
        return None if found is None else replace(self._header, findings=(found,))

    def conclude(self, planned: Planned) -> None:
        """Return where a test's claim is supported; see `outcomes.conclude` for everything else."""
        __tracebackhide__ = True

        def others_refuted() -> bool:
            siblings = [other for other in self.run.planned if other.check.id == planned.check.id and other.gating]
            return any(self.finding(other).verdict == "refuted" for other in siblings)

        conclude(self.finding(planned), planned, self.settings, others_refuted=others_refuted)


def start(subject: Subject, settings: Settings, progress: Callable[[str], None]) -> Suite:
    """A suite whose inputs are drawn, so that what is wrong with the subject shows before any check does.

    Raises:
        DmmError: The subject cannot be measured.
    """
    from dmmcheck.run import Run  # noqa: PLC0415  # loads torch

    suite = Suite(Run(subject, settings, progress), settings)
    sample = suite.run.measure.sample
    progress(f"measuring up to {len(sample.x)} inputs of D = {sample.x.shape[1]}, the most of it for the first check")
    return suite


def of_session(request: pytest.FixtureRequest) -> Suite:
    """The suite of what options, settings and fixtures say is under test.

    Raises:
        DmmError: It is not said, or cannot be used.
    """
    from dmmcheck.pytest_plugin.fixtures import gather  # noqa: PLC0415  # it needs torch in the end

    settings = configured(request.config)
    return start(gather(request, settings), settings.settings, teller(request.config))
