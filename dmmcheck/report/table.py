"""The findings as a table that fits a width; a narrower one leaves out the statement first, then stacks columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

from dmmcheck.inference.types import BUILTIN
from dmmcheck.report import wording
from dmmcheck.report.model import Finding, Report

GAP = 2  # spaces between two columns
WIDEST_STATEMENT = 64
SYMBOLS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "not-run": "-"}
COLOURS = {"supported": "32", "refuted": "33", "inconclusive": "36", "not-run": "2"}
FAILURE_COLOUR = "1;31"

Columns = Mapping[str, Callable[[Finding], str]]


@dataclass(frozen=True)
class Layout:
    """The columns between the check and the verdict, and the place of the statement.

    Attributes:
        columns: From a heading to the text of a finding's cell.
        statement: In a column, below the name of the check, or nowhere.
        room: The layout is used only if the statement gets at least this width.
        tier_below: Whether the tier is put below the name of the check.
        stacked: Whether ``(advisory)`` and ``(expected)`` are put below the verdict.
    """

    columns: Columns
    statement: Literal["column", "below", "nowhere"]
    room: int = 0
    tier_below: bool = False
    stacked: bool = True


def render(report: Report, width: int, *, colour: bool = False) -> str:
    """The findings that ran, in the fullest layout that fits; in the narrowest one if none fits.

    Args:
        report: The report.
        width: Columns that the table may take.
        colour: Mark verdicts with ANSI colours.
    """
    groups = wording.by_check(finding for finding in report.findings if finding.verdict != "not-run")
    if not groups:
        return "no check ran"
    fitting = (_fitted(groups, layout, width, colour) for layout in LAYOUTS)
    return next(filter(None, fitting), "") or _drawn(groups, LAYOUTS[-1], 0, colour)


def coloured(text: str, code: str) -> str:
    """The text in an ANSI colour; each line is coloured separately, since a table may split the lines."""
    return "\n".join(f"\033[{code}m{line}\033[0m" for line in text.splitlines())


def _estimate(finding: Finding, separator: str) -> str:
    return f"{wording.number(finding.estimate)}{separator}{wording.interval(finding.interval)}".strip()


def _layouts() -> tuple[Layout, ...]:
    """The layouts, from the fullest to the narrowest."""
    tier: Columns = {"tier": lambda finding: finding.tier}
    wide: Columns = {"estimate [interval]": lambda finding: _estimate(finding, " ")}
    narrow: Columns = {"estimate": lambda finding: _estimate(finding, "\n")}
    limits: Columns = {"threshold": wording.threshold, "control": wording.control}
    in_full: Columns = {**limits, "control": wording.control_in_full}
    against: Columns = {"against": lambda finding: f"{wording.threshold(finding)}\n{wording.control(finding)}"}
    n: Columns = {"n": wording.inputs}
    return (
        Layout({**tier, **wide, **in_full, "n (censored)": wording.inputs}, "column", room=44, stacked=False),
        Layout({**tier, **wide, **limits, **n}, "column", room=34, stacked=False),
        Layout({**tier, **wide, **limits, **n}, "below", room=34, stacked=False),
        Layout({**tier, **wide, **limits, **n}, "below", room=28),
        Layout({**tier, **narrow, **against, **n}, "nowhere"),
        Layout({**narrow, **against}, "nowhere", tier_below=True),
    )


LAYOUTS = _layouts()


def _fitted(groups: list[list[Finding]], layout: Layout, width: int, colour: bool) -> str:
    """The table in this layout; "" if it does not fit."""
    bare = _drawn(groups, layout, 0, colour)
    room = width - max(map(_length, bare.splitlines()))
    if layout.statement == "nowhere":
        return bare if room >= 0 else ""
    if layout.statement == "below":
        room += max(len(group[0].check) for group in groups)
    room = min(room, WIDEST_STATEMENT)
    return _drawn(groups, layout, room, colour) if room >= layout.room else ""


def _drawn(groups: list[list[Finding]], layout: Layout, room: int, colour: bool) -> str:
    """The table in this layout, with a statement of at most `room` characters a line."""
    column = layout.statement == "column" and room > 0
    rows = [["check", *layout.columns, "verdict"]]
    if column:
        rows[0].insert(2, "statement")
    for group in groups:
        for above, finding in zip([None, *group], group, strict=False):
            statement = _statement(finding, above) if room else ""
            cells = [cell(finding) for cell in layout.columns.values()]
            if column:
                cells.insert(1, textwrap.fill(statement, room - GAP))
                statement = ""
            rows.append([_name(finding, above, layout, statement, room), *cells, _verdict(finding, layout, colour)])
    return _ruled(rows)


def _statement(finding: Finding, above: Finding | None) -> str:
    """The claim; if the row above has the same claim, only the control."""
    if above is None or above.statement != finding.statement:
        return wording.statement(finding)
    return f"… beyond {finding.control.name}" if finding.control else ""


def _name(finding: Finding, above: Finding | None, layout: Layout, statement: str, room: int) -> str:
    """The name of the check, unless the row above has it, and below it the parts that have no column here."""
    label = "" if finding.variant == BUILTIN else finding.variant
    if layout.tier_below:
        label = wording.name_in_check(finding)
    detail = ": ".join(filter(None, [label, statement.removeprefix("… ")]))
    lines = textwrap.wrap(detail, room or 40, initial_indent="  " if above is None else "… ", subsequent_indent="  ")
    return "\n".join([finding.check, *lines] if above is None else lines)


def _verdict(finding: Finding, layout: Layout, colour: bool) -> str:
    text = f"{SYMBOLS[finding.verdict]} {wording.verdict(finding)}"
    if layout.stacked:
        text = text.replace(" (", "\n  (")
    if not colour:
        return text
    fails = finding.verdict == "refuted" and finding.gating
    return coloured(text, FAILURE_COLOUR if fails else COLOURS[finding.verdict])


def _ruled(rows: list[list[str]]) -> str:
    """Rows below a header. The header is passed to tabulate as a row, since tabulate widens its own headers by two."""
    lines = tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()
    rule = "-" * max(map(_length, lines))
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _length(line: str) -> int:
    """The width of a line without its colour codes."""
    return len(re.sub(r"\033\[[\d;]*m", "", line))
