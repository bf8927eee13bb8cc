"""What a check says of itself: ``--dmm-explain`` and the check reference of the README, from one text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from dmmcheck.checks.base import NEEDS, Check, Test

_SIGNS = {"greater": ">", "less": "<"}
_WIDTH = 96
_COUNT = "{times} / alpha of each control, from {least} to {most}"
_ONE_LOOK = _COUNT + ", in one look at {inputs} inputs at most"
_RANK = "p is the rank among them, no less than {p}; where that is not below alpha the finding says they are too few."
_DRAWS = {
    "energy": f"{_COUNT}: {_RANK}",
    "forward": f"{_ONE_LOOK}: {_RANK}",
    "search": (
        f"{_ONE_LOOK}, since each draw is a search (of little effort): {_RANK} For ratios p is smaller past the "
        "outermost draw: an exponential tail is fitted there to the outermost quarter, too large a p for any lighter "
        "tail and too small for a heavier one; it says no less than a tenth of what the rank does."
    ),
}


def explain(check: Check) -> str:
    """One check in full, as plain text."""
    lines = [check.id, "=" * len(check.id), "", *_wrapped("Statement", check.statement), ""]
    for test in check.tests:
        lines += _wrapped(f"{test.tier} {test.variant}", f"{test.statement}: {_criterion(test)}")
    lines.append("")
    for title, text in sections(check):
        lines += [*_wrapped(title, text), ""]
    lines += ["Configure in pyproject.toml:", "", *(f"    {line}" for line in _configuration(check))]
    return "\n".join(lines)


def reference(checks: Iterable[Check]) -> str:
    """All checks as Markdown, a section each."""
    return "\n\n".join(_section(check) for check in checks)


def sections(check: Check) -> Iterator[tuple[str, str]]:
    """Titles and texts of what is known of a check, in reading order."""
    text = check.explanation
    named = (
        ("Source", text.source),
        ("Statistic", text.formula),
        ("Control", text.control),
        ("Draws", " ".join(_draws(check))),
        ("Threshold", text.threshold),
        ("Needs", "; ".join(NEEDS[need] for need in check.needs)),
        ("Assumes", text.assumptions),
        ("Violated by", text.violation),
        ("Reading", text.reading),
    )
    return ((title, words) for title, words in named if words)


def _section(check: Check) -> str:
    rows = "\n".join(
        f"| {test.tier} | {test.variant} | {test.statement} | {_criterion(test)} |" for test in check.tests
    )
    notes = "\n".join(f"- *{title}*: {text}" for title, text in sections(check))
    return f"#### `{check.id}`\n\n| tier | variant | statement | supported when |\n|---|---|---|---|\n{rows}\n\n{notes}"


def _criterion(test: Test) -> str:
    from dmmcheck.measurement.nulls import CONTROLS  # noqa: PLC0415  # loads torch, which the list of checks does without

    sign = _SIGNS[test.claim.direction]
    if not test.control:
        return f"{test.statistic} {sign} {'chance' if test.against_chance else f'{test.claim.threshold:g}'}"
    margin = f" by more than {_margin(test)}" if test.claim.margin else ""
    return f"{test.statistic} {sign} the same under {CONTROLS[test.control].title}{margin}, and extreme among its draws"


def _draws(check: Check) -> Iterator[str]:
    """How many draws its controls have, in the numbers that a run goes by, and what they can never show."""
    from dmmcheck.measurement.nulls import BUDGETS, FEW_INPUTS  # noqa: PLC0415  # as above

    for cost in dict.fromkeys(test.null for test in check.tests if test.control):
        budget = BUDGETS[cost]
        yield _DRAWS[cost].format(**asdict(budget), inputs=FEW_INPUTS, p=f"1/{budget.most + 1}")


def _margin(test: Test) -> str:
    """The margin in the words of `Test.limit`."""
    if test.unit == "ratio":
        return f"{test.claim.margin:.0%}"
    if test.unit in {"share", "rate"}:
        return f"{test.claim.margin:.0%} of what it lacks to {'1' if test.claim.direction == 'greater' else '0'}"
    return f"{test.claim.margin:g}"


def _configuration(check: Check) -> list[str]:
    stated = next((test for test in check.tests if test.tier == "stated"), None)
    lines = [f"[tool.dmmcheck.checks.{check.id}]"]
    if stated is not None:
        lines.append(f"threshold = {stated.claim.threshold:g}              # of the stated claim")
    if any(test.control for test in check.tests):
        margin = max(test.claim.margin for test in check.tests)
        lines.append(f"margin = {margin:g}                # smallest difference from the control that counts")
    lines.append('expected-failure = "why, #issue"   # strict: support is then an error; optional expires = 2027-01-01')
    return lines


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(f"{title}: {text}", _WIDTH, subsequent_indent="    ")
