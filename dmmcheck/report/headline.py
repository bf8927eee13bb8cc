"""The first sentences of every format: what holds, what a meaningless manifold passes, and what exceeds chance."""

from __future__ import annotations

from dmmcheck.inference.types import ChanceWord
from dmmcheck.report.claims import Claim, claims
from dmmcheck.report.model import Finding, Report

FAST = "Fast run: stated claims only, searched with quick effort."
"""The mark of a fast run."""


def headline(report: Report) -> str:
    """Return how many claims hold, pass on a meaningless manifold and exceed chance; what got worse, is unsound.

    Only claims that were measured are counted. The meaningless manifold consists of the same tangent spaces, rotated at
    random, on the same model.
    """
    ran = [claim for claim in claims(report.findings) if claim.finding.verdict != "not-run"]
    fast = FAST if report.fast else ""
    changes = beside_baseline(report)
    if not ran:
        return " ".join(filter(None, (fast, "No claim was tested.", changes)))
    claimed = (_stated(ran), _others(ran), _beside_chance(ran))
    return " ".join(filter(None, (fast, *claimed, changes, _soundness(report))))


def beside_baseline(report: Report) -> str:
    """Return how many distances and claims are worse than in the baseline, and how many fail; "" without any."""
    if report.baseline is None:
        return ""
    found = [*report.distance_changes.values(), *(one.change for one in report.findings if one.change is not None)]
    if not found:
        return ""
    worse, failing = sum(change.word == "worse" for change in found), len(report.regressions)
    open_ones = sum(change.word == "not-told" for change in found)
    fails = f", and {failing} of these {'fails' if failing == 1 else 'fail'}" if failing else ""
    left = f"; for {open_ones} it is not told" if open_ones else ""
    some = f"{worse} of {len(found)}" if worse else f"None of {len(found)}"
    return f"{some} numbers compared with the baseline {_are(worse or 1)} worse{fails}{left}."


def _stated(ran: list[Claim]) -> str:
    """Return how many stated claims hold, and how many of them a meaningless manifold passes."""
    stated = [claim.finding for claim in ran if claim.finding.tier == "stated"]
    if not stated:
        return ""
    asked = [finding.meaningless for finding in stated if finding.meaningless is not None]
    passed = ""
    if asked:
        of = f" of {len(asked)}" if len(asked) != len(stated) else ""
        passed = (
            "; a manifold that means nothing (these tangent spaces, rotated at random) passes "
            f"{asked.count('supported')}{of} on this model"
        )
    return f"{_held(stated, 'stated claim')}{passed}."


def _others(ran: list[Claim]) -> str:
    """Return how many of the claims hold that are not stated claims.

    They are claims about training, and comparisons of examples.
    """
    others = [claim.finding for claim in ran if claim.finding.tier != "stated" and not claim.is_only_compared]
    return f"{_held(others, 'other claim')}." if others else ""


def _held(findings: list[Finding], what: str) -> str:
    verdicts = [finding.verdict for finding in findings]
    held, open_ones = verdicts.count("supported"), verdicts.count("inconclusive")
    left = f", {open_ones} {_are(open_ones)} undecided" if open_ones else ""
    return f"{held} of {len(verdicts)} {what}s {'holds' if held == 1 else 'hold'}{left}"


def _beside_chance(ran: list[Claim]) -> str:
    words = [claim.chance.word for claim in ran if claim.chance is not None]
    if not words:
        return "None was compared with chance."
    more = words.count("more")
    parts = [f"{more} of {len(words)} compared with chance {'exceeds' if more == 1 else 'exceed'} it"]
    parts += [f"{words.count(word)} {_are(words.count(word))} {text}" for word, text in _OTHER if words.count(word)]
    return f"{', '.join(parts)}."


_OTHER: tuple[tuple[ChanceWord, str], ...] = (
    ("like", "like it"),
    ("less", "below it"),
    ("not-told", "not told from it"),
)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _soundness(report: Report) -> str:
    failed = [item.name for item in report.soundness if item.ok is False]
    if not report.soundness:
        return "Whether the measurement is sound was not tested."
    if not failed:
        return "The measurement is sound."
    return (
        f"The measurement is not sound ({', '.join(failed)}), and claims that depend on "
        f"{'this' if len(failed) == 1 else 'these'} have no verdict."
    )
