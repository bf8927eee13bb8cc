"""How much of a run is done and how long the rest takes: from expected gradients and the speed measured so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from dmmcheck.measurement.measure import Measure, margin_gradient
from dmmcheck.report.wording import duration, expectation

PROBED = 256  # most inputs of the probe of the model's speed
OVERHEAD = 2.0  # time of a search over that of its gradients: forward passes, projections and bookkeeping
UNFORESEEN = 0.1  # of what a test has taken so far, which is the least that it is taken to need until it ends
ENOUGH = 2000  # gradients after which the speed is that of the run itself
PAUSE = 0.2  # seconds between two lines


class Forecast:
    """The progress of a run, as lines of text.

    Args:
        expected: Expected gradients by id of the test, and of what all tests share under "".
        per_gradient: Seconds of a gradient, from a probe.
        show: Shows a line.

    Attributes:
        expected: The expected gradients, as they were given.
        per_gradient: The seconds of a gradient, as they were given.
    """

    def __init__(self, expected: Mapping[str, int], per_gradient: float, show: Callable[[str], None]) -> None:
        self.expected, self.per_gradient = dict(expected), per_gradient
        self._expected, self._show = dict(expected), show
        self._done: set[str] = set()
        self._test, self._before, self._last = "", 0, 0.0

    def announce(self, *, is_shared: bool = False) -> None:
        """Show the expected gradients and time of the whole run: in one process, where several are to share it."""
        where = " in one process" if is_shared else ""
        self._show(expectation(sum(self.expected.values()), self.per_gradient, where=where))

    def begin(self, test: str, gradients: int) -> None:
        """Note that a test begins, and how many gradients the run has taken so far."""
        self._test, self._before = test, gradients

    def skip(self, tests: Iterable[str]) -> None:
        """Count tests as done whose measurements are there, and with any of them what all tests share."""
        known = set(tests)
        self._done |= {"", *known} if known else known

    def end(self, test: str, gradients: int) -> None:
        """Note that a test has ended, and replace its expected gradients by those that it took.

        With the first test, the measurements that all tests share have ended, too.

        Args:
            test: The test.
            gradients: How many gradients the run has taken so far.
        """
        self._expected.update({name: 0 for name in ("", test) if name not in self._done})
        if test not in self._done:
            self._expected[test] = gradients - self._before
        self._done |= {test, ""}
        self._test = ""

    def update(self, what: str, gradients: int, seconds: float) -> None:
        """Show what is measured, the share of the work that is done, and the time left.

        Args:
            what: What is measured.
            gradients: How many gradients the run has taken so far.
            seconds: How long it has measured.
        """
        now = time.monotonic()
        if now - self._last < PAUSE:
            return
        self._last = now
        share, left = self.remaining(gradients, seconds)
        claim = f"{self._test}: " if self._test else ""
        self._show(f"{claim}{what}, {share:.0%} done, about {duration(left)} left")

    def remaining(self, gradients: int, seconds: float) -> tuple[float, float]:
        """Return the share of the expected work that is done, and the seconds that the rest takes."""
        running = {name for name in (self._test, "") if name not in self._done}
        in_hand = sum(self._expected.get(name, 0) for name in running)
        spent = gradients - self._before if running else 0
        done = sum(self._expected.get(name, 0) for name in self._done) + spent
        later = sum(cost for name, cost in self._expected.items() if name not in self._done | running)
        left = later + max(in_hand - spent, UNFORESEEN * spent if running else 0)
        pace = seconds / gradients if gradients > ENOUGH else self.per_gradient
        return (done / (done + left) if done + left else 1.0), left * pace


def seconds_per_gradient(measure: Measure) -> float:
    """Measure how many seconds a search takes for one gradient of this model, by the second of two passes."""
    x, y = measure.sample.x[:PROBED], measure.sample.y[:PROBED]
    margin_gradient(measure.classifier, x, y)
    start = time.perf_counter()
    margin_gradient(measure.classifier, x, y)
    return OVERHEAD * (time.perf_counter() - start) / len(x)
