"""The report of a boxed run says so in every format."""

from __future__ import annotations

from dataclasses import replace

import reports

from dmmcheck.report import html, json, markdown, terminal

BOX = (0.0, 1.0)
KEPT = "boxed: every search stays within bounds 0 to 1"


def test_every_format_of_the_report_says_that_distances_are_boxed():
    report = replace(reports.report(), box=BOX)
    assert json.parse(json.render(report)).box == BOX
    for render in (terminal.render, markdown.render, html.render):
        assert KEPT in " ".join(render(report).split())
        assert "boxed" not in render(replace(report, box=None))
    assert '"box"' not in json.render(replace(report, box=None))
