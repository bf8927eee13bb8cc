"""The report on the terminal: the facts below the table, in the colours and characters of the terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import reports
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports import row_of

from dmmcheck.inference.cost import Cost
from dmmcheck.report import markdown, terminal
from dmmcheck.report.claims import claims
from dmmcheck.report.model import Report, RunCost

COLOUR = re.compile(r"\033\[[\d;]*m")
RERUN = "pytest 'pyproject.toml::on-manifold-distance-stated-builtin' --dmm"


@pytest.mark.parametrize("width", [80, 100, 120, 140, 160, 200])
def test_a_claim_that_a_random_subspace_passes_is_seen_at_a_glance(width: int):
    """The headline says so in words, and the row of the claim has the word beside chance."""
    claim = replace(reports.ENERGY, meaningless="supported", chance=reports.ENERGY_CONTROLLED.chance)
    text = terminal.render(reports.report(claim, reports.ENERGY_CONTROLLED), width=width)
    headline, table, *_ = text.split("\n\n")
    assert " ".join(headline.split()) == (
        "1 of 1 stated claims holds; a manifold that means nothing (these tangent spaces, rotated at random) passes 1 "
        "on this model. 0 of 1 compared with chance exceed it, 1 is like it. The measurement is sound."
    )
    assert "like" in table
    assert "✓ supported" in table


@pytest.mark.parametrize("width", [100, 120, 140, 160, 200])
def test_lines_below_the_table_stay_within_the_width(width: int):
    for line in terminal.render(reports.report(), width=width).splitlines():
        assert len(line) <= width


def many(count: int, **changes) -> Report:
    """A report with many claims, each with a note, and some that did not run."""
    noted = replace(reports.ENERGY, chance=reports.ENERGY_CONTROLLED.chance, reason="a note; and its second part")
    claims = [replace(noted, check=f"claim-{number}", **changes) for number in range(count)]
    cost = RunCost(
        total=Cost(gradient_evaluations=7, forward_evaluations=9, seconds=3), parts={"search": Cost(seconds=3)}
    )
    return reports.report(*claims, reports.DEPTH, cost=cost)


def test_a_long_table_has_a_line_for_each_claim_and_fits_fifty_lines():
    few, text = (terminal.render(many(count), width=120).splitlines() for count in (3, 28))
    assert len(text) <= 50
    assert reports.ENERGY.statement in "".join(few)
    assert "second part" in "".join(few)
    (row,) = (line for line in text if line.startswith("claim-27 "))
    assert row.split()[:5] == ["claim-27", "0.912", "[0.899,", "0.925]", ">"]
    assert "like" in row
    assert reports.ENERGY.statement not in "".join(text)
    assert "note         " + ", ".join(f"claim-{number}" for number in range(3)) in "\n".join(text)
    assert "second part" not in "".join(text)
    assert row_of("\n".join(text), "run ", "seed").endswith(", 7 gradients, 9 forward passes, 3.0 s")
    assert any("-v adds each claim in words" in line for line in text)
    assert max(map(len, text)) <= 120


@pytest.mark.parametrize("lines_below", [0, 4, 20])
def test_lines_that_the_caller_prints_below_count_towards_the_fifty(lines_below):
    text = terminal.render(many(16), width=120, lines_below=lines_below)
    assert len(text.splitlines()) + lines_below <= 50
    assert (reports.ENERGY.statement in text) == (lines_below == 0)


def test_files_stand_on_one_line_that_is_wrapped_between_their_names():
    names = [Path(f"build/{name}") for name in ("report.json", "report.html", "report\nx.md")]
    (line,) = terminal.written(names, 120)
    assert line.startswith("report       build/report.json, build/report.html, build/report")
    assert "\n" not in line
    assert [text[:13].strip() for text in terminal.written(names * 3, 80)] == ["report", "", ""]
    assert terminal.written([]) == []


def test_in_brief_the_claims_whose_interval_holds_the_limit_share_one_line():
    undecided = [
        replace(reports.ENERGY, check=name, verdict="inconclusive", reason=reason)
        for name, reason in (
            ("first", "the interval holds the limit 0.5"),
            ("second", "the interval holds the limit 1"),
            ("third", "the interval holds the limit 1; 40 inputs would decide"),
        )
    ]
    short, long = (
        terminal.render(reports.report(*undecided), width=120, lines_below=lines_below) for lines_below in (30, 0)
    )
    assert "inconclusive first (stated), second (stated): the interval holds the limit\n" in short
    assert "third (stated): the interval holds the limit 1; 40 inputs" in short
    assert "first (stated): the interval holds the limit 0.5" in long


def test_what_stands_below_the_table_is_shortened_before_the_statements():
    text = terminal.render(many(16), width=120)
    assert len(text.splitlines()) <= 50
    assert reports.ENERGY.statement in text
    assert "second part" not in text
    assert "-v adds" not in text


def test_notes_give_way_last_and_a_verbose_text_is_never_brief():
    plain, verbose = (terminal.render(many(35), width=120, verbose=verbose) for verbose in (False, True))
    assert len(plain.splitlines()) <= 50
    assert "note  " not in plain
    assert "and its second part" in verbose
    assert reports.ENERGY.statement in verbose
    assert "claim-59 " in terminal.render(many(60), width=120)


def test_findings_that_did_not_run_are_below_the_table():
    _, table, *rest = terminal.render(reports.report(), width=200).split("\n\n")
    assert "adversarial-training-deepens" not in table
    assert "adversarial-training-deepens" in "".join(rest)


def test_facts_are_below_the_table():
    text = terminal.render(reports.report())
    assert row_of(text, "subject ") == (
        "subject      DigitsCNN, D = 64 (1 x 8 x 8), 10 classes, accuracy 98.3 %, 256 inputs measured"
    )
    assert row_of(text, "manifold ", "local") == (
        "manifold     local-pca, k = 8, residual 0.812 (median, 1.8 times the distance to the boundary), label "
        "agreement 96.9 %"
    )
    manifold = replace(reports.SUBJECT.manifold, note="trained on 90 points")
    noted = replace(reports.report(), subject=replace(reports.SUBJECT, manifold=manifold))
    assert "agreement 96.9 %, trained on 90 points" in terminal.render(noted, width=200)
    converted = replace(
        reports.report(), subject=replace(reports.SUBJECT, conversions=("x was made dense", "y: texts"))
    )
    assert "conversions  x was made dense; y: texts\n" in terminal.render(converted, width=200)
    assert "conversions" not in text
    assert "all 1 ok" in row_of(text, "soundness")
    assert "free 0.454, on 1.44 (17 of 256 censored), off 0.481" in row_of(text, "distances  ")
    assert "seed 0" in row_of(text, "run  ", "alpha")
    assert row_of(text, "counts").endswith(
        "6 planned, 4 ran: 1 supported, 2 refuted (1 gating), 1 inconclusive; 2 not run"
    )


def test_failed_soundness_items_come_before_those_for_information():
    items = (reports.FLATNESS, reports.SOUND, reports.UNSOUND)
    text = terminal.render(reports.report(soundness=items), width=160, verbose=True)
    assert "1 of 2 failed" in row_of(text, "soundness", "of 2")
    assert "The measurement is not sound (success-on)" in text
    assert "flatness-identity" not in terminal.render(reports.report(soundness=items), width=160)
    assert re.search(r"FAILED +success-on +0.710 +limit 0.950 +found within", text)
    assert text.index("success-on") < text.index("flatness-identity")
    assert "eval-mode" not in text


@pytest.mark.parametrize("verdict", ["supported", "refuted"])
def test_the_note_of_a_verdict_is_shown(verdict):
    finding = replace(reports.DISTANCE, verdict=verdict, reason="lowest at step 16")
    text = terminal.render(reports.report(finding), width=200)
    assert row_of(text, "note ") == "note         on-manifold-distance (stated): lowest at step 16"
    assert "**note**: on-manifold-distance (stated): lowest at step 16" in markdown.render(reports.report(finding))


def test_failures_are_listed_where_there_is_no_command_to_rerun_them():
    text = terminal.render(reports.report(), width=200)
    assert row_of(text, "failed ").startswith(
        "failed       on-manifold-distance (stated): 0.710 [0.660, inf], claimed > 1"
    )


def test_findings_with_one_reason_share_a_line():
    other = replace(reports.DISTANCE, check="two-phases", verdict="not-run", reason="needs checkpoints")
    several = reports.report(*reports.report().findings, other)
    short, verbose = (terminal.render(several, width=200, verbose=verbose) for verbose in (False, True))
    assert row_of(short, "not run ", "-v") == (
        "not run      adversarial-training-deepens (mechanism depth, mechanism main-effect), two-phases (stated) "
        "(-v says what each of them needs)"
    )
    assert "needs checkpoints" not in short
    assert "needs a standard and" in terminal.render(reports.report(), width=200)  # one reason takes no more room
    assert row_of(verbose, "not run ", "needs a").startswith(
        "not run      adversarial-training-deepens (mechanism depth, mechanism main-effect): needs a standard and "
    )
    assert "off-manifold-energy (controlled spectrum): the interval holds" in row_of(verbose, "inconclusive ", "holds")
    assert "controlled spectrum" not in short


def test_gating_failures_have_the_command_that_reruns_them_on_one_line():
    reruns = {finding.id: f"rerun {finding.id}" for finding in reports.report().findings}
    reruns[reports.DISTANCE.id] = RERUN + " " * 3 + "x" * 100
    text = terminal.render(reports.report(), reruns=reruns, width=80)
    lines = text.splitlines()
    assert lines[-1] == f"rerun        {reruns[reports.DISTANCE.id]}"
    assert "failed " not in text.split("\n\n")[-1]  # pytest has said so, above and below
    assert not any("rerun off-manifold-energy" in line for line in lines)  # refuted, but advisory


def test_expected_refutations_are_marked_and_are_no_failures():
    shown = reports.report(replace(reports.DISTANCE, expected_failure="tracked in #12"))
    assert not shown.failures
    text = terminal.render(shown)
    assert row_of(text, "on-manifold-distance").endswith("✗ refuted (expected)")
    assert "failed" not in text


def test_advisory_refutations_are_marked_and_gating_ones_are_not():
    text = terminal.render(reports.report(), width=200, verbose=True)
    assert row_of(text, "· rotated").endswith("✗ refuted (advisory)")
    assert row_of(text, "on-manifold-distance", "254").endswith("✗ refuted")


def test_colour_only_when_asked_and_nothing_but_colour():
    plain, coloured = (terminal.render(reports.report(), colour=colour) for colour in (False, True))
    assert "\033" not in plain
    assert "\033[32m✓ supported\033[0m" in coloured
    assert "\033[1;31m✗ refuted\033[0m" in coloured
    assert COLOUR.sub("", coloured) == plain


def test_a_terminal_without_unicode_gets_ascii():
    finding = replace(reports.ENERGY, statement="\u03c1 ≥ ½ für alle")
    text = terminal.render(reports.report(finding, reports.DISTANCE), encoding="ascii")
    assert text.isascii()
    assert "+ supported" in text
    assert "x refuted" in text
    assert terminal.render(reports.report(finding), encoding="utf-8").count("\u03c1 ≥ ½ für alle") == 1


def test_nothing_measured_is_still_a_report():
    empty = replace(reports.report(), findings=(), subject=None, soundness=(), distances={})
    text = terminal.render(empty)
    assert "no check ran" in text
    assert "not measured" in text
    assert "0 planned, 0 ran" in text


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(reports.reports, st.integers(40, 200), st.booleans(), st.sampled_from(["utf-8", "ascii", "cp1252"]))
def test_any_report_can_be_shown_anywhere(report: Report, width: int, colour: bool, encoding: str):
    text = terminal.render(report, colour=colour, width=width, encoding=encoding)
    text.encode(encoding)
    shown = [claim.finding for claim in claims(report.findings) if claim.finding.verdict != "not-run"]
    assert len(re.findall(r"supported|refuted|inconclusive", text)) >= len(shown)
