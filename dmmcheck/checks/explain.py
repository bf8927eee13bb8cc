"""Everything about a check in words: the text of ``--dmm-explain`` and of the check reference in the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from dmmcheck.checks.base import NEEDS, Check, Test
from dmmcheck.checks.explanation import TITLES
from dmmcheck.measurement.nulls import BUDGETS, FEW_INPUTS
from dmmcheck.registry import CONTROLS

_SIGNS = {"greater": ">", "less": "<"}
_WIDTH = 96
_COUNT = "{multiple} / alpha draws of each control, at least {least} and at most {most}"
_ONE_LOOK = _COUNT + ", on at most {inputs} inputs"
_RANK = (
    "The p-value is the rank of the statistic among them and never below {p}; where that is not below alpha, the "
    "finding says that the draws are too few."
)
_DRAWS = {
    "energy": f"{_COUNT}. {_RANK}",
    "forward": f"{_ONE_LOOK}. {_RANK}",
    "search": (
        f"{_ONE_LOOK}, since each draw takes a search with quick effort. {_RANK} For a ratio beyond the outermost "
        "draw, an exponential tail is fitted to the outermost quarter of the draws. The p-value from that tail is too "
        "large for a lighter tail and too small for a heavier one; it is never below a tenth of the p-value by rank."
    ),
}


def explain(check: Check) -> str:
    """One check in full, as plain text."""
    lines = [check.id, "=" * len(check.id), "", *_wrapped("Statement", check.statement), ""]
    for test in _tests(check):
        lines += _wrapped(f"{test.tier} {test.variant}{_where(test)}", f"{test.statement}: {_criterion(test)}")
    lines.append("")
    for title, text in sections(check):
        lines += [*_wrapped(title, text), ""]
    lines += ["Configure in pyproject.toml:", "", *(f"    {line}" for line in _configuration(check))]
    return "\n".join(lines)


def reference(checks: Iterable[Check]) -> str:
    """All checks as Markdown, a section each."""
    return "\n\n".join(_section(check) for check in checks)


def sections(check: Check) -> Iterator[tuple[str, str]]:
    """Titles and texts of the parts of a check's explanation that are not empty, in reading order."""
    parts = [(title, getattr(check.explanation, name)) for title, name in TITLES.items()]
    after = [title for title, _ in parts].index("Threshold")
    parts.insert(after + 1, ("Needs", "; ".join(NEEDS[need] for need in check.needs)))
    parts.insert(after, ("Draws", " ".join(_draws(check))))
    return ((title, words) for title, words in parts if words)


def _section(check: Check) -> str:
    rows = "\n".join(
        f"| {test.tier} | {test.variant}{_where(test)} | {test.statement} | {_criterion(test)} |"
        for test in _tests(check)
    )
    notes = "\n\n".join(f"**{title}.** {text}" for title, text in sections(check))
    return f"## `{check.id}`\n\n| tier | variant | statement | supported when |\n|---|---|---|---|\n{rows}\n\n{notes}"


def _tests(check: Check) -> Iterator[Test]:
    """The tests of a check, each about one twin followed by the one about training that takes its place with pairs."""
    for test in check.tests:
        yield test
        if test.trainings is not None:
            yield test.over_trainings()


def _where(test: Test) -> str:
    """When a test is run, if that depends on whether the subject has pairs."""
    if test.trainings is not None:
        return " (one twin)"
    return " (with pairs)" if "pairs" in test.needs else ""


def _criterion(test: Test) -> str:
    """When a test is supported."""
    sign = _SIGNS[test.claim.direction]
    if not test.control:
        return f"{test.statistic} {sign} {'chance' if test.against_chance else f'{test.claim.threshold:g}'}"
    effect = f" by more than {_effect(test)}" if test.claim.min_effect else ""
    return f"{test.statistic} {sign} the same under {CONTROLS[test.control].title}{effect}, and extreme among its draws"


def _draws(check: Check) -> Iterator[str]:
    """The number of draws of its controls, from the budgets of a run, and the smallest p-value of these draws."""
    for cost in dict.fromkeys(test.draw_cost for test in check.tests if test.control):
        budget = BUDGETS[cost]
        yield _DRAWS[cost].format(**asdict(budget), inputs=FEW_INPUTS, p=f"1/{budget.most + 1}")


def _effect(test: Test) -> str:
    """The minimum effect in words, as `Test.limit` applies it."""
    if test.unit == "ratio":
        return f"{test.claim.min_effect:.0%}"
    if test.unit in {"share", "rate"}:
        return f"{test.claim.min_effect:.0%} of its distance to {'1' if test.claim.direction == 'greater' else '0'}"
    return f"{test.claim.min_effect:g}"


def _configuration(check: Check) -> list[str]:
    stated = next((test for test in check.tests if test.tier == "stated"), None)
    lines = [f"[tool.dmmcheck.checks.{check.id}]"]
    if stated is not None:
        lines.append(f"threshold = {stated.claim.threshold:g}              # of the stated claim")
    if any(test.control for test in check.tests):
        effect = max(test.claim.min_effect for test in check.tests)
        lines.append(f"min-effect = {effect:g}            # smallest difference from the control that counts")
    lines.append('expected-failure = "why, #issue"   # strict: support is then an error; optional expires = 2027-01-01')
    return lines


def _wrapped(title: str, text: str) -> list[str]:
    first, *more = f"{title}: {text}".split("\n\n")
    lines = textwrap.wrap(first, _WIDTH, subsequent_indent="    ")
    for paragraph in more:
        lines += ["", *textwrap.wrap(paragraph, _WIDTH, initial_indent="    ", subsequent_indent="    ")]
    return lines
