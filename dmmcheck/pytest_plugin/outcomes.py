"""From a verdict to an outcome of pytest: passed, failed, skipped, xfailed, or one of two words of dmmcheck."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dmmcheck.checks.plan import Planned
from dmmcheck.config.settings import Settings
from dmmcheck.errors import DmmError
from dmmcheck.errors.text import harmless
from dmmcheck.inference.types import SEARCH
from dmmcheck.report import wording
from dmmcheck.report.figures import NAMES
from dmmcheck.report.harmless import harmless_report
from dmmcheck.report.model import Change, Finding

ADVISORY, INCONCLUSIVE = "refuted (advisory)", "inconclusive"


class RefutedError(AssertionError):
    """A gating claim is refuted."""

    __module__ = "builtins"  # so that pytest prints the name of the class without this module's


class InconclusiveError(AssertionError):
    """A gating claim is inconclusive, and `on-inconclusive` is "fail"."""

    __module__ = "builtins"


class UnexpectedlySupportedError(AssertionError):
    """A claim that is expected to be refuted is supported."""

    __module__ = "builtins"


class RegressedError(AssertionError):
    """A claim or a distance has changed for the worse beside the baseline, and `gate` holds ``"baseline"``."""

    __module__ = "builtins"


FAILURES = (RefutedError, InconclusiveError, UnexpectedlySupportedError, RegressedError)
SHOWN_ALONE = (DmmError, pytest.UsageError, *FAILURES)
"""What a check raises whose message is shown without frames of this package."""


class NoVerdict(pytest.skip.Exception):  # type: ignore[name-defined, misc]  # mypy sees a function
    """Ends a test without failing it: advisory, inconclusive or not run."""


def conclude(
    finding: Finding,
    planned: Planned,
    settings: Settings,
    *,
    others_refuted: Callable[[], bool],
    accepted: str = "",
) -> None:
    """Return if the claim is supported; raise what pytest shows for all other verdicts.

    Args:
        finding: The finding of the test.
        planned: The test.
        settings: How to judge.
        others_refuted: Says whether a gating test of the same check is refuted. It is called only for a check with an
            expected failure, which is met if any gating test of the check is refuted.
        accepted: What accepts a change for the worse, see `wording.acceptance`.

    Raises:
        RegressedError: The claim has changed for the worse, and that fails the run.
        RefutedError: A gating claim is refuted, and that is not expected.
        InconclusiveError: A gating claim is inconclusive, and `on-inconclusive` is "fail"; a search that found nothing
            is left out, since it ends in no better way.
        UnexpectedlySupportedError: All gating claims of a check with an expected failure are supported.
        NoVerdict: The test ends without failing: advisory, inconclusive or not run.
    """
    __tracebackhide__ = True
    finding = harmless_report(finding)
    if finding.change is not None and finding.change.gating and finding.change.word == "worse":
        raise RegressedError(f"{wording.regression(finding.id, finding.change, accepted)}\n{describe(finding)}")
    own = settings.checks.get(finding.check)
    expected = "" if own is None else harmless(own.expected_failure)
    if finding.verdict == "not-run":
        raise NoVerdict(finding.reason)
    if finding.verdict == "inconclusive":
        if finding.gating and settings.on_inconclusive == "fail" and finding.tier != SEARCH:
            raise InconclusiveError(f"inconclusive: {finding.reason}\n{describe(finding)}")
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


def conclude_distance(name: str, change: Change | None, accepted: str, *, why_not: str) -> None:
    """Return if a distance is not shorter than in the baseline.

    Args:
        name: The search space of the distance.
        change: How it changed; None where it was not compared.
        accepted: What accepts a change for the worse, see `wording.acceptance`.
        why_not: Why it was not compared, where it was not.

    Raises:
        RegressedError: The distance is shorter.
        NoVerdict: Nothing could be compared, or the interval holds both a change and none.
    """
    __tracebackhide__ = True
    if change is None:
        raise NoVerdict(f"not compared: {why_not}")
    text = harmless(wording.regression(f"distance {name}", change, accepted))
    if change.word == "worse":
        share = "" if change.confidence is None else f"{change.confidence * 100:.4g} % interval, "
        raise RegressedError(
            f"{text}\n"
            f"{'claim':<11}the nearest label change {NAMES[name]} is not nearer than in the baseline\n"
            f"{'statistic':<11}L2 distance now over that in the baseline, of each input ({share}{change.n} inputs)"
        )
    if change.word == "not-told":
        raise NoVerdict(f"not told whether it is worse than in the baseline: {harmless(change.reason)}")


def outcome_word(finding: Finding) -> str:
    """Return the outcome word of a test that ends without failing, where pytest has no word for it; else ""."""
    if finding.verdict == "inconclusive":
        return INCONCLUSIVE
    return ADVISORY if finding.verdict == "refuted" and not finding.gating else ""


def headline(finding: Finding) -> str:
    """Estimate, interval and threshold in one line, short enough for pytest's summary."""
    found = f"{wording.number(finding.estimate)} {wording.interval(finding.interval)}".strip()
    return f"{found}, {'not ' * (finding.verdict == 'refuted')}{wording.threshold(finding)}"


def describe(finding: Finding) -> str:
    """Return the claim, the statistic, the control and the note, one line each."""
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
