"""A report as a table for the terminal, and what it rests on in one line each."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

from dmmcheck.report import wording
from dmmcheck.report.model import Finding, Report

DEFAULT_WIDTH = 140
GAP = 2  # between columns
LABEL = 13  # width of the labels under the table
NARROWEST_STATEMENT = 22
WIDEST_STATEMENT = 60

SYMBOLS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "not-run": "-"}
ASCII = str.maketrans({"✓": "+", "✗": "x", "…": "...", "\u2013": "-", "\u2014": "-", "\u03c1": "rho"})
COLOURS = {"supported": "32", "refuted": "33", "inconclusive": "36", "not-run": "2"}
FAILURE_COLOUR = "1;31"

Cell = Callable[[Finding], str]
Columns = Mapping[str, Cell]


@dataclass(frozen=True)
class Layout:
    """Columns after the check, and where the statement goes: a column of its own, below the check's name, nowhere."""

    columns: Columns
    statement: Literal["column", "below", ""] = ""
    tier_below: bool = False
    stacked: bool = True  # "(advisory)" below the verdict


def render(
    report: Report,
    *,
    colour: bool = False,
    width: int | None = None,
    reruns: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
) -> str:
    """The table, with the facts, the open questions and the failures under it.

    Args:
        report: What to show.
        colour: Mark verdicts with ANSI colours.
        width: Columns to stay within, 140 where not given; below 80 lines may be longer.
        reruns: Finding id to the command that reruns it, for the gating failures.
        encoding: What the output will be written in; what it lacks is shown in ASCII.
    """
    width = width or DEFAULT_WIDTH
    blocks = [_table(report, width, colour), "\n".join(_facts(report, width))]
    blocks.append("\n".join(_open_questions(report, width)))
    blocks.append("\n".join(_failures(report, width, reruns or {}, colour)))
    return _encodable("\n\n".join(filter(None, blocks)), encoding)


def _table(report: Report, width: int, colour: bool) -> str:
    if not report.findings:
        return "no check was planned"
    drafts = (_laid_out(report, layout, width, colour) for layout in _layouts())
    return next(filter(None, drafts), "") or _drawn(report, _layouts()[-1], 0, colour)


def _layouts() -> tuple[Layout, ...]:
    """From the fullest to the narrowest."""
    tier: Columns = {"tier": lambda finding: finding.tier}
    wide: Columns = {"estimate [interval]": lambda finding: _estimate(finding, " ")}
    narrow: Columns = {"estimate": lambda finding: _estimate(finding, "\n")}
    limits: Columns = {"threshold": wording.threshold, "control": wording.control}
    in_full: Columns = {**limits, "control": wording.control_in_full, "n (censored)": wording.inputs}
    against: Columns = {"against": lambda finding: f"{wording.threshold(finding)}\n{wording.control(finding)}"}
    n: Columns = {"n": wording.inputs}
    return (
        Layout({**tier, **wide, **in_full}, "column", stacked=False),
        Layout({**tier, **wide, **limits, **n}, "column"),
        Layout({**tier, **wide, **limits, **n}, "below"),
        Layout({**tier, **narrow, **against, **n}),
        Layout({**narrow, **against}, tier_below=True),
    )


def _estimate(finding: Finding, separator: str) -> str:
    return f"{wording.number(finding.estimate)}{separator}{wording.interval(finding.interval)}".strip()


def _laid_out(report: Report, layout: Layout, width: int, colour: bool) -> str:
    """The table in this layout, or "" where it does not fit."""
    bare = _drawn(report, layout, 0, colour)
    room = width - _width(bare)
    if not layout.statement:
        return bare if room >= 0 else ""
    taken = max(len(finding.check) for finding in report.findings) if layout.statement == "below" else 0
    room = min(room + taken, WIDEST_STATEMENT)
    return _drawn(report, layout, room, colour) if room >= NARROWEST_STATEMENT else ""


def _drawn(report: Report, layout: Layout, room: int, colour: bool) -> str:
    """The table in this layout, with `room` columns for the statement."""
    separate = layout.statement == "column" and room > 0
    rows = [["check", *layout.columns, "verdict"]]
    for group in wording.by_check(report.findings):
        for above, finding in zip([None, *group], group, strict=False):
            said = textwrap.wrap(_statement(finding, above), room - GAP) if room > GAP else []
            cells = [cell(finding) for cell in layout.columns.values()]
            if separate:
                cells.insert(1, "\n".join(said))
            name = _name(finding, above, layout, [] if separate else said)
            rows.append([name, *cells, _verdict(finding, colour, stacked=layout.stacked)])
    if separate:
        rows[0].insert(2, "statement")
    return _ruled(rows)


def _name(finding: Finding, above: Finding | None, layout: Layout, said: list[str]) -> str:
    """The check, where it is not the one above; the variant; and what else this layout has no column for."""
    lines = [] if above else [finding.check]
    if layout.tier_below:
        lines.append(f"… {wording.name_in_check(finding)}")
    elif finding.variant != wording.BUILTIN:
        lines.append(f"… {finding.variant}")
    return "\n".join([*lines, *(f"  {line}" for line in said)])


def _ruled(rows: list[list[str]]) -> str:
    """Rows under a header. The header goes in as a row, since tabulate pads its own headers by two columns."""
    lines = tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()
    rule = "-" * max(map(_length, lines))
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _statement(finding: Finding, above: Finding | None) -> str:
    """The claim; only what it adds where the row above says the same."""
    if above is None or above.statement != finding.statement:
        return wording.statement(finding)
    return f"… beyond {finding.control.name}" if finding.control else ""


def _verdict(finding: Finding, colour: bool, *, stacked: bool) -> str:
    text = f"{SYMBOLS[finding.verdict]} {wording.verdict(finding)}"
    if stacked:
        text = text.replace(" (", "\n  (")
    if not colour:
        return text
    fails = finding.verdict == "refuted" and finding.gating
    return _coloured(text, FAILURE_COLOUR if fails else COLOURS[finding.verdict])


def _coloured(text: str, code: str) -> str:
    return "\n".join(f"\033[{code}m{line}\033[0m" for line in text.splitlines())


def _facts(report: Report, width: int) -> Iterator[str]:
    for label, text in wording.facts(report):
        yield from _line(label, text, width)
        if label == "soundness":
            yield from _soundness(report, width)


def _soundness(report: Report, width: int) -> Iterator[str]:
    """A small table of what failed and what only informs."""
    rows = [
        (
            "informs" if item.ok is None else "FAILED",
            item.name,
            wording.number(item.value),
            "" if item.limit is None else f"limit {wording.number(item.limit)}",
        )
        for item in wording.remarkable(report.soundness)
    ]
    if not rows:
        return
    facts = tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()
    indent = LABEL + max(map(len, facts)) + GAP
    for fact, item in zip(facts, wording.remarkable(report.soundness), strict=True):
        yield from _line(" " * LABEL + fact, item.message or "-", width, indent)


def _open_questions(report: Report, width: int) -> Iterator[str]:
    """What is supported but may be chance, and why something is not settled."""
    chance = wording.not_beyond_chance(report)
    if chance:
        yield from _line("chance", chance, width)
    for kind, names, reason in wording.unsettled(report):
        yield from _line(kind, f"{names}: {reason}", width)


def _failures(report: Report, width: int, reruns: Mapping[str, str], colour: bool) -> Iterator[str]:
    """Each refuted gating finding, with the line that reruns it, never broken: it is there to be copied."""
    for finding in report.failures:
        first, *more = _line("failed", wording.failure(finding), width)
        yield _coloured(first, FAILURE_COLOUR) if colour else first
        yield from more
        if finding.id in reruns:
            yield " " * LABEL + reruns[finding.id]


def _line(label: str, text: str, width: int, indent: int = LABEL) -> list[str]:
    """Label and text, continued below the text."""
    return textwrap.wrap(
        text,
        max(width, indent + 30),
        initial_indent=label.ljust(indent),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width(table: str) -> int:
    return max(map(_length, table.splitlines()))


def _length(line: str) -> int:
    """Columns a line takes: colour codes take none."""
    return len(re.sub(r"\033\[[\d;]*m", "", line))


def _encodable(text: str, encoding: str) -> str:
    """The text with what the encoding lacks spelled in ASCII."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(ASCII).encode(encoding, "replace").decode(encoding)
    return text
