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
from dmmcheck.report.model import Finding, Report

GAP = 2  # spaces between two columns
SYMBOLS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "not-run": "-"}
COLOURS = {"supported": "32", "refuted": "33", "inconclusive": "36", "not-run": "2"}
FAILURE_COLOUR = "1;31"

Columns = Mapping[str, Callable[[Finding], str]]


@dataclass(frozen=True)
class Layout:
    """The columns between the claim and the verdict.

    Attributes:
        columns: From a heading to the text of a finding's cell.
        has_statement: Whether the statement stands on a line below the name of the check.
        details_below: Whether the dimensions and the number of inputs stand on that line, too.
        stacked: Whether ``(advisory)`` and ``(expected)`` are put below the verdict.
        name_width: Characters after which the name of a check is broken at a hyphen.
    """

    columns: Columns
    has_statement: bool = True
    details_below: bool = False
    stacked: bool = False
    name_width: int = 40


def render(report: Report, width: int, *, colour: bool = False, verbose: bool = False) -> str:
    """One row for each claim that was tested, in the fullest layout that fits; in the narrowest one if none fits.

    Args:
        report: The report.
        width: Columns that the table may take.
        colour: Mark verdicts with ANSI colours.
        verbose: Add a row for each control below its claim.
    """
    ran = [claim for claim in claims(report.findings) if claim.finding.verdict != "not-run"]
    if not ran:
        return "no check ran"
    fitting = (table for layout in LAYOUTS if _width(table := _drawn(ran, layout, colour, verbose)) <= width)
    return next(fitting, "") or _drawn(ran, LAYOUTS[-1], colour, verbose)


def coloured(text: str, code: str) -> str:
    """The text in an ANSI colour; each line is coloured separately, since a table may split the lines."""
    return "\n".join(f"\033[{code}m{line}\033[0m" for line in text.splitlines())


def _estimate(finding: Finding, separator: str) -> str:
    return f"{wording.number(finding.estimate)}{separator}{wording.interval(finding.interval)}".strip()


def _layouts() -> tuple[Layout, ...]:
    """The layouts, from the fullest to the narrowest."""
    asked: Columns = {"asked": wording.threshold}
    wide: Columns = {"estimate [interval]": lambda finding: _estimate(finding, " "), **asked}
    both: Columns = {"estimate": lambda finding: f"{_estimate(finding, chr(10))}\n{wording.threshold(finding)}"}
    narrow: Columns = {"estimate": lambda finding: _estimate(finding, "\n"), **asked}
    chance: Columns = {"beside chance": wording.chance}
    below: Columns = {"beside chance": lambda finding: wording.chance(finding, "\n")}
    return (
        Layout({**wide, **chance, "k": wording.dims, "n": wording.inputs}),
        Layout({**wide, **chance}, details_below=True),
        Layout({**wide, **chance}, details_below=True, stacked=True),
        Layout({**narrow, **below}, details_below=True, stacked=True),
        Layout({**both, **below}, has_statement=False, stacked=True, name_width=21),
    )


LAYOUTS = _layouts()


def _drawn(ran: list[Claim], layout: Layout, colour: bool, verbose: bool) -> str:
    """The table in this layout."""
    rows, below = [["claim", *layout.columns, "verdict"]], []
    for above, claim in zip([None, *ran], ran, strict=False):
        for finding in (claim.finding, *(_controls(claim) if verbose else ())):
            is_claim = finding is claim.finding
            name = _name(claim, above) if is_claim else f"· {wording.control_name(finding)}"
            cells = [cell(finding) for cell in layout.columns.values()]
            rows.append([textwrap.fill(name, layout.name_width), *cells, _verdict(finding, layout, colour)])
            below.append(_below(finding, layout) if is_claim else ("", ""))
    return _with_lines_below(rows, below)


def _controls(claim: Claim) -> tuple[Finding, ...]:
    return tuple(finding for finding in claim.controls if finding.verdict != "not-run")


def _below(finding: Finding, layout: Layout) -> tuple[str, str]:
    """The texts of the line below a claim: its statement, and what has no column of its own."""
    beside = f"beside {finding.chance.control}" if finding.chance is not None else ""
    details = [beside]
    if layout.details_below:
        dims = wording.dims(finding)
        details += [f"k = {dims}" if dims else "", f"n = {wording.inputs(finding)}"]
    return finding.statement * layout.has_statement, ", ".join(filter(None, details)) * layout.has_statement


def _with_lines_below(rows: list[list[str]], below: list[tuple[str, str]]) -> str:
    """The table, with a line below each row: a statement, and details at its right end."""
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
    wrapped = textwrap.wrap(statement, room, initial_indent="  ", subsequent_indent="  ") or [""] * bool(details)
    return [f"{wrapped[0]}{details.rjust(wide - len(wrapped[0]))}", *wrapped[1:]] if details else wrapped


def _name(claim: Claim, above: Claim | None) -> str:
    """The check, or the variant where the claim above is of the same check."""
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
    """The width of a line without its colour codes."""
    return len(re.sub(r"\033\[[\d;]*m", "", line))
