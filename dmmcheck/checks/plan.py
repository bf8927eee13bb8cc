"""The tests of a run, in report order; a selection does not change the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dmmcheck.checks.base import Check, Test, registry
from dmmcheck.config.schema import did_you_mean
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import CheckError
from dmmcheck.inference.types import TIERS, Tier


@dataclass(frozen=True)
class Planned:
    """One test of one check, and whether its refutation fails the run."""

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
    """All registered tests in the order of registration, each followed by its variants for the attacks of the settings.

    Raises:
        CheckError: The settings name a check that does not exist, or set something that the check does not use.
    """
    checks = registry()
    for id, configured in settings.checks.items():
        _valid([id], checks, "check")
        _validate_settings(checks[id], configured, settings.gate)
    planned = tuple(
        Planned(check, test, gating=test.tier in settings.gate)
        for check in checks.values()
        for base in check.tests
        for test in (base, *(base.through(name) for name in settings.attack_names if base.per_attack))
    )
    _refuse_duplicates(planned)
    return planned


def _refuse_duplicates(planned: tuple[Planned, ...]) -> None:
    seen: set[str] = set()
    for item in planned:
        if item.id in seen:
            raise CheckError(
                f"two tests have the id {item.id!r}: a variant, a control and an attack of one check need different "
                "names; rename one of them"
            )
        seen.add(item.id)


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
            raise CheckError(f"unknown {what} {name!r}{did_you_mean(name, known)}; valid: {', '.join(known)}")
    return given


def _validate_settings(check: Check, configured: CheckSettings, gate: tuple[Tier, ...]) -> None:
    if configured.expected_failure and not set(check.tiers) & set(gate):
        raise CheckError(
            f"an expected failure is set for {check.id!r}, none of whose tiers ({', '.join(check.tiers)}) gates; "
            "add one to gate, or remove it"
        )
    if configured.threshold is not None and "stated" not in check.tiers:
        raise CheckError(
            f"a threshold of {configured.threshold:g} is set for {check.id!r}, which has no stated claim to use it for "
            f"(its tiers: {', '.join(check.tiers)}); remove it"
        )
    if configured.min_effect is not None and not any(test.control for test in check.tests):
        raise CheckError(
            f"a min-effect of {configured.min_effect:g} is set for {check.id!r}, which is compared with no control; "
            "remove it"
        )
