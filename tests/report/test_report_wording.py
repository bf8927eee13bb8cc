"""Numbers, verdicts and facts as short texts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import reports

from dmmcheck.report import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (0.91234, "0.912"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (123.45, "123"),
        (12345.6, "12346"),
        (-0.04321, "-0.0432"),
        (0.0, "0.00"),
        (0.000123, "1.23e-04"),
        (1234567.0, "1.23e+06"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (None, ""),
    ],
)
def test_three_significant_digits(value: float | None, text: str):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("found-tangent", 1.0, False),
        ("found-tangent", 0.98, True),
        ("gradients-normal", 0.0, False),
        ("gradients-normal", 0.02, True),
        ("flatness", 0.0, True),
        ("flatness", 1.0, True),
        ("flatness", None, True),
    ],
)
def test_items_for_information_with_the_expected_value_are_left_to_the_json_report(name, value, shown):
    item = replace(reports.FLATNESS, name=name, value=value)
    assert wording.notable([item]) == [item] * shown
    failed = replace(item, ok=False)
    assert wording.notable([failed]) == [failed]


def test_failed_gates_come_before_items_for_information():
    assert wording.notable([reports.FLATNESS, reports.SOUND, reports.UNSOUND]) == [reports.UNSOUND, reports.FLATNESS]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "supported"),
        ({"verdict": "refuted"}, "refuted"),
        ({"verdict": "refuted", "expected_failure": "#12"}, "refuted (expected)"),
        ({"verdict": "refuted", "gating": False}, "refuted (advisory)"),
        ({"verdict": "refuted", "gating": False, "expected_failure": "#12"}, "refuted (advisory)"),
        ({"verdict": "inconclusive", "gating": False}, "inconclusive"),
        ({"verdict": "not-run"}, "not run"),
    ],
)
def test_the_verdict_says_why_a_refutation_does_not_fail_the_run(changes, words):
    assert wording.verdict(replace(reports.ENERGY, **changes)) == words


@pytest.mark.parametrize(
    ("text", "finding", "expected"),
    [
        (wording.threshold, reports.ENERGY, "> 0.5"),
        (wording.threshold, replace(reports.ENERGY, direction="less", threshold=None), ""),
        (wording.p_value, reports.ENERGY, ""),
        (wording.p_value, reports.ENERGY_CONTROLLED, "p 0.83"),
        (wording.control_in_full, reports.ENERGY_CONTROLLED, "0.876 [0.861, 0.889] p 0.83"),
        (wording.inputs, reports.ENERGY, "256"),
        (wording.inputs, reports.DISTANCE, "254 (3)"),
        (wording.inputs, reports.DEPTH, ""),
        (wording.statement, reports.ENERGY_CONTROLLED, f"{reports.ENERGY.statement}, beyond rotated tangent spaces"),
        (wording.name_in_check, reports.ENERGY, "stated"),
        (wording.name_in_check, reports.DEPTH, "mechanism depth"),
        (
            wording.failure,
            reports.DISTANCE,
            "on-manifold-distance (stated): 0.710 [0.660, inf], claimed > 1: staying on the manifold needs larger "
            "perturbations",
        ),
    ],
)
def test_parts_of_a_finding_as_texts(text, finding, expected):
    assert text(finding) == expected


def test_notes_and_open_questions_name_the_findings():
    noted = replace(reports.DISTANCE, reason="lowest at step 16")
    findings = (noted, reports.ENERGY_SPECTRUM, reports.DEPTH, reports.MAIN_EFFECT)
    assert list(wording.notes(findings)) == [("on-manifold-distance (stated)", "lowest at step 16")]
    assert list(wording.reasons(findings, "inconclusive")) == [
        ("off-manifold-energy (controlled spectrum)", reports.ENERGY_SPECTRUM.reason)
    ]
    assert list(wording.reasons(findings, "not-run")) == [
        ("adversarial-training-deepens (mechanism depth, mechanism main-effect)", reports.DEPTH.reason)
    ]
    ((name, reason),) = wording.not_told(findings)
    assert name == "off-manifold-energy (controlled spectrum)"
    assert reason.startswith("the interval lies neither inside what chance does")


@pytest.mark.parametrize(
    ("unit", "word", "effect", "interval", "text"),
    [
        ("ratio", "more", 1.3149, (1.204, 1.42), "more 1.31x [1.20, 1.42]"),
        ("ratio", "less", 0.7612, (0.68, 12.0), "less 0.76x [0.68, 12.00]"),
        ("share", "like", -0.0148, (-0.0373, 0.0099), "like -0.015 [-0.037, +0.010]"),
        ("rate", "not-told", 0.0, (-math.inf, 0.000123), "not told +0.000 [-inf, +0.000]"),
    ],
)
def test_the_word_beside_chance_has_the_effect_and_its_interval(unit, word, effect, interval, text):
    chance = replace(reports.ENERGY_CONTROLLED.chance, word=word, effect=effect, interval=interval)
    assert wording.chance(chance, unit) == text


@pytest.mark.parametrize(
    ("dims", "text"),
    [
        (None, ""),
        ({}, ""),
        ({2: "supported", 4: "supported", 8: "supported"}, "2-8"),
        ({2: "supported", 4: "supported", 8: "refuted", 16: "refuted"}, "2-4 of 2-16"),
        ({2: "refuted", 4: "supported", 8: "inconclusive"}, "4 of 2-8"),
        ({2: "supported", 4: "refuted", 8: "supported"}, "2, 8 of 2-8"),
        ({2: "refuted", 4: "refuted"}, "none of 2-4"),
    ],
)
def test_the_dimensions_at_which_a_claim_holds(dims, text):
    assert wording.dims(replace(reports.ENERGY, dims=dims)) == text
