"""The checks as tests: a collector on the file of settings, and one item a planned test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dmmcheck.checks.plan import Planned
from dmmcheck.pytest_plugin.selection import PREPARED
from dmmcheck.pytest_plugin.session import Suite

MARK, ARGUMENT = "dmm", "dmm_check"
CONFTEST = "conftest.py"


@dataclass
class Stand:
    """What a test of ours is about.

    Attributes:
        planned: The test.
        place: Its place in the report.
        label: What tells subjects apart: "" for the one under test, else the test function.
        suite: Its subject's run, once set up.
    """

    planned: Planned
    place: int
    label: str = ""
    suite: Suite | None = None


STAND = pytest.StashKey[Stand]()


def stand_of(item: pytest.Item) -> Stand | None:
    """What a test of ours is about; None where it is not one of ours."""
    bound = item.callspec.params.get(ARGUMENT) if hasattr(item, "callspec") else None
    if STAND not in item.stash and bound is not None and hasattr(bound, "planned"):
        item.stash[STAND] = Stand(bound.planned, bound.place, label=item.nodeid.partition("[")[0])
    return item.stash.get(STAND, None)


def with_checks(collected: list[pytest.Collector], file_path: Path, parent: pytest.Collector) -> list[pytest.Collector]:
    """What other plugins collect from a file, and the checks if it is the anchor."""
    prepared = parent.config.stash[PREPARED]
    if file_path != prepared.anchor:
        return collected
    checks = CheckFile.from_parent(parent, path=file_path)
    checks.planned = prepared.selected
    return [checks] if file_path.name == CONFTEST else [*collected, checks]


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The user's tests first, then each check once; the user's left out under ``--dmm-only``."""
    ours: dict[str, pytest.Item] = {}
    others = []
    for item in items:
        if isinstance(item, CheckItem):
            ours[item.nodeid] = item
        else:
            others.append(item)
    kept = others
    if config.getoption("--dmm-only"):
        kept = [item for item in others if stand_of(item) is not None]
        config.hook.pytest_deselected(items=[item for item in others if stand_of(item) is None])
    items[:] = [*kept, *ours.values()]


class CheckFile(pytest.File):
    """The anchor as a collector of checks."""

    planned: tuple[Planned, ...] = ()

    def collect(self) -> Iterable[CheckItem]:
        """One item a selected test."""
        return [CheckItem.of(self, planned, place) for place, planned in enumerate(self.planned)]


class CheckItem(pytest.Function):
    """One planned test."""

    @classmethod
    def of(cls, parent: CheckFile, planned: Planned, place: int) -> CheckItem:
        """The item of a planned test."""

        def decide(_dmm_suite: Suite) -> None:
            _dmm_suite.conclude(planned)

        item: CheckItem = cls.from_parent(parent, name=planned.id, callobj=decide)
        item.stash[STAND] = Stand(planned, place)
        item.add_marker(MARK)
        item.extra_keyword_matches.update((planned.check.id, planned.tier, planned.variant))
        return item

    def setup(self) -> None:
        """Resolve what is under test, once a process."""
        super().setup()
        suite = self.funcargs["_dmm_suite"]
        self.stash[STAND].suite = suite if isinstance(suite, Suite) else None

    def reportinfo(self) -> tuple[Path, int, str]:
        """The anchor, since there is no source that a user would look at."""
        return self.path, 0, self.name
