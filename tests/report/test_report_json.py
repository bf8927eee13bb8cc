"""Strict JSON that follows the shipped schema, and back."""

from __future__ import annotations

import copy
import json as stdlib_json
import math
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import reports
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from dmmcheck.errors import ReportError
from dmmcheck.report import json
from dmmcheck.report.model import SCHEMA, Report

VALIDATOR = Draft202012Validator(json.schema())
FINITE = replace(
    reports.report(reports.ENERGY, reports.ENERGY_CONTROLLED, reports.DEPTH),
    distances={"free": reports.report().distances["free"]},
)
MANY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def loaded(report: Report) -> dict:
    """What a reader of the file gets; NaN and Infinity are not JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return stdlib_json.loads(json.render(report), parse_constant=refuse)


def test_the_schema_is_one():
    Draft202012Validator.check_schema(json.schema())
    assert json.schema()["properties"]["schema"]["const"] == SCHEMA


def test_keys_are_those_of_the_contract_in_its_order():
    content = loaded(reports.report())
    assert list(content) == [
        *("schema", "headline", "dmmcheck", "versions", "seed", "device", "alpha", "subject", "soundness"),
        *("distances", "findings", "planned", "complete", "errors", "created", "run", "fast", "cost", "summary"),
    ]
    assert set(content["findings"][0]) == {
        *("check", "tier", "variant", "statement", "statistic", "unit", "estimate", "interval", "confidence"),
        *("threshold", "direction", "n", "censored", "p_value", "control", "verdict", "gating", "reason"),
        *("reference", "cost", "chance", "dims", "meaningless", "search_error", "unit_of_replication", "replicates"),
        "out_of_time",
    }
    assert content["findings"][3]["chance"]["word"] == "like"
    assert content["findings"][3]["control"] == {
        "name": "rotated tangent spaces",
        "estimate": 0.8761,
        "interval": [0.8613, 0.8894],
    }
    assert content["summary"] == {
        "planned": 6,
        "ran": 4,
        "supported": 1,
        "refuted": 2,
        "inconclusive": 1,
        "not_run": 2,
    }


def test_a_finite_report_survives_unchanged():
    assert json.parse(json.render(FINITE)) == FINITE


def test_the_note_of_a_manifold_survives_where_there_is_one():
    manifold = replace(reports.SUBJECT.manifold, note="trained on 90 points")
    noted = replace(reports.report(), subject=replace(reports.SUBJECT, manifold=manifold))
    content = json.as_json(noted)
    assert content["subject"]["manifold"]["note"] == "trained on 90 points"
    assert json.from_dict(content).subject.manifold == manifold
    assert "note" not in json.as_json(reports.report())["subject"]["manifold"]


def test_conversions_survive_where_there_are_any():
    said = replace(reports.report(), subject=replace(reports.SUBJECT, conversions=("x is a DataFrame",)))
    content = json.as_json(said)
    VALIDATOR.validate(content)
    assert content["subject"]["conversions"] == ["x is a DataFrame"]
    assert json.from_dict(content).subject.conversions == ("x is a DataFrame",)
    assert "conversions" not in json.as_json(reports.report())["subject"]


def test_a_report_of_schema_1_is_read():
    content = loaded(FINITE)
    content["schema"] = "dmmcheck.report/1"
    for key in ("headline", "planned", "complete", "errors", "created", "run", "fast", "cost"):
        del content[key]
    for finding in content["findings"]:
        for key in ("chance", "dims", "meaningless", "search_error", "unit_of_replication", "replicates"):
            del finding[key]
    for item in content["soundness"]:
        del item["widens"]
    first = stdlib_json.loads((resources.files("dmmcheck.report") / "report-1.schema.json").read_text())
    Draft202012Validator(first).validate(content)
    read = json.parse(stdlib_json.dumps(content))
    assert read.schema == SCHEMA
    assert [finding.estimate for finding in read.findings] == [finding.estimate for finding in FINITE.findings]
    assert read.findings[1].chance is None
    assert read.findings[0].replicates == FINITE.findings[0].n


def test_a_report_is_read_from_its_file(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.render(FINITE))
    assert json.read(path) == FINITE
    with pytest.raises(ReportError, match=r"cannot be read \(.*give the path of a report that --dmm-report"):
        json.read(tmp_path / "none.json")


def test_dimensions_are_numbers_again():
    finding = replace(reports.ENERGY, dims={2: "supported", 16: "refuted"}, meaningless="supported")
    (read,) = json.parse(json.render(reports.report(finding))).findings
    assert (read.dims, read.meaningless) == ({2: "supported", 16: "refuted"}, "supported")


def test_a_residual_lost_and_one_that_never_was_are_told_apart():
    subject = FINITE.subject
    lost = replace(FINITE, subject=replace(subject, manifold=replace(subject.manifold, residual_median=math.inf)))
    none = replace(FINITE, subject=replace(subject, manifold=replace(subject.manifold, residual_median=None)))
    assert math.isnan(json.parse(json.render(lost)).subject.manifold.residual_median)
    assert json.parse(json.render(none)).subject.manifold.residual_median is None


@MANY
@given(reports.reports)
def test_any_report_follows_the_schema_and_survives(report: Report):
    content = loaded(report)
    VALIDATOR.validate(content)
    read = json.parse(json.render(report))
    assert json.render(read) == json.render(report)
    assert [finding.id for finding in read.findings] == [finding.id for finding in report.findings]
    assert read.summary == report.summary


@MANY
@given(reports.reports)
def test_every_number_lost_has_a_reason_beside_it(report: Report):
    content = loaded(report)
    for before, after in zip(report.findings, content["findings"], strict=True):
        numbers = [before.estimate, before.threshold, *(before.interval or ())]
        if not all(math.isfinite(number) for number in numbers if number is not None):
            assert after["reason"]
        if before.control and not all(map(math.isfinite, (before.control.estimate, *before.control.interval))):
            assert after["control"]["reason"]
    for before, after in zip(report.soundness, content["soundness"], strict=True):
        if not all(math.isfinite(number) for number in (before.value, before.limit) if number is not None):
            assert after["message"]
    for name, before in report.distances.items():
        if not all(map(math.isfinite, (before.median, *before.quantiles.values()))):
            assert content["distances"][name]["reason"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_becomes_null_and_says_what_it_was(value: float):
    content = loaded(reports.report(replace(reports.ENERGY, estimate=value, interval=(0.1, value))))
    finding = content["findings"][0]
    assert finding["estimate"] is None
    assert finding["interval"] == [0.1, None]
    assert finding["reason"] == "no finite value: estimate, interval"


def test_a_reason_given_is_kept():
    finding = replace(reports.ENERGY, estimate=math.inf, reason="all distances were censored")
    assert loaded(reports.report(finding))["findings"][0]["reason"] == "all distances were censored"


def test_a_censored_distance_is_read_back_as_infinite_and_an_interval_as_unknown():
    read = json.parse(json.render(reports.report()))
    assert read.distances["on"].quantiles["0.95"] == math.inf
    low, high = read.findings[1].interval
    assert low == 0.66
    assert math.isnan(high)


def test_numbers_of_numpy_become_numbers():
    finding = replace(
        reports.ENERGY,
        estimate=np.float32(0.5),
        n=np.int64(7),
        gating=np.bool_(True),
        interval=(np.float64(0.25), np.float32("nan")),
    )
    content = json.as_json(reports.report(finding))["findings"][0]
    assert (content["estimate"], content["n"], content["gating"]) == (0.5, 7, True)
    assert content["interval"] == [0.25, None]
    assert [type(content[key]) for key in ("estimate", "n", "gating")] == [float, int, bool]


def test_what_is_no_number_is_refused_with_its_place():
    with pytest.raises(ReportError, match=r"report.findings\[0\].estimate is a complex"):
        json.render(reports.report(replace(reports.ENERGY, estimate=1j)))


VIOLATIONS = {
    "unknown verdict": lambda content: content["findings"][0].update(verdict="passed"),
    "unknown tier": lambda content: content["findings"][0].update(tier="gold"),
    "missing key": lambda content: content["findings"][0].pop("p_value"),
    "other schema": lambda content: content.update(schema="dmmcheck.report/1"),
    "open interval without a reason": lambda content: content["findings"][0].update(interval=[0.5, None]),
    "no estimate and no reason": lambda content: content["findings"][0].update(estimate=None),
    "not run without a reason": lambda content: content["findings"][2].update(reason=""),
    "no control estimate and no reason": lambda content: content["findings"][1]["control"].update(estimate=None),
    "no median and no reason": lambda content: content["distances"]["free"].update(median=None),
    "no quantile and no reason": lambda content: content["distances"]["free"]["quantiles"].update({"0.5": None}),
    "text for a number": lambda content: content["findings"][0].update(estimate="0.9"),
    "share above one": lambda content: content["subject"].update(accuracy=98.3),
    "negative count": lambda content: content["summary"].update(ran=-1),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_the_schema_refuses(violation: str):
    content = copy.deepcopy(json.as_json(FINITE))
    VALIDATOR.validate(content)
    VIOLATIONS[violation](content)
    assert not VALIDATOR.is_valid(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "schema 'list'"),
        ('{"schema": "dmmcheck.report/0"}', "'dmmcheck.report/0', but this version reads 'dmmcheck.report/1' and 'dmm"),
        ('{"schema": "dmmcheck.report/1"}', "lacks the key 'subject'"),
        (json.render(FINITE).replace('"supported",', '"passed",'), "verdict is 'passed', expected one of supported"),
        (json.render(FINITE).replace('"soundness": [', '"soundness": [3,'), "malformed"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, message: str):
    with pytest.raises(ReportError, match=message):
        json.parse(text)
