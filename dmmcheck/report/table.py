"""One row a claim, as a table that fits a width; a narrower one stacks cells first, then leaves out the statement."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tabulate import tabulate

from dmmcheck.inference.types import BUILTIN
from dmmcheck.report import wording
from dmmcheck.report.claims import Claim, claims
from dmmcheck.report.model import Chance, Finding, Report

GAP = 2  # spaces between two columns
LEAST_ROOM = 20  # columns of a statement beside details, however narrow the table is
HOLDS = "holds at k"
SYMBOLS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "not-run": "-"}
COLOURS = {"supported": "32", "refuted": "33", "inconclusive": "36", "not-run": "2"}
FAILURE_COLOUR = "1;31"


@dataclass(frozen=True)
class Row:
    """A row: a claim, or one of its controls.

    Attributes:
        name: What stands in the first column.
        finding: The finding whose numbers it shows.
        chance: How it stands beside chance.
        is_claim: Whether it is a claim, which has its statement on a line below.
    """

    name: str
    finding: Finding
    chance: Chance | None
    is_claim: bool


Columns = Mapping[str, Callable[[Row], str]]


@dataclass(frozen=True)
class Layout:
    """The columns between the claim and the verdict.

    Attributes:
        columns: From a heading to the text of a finding's cell.
        has_statement: Whether the statement stands on a line below the name of the check.
        details_below: Whether the dimensions and the number of inputs stand on that line, too.
        stacked: Whether ``(advisory)`` and ``(expected)`` are put below the verdict.
        name_width: Characters after which the name of a check is broken at a hyphen.
        is_brief: Whether each claim takes one line, and its statement and the name of its control are left out.
    """

    columns: Columns
    has_statement: bool = True
    details_below: bool = False
    stacked: bool = False
    name_width: int = 40
    is_brief: bool = False


def render(report: Report, width: int, *, colour: bool = False, verbose: bool = False, brief: bool = False) -> str:
    """Return one row for each claim that was tested, in the fullest layout that fits, else in the narrowest one.

    Args:
        report: The report.
        width: Columns that the table may take.
        colour: Mark verdicts with ANSI colours.
        verbose: Add a row for each control below its claim.
        brief: Give each claim one line where the width allows it, without its statement.
    """
    ran = [claim for claim in claims(report.findings) if claim.finding.verdict != "not-run"]
    if not ran:
        return "no check ran"
    layouts = [layout for layout in LAYOUTS if brief or not layout.is_brief]
    fitting = (table for layout in layouts if _width(table := _drawn(ran, layout, colour, verbose)) <= width)
    return next(fitting, "") or _drawn(ran, LAYOUTS[-1], colour, verbose)


def coloured(text: str, code: str) -> str:
    """Return the text in an ANSI colour; each line is coloured separately, since a table may split the lines."""
    return "\n".join(f"\033[{code}m{line}\033[0m" for line in text.splitlines())


def _estimate(row: Row, separator: str) -> str:
    return f"{wording.number(row.finding.estimate)}{separator}{wording.interval(row.finding.interval)}".strip()


def _layouts() -> tuple[Layout, ...]:
    """Return the layouts, from the fullest to the narrowest."""
    asked: Columns = {"asked": lambda row: wording.threshold(row.finding)}
    wide: Columns = {"estimate [interval]": lambda row: _estimate(row, " "), **asked}
    both: Columns = {"estimate": lambda row: f"{_estimate(row, chr(10))}\n{wording.threshold(row.finding)}"}
    narrow: Columns = {"estimate": lambda row: _estimate(row, "\n"), **asked}
    chance: Columns = {"beside chance": lambda row: wording.chance(row.chance, row.finding.unit)}
    below: Columns = {"beside chance": lambda row: wording.chance(row.chance, row.finding.unit, "\n")}
    short: Columns = {"beside chance": lambda row: wording.chance(row.chance, row.finding.unit).partition(" [")[0]}
    rest: Columns = {HOLDS: lambda row: wording.dims(row.finding), "n": lambda row: wording.inputs(row.finding)}
    return (
        Layout({**wide, **short, **rest}, has_statement=False, is_brief=True),
        Layout({**wide, **short, **rest}, has_statement=False, is_brief=True, stacked=True),
        Layout({**wide, **chance, **rest}),
        Layout({**wide, **chance}, details_below=True),
        Layout({**wide, **chance}, details_below=True, stacked=True),
        Layout({**narrow, **below}, details_below=True, stacked=True),
        Layout({**both, **below}, has_statement=False, stacked=True, name_width=21),
    )


LAYOUTS = _layouts()


def _drawn(ran: list[Claim], layout: Layout, colour: bool, verbose: bool) -> str:
    """Return the table in this layout."""
    rows, below = [["claim", *layout.columns, "verdict"]], []
    for above, claim in zip([None, *ran], ran, strict=False):
        for row in (
            Row(_name(claim, above), claim.finding, claim.chance, True),
            *(_controls(claim) if verbose else ()),
        ):
            cells = [cell(row) for cell in layout.columns.values()]
            rows.append([textwrap.fill(row.name, layout.name_width), *cells, _verdict(row.finding, layout, colour)])
            below.append(_below(row, layout))
    return _with_lines_below(rows, below)


def _controls(claim: Claim) -> list[Row]:
    ran = (finding for finding in claim.controls if finding.verdict != "not-run")
    return [Row(f"· {wording.control_name(finding)}", finding, finding.chance, False) for finding in ran]


def _below(row: Row, layout: Layout) -> tuple[str, str]:
    """Return the texts of the line below a claim: its statement, and what has no column of its own."""
    if not row.is_claim or not layout.has_statement:
        return "", ""
    details = [f"beside {row.chance.control}" if row.chance is not None else ""]
    if layout.details_below:
        dims = wording.dims(row.finding)
        details += [f"{HOLDS} = {dims}" if dims else "", f"n = {wording.inputs(row.finding)}"]
    return row.finding.statement, ", ".join(filter(None, details))


def _with_lines_below(rows: list[list[str]], below: list[tuple[str, str]]) -> str:
    """Return the table, with a line below each row: a statement, and details at its right end."""
    lines = tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()
    wide = max(map(_length, lines))
    rule, heights = "-" * wide, [max(cell.count("\n") + 1 for cell in row) for row in rows]
    drawn, position = [*lines[: heights[0]], rule], heights[0]
    for height, (statement, details) in zip(heights[1:], below, strict=True):
        drawn += lines[position : position + height]
        drawn += _line_below(statement, details, wide)
        position += height
    return "\n".join([*drawn, rule])


def _line_below(statement: str, details: str, wide: int) -> list[str]:
    room = wide - len(details) - GAP if details else wide
    wrapped = textwrap.wrap(statement, max(room, LEAST_ROOM), initial_indent="  ", subsequent_indent="  ") or [
        ""
    ] * bool(details)
    return [f"{wrapped[0]}{details.rjust(wide - len(wrapped[0]))}", *wrapped[1:]] if details else wrapped


def _name(claim: Claim, above: Claim | None) -> str:
    """Return the check, or the variant where the claim above is of the same check."""
    finding = claim.finding
    if above is None or above.finding.check != finding.check:
        return finding.check
    return f"… {finding.tier if finding.variant == BUILTIN else finding.variant}"


def _verdict(finding: Finding, layout: Layout, colour: bool) -> str:
    text = f"{SYMBOLS[finding.verdict]} {wording.verdict(finding)}"
    if layout.stacked:
        text = text.replace(" (", "\n  (")
    if not colour:
        return text
    fails = finding.verdict == "refuted" and finding.gating
    return coloured(text, FAILURE_COLOUR if fails else COLOURS[finding.verdict])


def _width(table: str) -> int:
    return max(map(_length, table.splitlines()))


def _length(line: str) -> int:
    """Return the width of a line without its colour codes."""
    return len(re.sub(r"\033\[[\d;]*m", "", line))
