"""What became of each test, as it reaches the controlling process: text on test reports, so that it crosses xdist."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dmmcheck.report.json import from_dict
from dmmcheck.report.model import Report


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one phase of one test says.

    Attributes:
        test: Id of the planned test.
        suite: What tells subjects apart: "" for the one under test, else the test function.
        nodeid: Where it stands in the tree of tests.
        place: Its place in the report.
        gating: Whether its refutation fails the run.
        selected: How many tests of ours this run was to hold.
        wrong: What is wrong with the settings or the subject, where that came out here.
        report: The report with this one finding, as a dict; None where there is none.
    """

    test: str
    suite: str
    nodeid: str
    place: int
    gating: bool
    selected: int
    wrong: str = ""
    report: Mapping[str, Any] | None = None

    def dump(self) -> str:
        """As text; infinities and NaN stay what they are."""
        return json.dumps(self.__dict__, default=_plain)


def read(texts: Iterable[str]) -> Ledger:
    """The ledger of what `Entry.dump` wrote, in the order it came."""
    ledger = Ledger()
    for text in texts:
        ledger.add(Entry(**json.loads(text)))
    return ledger


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    return value.item()


@dataclass
class Ledger:
    """All entries of a run, by node id, in the controlling process."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Keep what an entry says; of a test run again, what it said last."""
        known = self.entries.get(entry.nodeid)
        if known is None or entry.report is not None or entry.wrong:
            self.entries[entry.nodeid] = entry

    @property
    def wrong(self) -> list[str]:
        """What is wrong with settings or subject, each once."""
        return list(dict.fromkeys(entry.wrong for entry in self.entries.values() if entry.wrong))

    @property
    def unreached(self) -> int:
        """How many of the selected tests no phase was reached of."""
        return max((entry.selected for entry in self.entries.values()), default=0) - len(self.entries)

    def counts(self) -> str:
        """The counts of a run without findings."""
        planned = max((entry.selected for entry in self.entries.values()), default=0)
        return f"{planned} planned, 0 ran" if planned else "no check was selected"

    def reports(self) -> dict[str, Report]:
        """One report a suite, findings in the order of the plan; the main one first."""
        suites: dict[str, list[tuple[int, Report]]] = {}
        for entry in self.entries.values():
            if entry.report is not None:
                suites.setdefault(entry.suite, []).append((entry.place, from_dict(entry.report)))
        return {suite: _joined(suites[suite]) for suite in sorted(suites)}

    def differing(self) -> Iterator[str]:
        """What was found to differ between processes that should have tested the same."""
        for suite in sorted({entry.suite for entry in self.entries.values()}):
            of_suite = (entry for entry in self.entries.values() if entry.suite == suite)
            seen = {_fingerprint(entry.report) for entry in of_suite if entry.report is not None}
            if len(seen) > 1:
                yield (
                    f"the workers of pytest-xdist tested {len(seen)} different models or data, so the findings do not "
                    "belong together; seed the training and the data, load them from files, or add --dist loadfile"
                )

    def nodeids(self, suite: str) -> dict[str, str]:
        """Where each test of a suite stands, by its id."""
        return {entry.test: nodeid for nodeid, entry in self.entries.items() if entry.suite == suite}


def _fingerprint(report: Mapping[str, Any]) -> tuple[Any, ...]:
    """What is the same in every process that tests the same model on the same data."""
    subject = report["subject"]
    return tuple(subject[key] for key in ("model", "model_hash", "classes", "inputs", "ambient_dim", "accuracy"))


def _joined(parts: list[tuple[int, Report]]) -> Report:
    ordered = [report for _, report in sorted(parts, key=lambda part: part[0])]
    return replace(ordered[0], findings=tuple(finding for report in ordered for finding in report.findings))
