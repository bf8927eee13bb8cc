"""The first sentence of every format: what holds, what a meaningless manifold passes, and what exceeds chance."""

from __future__ import annotations

from collections.abc import Iterator

from dmmcheck.inference.types import ChanceWord
from dmmcheck.report.claims import Claim, claims
from dmmcheck.report.model import Report


def headline(report: Report) -> str:
    """How many claims hold, how many a meaningless manifold passes, how many exceed chance, and what was unsound.

    Only claims that were measured are counted. The meaningless manifold consists of the same tangent spaces, rotated at
    random, on the same model.
    """
    ran = [claim for claim in claims(report.findings) if claim.finding.verdict != "not-run"]
    if not ran:
        return "No claim was tested."
    return " ".join(_sentences(report, ran))


def _sentences(report: Report, ran: list[Claim]) -> Iterator[str]:
    yield f"{_held(ran)}."
    passed = [claim.finding.meaningless for claim in ran if claim.finding.meaningless is not None]
    if passed:
        yield (
            f"A manifold that means nothing (these tangent spaces, rotated at random) passes "
            f"{passed.count('supported')} of the {len(passed)} stated ones on this model."
        )
    yield _beside_chance(ran)
    yield _soundness(report)


def _held(ran: list[Claim]) -> str:
    verdicts = [claim.finding.verdict for claim in ran if not _only_compared(claim)]
    if not verdicts:
        return f"{len(ran)} {'claim was' if len(ran) == 1 else 'claims were'} compared with chance"
    open_ones = verdicts.count("inconclusive")
    left = f", {open_ones} {_are(open_ones)} undecided" if open_ones else ""
    held = verdicts.count("supported")
    return f"{held} of {len(verdicts)} claims {'holds' if held == 1 else 'hold'}{left}"


def _only_compared(claim: Claim) -> bool:
    """Whether the check makes no claim of its own beside the comparison with controls."""
    return bool(claim.controls) and claim.controls[0] is claim.finding


def _beside_chance(ran: list[Claim]) -> str:
    words = [claim.finding.chance.word for claim in ran if claim.finding.chance is not None]
    if not words:
        return "None was compared with chance."
    more = words.count("more")
    parts = [f"{more} of {len(words)} compared with chance {'exceeds' if more == 1 else 'exceed'} it"]
    parts += [f"{words.count(word)} {_are(words.count(word))} {text}" for word, text in _OTHER if words.count(word)]
    return f"{', '.join(parts)}."


_OTHER: tuple[tuple[ChanceWord, str], ...] = (
    ("like", "like chance"),
    ("less", "below chance"),
    ("not-told", "not told from chance"),
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
