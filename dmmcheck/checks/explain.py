"""Everything about a check in words: the text of ``--dmm-explain`` and of the check reference in the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from dmmcheck.checks.base import Check, Test
from dmmcheck.checks.declaration import BOUNDED, NEEDS
from dmmcheck.checks.explanation import TITLES
from dmmcheck.measurement.nulls import BUDGETS, FEW_INPUTS, FIRST_DRAWS, INPUTS_A_DRAW
from dmmcheck.registry import CONTROLS

_SIGNS = {"greater": ">", "less": "<"}
_WIDTH = 96
_COUNT = "{multiple} / alpha draws of each control, at least {least} and at most {most}"
_ONE_LOOK = _COUNT + ", on at most {inputs} inputs"
_RANK = (
    "The p-value is the share of draws at least as extreme as the statistic, which itself counts as one draw. So it is "
    "never below {p}; where that is not below alpha, the finding says that the draws are too few."
)
_STOP = (
    "First, 2 / alpha draws are made, at least {least}. No more are made where these show that the claim cannot be "
    "supported, and whether the statistic can be less than chance."
)
_DRAWS = {
    "energy": f"{_COUNT}. {_STOP} {_RANK}",
    "forward": f"{_ONE_LOOK}. {_STOP} {_RANK}",
    "search": (
        "{first} draws of each control, each searched briefly at {few} of at most {inputs} inputs, by turns. "
        "Where these leave the verdict or the comparison with chance open, {multiple} / alpha draws, at least {least} "
        f"and at most {{most}}. The two looks share alpha. {_RANK} For a ratio beyond the outermost "
        "draw, an exponential tail is fitted to the outermost quarter of the draws. The p-value from that tail is too "
        "large for a lighter tail and too small for a heavier one; it is never below a tenth of the p-value by rank."
    ),
}


def explain(check: Check) -> str:
    """Return the explanation of one check as plain text."""
    lines = [check.id, "=" * len(check.id), "", *_wrapped("Statement", check.statement), ""]
    for test in _tests(check):
        lines += _wrapped(f"{test.tier} {test.variant}{_where(test)}", f"{test.statement}: {_criterion(test)}")
    lines.append("")
    for title, text in sections(check):
        lines += [*_wrapped(title, text), ""]
    lines += ["Configure in pyproject.toml:", "", *(f"    {line}" for line in _configuration(check))]
    return "\n".join(lines)


def reference(checks: Iterable[Check]) -> str:
    """Return all checks as Markdown, a section each."""
    return "\n\n".join(_section(check) for check in checks)


def sections(check: Check) -> Iterator[tuple[str, str]]:
    """Yield titles and texts of the parts of a check's explanation that are not empty, in reading order."""
    added = {
        "Statistic": ("Columns", "\n\n".join(_columns(check))),
        "Control": ("Draws", " ".join(_draws(check))),
        "Threshold": ("Needs", " ".join(_needs(check))),
    }
    for title, name in TITLES.items():
        for part in ((title, getattr(check.explanation, name)), added.get(title, (title, ""))):
            if part[1]:
                yield part


def _section(check: Check) -> str:
    rows = "\n".join(
        f"| {test.tier} | {test.variant}{_where(test)} | {test.statement} | {_in_cell(_criterion(test))} |"
        for test in _tests(check)
    )
    notes = "\n\n".join(f"**{title}.** {text}" for title, text in sections(check))
    return f"## `{check.id}`\n\n| tier | variant | statement | supported when |\n|---|---|---|---|\n{rows}\n\n{notes}"


def _tests(check: Check) -> Iterator[Test]:
    """Yield the tests of a check.

    A test about one twin is followed by the test about training, which takes its place where the subject has pairs.
    """
    for test in check.tests:
        yield test
        if test.trainings is not None:
            yield test.over_trainings()


def _where(test: Test) -> str:
    """Return when a test is run, if that depends on whether the subject has pairs; else ""."""
    if test.trainings is not None:
        return " (one twin)"
    return " (with pairs)" if "pairs" in test.needs else ""


def _criterion(test: Test) -> str:
    """Return the criterion by which a test is supported, where c is the control."""
    if test.search is not None:
        return f"never; refuted where a counterexample is found ({test.statistic})"
    sign = _SIGNS[test.claim.direction]
    if not test.control:
        return f"{test.statistic} {sign} {'chance' if test.against_chance else f'{test.claim.threshold:g}'}"
    title = CONTROLS[test.control].title
    return f"{test.statistic} {sign} {_limit(test)}, where c is its median over draws of {title}; and p < alpha"


def _limit(test: Test) -> str:
    """Return the control c moved by the minimum effect, as `Test.limit` moves it."""
    effect, is_greater = test.claim.min_effect, test.claim.direction == "greater"
    if not effect:
        return "c"
    if test.unit == "ratio":
        return f"{1 + effect:g} c" if is_greater else f"c / {1 + effect:g}"
    if test.unit in BOUNDED:
        return f"c + {effect:g} (1 - c)" if is_greater else f"c - {effect:g} c"
    return f"c {'+' if is_greater else '-'} {effect:g}"


def _in_cell(text: str) -> str:
    """Return the text in a cell of a Markdown table."""
    return text.replace("|", "\\|")


def _columns(check: Check) -> Iterator[str]:
    """Yield the formulas of the columns `estimate` and `beside chance`, for each row of the table."""
    compared = [test for test in check.tests if test.control]
    rows = [test for test in check.tests if not test.control and test.search is None] or compared[:1]
    variants = [test.variant for test in rows]
    controls = {variants.index(test.variant) if test.variant in variants else 0: test for test in reversed(compared)}
    for number, row in enumerate(rows):
        where = f"In the row `{row.tier} {row.variant}`, " if len(rows) > 1 else ""
        yield f"{where}`estimate` is {_summary(row, 's')}. `beside chance` {_beside_chance(row, controls.get(number))}."


def _summary(test: Test, symbol: str) -> str:
    """Return the words for the number that sums up a test: its rate, or the median of its statistic."""
    words = test.statistic[:1].lower() + test.statistic[1:] if test.statistic[1:2].islower() else test.statistic
    return f"the {words}" if test.unit == "rate" else f"the median of {symbol} = {words}"


def _beside_chance(row: Test, control: Test | None) -> str:
    """Return the effect beside chance, as a formula, whose statistic may differ from that of the row."""
    if control is None:
        return "is empty, since no control of this claim is drawn at random"
    number = "the same number" if control.statistic == row.statistic else _summary(control, "t")
    sign = "divided by" if control.unit == "ratio" else "minus"
    return f"is {number}, {sign} c, where c is the median of that number over the draws of a control"


def _draws(check: Check) -> Iterator[str]:
    """Yield the number of draws of the check's controls, from the budgets of a run, and their smallest p-value."""
    for cost in dict.fromkeys(test.draw_cost for test in check.tests if test.control):
        budget = BUDGETS[cost]
        yield _DRAWS[cost].format(
            **asdict(budget), inputs=FEW_INPUTS, few=INPUTS_A_DRAW, first=FIRST_DRAWS, p=f"1/{budget.most + 1}"
        )


def _needs(check: Check) -> Iterator[str]:
    """Yield one line for each thing that tests of the check need from a subject, with the tests that need it."""
    for need in check.needs:
        asking = [test for test in check.tests if need in test.needs]
        tiers = [tier for tier in check.tiers if any(test.tier == tier for test in asking)]
        others = {test.tier for test in check.tests if need not in test.needs}
        if len(asking) == len(check.tests):
            who = "Every test needs"
        elif not others.intersection(tiers):
            who = f"The tier {' and '.join(tiers)} needs"
        else:
            who = f"The test {', '.join(f'{test.tier} {test.variant}' for test in asking)} needs"
        yield f"{who} {NEEDS[need]}."


def _configuration(check: Check) -> list[str]:
    stated = next((test for test in check.tests if test.tier == "stated"), None)
    lines = [f"[tool.dmmcheck.checks.{check.id}]"]
    if stated is not None:
        lines.append(f"threshold = {stated.claim.threshold:g}              # of the stated claim")
    if any(test.has_radius for test in check.tests):
        lines.append("threshold = 0.5              # the radius, L2; default: a tenth of the distance between inputs")
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
