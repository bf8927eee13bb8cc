"""What a verdict is to pytest: passed, failed, skipped, expected to fail, or one of two words of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dmmcheck.checks.plan import Planned
from dmmcheck.config.settings import Settings
from dmmcheck.report import wording
from dmmcheck.report.model import Finding

ADVISORY, INCONCLUSIVE = "refuted (advisory)", "inconclusive"


class RefutedError(AssertionError):
    """A gating claim came out false."""

    __module__ = "builtins"  # pytest prints the name of the class, and the module says nothing to its reader


class NotSettledError(AssertionError):
    """A gating claim is inconclusive, and `on-inconclusive` is "fail"."""

    __module__ = "builtins"


class UnexpectedlySupportedError(AssertionError):
    """A claim that is expected to fail does not."""

    __module__ = "builtins"


FAILURES = (RefutedError, NotSettledError, UnexpectedlySupportedError)


class NoVerdict(pytest.skip.Exception):  # type: ignore[name-defined, misc]  # mypy sees but the function
    """Ends a test without failing it: advisory, inconclusive or not run."""


def conclude(finding: Finding, planned: Planned, settings: Settings, *, others_refuted: Callable[[], bool]) -> None:
    """Return where the claim is supported, and raise what pytest shows otherwise.

    Args:
        finding: What was found.
        planned: The test it was found by.
        settings: How to judge.
        others_refuted: Whether another gating test of the same check is refuted; asked only where a failure of the
            check is expected, since the expectation is met where any of them fails.
    """
    __tracebackhide__ = True
    expected = settings.checks[finding.check].expected_failure if finding.check in settings.checks else ""
    if finding.verdict == "not-run":
        raise NoVerdict(finding.reason)
    if finding.verdict == "inconclusive":
        if finding.gating and settings.on_inconclusive == "fail":
            raise NotSettledError(f"inconclusive: {finding.reason}\n{describe(finding)}")
        raise NoVerdict(finding.reason)
    if finding.verdict == "refuted":
        if not finding.gating:
            raise NoVerdict(headline(finding))
        if expected:
            pytest.xfail(expected)
        raise RefutedError(f"{headline(finding)}\n{describe(finding)}")
    if expected and finding.gating and not others_refuted():
        raise UnexpectedlySupportedError(
            f"{headline(finding)}, which was expected to fail ({expected}); remove expected-failure from "
            f"checks.{planned.check.id}\n{describe(finding)}"
        )


def word(finding: Finding) -> str:
    """The outcome word of a finding that ends without failing, where pytest has none of its own; else ""."""
    if finding.verdict == "inconclusive":
        return INCONCLUSIVE
    return ADVISORY if finding.verdict == "refuted" and not finding.gating else ""


def headline(finding: Finding) -> str:
    """The numbers in one line, short enough for pytest's summary."""
    found = f"{wording.number(finding.estimate)} {wording.interval(finding.interval)}".strip()
    return f"{found}, {'not ' * (finding.verdict == 'refuted')}{wording.threshold(finding)}"


def describe(finding: Finding) -> str:
    """What the numbers are about."""
    share = "" if finding.confidence is None else f"{finding.confidence * 100:.4g} % interval, "
    censored = f", {finding.censored} of them censored" if finding.censored else ""
    lines = [
        ("claim", wording.statement(finding)),
        ("statistic", f"{finding.statistic} ({share}{finding.n} inputs{censored})"),
        ("control", wording.control_in_full(finding)),
        ("note", "" if finding.verdict == "inconclusive" else finding.reason),
        ("more", f"pytest --dmm-explain {finding.check}"),
    ]
    return "\n".join(f"{label:<11}{text}" for label, text in lines if text)
