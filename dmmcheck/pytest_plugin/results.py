"""The records of all tests in the controlling process; each arrives as text on a test report, also under xdist."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from dmmcheck.report.claims import with_chance
from dmmcheck.report.json import from_dict
from dmmcheck.report.model import Report, RunCost


@dataclass(frozen=True, kw_only=True)
class TestRecord:
    """The record of one phase of one test.

    Attributes:
        test: Id of the planned test.
        label: The name of the subject: "" for the one that settings and fixtures name, else the node id of the test
            function under `dmmcheck.parametrize`.
        nodeid: Node id of the test.
        position: Its position in the report.
        gating: Whether it tests a claim whose refutation fails the run.
        selected: How many tests of dmmcheck pytest selected for this run.
        usage_error: The message of an error in the settings or the subject, if this phase raised one; else "".
        error: The message of any other error that left the test without a finding; else "".
        report: The report with this one finding, as a dict; None where there is no finding.
    """

    __test__ = False  # not a pytest class

    test: str
    label: str
    nodeid: str
    position: int
    gating: bool
    selected: int
    usage_error: str = ""
    error: str = ""
    report: Mapping[str, Any] | None = None

    def dump(self) -> str:
        """Return the record as text; infinities and NaN are kept."""
        return json.dumps(self.__dict__, default=_plain)


def read(texts: Iterable[str]) -> Results:
    """Return the results in texts that `TestRecord.dump` wrote, in the order of their arrival."""
    results = Results()
    for text in texts:
        results.add(TestRecord(**json.loads(text)))
    return results


def _plain(value: Any) -> Any:
    """Return a number of numpy as a number of Python."""
    return value.item()


@dataclass
class Results:
    """The records of a run by node id."""

    records: dict[str, TestRecord] = field(default_factory=dict)

    def add(self, record: TestRecord) -> None:
        """Keep a record; of several for one test, the last one that has a finding or an error."""
        known = self.records.get(record.nodeid)
        if known is None or record.report is not None or record.usage_error or record.error:
            self.records[record.nodeid] = record

    @property
    def usage_errors(self) -> list[str]:
        """Messages of errors in settings and subjects, each once."""
        return list(dict.fromkeys(record.usage_error for record in self.records.values() if record.usage_error))

    def errors(self, label: str) -> dict[str, str]:
        """Return the messages of errors that left tests of a subject without a finding, by the id of the test."""
        own = [record for record in self.records.values() if record.label == label and record.report is None]
        return {record.test: record.error for record in own if record.error}

    @property
    def unreached(self) -> int:
        """How many of the selected tests did not start."""
        return self.selected - len(self.records)

    @property
    def selected(self) -> int:
        """How many tests pytest selected."""
        return max((record.selected for record in self.records.values()), default=0)

    def counts(self) -> str:
        """Return the counts of a run without findings."""
        planned = self.selected
        return f"{planned} planned, 0 ran" if planned else "no check was selected"

    def reports(self) -> dict[str, Report]:
        """Return the report of each subject by its label, the main subject first, with findings in the plan's order."""
        parts: dict[str, list[tuple[int, Report]]] = {}
        for record in self.records.values():
            if record.report is not None:
                parts.setdefault(record.label, []).append((record.position, from_dict(record.report)))
        return {label: _joined(parts[label]) for label in sorted(parts)}

    def worker_differences(self) -> Iterator[str]:
        """Yield a message for each subject that is not the same in all processes."""
        for label in sorted({record.label for record in self.records.values()}):
            of_subject = (record for record in self.records.values() if record.label == label)
            seen = {_fingerprint(record.report) for record in of_subject if record.report is not None}
            if len(seen) > 1:
                yield (
                    f"the workers of pytest-xdist tested {len(seen)} different models or data, so the findings do not "
                    "belong together; seed the training and the data, load them from files, or add --dist loadfile"
                )

    def nodeids(self, label: str) -> dict[str, str]:
        """Return the node id of each test of a subject, by the id of the planned test."""
        return {record.test: nodeid for nodeid, record in self.records.items() if record.label == label}


def _fingerprint(report: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values that agree in all processes that test the same model on the same data."""
    subject = report["subject"]
    return tuple(subject[key] for key in ("model", "model_hash", "classes", "inputs", "ambient_dim", "accuracy"))


def _joined(parts: list[tuple[int, Report]]) -> Report:
    """Return one report with the findings of all, by position."""
    ordered = [report for _, report in sorted(parts, key=lambda part: part[0])]
    findings = with_chance(finding for report in ordered for finding in report.findings)
    evidence = next((report.evidence for report in ordered if report.evidence is not None), None)
    return replace(ordered[0], findings=findings, evidence=evidence, cost=_cost(ordered))


def _cost(reports: Iterable[Report]) -> RunCost:
    """Return the cost of all processes, each of which reports what it has spent up to each of its findings."""
    last: dict[str, RunCost] = {}
    for report in reports:
        known = last.get(report.run, RunCost())
        last[report.run] = max(known, report.cost, key=lambda cost: cost.total.seconds)
    return reduce(RunCost.plus, last.values())
