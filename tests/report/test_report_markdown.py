"""The Markdown report says what the terminal says."""

from __future__ import annotations

from dataclasses import replace

import reports
from hypothesis import HealthCheck, given, settings

from dmmcheck.report import markdown, wording
from dmmcheck.report.claims import claims
from dmmcheck.report.model import Report


def table(text: str) -> list[list[str]]:
    """Cells of the first table."""
    lines = [line for line in text.split("\n\n")[2].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")] for line in lines]


def test_columns_and_a_row():
    rows = table(markdown.render(reports.report(reports.ENERGY)))
    assert rows[0] == list(markdown.COLUMNS)
    assert rows[2] == [
        "`off-manifold-energy-stated-builtin`",
        "adversarial perturbations lie mostly off-manifold",
        r"0.912 \[0.899, 0.925\]",
        r"\> 0.5",
        "",
        "",
        "256",
        "✅ supported",
    ]


def test_the_headline_comes_first_and_the_controls_last():
    text = markdown.render(reports.report())
    blocks = text.split("\n\n")
    assert blocks[1].startswith("1 of 2 stated claims holds.")
    assert blocks[-2] == "### Beside chance, control by control"
    assert "rotated tangent spaces" in blocks[-1]
    assert "⚠️ refuted (advisory)" in blocks[-1]


def test_facts_reasons_and_failures_are_said_too():
    text = markdown.render(reports.report(soundness=(reports.UNSOUND,)))
    for label, fact in wording.facts(reports.report(soundness=(reports.UNSOUND,))):
        assert f"- **{label}**: {fact}" in text
    assert "| **failed** | success-on" in text
    assert "- **not run**: adversarial-training-deepens (mechanism depth, mechanism main-effect): needs" in text
    assert "- **not told**: off-manifold-energy (controlled spectrum): the interval lies neither" in text
    assert r"- **failed**: on-manifold-distance (stated): 0.710 \[0.660, inf\], claimed \> 1" in text


def test_text_of_the_user_cannot_break_the_table():
    finding = replace(reports.ENERGY, statement="a | b <img src=x>\n| c", check="x")
    rows = table(markdown.render(reports.report(finding)))
    assert len(rows) == 3
    assert rows[2][1] == r"a ¦ b \<img src=x\> ¦ c"


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(reports.reports)
def test_one_row_a_claim_whatever_the_report(report: Report):
    rows = table(markdown.render(report))
    assert len(rows) == (len(claims(report.findings)) + 2 if report.findings else 0)
    assert all(len(row) == len(markdown.COLUMNS) for row in rows)
