"""A report as GitHub-flavoured Markdown: the same table and the same facts as on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from dmmcheck.report import wording
from dmmcheck.report.claims import Claim, claims
from dmmcheck.report.harmless import harmless_report
from dmmcheck.report.headline import headline
from dmmcheck.report.model import Finding, Report

COLUMNS = (
    "claim",
    "statement",
    "estimate [interval]",
    "asked",
    "beside chance",
    "holds at k",
    "n (censored)",
    "verdict",
)
CONTROLS = ("claim", "control", "asked", "its median [95 %]", "beside it", "draws", "verdict")
SYMBOLS = {"supported": "✅", "refuted": "❌", "inconclusive": "❔", "not-run": "⬜"}
ADVISORY = "⚠️"
SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|~$"})


def render(report: Report) -> str:
    """Return the headline, one row a claim, then facts, open questions, failures, and the controls."""
    report = harmless_report(report)
    head = ["## dmmcheck", _escaped(headline(report)), _table(report)]
    blocks = [*head, *_facts(report), _origin(report), *_open_questions(report), *_failures(report)]
    blocks += [*_changes(report), *_controls(report)]
    return "\n\n".join(blocks) + "\n"


def _origin(report: Report) -> str:
    """Return when and by which run the report was made, whether it is complete, and the errors of the run."""
    whole = "complete" if report.complete else "incomplete: selected tests have no finding"
    lines = [
        f"**made**: {_escaped(report.created or 'unknown')} by the run {_escaped(report.run or 'unknown')}, {whole}"
    ]
    return _listed([*lines, *(f"**error**: {_escaped(error)}" for error in report.errors)])


def _table(report: Report) -> str:
    rows = [_row(claim) for claim in claims(report.findings)]
    return _drawn(rows, COLUMNS) if rows else "No check was planned."


def _row(claim: Claim) -> list[str]:
    finding, chance = claim.finding, claim.chance
    cells = (
        wording.statement(finding),
        f"{wording.number(finding.estimate)} {wording.interval(finding.interval)}".strip(),
        wording.threshold(finding),
        wording.chance(chance, finding.unit) + (f" beside {chance.control}" if chance is not None else ""),
        wording.dims(finding),
        wording.inputs(finding),
    )
    return [_code(finding.id), *map(_escaped, cells), _verdict(finding)]


def _verdict(finding: Finding) -> str:
    symbol = SYMBOLS[finding.verdict] if finding.gating or finding.verdict != "refuted" else ADVISORY
    return f"{symbol} {wording.verdict(finding)}"


def _controls(report: Report) -> Iterator[str]:
    """Yield a table with each claim beside each of its controls."""
    rows = []
    for claim in claims(report.findings):
        for finding in claim.controls:
            if finding.control is None or finding.chance is None:
                continue
            cells = (
                finding.control.name,
                wording.threshold(finding),
                f"{wording.number(finding.control.estimate)} {wording.interval(finding.control.interval)}",
                wording.chance(finding.chance, finding.unit),
                f"{finding.chance.draws} ({wording.p_value(finding)})",
            )
            rows.append([_code(finding.id), *map(_escaped, cells), _verdict(finding)])
    if rows:
        yield "### Beside chance, control by control"
        yield _drawn(rows, CONTROLS)


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
    findings = report.findings
    lines = [f"**note**: {_escaped(name)}: {_escaped(note)}" for name, note in wording.notes(findings)]
    for kind in ("inconclusive", "not-run"):
        for names, reason in wording.reasons(findings, kind):
            lines.append(f"**{kind.replace('-', ' ')}**: {_escaped(names)}: {_escaped(reason)}")
    lines += [f"**not told**: {_escaped(name)}: {_escaped(reason)}" for name, reason in wording.not_told(findings)]
    if lines:
        yield _listed(lines)


def _failures(report: Report) -> Iterator[str]:
    lines = [f"**failed**: {_escaped(wording.failure(finding))}" for finding in report.failures]
    lines += [f"**worse**: {_escaped(text)}" for text in wording.regressions(report).values()]
    if lines:
        yield _listed(lines)


def _changes(report: Report) -> Iterator[str]:
    """Yield a table with each claim and distance beside the baseline."""
    changes = {f"distance {name}": change for name, change in report.distance_changes.items()}
    changes |= {finding.id: finding.change for finding in report.findings if finding.change is not None}
    rows = [[_code(name), _escaped(wording.change(change)), f"{change.n}"] for name, change in changes.items()]
    if rows:
        yield "### Beside the baseline"
        yield _drawn(rows, ("claim", "change", "inputs"))


def _drawn(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    table: str = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
    return table


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _code(text: str) -> str:
    """Return the text as code in a cell of a table, which ends neither the code nor the cell."""
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def _escaped(text: str) -> str:
    """Return the text on one line, with all characters escaped that Markdown would interpret."""
    return " ".join(text.split()).translate(SPECIAL)
