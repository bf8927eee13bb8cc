"""Findings and reports as data: ids, counts, and what fails a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import reports

from dmmcheck.report.model import Summary


def test_the_id_is_check_tier_and_variant():
    assert reports.DEPTH.id == "adversarial-training-deepens-mechanism-depth"


def test_counts():
    assert reports.report().summary == Summary(planned=6, ran=4, supported=1, refuted=2, inconclusive=1, not_run=2)
    assert replace(reports.report(), findings=()).summary == Summary(
        planned=0, ran=0, supported=0, refuted=0, inconclusive=0, not_run=0
    )


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({}, True),
        ({"gating": False}, False),
        ({"expected_failure": "#12"}, False),
        ({"verdict": "inconclusive"}, False),
        ({"verdict": "supported"}, False),
    ],
)
def test_only_unexpected_gating_refutations_fail_the_run(changes, fails):
    finding = replace(reports.DISTANCE, **changes)
    assert reports.report(reports.ENERGY, finding).failures == (finding,) * fails


def test_a_dict_has_the_counts_and_keeps_infinities():
    content = reports.report().as_dict()
    assert content["summary"]["planned"] == 6
    assert content["findings"][1]["interval"] == (0.66, float("inf"))
