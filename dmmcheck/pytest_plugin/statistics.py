"""What Hypothesis says of a search, for ``--hypothesis-show-statistics``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dmmcheck.inference.types import SEARCH
from dmmcheck.pytest_plugin.items import item_info


@contextmanager
def collected(item: pytest.Item) -> Iterator[None]:
    """Keep Hypothesis's statistics of a search where Hypothesis's own plugin looks for them.

    That plugin does so for test functions under ``@given`` alone, and a check of the tier search is none.
    """
    info = item_info(item)
    if info is None or info.planned.tier != SEARCH:
        yield
        return
    from hypothesis.statistics import collector, describe_statistics  # noqa: PLC0415  # only for a search

    def note(statistics: Any) -> None:
        statistics["nodeid"] = item.nodeid
        vars(item)["hypothesis_statistics"] = describe_statistics(statistics)

    with collector.with_value(note):  # type: ignore[arg-type]  # typed by its default, None
        yield
