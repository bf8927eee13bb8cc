"""The progress of the workers of pytest-xdist, which have no terminal, as lines of the process that has one."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from dmmcheck.pytest_plugin.items import ItemInfo
from dmmcheck.pytest_plugin.progress import progress_line
from dmmcheck.report.wording import duration, expectation

CAUTION = 0.25  # of the expected gradients, at the expected speed, beside those measured: the first tests tell little


def forecast_of(info: ItemInfo, workers: int) -> str:
    """Return what the run of a worker is expected to cost, as text for `WorkersProgress.begin`.

    Args:
        info: What the plugin knows of the first test of the run.
        workers: How many workers there are.
    """
    assert info.session is not None
    forecast = info.session.forecast
    content = {"label": info.label, "expected": forecast.expected, "per_gradient": forecast.per_gradient}
    return json.dumps({**content, "workers": workers})


class WorkersProgress:
    """How much of a run is decided, and how long the rest takes, from what the workers send with the tests.

    All workers expect the same gradients, since each collects all tests. The time left follows from the time that the
    tests decided so far have taken, and from the expected speed, which counts less with each test.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._line = progress_line(config)
        self._expected: dict[tuple[str, str], int] = {}
        self._labels: set[str] = set()
        self._decided: set[tuple[str, str]] = set()
        self._seconds, self._start = 0.0, 0.0

    def begin(self, text: str) -> None:
        """Show the expected gradients and time of a subject, which the first of its workers to begin has sent."""
        sent: dict[str, Any] = json.loads(text)
        label, expected, workers = sent["label"], sent["expected"], sent["workers"]
        if label in self._labels:
            return
        self._start = self._start or time.monotonic()
        self._labels.add(label)
        self._expected.update({(label, id): gradients for id, gradients in expected.items()})
        self._seconds += sum(expected.values()) * sent["per_gradient"] / workers
        self._line.keep(expectation(sum(expected.values()), sent["per_gradient"], workers))

    def end(self, text: str) -> None:
        """Show the share of the work that is done with a test, and the time left.

        Args:
            text: The record of the test.
        """
        record: dict[str, Any] = json.loads(text)
        if record["label"] not in self._labels:
            return
        self._decided.add((record["label"], record["test"]))
        share, left = self._remaining()
        tests = f"{len(self._decided)} of {record['selected']} tests decided"
        self._line(f"{tests}, {share:.0%} done, about {duration(left)} left")

    def close(self) -> None:
        """Begin a line for what pytest writes of a test."""
        self._line.end()

    def _remaining(self) -> tuple[float, float]:
        """Return the share of the expected work that is done, and the seconds that the rest takes."""
        shared = {(label, "") for label, _ in self._decided}
        whole = sum(self._expected.values())
        done = sum(self._expected.get(test, 0) for test in self._decided | shared)
        if done >= whole:
            return 1.0, 0.0
        spent = time.monotonic() - self._start
        pace = (spent + CAUTION * self._seconds) / (done + CAUTION * whole)
        return done / whole, pace * (whole - done)
