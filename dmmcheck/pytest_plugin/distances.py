"""Tests of the distances beside a baseline; a shorter distance is no claim of a check, and fails a test of its own."""

from __future__ import annotations

from dataclasses import dataclass

from dmmcheck.config.settings import Settings
from dmmcheck.inference.types import AGAINST_BASELINE
from dmmcheck.report.changes import ARMS


@dataclass(frozen=True)
class DistanceTest:
    """The test that a distance to the boundary is not shorter than in the baseline.

    Attributes:
        name: The search space of the distance: ``free``, ``on`` or ``off``.
    """

    name: str

    @property
    def id(self) -> str:
        """The name that a node id ends with, e.g. ``distance-free-baseline``."""
        return f"distance-{self.name}-baseline"


def distance_tests(settings: Settings) -> tuple[DistanceTest, ...]:
    """Return one test for each distance where changes for the worse fail the run; else none."""
    return tuple(map(DistanceTest, ARMS)) if AGAINST_BASELINE in settings.gate else ()
