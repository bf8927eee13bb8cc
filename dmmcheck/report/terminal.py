"""A report for the terminal: the table, and one line each for the facts below it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from dmmcheck.errors.text import harmless, harmless_lines
from dmmcheck.report import table, wording
from dmmcheck.report.claims import claims
from dmmcheck.report.harmless import harmless_report
from dmmcheck.report.headline import headline
from dmmcheck.report.model import Report

DEFAULT_WIDTH = 140
MOST_LINES = 50  # a longer text is made brief, so that it fits a screen
LABEL = 13  # width of the labels under the table
MORE = "-v adds each claim in words, its controls, and intervals beside chance; --dmm-explain ID explains a claim"
ASCII = str.maketrans({"✓": "+", "✗": "x", "…": "...", "\u2013": "-", "\u2014": "-", "\u03c1": "rho"})


@dataclass(frozen=True, kw_only=True)
class Form:
    """How much of a report is shown.

    Attributes:
        verbose: A row for each control, all items of soundness and all reasons.
        brief_below: What stands below the table is shortened.
        brief_table: Each claim has one line, without its statement.
        notes: What checks have noted is shown.
    """

    verbose: bool = False
    brief_below: bool = False
    brief_table: bool = False
    notes: bool = True


VERBOSE = Form(verbose=True)
FORMS = (
    Form(),
    Form(brief_below=True),
    Form(brief_below=True, brief_table=True),
    Form(brief_below=True, brief_table=True, notes=False),
)
"""From the fullest to the shortest."""


def render(
    report: Report,
    *,
    colour: bool = False,
    width: int | None = None,
    reruns: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
    verbose: bool = False,
    lines_below: int = 0,
) -> str:
    """Return the headline, the table, and below it the facts, the open questions and the failures.

    Where that takes more than 50 lines with those that are printed below it, what stands below the table is shortened.
    Where it still takes more, each claim has one line without its statement, and then notes are left out.

    Args:
        report: The report.
        colour: Mark verdicts with ANSI colours.
        width: Columns that the text may take; 140 where None. Below 80, lines may be longer.
        reruns: From the id of a finding to the command that reruns it; used for gating failures.
        encoding: Encoding of the output; characters that it lacks are replaced by ASCII.
        verbose: Show everything, with a row for each control and the reasons why nothing is told of chance.
        lines_below: How many lines the caller prints below the text, for example the names of written files.
    """
    report, width = harmless_report(report), width or DEFAULT_WIDTH
    forms = (VERBOSE,) if verbose else FORMS
    texts = [_text(report, width, reruns or {}, colour, form) for form in forms]
    short = (text for text in texts if len(text.splitlines()) + lines_below <= MOST_LINES)
    return encodable(next(short, texts[-1]), encoding)


def _text(report: Report, width: int, reruns: Mapping[str, str], colour: bool, form: Form) -> str:
    parts = (
        _facts(report, width, form),
        _open_questions(report, width, form),
        _failures(report, width, reruns, colour),
    )
    drawn = table.render(report, width, colour=colour, verbose=form.verbose, brief=form.brief_table)
    gap = "\n" if form.brief_table else "\n\n"
    below = gap.join(filter(None, ("\n".join(lines) for lines in parts)))
    return f"{textwrap.fill(headline(report), width)}\n\n{drawn}{gap}{below}"


def _facts(report: Report, width: int, form: Form) -> Iterator[str]:
    for label, text in wording.facts(report, brief=form.brief_below):
        yield from _line(label, text, width)
        if label == "soundness":
            yield from _soundness(report, width, verbose=form.verbose)
    if form.brief_table:
        yield from _line("more", MORE, width)


def _soundness(report: Report, width: int, *, verbose: bool) -> Iterator[str]:
    """Yield a small table of the failed soundness items; of those for information, too, where the report is verbose."""
    items = [item for item in wording.notable(report.soundness) if verbose or item.ok is False]
    rows = [
        (
            "info" if item.ok is None else "FAILED",
            item.name,
            wording.number(item.value),
            "" if item.limit is None else f"limit {wording.number(item.limit)}",
        )
        for item in items
    ]
    if not rows:
        return
    facts = tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()
    indent = LABEL + max(map(len, facts)) + table.GAP
    for fact, item in zip(facts, items, strict=True):
        yield from _line(" " * LABEL + fact, item.message or "-", width, indent)


def _open_questions(report: Report, width: int, form: Form) -> Iterator[str]:
    """Yield the notes, and why findings are inconclusive or did not run; in a verbose report of controls, too."""
    shown = list(report.findings) if form.verbose else [claim.finding for claim in claims(report.findings)]
    for names, note in wording.notes(shown, brief=form.brief_below) if form.notes else ():
        yield from _line("note", f"{names}: {note}", width)
    for names, reason in wording.reasons(shown, "inconclusive", brief=form.brief_below):
        yield from _line("inconclusive", f"{names}: {reason}", width)
    if form.verbose:
        for name, reason in wording.not_told(shown):
            yield from _line("not told", f"{name}: {reason}", width)
    left_out = list(wording.reasons(shown, "not-run"))
    if form.brief_below and left_out:
        names = wording.checks_of(finding for finding in shown if finding.verdict == "not-run")
        yield from _line("not run", f"{names} (-v says what is needed)", width)
    elif form.verbose or len(left_out) == 1:
        for names, reason in left_out:
            yield from _line("not run", f"{names}: {reason}", width)
    elif left_out:
        names = wording.names_of(finding for finding in shown if finding.verdict == "not-run")
        yield from _line("not run", f"{names} (-v says what each of them needs)", width)


def _failures(report: Report, width: int, reruns: Mapping[str, str], colour: bool) -> Iterator[str]:
    """Yield for each gating failure the command that reruns the test, on one line; without a command, the finding.

    Only pytest gives commands, and pytest lists the failed tests itself.
    """
    for text in wording.regressions(report).values():
        first, *more = _line("worse", text, width)
        yield from (table.coloured(first, table.FAILURE_COLOUR) if colour else first, *more)
    for finding in report.failures:
        if finding.id in reruns:
            yield "rerun".ljust(LABEL) + harmless(reruns[finding.id])
            continue
        first, *more = _line("failed", wording.failure(finding), width)
        yield table.coloured(first, table.FAILURE_COLOUR) if colour else first
        yield from more


def _line(label: str, text: str, width: int, indent: int = LABEL) -> list[str]:
    """Return the lines of a label and its text; continuation lines begin below the text."""
    return textwrap.wrap(
        text,
        max(width, indent + 30),
        initial_indent=label.ljust(indent),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def written(paths: Iterable[Path], width: int | None = None) -> list[str]:
    """Return the lines that name the files of a report.

    Example:
        >>> from pathlib import Path
        >>> written([Path("report.json"), Path("report.html")])
        ['report       report.json, report.html']
    """
    lines: list[str] = []
    for name in (harmless(str(path)) for path in paths):
        if lines and len(lines[-1]) + len(f", {name}") <= (width or DEFAULT_WIDTH):
            lines[-1] += f", {name}"
        else:
            lines.append(("" if lines else "report").ljust(LABEL) + name)
    return lines


def print_text(text: str) -> None:
    """Print a text of several lines on the standard output, in ASCII if its encoding lacks one of the characters."""
    print(encodable(harmless_lines(text), getattr(sys.stdout, "encoding", None) or "utf-8"))


def encodable(text: str, encoding: str) -> str:
    """Return the text, in ASCII if the encoding lacks one of its characters."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(ASCII).encode(encoding, "replace").decode(encoding)
    return text
