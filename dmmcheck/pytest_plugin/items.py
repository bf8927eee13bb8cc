"""The checks as tests of pytest: a collector for the root file, and one item for each planned test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dmmcheck.checks.plan import Planned
from dmmcheck.inference.types import SEARCH
from dmmcheck.pytest_plugin.collection_root import CONFTEST
from dmmcheck.pytest_plugin.distances import DistanceTest
from dmmcheck.pytest_plugin.options import ARGUMENT, MARK
from dmmcheck.pytest_plugin.outcomes import SHOWN_ALONE
from dmmcheck.pytest_plugin.selection import SELECTION
from dmmcheck.pytest_plugin.session import SubjectSession


@dataclass
class ItemInfo:
    """What the plugin knows of one of its own tests.

    Attributes:
        planned: The planned test, or that of a distance beside the baseline.
        position: Its position in the report.
        label: The name of the subject: "" for the one that settings and fixtures name, else the node id of the test
            function under `dmmcheck.parametrize`.
        session: The run of the subject; None until the test is set up.
    """

    planned: Planned | DistanceTest
    position: int
    label: str = ""
    session: SubjectSession | None = None


ITEM_INFO = pytest.StashKey[ItemInfo]()


def item_info(item: pytest.Item) -> ItemInfo | None:
    """Return what the plugin knows of a test; None for a test that is not its own."""
    bound = item.callspec.params.get(ARGUMENT) if hasattr(item, "callspec") else None
    if ITEM_INFO not in item.stash and bound is not None and hasattr(bound, "planned"):
        item.stash[ITEM_INFO] = ItemInfo(bound.planned, bound.position, label=item.nodeid.partition("[")[0])
    return item.stash.get(ITEM_INFO, None)


def is_search(item: pytest.Item) -> bool:
    """Return whether a test looks for counterexamples with Hypothesis."""
    info = item_info(item)
    return info is not None and isinstance(info.planned, Planned) and info.planned.tier == SEARCH


def with_checks(collected: list[pytest.Collector], file_path: Path, parent: pytest.Collector) -> list[pytest.Collector]:
    """Add the collector of the checks to the collectors of a file, if it is the root file."""
    selection = parent.config.stash[SELECTION]
    if file_path != selection.root_file:
        return collected
    checks = CheckFile.from_parent(parent, path=file_path)
    checks.planned = selection.tests
    return [checks] if file_path.name == CONFTEST else [*collected, checks]


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the user's tests first, then each check once; under ``--dmm-only``, deselect the user's tests."""
    checks: dict[str, pytest.Item] = {}
    others = []
    for item in items:
        if isinstance(item, CheckItem):
            checks[item.nodeid] = item
        else:
            others.append(item)
    kept = others
    if config.getoption("--dmm-only"):
        kept = [item for item in others if item_info(item) is not None]
        config.hook.pytest_deselected(items=[item for item in others if item_info(item) is None])
    items[:] = [*kept, *checks.values()]


class CheckFile(pytest.File):
    """The root file as a collector of checks."""

    planned: tuple[Planned | DistanceTest, ...] = ()

    def collect(self) -> Iterable[CheckItem]:
        """Return one item for each selected test."""
        return [CheckItem.of(self, planned, position) for position, planned in enumerate(self.planned)]


class CheckItem(pytest.Function):
    """One planned test."""

    @classmethod
    def of(cls, parent: CheckFile, planned: Planned | DistanceTest, position: int) -> CheckItem:
        """Return the item of a test."""

        def decide(_dmm_session: SubjectSession) -> None:
            _dmm_session.conclude(planned)

        item: CheckItem = cls.from_parent(parent, name=planned.id, callobj=decide)
        item.stash[ITEM_INFO] = ItemInfo(planned, position)
        item.add_marker(MARK)
        if isinstance(planned, Planned):
            item.extra_keyword_matches.update((planned.check.id, planned.tier, planned.variant))
        return item

    def setup(self) -> None:
        """Set up the fixtures, and keep the run of the subject for the report."""
        super().setup()
        session = self.funcargs["_dmm_session"]
        self.stash[ITEM_INFO].session = session if isinstance(session, SubjectSession) else None

    def _repr_failure_py(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Draw no frames where `makereport` shows a message in their place: drawing them takes up to a second."""
        if isinstance(excinfo.value, SHOWN_ALONE):
            return excinfo.getrepr(style="value", chain=False)
        return super()._repr_failure_py(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the root file as the location, since the user has not written the test's source."""
        return self.path, 0, self.name
