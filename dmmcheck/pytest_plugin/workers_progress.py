"""The progress of the workers of pytest-xdist, which have no terminal, as lines of the process that has one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
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


def _test_of(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["label"], record["test"]


class WorkersProgress:
    """How much of a run is decided, and how long the rest takes, from what the workers send with the tests.

    All workers expect the same gradients of a subject, since each collects all tests. A test takes as long as its
    expected gradients and as many more as tests have on average, since tests without gradients take time, too. So do
    the tests of subjects that no worker has begun with. The time left follows from the time that the tests decided so
    far have taken, and from the expected speed, which counts less with each test.

    Args:
        config: Of the process that has the terminal.
        records: The records of tests that have ended already: those of subjects that cannot be used.
    """

    def __init__(self, config: pytest.Config, records: Iterable[str]) -> None:
        self._line = progress_line(config)
        self._expected: dict[tuple[str, str], int] = {}
        self._decided = {_test_of(json.loads(text)) for text in records}
        self._seconds, self._start = 0.0, 0.0

    def begin(self, text: str) -> None:
        """Show the expected gradients and time of a subject, which the first of its workers to begin has sent."""
        sent: dict[str, Any] = json.loads(text)
        label, expected, workers = sent["label"], sent["expected"], sent["workers"]
        if (label, "") in self._expected:
            return
        self._start = self._start or time.monotonic()
        self._expected.update({(label, id): gradients for id, gradients in expected.items()})
        self._seconds += sum(expected.values()) * sent["per_gradient"] / workers
        whole = expectation(sum(expected.values()), sent["per_gradient"], workers=workers)
        self._line.keep(f"{label}: {whole}" if label else whole)

    def end(self, text: str) -> None:
        """Show the share of the work that is done with a test, and the time left.

        Args:
            text: The record of the test.
        """
        record: dict[str, Any] = json.loads(text)
        self._decided.add(_test_of(record))
        share, left = self._remaining(record["selected"])
        tests = f"{len(self._decided)} of {record['selected']} tests decided"
        self._line(f"{tests}, {share:.0%} done, about {duration(left)} left")

    def close(self) -> None:
        """Begin a line for what pytest writes of a test."""
        self._line.end()

    def _remaining(self, selected: int) -> tuple[float, float]:
        """Return the share of the expected work of all selected tests that is done, and the seconds for the rest."""
        shared = {(label, "") for label, _ in self._decided} & set(self._expected)
        known = sum(1 for _, test in self._expected if test)
        gradients = sum(self._expected.values())
        mean = max(1.0, gradients / max(1, known))
        whole = gradients + mean * known + 2 * mean * max(0, selected - known)
        done = sum(mean + self._expected.get(test, mean) for test in self._decided)
        done += sum(self._expected[test] for test in shared)
        seconds = self._seconds * whole / max(1, gradients + mean * known)
        pace = (time.monotonic() - self._start + CAUTION * seconds) / (done + CAUTION * whole)
        return min(1.0, done / whole), pace * max(0.0, whole - done)
