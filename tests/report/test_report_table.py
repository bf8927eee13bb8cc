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


COMPARED = replace(reports.ENERGY, chance=reports.ENERGY_CONTROLLED.chance, dims={4: "supported", 8: "refuted"})


def test_a_row_has_all_numbers_of_a_claim_and_its_statement_below():
    text = render(reports.report(COMPARED, reports.DISTANCE), 200)
    header, _, row, below, *_ = text.splitlines()
    assert re.split(r"\s{2,}", header) == [
        *("claim", "estimate [interval]", "asked", "beside chance", "holds at k", "n", "verdict"),
    ]
    assert re.split(r"\s{2,}", row) == [
        "off-manifold-energy",
        "0.912 [0.899, 0.925]",
        "> 0.5",
        "like +0.036 [+0.012, +0.051]",
        "4 of 4-8",
        "256",
        "✓ supported",
    ]
    assert re.split(r"\s{2,}", below.strip()) == [
        "adversarial perturbations lie mostly off-manifold",
        "beside rotated tangent spaces",
    ]
    assert "254 (3)" in row_of(text, "on-manifold-distance", "✗ refuted")


def test_controls_have_rows_only_where_the_table_is_verbose():
    short, verbose = (render(reports.report(), 200, verbose=verbose) for verbose in (False, True))
    assert "· rotated" not in short
    row = row_of(verbose, "· rotated tangent spaces")
    assert re.split(r"\s{2,}", row)[2:4] == ["> 0.889", "like +0.036 [+0.012, +0.051]"]
    assert row.endswith("✗ refuted (advisory)")
    assert verbose.index("· rotated") < verbose.index("· spectrum") < verbose.index("on-manifold-distance")


def test_the_threshold_shows_the_direction_of_the_claim():
    finding = replace(reports.ENERGY, direction="less", threshold=1.25)
    assert "< 1.25" in render(reports.report(finding), 140)


def test_claims_of_a_check_are_adjacent():
    fab = replace(reports.ENERGY, variant="fab")
    after = replace(reports.ENERGY, tier="mechanism")
    lines = render(reports.report(fab, reports.DISTANCE, reports.ENERGY, after), 200).splitlines()
    assert [line.split("  ")[0] for line in lines[2:-1] if not line.startswith("  ")] == [
        *("off-manifold-energy", "… stated", "… mechanism", "on-manifold-distance"),
    ]


@pytest.mark.parametrize("width", range(80, 201))
def test_the_table_stays_within_the_width_and_shows_every_estimate(width: int):
    findings = (COMPARED, *reports.report().findings[1:], LONGEST)
    table = render(reports.report(*findings), width)
    assert max(map(len, table.splitlines())) <= width
    for word in ("0.912", "[0.899, 0.925]", "[-0.0123, 12345]", "+0.036 [+0.012, +0.051]", "> 0.5", "like"):
        assert word in table


def test_findings_that_did_not_run_have_no_row():
    assert "adversarial-training-deepens" not in render(reports.report(), 200)
    assert render(reports.report(reports.DEPTH), 200) == "no check ran"


@pytest.mark.parametrize(("width", "shown"), [(80, False), (100, True), (120, True), (140, True), (200, True)])
def test_the_narrowest_table_leaves_out_the_statement(width: int, shown: bool):
    table = render(reports.report(COMPARED, LONGEST), width)
    assert (" lie " in " ".join(table.split())) is shown


def test_each_line_is_coloured_separately():
    assert coloured("a\nb", "32") == "\033[32ma\033[0m\n\033[32mb\033[0m"


@pytest.mark.parametrize("width", [60, 100, 200])
def test_colours_take_no_width_and_mark_gating_refutations(width: int):
    report = reports.report(reports.ENERGY, reports.DISTANCE, reports.ENERGY_CONTROLLED)
    plain, colour = (render(report, width, colour=colour, verbose=True) for colour in (False, True))
    assert re.sub(r"\033\[[\d;]*m", "", colour) == plain
    assert colour.count(f"\033[{FAILURE_COLOUR}m✗ refuted\033[0m") == 1
    assert colour.count(f"\033[{COLOURS['refuted']}m✗ refuted") == 1
