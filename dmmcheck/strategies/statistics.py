"""What Hypothesis says of a search, for ``--hypothesis-show-statistics``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis.statistics import collector, describe_statistics


@contextmanager
def statistics_collected(name: str, keep: Callable[[str], None]) -> Iterator[None]:
    """Hand over the statistics of each search in this context as text.

    Hypothesis's own plugin for pytest does so for test functions under ``@given`` alone.

    Args:
        name: What the text calls the test, its node id.
        keep: Called with the text.
    """

    def note(statistics: Any) -> None:
        statistics["nodeid"] = name
        keep(describe_statistics(statistics))

    with collector.with_value(note):  # type: ignore[arg-type]  # typed by its default, None
        yield
