"""One row a claim: which findings belong together, and which word they give beside chance."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import reports

from dmmcheck.report.claims import claims, together, with_chance
from dmmcheck.report.headline import headline

ROTATION, SPECTRUM = reports.ENERGY_CONTROLLED, reports.ENERGY_SPECTRUM


def beside(finding, word, effect=0.0):
    return replace(finding, chance=replace(finding.chance, word=word, effect=effect))


def test_controls_belong_to_the_claim_of_their_variant_else_to_the_first():
    fab, fab_rotation = (replace(one, variant="fab") for one in (reports.ENERGY, ROTATION))
    found = claims((ROTATION, reports.ENERGY, SPECTRUM, fab, fab_rotation, reports.DISTANCE))
    assert [(claim.finding, claim.controls) for claim in found] == [
        (reports.ENERGY, (ROTATION, SPECTRUM)),
        (fab, (fab_rotation,)),
        (reports.DISTANCE, ()),
    ]


def test_a_check_that_only_compares_with_controls_is_one_claim():
    (claim,) = claims((ROTATION, SPECTRUM))
    assert (claim.finding, claim.controls) == (ROTATION, (ROTATION, SPECTRUM))


def test_a_control_that_was_not_measured_has_no_row_of_its_own():
    unsound = replace(
        ROTATION, control=None, threshold=None, n=0, chance=None, verdict="inconclusive", reason="unsound"
    )
    (claim,) = claims((reports.ENERGY, unsound))
    assert claim.controls == (unsound,)
    assert together(claim.controls) is None


@pytest.mark.parametrize(
    ("words", "expected", "control"),
    [
        ((("more", 0.3), ("more", 0.1)), "more", "spectrum-matched spaces"),  # the control that is hardest to exceed
        ((("less", -0.3), ("less", -0.1)), "less", "rotated tangent spaces"),
        ((("more", 0.3), ("like", 0.0)), "like", "spectrum-matched spaces"),
        ((("less", -0.3), ("like", 0.0)), "less", "rotated tangent spaces"),
        ((("like", 0.0), ("not-told", 0.1)), "like", "rotated tangent spaces"),
        ((("more", 0.3), ("not-told", 0.4)), "not-told", "spectrum-matched spaces"),  # not more than every control
        ((("more", 0.3), ("not-told", math.nan)), "not-told", "spectrum-matched spaces"),
    ],
)
def test_the_word_of_a_claim(words, expected, control):
    controls = [beside(one, *word) for one, word in zip((ROTATION, SPECTRUM), words, strict=True)]
    found = together(controls)
    assert (found.word, found.control) == (expected, control)


def test_each_claim_gets_the_word_of_its_controls():
    found = with_chance((reports.ENERGY, ROTATION, SPECTRUM, reports.DISTANCE))
    assert [None if one.chance is None else one.chance.word for one in found] == ["like", "like", "not-told", None]


@pytest.mark.parametrize(
    ("findings", "sentences"),
    [
        ((), ["No claim was tested."]),
        ((reports.DEPTH,), ["No claim was tested."]),
        ((reports.ENERGY, reports.DISTANCE), ["1 of 2 stated claims holds.", "None was compared with chance."]),
        (
            (
                replace(reports.ENERGY, meaningless="supported"),
                ROTATION,
                replace(reports.DISTANCE, meaningless="inconclusive"),
            ),
            ["rotated at random) passes 1 on this model.", "0 of 1 compared with chance exceed it, 1 is like it."],
        ),
        ((ROTATION,), ["0 of 1 compared with chance exceed it, 1 is like it."]),
    ],
)
def test_the_headline_counts_what_was_measured(findings, sentences):
    text = headline(replace(reports.report(), findings=findings))
    for sentence in sentences:
        assert sentence in text


def test_the_headline_says_what_was_unsound():
    text = headline(reports.report(soundness=(reports.UNSOUND,)))
    assert text.endswith("The measurement is not sound (success-on), and claims that depend on this have no verdict.")
    assert headline(reports.report(soundness=())).endswith("Whether the measurement is sound was not tested.")
