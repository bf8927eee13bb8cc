"""Records travel as text, and become one report for each subject."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dmmcheck.pytest_plugin.results import TestRecord, read
from dmmcheck.report.model import Finding, ManifoldSummary, Report, SubjectSummary

FINDING = Finding(
    check="off-manifold-suffices",
    tier="stated",
    variant="builtin",
    statement="s",
    statistic="d_off / d_free",
    unit="ratio",
    direction="less",
    verdict="supported",
    gating=True,
    estimate=1.1,
    interval=(1.0, math.inf),
)
SUBJECT = SubjectSummary(
    model="net",
    model_hash="ab",
    classes=2,
    inputs=24,
    input_shape=(8,),
    ambient_dim=8,
    accuracy=1.0,
    manifold=ManifoldSummary(name="m", dim=2, hash="cd", residual_median=0.1, label_agreement=1.0),
)


def report(finding: Finding = FINDING, **subject: Any) -> dict[str, Any]:
    """The report with one finding, as a dict."""
    return Report(
        dmmcheck="0.1.0",
        versions={},
        seed=0,
        device="cpu",
        alpha=0.05,
        subject=replace(SUBJECT, **subject),
        soundness=(),
        distances={},
        findings=(finding,),
    ).as_dict()


def record(test: str, position: int = 0, **changes: Any) -> TestRecord:
    """A record of one of three selected tests."""
    label = changes.get("label", "")
    nodeid = f"{label or 'pyproject.toml'}::{test}"
    values = {"label": label, "gating": True, "selected": 3, **changes}
    return TestRecord(test=test, nodeid=nodeid, position=position, **values)


def results(*records: TestRecord):
    """The results of records that have travelled as text."""
    return read([each.dump() for each in records])


def test_a_record_survives_as_text():
    sent = record("a", 4, usage_error="no", report=report())
    (received,) = results(sent).records.values()
    assert (received.test, received.position, received.usage_error, received.gating) == ("a", 4, "no", True)
    assert received.report["findings"][0]["interval"] == [1.0, math.inf]


def test_numbers_of_numpy_become_numbers():
    finding = replace(FINDING, estimate=np.float32(0.5), n=np.int64(7))
    (joined,) = results(record("a", report=report(finding))).reports().values()
    assert (joined.findings[0].estimate, joined.findings[0].n) == (0.5, 7)
    assert type(joined.findings[0].n) is int


def test_each_subject_has_one_report_with_findings_in_the_order_of_the_plan():
    first, second = (replace(FINDING, variant=name) for name in ("first", "second"))
    made = results(
        record("b", 1, report=report(second)),
        record("b", 0, label="test_a.py::test_b", report=report(second)),
        record("a", 0, report=report(first)),
    )
    assert {label: [finding.variant for finding in found.findings] for label, found in made.reports().items()} == {
        "": ["first", "second"],
        "test_a.py::test_b": ["second"],
    }
    assert list(made.reports()) == ["", "test_a.py::test_b"]
    assert made.nodeids("") == {"b": "pyproject.toml::b", "a": "pyproject.toml::a"}


def test_tests_that_did_not_start_are_counted():
    made = results(record("a", report=report()), record("b"))
    assert made.unreached == 1
    assert results(*map(record, "abc")).unreached == 0
    assert results().unreached == 0


@pytest.mark.parametrize(
    ("records", "counts"), [((), "no check was selected"), ((record("a"),), "3 planned, 0 ran")], ids=["none", "some"]
)
def test_counts_of_a_run_without_findings(records, counts):
    assert results(*records).counts() == counts


def test_errors_are_listed_once():
    made = results(record("a", usage_error="no model"), record("b", usage_error="no model"), record("c"))
    assert made.usage_errors == ["no model"]


def test_the_last_record_of_a_test_with_a_finding_or_an_error_is_kept():
    found = record("a", report=report())
    assert results(found, record("a")).records["pyproject.toml::a"].report is not None
    assert results(record("a"), found).records["pyproject.toml::a"].report is not None
    assert results(found, record("a", usage_error="no")).usage_errors == ["no"]


@pytest.mark.parametrize(
    ("other", "differs"),
    [({}, False), ({"model_hash": "ef"}, True), ({"inputs": 23}, True), ({"accuracy": 0.5}, True)],
    ids=["same", "weights", "inputs", "accuracy"],
)
def test_processes_that_tested_different_subjects_are_reported(other, differs):
    made = results(record("a", report=report()), record("b", report=report(**other)))
    words = [
        "the workers of pytest-xdist tested 2 different models or data, so the findings do not belong together; "
        "seed the training and the data, load them from files, or add --dist loadfile"
    ]
    assert list(made.worker_differences()) == words * differs


def test_different_subjects_of_two_labels_are_no_difference():
    other = record("a", label="test_a.py::test_b", report=report(model_hash="ef"))
    assert list(results(record("a", report=report()), other).worker_differences()) == []
