"""The table: what stands where, within the width, in the colours and characters the terminal has."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import reports
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmmcheck.report import markdown, terminal
from dmmcheck.report.model import Report

COLOUR = re.compile(r"\033\[[\d;]*m")
RERUN = "pytest 'pyproject.toml::on-manifold-distance-stated-builtin' --dmm"


def row_of(text: str, *words: str) -> str:
    """The one line that has all the words."""
    (line,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return line


def test_a_row_holds_what_the_verdict_rests_on():
    text = terminal.render(reports.report(), width=200)
    assert text.splitlines()[1].split("  ")[0] == "check"
    for column in ("tier", "statement", "estimate [interval]", "threshold", "control", "n (censored)", "verdict"):
        assert column in text.splitlines()[1]
    stated = row_of(text, "adversarial perturbations lie mostly off-manifold", "stated")
    assert re.split(r"\s{2,}", stated) == [
        "off-manifold-energy",
        "stated",
        "adversarial perturbations lie mostly off-manifold",
        "0.912 [0.899, 0.925]",
        "> 0.5",
        "256",
        "✓ supported",
    ]
    assert "254 (3)" in row_of(text, "on-manifold-distance", "stated", "✗ refuted")
    assert "0.876 [0.861, 0.889] p 0.83" in row_of(text, "beyond rotated")


def test_a_claim_that_something_is_less_is_shown_as_such():
    finding = replace(reports.ENERGY, direction="less", threshold=1.25)
    assert "< 1.25" in terminal.render(reports.report(finding))


@pytest.mark.parametrize("width", [80, 100, 120, 140, 160, 200])
def test_a_random_subspace_shows_at_a_glance(width: int):
    """Stated supported, controlled not: the two verdicts stand below each other, and a line says it in words."""
    other = replace(reports.DISTANCE, verdict="supported")
    text = terminal.render(reports.report(reports.ENERGY, other, reports.ENERGY_CONTROLLED), width=width)
    verdicts = re.findall(r"[✓✗?] (?:supported|refuted|inconclusive)", text)
    assert verdicts == ["✓ supported", "✗ refuted", "✓ supported"]
    assert "not shown to exceed chance: off-manifold-energy (1 of 1 controls)" in " ".join(text.split())


def test_nothing_is_said_of_chance_where_the_control_is_exceeded():
    controlled = replace(reports.ENERGY_CONTROLLED, verdict="supported")
    assert "chance" not in terminal.render(reports.report(reports.ENERGY, controlled))


def test_rows_of_a_check_stand_together_each_control_below_the_claim_it_holds_to_account():
    fab = replace(reports.ENERGY, variant="fab")
    fab_controlled = replace(reports.ENERGY_CONTROLLED, variant="fab")
    mixed = (fab_controlled, reports.DISTANCE, reports.ENERGY_CONTROLLED, fab, reports.ENERGY)
    text = terminal.render(reports.report(*mixed), width=200)
    rows = [line for line in text.split("\n\n")[0].splitlines() if " stated " in line or " controlled " in line]
    tiers = [re.split(r"\s{2,}", line)[:2] for line in rows]
    assert tiers == [
        ["off-manifold-energy", "stated"],
        ["", "controlled"],
        ["… fab", "stated"],
        ["… fab", "controlled"],
        ["on-manifold-distance", "stated"],
    ]


LONGEST = replace(
    reports.MAIN_EFFECT, verdict="supported", estimate=1234.0, interval=(-0.0123, 12345.0), n=512, censored=100
)


@pytest.mark.parametrize("width", range(80, 201))
def test_the_table_stays_within_the_width_and_shows_every_estimate(width: int):
    findings = (*reports.report().findings, LONGEST)
    table = terminal.render(reports.report(*findings), width=width).split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= width
    for word in ("0.912", "[0.899, 0.925]", "[-0.0123, 12345]", "0.876", "> 0.889", "controlled", "mechanism"):
        assert word in table


@pytest.mark.parametrize("width", [100, 120, 140, 160, 200])
def test_lines_below_the_table_stay_within_the_width(width: int):
    for line in terminal.render(reports.report(), width=width).splitlines():
        assert len(line) <= width


def test_what_did_not_run_takes_no_row():
    table, *rest = terminal.render(reports.report(), width=200).split("\n\n")
    assert "adversarial-training-deepens" not in table
    assert "adversarial-training-deepens" in "".join(rest)


def test_a_control_of_a_mechanism_stands_below_it():
    held = replace(reports.ENERGY_CONTROLLED, check=LONGEST.check, variant=LONGEST.variant)
    after = replace(reports.ENERGY, tier="mechanism")
    mixed = (after, held, LONGEST, reports.ENERGY_CONTROLLED, reports.ENERGY)
    table = terminal.render(reports.report(*mixed), width=200).split("\n\n")[0]
    assert re.findall(r" (stated|controlled|mechanism) ", table) == [
        *("stated", "controlled", "mechanism"),  # of off-manifold-energy
        *("mechanism", "controlled"),
    ]


@pytest.mark.parametrize(("width", "shown"), [(80, False), (100, False), (120, True), (140, True), (200, True)])
def test_the_statement_is_the_first_to_go(width: int, shown: bool):
    table = terminal.render(reports.report(), width=width).split("\n\n")[0]
    assert (" lie " in " ".join(table.split())) is shown


def test_facts_stand_below():
    text = terminal.render(reports.report())
    assert row_of(text, "subject ") == (
        "subject      DigitsCNN, D = 64 (1 x 8 x 8), 10 classes, accuracy 98.3 %, 256 inputs measured"
    )
    assert row_of(text, "manifold ", "local") == (
        "manifold     local-pca, k = 8, residual 0.812 (median), label agreement 96.9 %"
    )
    assert "all 1 ok" in row_of(text, "soundness")
    assert "free 0.454, on 1.44 (17 of 256 censored), off 0.481" in row_of(text, "distances  ")
    assert "seed 0" in row_of(text, "run  ", "alpha")
    assert row_of(text, "counts").endswith(
        "6 planned, 4 ran: 1 supported, 2 refuted (1 gating), 1 inconclusive; 2 not run"
    )


def test_what_is_unsound_is_named_before_what_only_informs():
    items = (reports.FLATNESS, reports.SOUND, reports.UNSOUND)
    text = terminal.render(reports.report(soundness=items), width=160)
    assert "1 of 2 failed" in row_of(text, "soundness")
    assert re.search(r"FAILED +success-on +0.710 +limit 0.950 +found within", text)
    assert text.index("success-on") < text.index("flatness-identity")
    assert "eval-mode" not in text


@pytest.mark.parametrize("verdict", ["supported", "refuted"])
def test_what_was_seen_beside_the_number_of_a_verdict_is_told(verdict):
    finding = replace(reports.DISTANCE, verdict=verdict, reason="lowest at step 16")
    text = terminal.render(reports.report(finding), width=200)
    assert row_of(text, "note ") == "note         on-manifold-distance (stated): lowest at step 16"
    assert "**note**: on-manifold-distance (stated): lowest at step 16" in markdown.render(reports.report(finding))


def test_failures_are_named_where_nothing_else_does():
    text = terminal.render(reports.report(), width=200)
    assert row_of(text, "failed ").startswith(
        "failed       on-manifold-distance (stated): 0.710 [0.660, inf], claimed > 1"
    )


def test_findings_with_one_reason_share_a_line():
    text = terminal.render(reports.report(), width=200)
    assert row_of(text, "not run ", "needs").startswith(
        "not run      adversarial-training-deepens (mechanism depth, mechanism main-effect): needs a standard/robust"
    )
    assert "off-manifold-energy (controlled spectrum): the interval holds" in row_of(text, "inconclusive", "holds")


def test_gating_failures_carry_the_line_that_reruns_them_unbroken():
    reruns = {finding.id: f"rerun {finding.id}" for finding in reports.report().findings}
    reruns[reports.DISTANCE.id] = RERUN + " " * 3 + "x" * 100
    text = terminal.render(reports.report(), reruns=reruns, width=80)
    lines = text.splitlines()
    assert lines[-1] == f"rerun        {reruns[reports.DISTANCE.id]}"
    assert "failed " not in text.split("\n\n")[-1]  # pytest has said so, above and below
    assert not any("rerun off-manifold-energy" in line for line in lines)  # refuted, but advisory


def test_expected_refutations_are_marked_and_no_failures():
    shown = reports.report(replace(reports.DISTANCE, expected_failure="tracked in #12"))
    assert not shown.failures
    text = terminal.render(shown)
    assert row_of(text, "on-manifold-distance").endswith("✗ refuted (expected)")
    assert "failed" not in text


def test_advisory_refutations_are_marked_and_gating_ones_are_not():
    text = terminal.render(reports.report(), width=200)
    assert row_of(text, "beyond rotated").endswith("✗ refuted (advisory)")
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
    table = text.split("\n\n")[0]
    assert len(re.findall(r"supported|refuted|inconclusive", table)) >= report.summary.ran
