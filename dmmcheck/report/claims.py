"""One row a claim: each claim with the findings that compare it with controls, and how it stands beside chance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

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

    @property
    def chance(self) -> Chance | None:
        """How the claim stands beside chance, over all of its controls; None where none has been measured."""
        return together(self.controls) or self.finding.chance

    @property
    def is_only_compared(self) -> bool:
        """Whether the check makes no claim of its own beside the comparison with controls."""
        return bool(self.controls) and self.controls[0] is self.finding


def is_compared(finding: Finding) -> bool:
    """Return whether a finding compares a claim with a control.

    A finding that was measured on no input has no control yet.
    """
    return finding.tier == "controlled" and (finding.control is not None or finding.n == 0)


def claims(findings: Iterable[Finding]) -> list[Claim]:
    """Return the claims of some findings, in their order; claims of one check stand together."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.check, []).append(finding)
    return [claim for group in groups.values() for claim in _claims_of_check(group)]


def with_chance(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings, where each claim says how it stands beside chance, as all of its controls show."""
    given = tuple(findings)
    found = {id(claim.finding): together(claim.controls) for claim in claims(given) if claim.finding.chance is None}
    return tuple(replace(one, chance=found[id(one)]) if found.get(id(one)) is not None else one for one in given)


def together(controls: Iterable[Finding]) -> Chance | None:
    """Return how a claim stands beside chance, given each of its controls; None where none has been measured.

    It is more than chance if it is more than every control. Otherwise the word is that of the control that is hardest
    for the claim among those that it does not exceed: the one with the effect that speaks most against the claim.
    """
    measured = [(finding, finding.chance) for finding in controls if finding.chance is not None]
    hardest = sorted(measured, key=lambda pair: _towards_claim(*pair))
    not_exceeded = [chance for _, chance in hardest if chance.word != "more"]
    ranked = not_exceeded or [chance for _, chance in hardest]
    return ranked[0] if ranked else None


def _towards_claim(finding: Finding, chance: Chance) -> float:
    """Return the effect of a control, larger where it speaks for the claim; undefined effects first."""
    effect = chance.effect if finding.direction == "greater" else -chance.effect
    return -math.inf if math.isnan(effect) else effect


def _claims_of_check(group: list[Finding]) -> list[Claim]:
    """Return the claims of one check, with the findings that compare with a control.

    Each such finding goes to the claim of its variant, else to the first claim.
    """
    own = [finding for finding in group if not is_compared(finding)]
    compared = [finding for finding in group if is_compared(finding)]
    if not own:
        return [Claim(compared[0], tuple(compared))]
    controls: dict[str, list[Finding]] = {finding.variant: [] for finding in own}
    for finding in compared:
        controls[finding.variant if finding.variant in controls else own[0].variant].append(finding)
    return [Claim(finding, tuple(controls.pop(finding.variant, ()))) for finding in own]
