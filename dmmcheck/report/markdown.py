"""A report as GitHub-flavoured Markdown: the same table and the same facts as on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from dmmcheck.report import wording
from dmmcheck.report.model import Finding, Report

COLUMNS = ("check", "tier", "statement", "estimate [interval]", "threshold", "control", "n (censored)", "verdict")
SYMBOLS = {"supported": "✅", "refuted": "❌", "inconclusive": "❔", "not-run": "⬜"}
ADVISORY = "⚠️"
SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|~$"})


def render(report: Report) -> str:
    """The table, and below it the facts, the open questions and the failures."""
    blocks = ["## dmmcheck", _table(report), *_facts(report), *_open_questions(report), *_failures(report)]
    return "\n\n".join(blocks) + "\n"


def _table(report: Report) -> str:
    rows = [_row(finding) for group in wording.by_check(report.findings) for finding in group]
    if not rows:
        return "No check was planned."
    return _drawn(rows, COLUMNS)


def _row(finding: Finding) -> list[str]:
    estimate = f"{wording.number(finding.estimate)} {wording.interval(finding.interval)}".strip()
    symbol = SYMBOLS[finding.verdict] if finding.gating or finding.verdict != "refuted" else ADVISORY
    cells = (
        wording.name_in_check(finding),
        wording.statement(finding),
        estimate,
        wording.threshold(finding),
        wording.control_in_full(finding),
        wording.inputs(finding),
    )
    return [f"`{finding.check}`", *map(_escaped, cells), f"{symbol} {wording.verdict(finding)}"]


def _facts(report: Report) -> Iterator[str]:
    yield _listed(f"**{label}**: {_escaped(text)}" for label, text in wording.facts(report))
    rows = [
        [
            "info" if item.ok is None else "**failed**",
            *map(_escaped, (item.name, wording.number(item.value), wording.number(item.limit), item.message)),
        ]
        for item in wording.notable(report.soundness)
    ]
    if rows:
        yield _drawn(rows, ["", "soundness", "value", "limit", ""])


def _open_questions(report: Report) -> Iterator[str]:
    chance = wording.not_beyond_chance(report)
    lines = [f"**chance**: {_escaped(chance)}"] if chance else []
    lines += [f"**note**: {_escaped(name)}: {_escaped(note)}" for name, note in wording.notes(report)]
    lines += [f"**{kind}**: {_escaped(names)}: {_escaped(reason)}" for kind, names, reason in wording.unsettled(report)]
    if lines:
        yield _listed(lines)


def _failures(report: Report) -> Iterator[str]:
    if report.failures:
        yield _listed(f"**failed**: {_escaped(wording.failure(finding))}" for finding in report.failures)


def _drawn(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    table: str = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
    return table


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _escaped(text: str) -> str:
    """The text on one line, with all characters escaped that Markdown would interpret."""
    return " ".join(text.split()).translate(SPECIAL)
