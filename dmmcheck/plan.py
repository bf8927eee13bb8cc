"""Which tests a run holds, in report order; the same whatever is selected from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dmmcheck.checks.base import Check, Test, registry
from dmmcheck.config import Settings
from dmmcheck.errors import CheckError
from dmmcheck.report.model import TIERS, Tier


@dataclass(frozen=True)
class Planned:
    """One test of one check, as a run would decide it."""

    check: Check
    test: Test
    gating: bool

    @property
    def tier(self) -> Tier:
        """Its tier."""
        return self.test.tier

    @property
    def variant(self) -> str:
        """Its variant."""
        return self.test.variant

    @property
    def id(self) -> str:
        """The name a node id ends with, e.g. ``off-manifold-energy-stated-builtin``."""
        return f"{self.check.id}-{self.tier}-{self.variant}"


def plan(settings: Settings) -> tuple[Planned, ...]:
    """Every registered test in order of registration: a controlled test stands right below what it controls."""
    return tuple(
        Planned(check, test, gating=test.tier in settings.gate)
        for check in registry().values()
        for base in check.tests
        for test in (base, *(base.through(attack) for attack in settings.attacks if base.per_attack))
    )


def select(
    planned: Iterable[Planned],
    *,
    checks: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    tiers: Iterable[str] | None = None,
) -> tuple[Planned, ...]:
    """The planned tests of the named checks and tiers.

    Raises:
        CheckError: A name is not a check (or tier); the message lists the valid ones.
    """
    known = list(registry())
    wanted = known if checks is None else _valid(checks, known, "check")
    unwanted = _valid(exclude, known, "check")
    kept_tiers = TIERS if tiers is None else _valid(tiers, TIERS, "tier")
    return tuple(
        item
        for item in planned
        if item.check.id in wanted and item.check.id not in unwanted and item.tier in kept_tiers
    )


def _valid(names: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    given = [names] if isinstance(names, str) else list(names)
    for name in given:
        if name not in known:
            raise CheckError(f"unknown {what} {name!r}; valid: {', '.join(known)}")
    return given
