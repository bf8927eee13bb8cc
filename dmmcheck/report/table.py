"""The findings as a table that fits a width: the fuller layouts first, the statement the first thing to go."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

from dmmcheck.report import wording
from dmmcheck.report.model import Finding, Report

GAP = 2  # between columns
WIDEST_STATEMENT = 64
SYMBOLS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "not-run": "-"}
COLOURS = {"supported": "32", "refuted": "33", "inconclusive": "36", "not-run": "2"}
FAILURE_COLOUR = "1;31"

Columns = Mapping[str, Callable[[Finding], str]]


@dataclass(frozen=True)
class Layout:
    """Columns between the check and the verdict, and where the statement goes.

    Attributes:
        columns: From a heading to what stands below it.
        statement: In a column of its own, below the check's name, or nowhere.
        room: Least width of the statement that this layout is worth.
        tier_below: The tier stands below the check's name.
        stacked: What is said of a verdict stands below it.
    """

    columns: Columns
    statement: Literal["column", "below", "nowhere"]
    room: int = 0
    tier_below: bool = False
    stacked: bool = True


def render(report: Report, width: int, *, colour: bool = False) -> str:
    """All findings but those that did not run, in the fullest layout that fits; the narrowest where none does."""
    groups = wording.by_check(finding for finding in report.findings if finding.verdict != "not-run")
    if not groups:
        return "no check ran"
    drafts = (_fitted(groups, layout, width, colour) for layout in LAYOUTS)
    return next(filter(None, drafts), "") or _drawn(groups, LAYOUTS[-1], 0, colour)


def coloured(text: str, code: str) -> str:
    """Each line in an ANSI colour of its own, so that a table may take it apart."""
    return "\n".join(f"\033[{code}m{line}\033[0m" for line in text.splitlines())


def _estimate(finding: Finding, separator: str) -> str:
    return f"{wording.number(finding.estimate)}{separator}{wording.interval(finding.interval)}".strip()


def _layouts() -> tuple[Layout, ...]:
    """From the fullest to the narrowest."""
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
    """The table in this layout, or "" where it does not fit."""
    bare = _drawn(groups, layout, 0, colour)
    room = width - max(map(_length, bare.splitlines()))
    if layout.statement == "nowhere":
        return bare if room >= 0 else ""
    if layout.statement == "below":
        room += max(len(group[0].check) for group in groups)
    room = min(room, WIDEST_STATEMENT)
    return _drawn(groups, layout, room, colour) if room >= layout.room else ""


def _drawn(groups: list[list[Finding]], layout: Layout, room: int, colour: bool) -> str:
    """The table in this layout, with `room` columns for the statement."""
    column = layout.statement == "column" and room > 0
    rows = [["check", *layout.columns, "verdict"]]
    if column:
        rows[0].insert(2, "statement")
    for group in groups:
        for above, finding in zip([None, *group], group, strict=False):
            said = _statement(finding, above) if room else ""
            cells = [cell(finding) for cell in layout.columns.values()]
            if column:
                cells.insert(1, textwrap.fill(said, room - GAP))
                said = ""
            rows.append([_name(finding, above, layout, said, room), *cells, _verdict(finding, layout, colour)])
    return _ruled(rows)


def _statement(finding: Finding, above: Finding | None) -> str:
    """The claim; only what it adds where the row above says the same."""
    if above is None or above.statement != finding.statement:
        return wording.statement(finding)
    return f"… beyond {finding.control.name}" if finding.control else ""


def _name(finding: Finding, above: Finding | None, layout: Layout, said: str, room: int) -> str:
    """The check, where it is not the one above, and below it what this layout has no column for."""
    label = "" if finding.variant == wording.BUILTIN else finding.variant
    if layout.tier_below:
        label = wording.name_in_check(finding)
    detail = ": ".join(filter(None, [label, said.removeprefix("… ")]))
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
    """Rows under a header. The header goes in as a row, since tabulate pads its own headers by two columns."""
    lines = tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()
    rule = "-" * max(map(_length, lines))
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _length(line: str) -> int:
    """Columns a line takes: colour codes take none."""
    return len(re.sub(r"\033\[[\d;]*m", "", line))
