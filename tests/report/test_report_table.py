"""The table: rows, columns and their order, within the width."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import reports
from reports import row_of

from dmmcheck.report.table import COLOURS, FAILURE_COLOUR, coloured, render

LONGEST = replace(
    reports.MAIN_EFFECT, verdict="supported", estimate=1234.0, interval=(-0.0123, 12345.0), n=512, censored=100
)


def test_a_row_has_all_numbers_of_a_finding():
    text = render(reports.report(), 200)
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


def test_the_threshold_shows_the_direction_of_the_claim():
    finding = replace(reports.ENERGY, direction="less", threshold=1.25)
    assert "< 1.25" in render(reports.report(finding), 140)


def test_rows_of_a_check_are_adjacent_and_each_control_follows_its_claim():
    fab = replace(reports.ENERGY, variant="fab")
    fab_controlled = replace(reports.ENERGY_CONTROLLED, variant="fab")
    mixed = (fab_controlled, reports.DISTANCE, reports.ENERGY_CONTROLLED, fab, reports.ENERGY)
    text = render(reports.report(*mixed), 200)
    rows = [line for line in text.splitlines() if " stated " in line or " controlled " in line]
    tiers = [re.split(r"\s{2,}", line)[:2] for line in rows]
    assert tiers == [
        ["off-manifold-energy", "stated"],
        ["", "controlled"],
        ["… fab", "stated"],
        ["… fab", "controlled"],
        ["on-manifold-distance", "stated"],
    ]


@pytest.mark.parametrize("width", range(80, 201))
def test_the_table_stays_within_the_width_and_shows_every_estimate(width: int):
    findings = (*reports.report().findings, LONGEST)
    table = render(reports.report(*findings), width)
    assert max(map(len, table.splitlines())) <= width
    for word in ("0.912", "[0.899, 0.925]", "[-0.0123, 12345]", "0.876", "> 0.889", "controlled", "mechanism"):
        assert word in table


def test_findings_that_did_not_run_have_no_row():
    assert "adversarial-training-deepens" not in render(reports.report(), 200)
    assert render(reports.report(reports.DEPTH), 200) == "no check ran"


def test_a_control_of_a_mechanism_follows_it():
    held = replace(reports.ENERGY_CONTROLLED, check=LONGEST.check, variant=LONGEST.variant)
    after = replace(reports.ENERGY, tier="mechanism")
    mixed = (after, held, LONGEST, reports.ENERGY_CONTROLLED, reports.ENERGY)
    table = render(reports.report(*mixed), 200)
    assert re.findall(r" (stated|controlled|mechanism) ", table) == [
        *("stated", "controlled", "mechanism"),  # of off-manifold-energy
        *("mechanism", "controlled"),
    ]


@pytest.mark.parametrize(("width", "shown"), [(80, False), (100, False), (120, True), (140, True), (200, True)])
def test_a_narrow_table_leaves_out_the_statement_first(width: int, shown: bool):
    table = render(reports.report(), width)
    assert (" lie " in " ".join(table.split())) is shown


def test_each_line_is_coloured_separately():
    assert coloured("a\nb", "32") == "\033[32ma\033[0m\n\033[32mb\033[0m"


@pytest.mark.parametrize("width", [60, 100, 200])
def test_colours_take_no_width_and_mark_gating_refutations(width: int):
    report = reports.report(reports.ENERGY, reports.DISTANCE, reports.ENERGY_CONTROLLED)
    plain, colour = render(report, width), render(report, width, colour=True)
    assert re.sub(r"\033\[[\d;]*m", "", colour) == plain
    assert colour.count(f"\033[{FAILURE_COLOUR}m✗ refuted\033[0m") == 1
    assert colour.count(f"\033[{COLOURS['refuted']}m✗ refuted") == 1
