"""A report as one self-contained HTML page: no script, no request, light and dark, on a phone and on paper."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from typing import Any

from dmmcheck.errors import ReportError
from dmmcheck.registry import CHECKS
from dmmcheck.report import figures, wording
from dmmcheck.report.claims import Claim, claims
from dmmcheck.report.harmless import harmless_report
from dmmcheck.report.headline import headline
from dmmcheck.report.model import Finding, Report, Soundness

TEMPLATE, STYLE = "page.html.jinja", "page.css"
COMMAND = r"(pytest --.*?(?= accepts it|$))"
"""A command of the shell in a line of what to do."""
WORDS = {"supported": "good", "refuted": "bad", "inconclusive": "open", "not-run": "idle"}


@dataclass(frozen=True)
class Question:
    """One of the questions that a reader has, with its answer in one line.

    Attributes:
        text: The question.
        answer: The answer.
        target: Id of the section that says more.
    """

    text: str
    answer: str
    target: str


def render(report: Report) -> str:
    """Return the report as a page.

    Raises:
        ReportError: jinja2 is not installed.
    """
    require_jinja()
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # an extra

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    with figures.garbage_kept():  # once for all figures
        return _page(environment, harmless_report(report))


def _page(environment: Any, report: Report) -> str:
    style = _resource(STYLE)
    pictures = dict(figures.of_report(report))
    top = pictures.pop("portrait", None) or pictures.pop("distances", None)
    page: str = environment.from_string(_resource(TEMPLATE)).render(
        report=report,
        headline=headline(report),
        questions=list(_questions(report)),
        todo=[_with_commands(line) for line in todo(report)],
        top=top,
        pictures=list(pictures.values()),
        missing="" if figures.is_available() else figures.MISSING,
        rows=[_row(claim, report) for claim in claims(report.findings)],
        facts=dict(wording.facts(report)),
        soundness=[_item(item) for item in report.soundness],
        changes=_changes(report),
        cost=_cost(report),
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii"),
        words=wording,
    )
    return page


def require_jinja() -> None:
    """Refuse an HTML report where its template cannot be rendered.

    Raises:
        ReportError: jinja2 is not installed.
    """
    if find_spec("jinja2") is None:
        raise ReportError("an HTML report needs jinja2, which is not installed; pip install 'dmmcheck[report]'")


def _resource(name: str) -> str:
    return resources.files("dmmcheck.report").joinpath(name).read_text(encoding="utf-8")


def _questions(report: Report) -> Iterator[Question]:
    ran = [claim for claim in claims(report.findings) if claim.finding.verdict != "not-run"]
    verdicts = [claim.finding.verdict for claim in ran]
    words = [claim.chance.word for claim in ran if claim.chance is not None]
    yield Question(
        "Is it sound?", wording.soundness(report.soundness) if report.soundness else "not tested", "soundness"
    )
    undecided = verdicts.count("inconclusive")
    held = f"{verdicts.count('supported')} of {len(verdicts)} claims hold, {undecided} are undecided"
    yield Question("What holds?", held, "claims")
    more = f"{words.count('more')} of {len(words)} claims compared" if words else "no claim was compared"
    yield Question("Is it more than chance?", more, "claims")
    yield Question("What got worse?", _worse(report), "changes")
    yield Question("What do I do?", next(todo(report)), "todo")


def _worse(report: Report) -> str:
    if report.baseline is None:
        return "not compared: give --dmm-baseline"
    changes = [*report.distance_changes.values(), *(one.change for one in report.findings if one.change is not None)]
    worse = sum(change.word == "worse" for change in changes)
    return f"{worse} of {len(changes)} numbers that were compared"


def todo(report: Report) -> Iterator[str]:
    """Yield what a reader can do, the most urgent thing first."""
    for item in report.soundness:
        if item.ok is False:
            yield f"Make the measurement sound first: {item.name}: {item.message}"
    for text in wording.regressions(report).values():
        yield f"Find out why this changed: {text}"
    for finding in report.failures:
        claim = f"{finding.id}: {wording.statement(finding)}"
        yield f"Look at the refuted claim {claim}; rerun it with {rerun(finding, report)}"
    for names, reason in wording.reasons((claim.finding for claim in claims(report.findings)), "inconclusive"):
        yield f"To decide {names}: {reason}"
    if report.baseline is None:
        yield "Keep this report; write a baseline with --dmm-update-baseline to see what changes."
    else:
        yield f"Keep this report; it was compared with {report.baseline.name}."


def _with_commands(line: str) -> list[tuple[str, bool]]:
    """Return the parts of a line, each with whether it is a command of the shell."""
    return [(part, part.startswith("pytest --")) for part in re.split(COMMAND, line) if part]


def rerun(finding: Finding, report: Report) -> str:
    """Return the command that tests one claim again."""
    options = ("--dmm-checks", finding.check, "--dmm-tier", finding.tier, "--dmm-seed", str(report.seed))
    return shlex.join(["pytest", "--dmm-only", *options])


def _row(claim: Claim, report: Report) -> dict[str, Any]:
    finding = claim.finding
    known = CHECKS.get_added(finding.check)
    pictures = [] if finding.verdict == "not-run" else figures.of_finding(finding, report.subject)
    nearest = next((one for one in claim.controls if one.chance == claim.chance and one is not finding), None)
    beside = [] if nearest is None else figures.of_finding(nearest, report.subject)[:1]
    return {
        "finding": finding,
        "chance": claim.chance,
        "controls": claim.controls,
        "kind": WORDS[finding.verdict] if finding.gating or finding.verdict != "refuted" else "open",
        "pictures": [*pictures, *beside],
        "summary": "" if known is None else known.explanation.summary,
        "reading": "" if known is None else known.explanation.reading,
        "rerun": rerun(finding, report),
    }


def _item(item: Soundness) -> dict[str, Any]:
    words = {True: ("ok", "good"), False: ("failed", "bad"), None: ("for information", "idle")}
    word, kind = words[item.ok]
    return {"item": item, "word": word, "kind": kind}


def _changes(report: Report) -> list[dict[str, Any]]:
    changes = {f"distance {name}": change for name, change in report.distance_changes.items()}
    changes |= {finding.id: finding.change for finding in report.findings if finding.change is not None}
    kinds = {"worse": "bad", "better": "good", "changed": "open"}
    return [
        {"name": name, "change": change, "text": wording.change(change), "kind": kinds.get(change.word, "idle")}
        for name, change in changes.items()
    ]


def _cost(report: Report) -> str:
    costs = [finding.cost for finding in report.findings]
    most = max((cost.gradient_evaluations for cost in costs), default=0)
    return (
        f"the most expensive claim took {most:,} gradient evaluations and "
        f"{max((cost.seconds for cost in costs), default=0.0):.1f} s; claims share measurements"
    )
