"""One row a claim: each claim with the findings that compare it with controls, and how it stands beside chance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dmmcheck.inference.types import ChanceWord
from dmmcheck.report.model import Chance, Finding


@dataclass(frozen=True)
class Claim:
    """A claim and its controls.

    Attributes:
        finding: The finding on the claim. Where a check only compares with controls, that on its first control.
        controls: The findings that compare the claim with a control.
    """

    finding: Finding
    controls: tuple[Finding, ...] = ()


def is_compared(finding: Finding) -> bool:
    """Whether a finding compares a claim with a control; before it is measured, it has neither limit nor control."""
    return finding.tier == "controlled" and (finding.control is not None or finding.threshold is None)


def claims(findings: Iterable[Finding]) -> list[Claim]:
    """The claims of some findings, in their order; claims of one check stand together."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.check, []).append(finding)
    return [claim for group in groups.values() for claim in _claims_of_check(group)]


def with_chance(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, where each claim says how it stands beside chance, as its controls show it together."""
    given = tuple(findings)
    found = {id(claim.finding): together(claim.controls) for claim in claims(given) if claim.finding.chance is None}
    return tuple(replace(one, chance=found[id(one)]) if found.get(id(one)) is not None else one for one in given)


def together(controls: Iterable[Finding]) -> Chance | None:
    """How a claim stands beside chance, given each of its controls; None where none has been measured.

    It is more than chance if it is more than every control, and less if it is less than every one. It is like chance if
    it is like one of them: then neither of the two. The control that is nearest to the claim is named.
    """
    measured = [(finding, finding.chance) for finding in controls if finding.chance is not None]
    if not measured:
        return None
    hardest = sorted(measured, key=lambda pair: _towards_claim(*pair))
    words = {chance.word for _, chance in measured}
    if words == {"more"}:
        return hardest[0][1]
    if words == {"less"}:
        return hardest[-1][1]
    for word in ("like", "not-told"):
        named = [chance for _, chance in hardest if chance.word == word]
        if named:
            return named[0]
    listed = ", ".join(f"{_WORDS[chance.word]} {chance.control}" for _, chance in hardest)
    return replace(hardest[0][1], word="not-told", reason=f"the controls disagree: {listed}")


_WORDS: dict[ChanceWord, str] = {"more": "more than", "less": "less than", "like": "like", "not-told": "not told from"}


def _towards_claim(finding: Finding, chance: Chance) -> float:
    """The effect of a control, larger where it speaks for the claim; undefined effects first."""
    effect = chance.effect if finding.direction == "greater" else -chance.effect
    return -math.inf if math.isnan(effect) else effect


def _claims_of_check(group: list[Finding]) -> list[Claim]:
    """Each finding that compares with a control goes to the claim of its variant, else to the first claim."""
    own = [finding for finding in group if not is_compared(finding)]
    compared = [finding for finding in group if is_compared(finding)]
    if not own:
        return [Claim(compared[0], tuple(compared))]
    controls: dict[str, list[Finding]] = {finding.variant: [] for finding in own}
    for finding in compared:
        controls[finding.variant if finding.variant in controls else own[0].variant].append(finding)
    return [Claim(finding, tuple(controls.pop(finding.variant, ()))) for finding in own]
