"""The tests of a run, in report order; a selection does not change the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dmmcheck.checks.base import Check, Test, registry
from dmmcheck.checks.declaration import unreachable
from dmmcheck.config.schema import did_you_mean
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import CheckError, ConfigError
from dmmcheck.errors.text import shown
from dmmcheck.inference.types import BEYOND_CHANCE, SEARCH, TIERS, Gate, Tier

ADVISORY_FOR_ROBUST = (
    "the claim is about what standard training leaves, and the model under test is declared robust (by reference or "
    "robustly-trained)"
)
ADVISORY_FOR_TWIN = (
    "one twin says nothing about adversarial training, since two trainings of one recipe differ from each other too"
)


@dataclass(frozen=True)
class Planned:
    """One test of one check, and whether its refutation fails the run.

    Attributes:
        check: The check.
        test: The test.
        gating: Whether its refutation fails the run.
        advisory: Why it does not, although its tier is one of the gate; "" otherwise.
    """

    check: Check
    test: Test
    gating: bool
    advisory: str = ""

    @property
    def tier(self) -> Tier:
        """The tier of the test: stated, controlled, mechanism or search."""
        return self.test.tier

    @property
    def variant(self) -> str:
        """The variant, which tells tests of one check and tier apart; ``builtin`` where there is only one."""
        return self.test.variant

    @property
    def id(self) -> str:
        """The name a node id ends with, e.g. ``off-manifold-energy-stated-builtin``."""
        return f"{self.check.id}-{self.tier}-{self.variant}"


def plan(settings: Settings) -> tuple[Planned, ...]:
    """Return all registered tests in the order of registration.

    Each test is followed by its variants for the attacks of the settings.

    What a test is about and whether it gates can also depend on the subject, see `for_subject`.

    Raises:
        CheckError: The settings name a check that does not exist, or set something that the check does not use.
    """
    checks = registry()
    for id, configured in settings.checks.items():
        _valid([id], checks, "check")
        _validate_settings(checks[id], configured, settings.gate)
    planned = tuple(
        Planned(check, test, gating=_gates(test, settings.gate))
        for check in checks.values()
        for base in check.tests
        for test in (base, *(base.through(name) for name in settings.attack_names if base.per_attack))
    )
    _refuse_duplicates(planned)
    return planned


def for_subject(planned: Planned, *, provides: frozenset[str], is_robust: bool) -> Planned:
    """Return the test as it is for a subject: what its claim is about, and whether it gates.

    A claim about adversarial training is decided over pairs of models where the subject has them. Otherwise it is about
    one twin, and does not gate. A claim about what standard training leaves does not gate a robust model.

    Args:
        planned: The test as the settings plan it.
        provides: What the subject has, see `Subject.provides`.
        is_robust: Whether the model under test is declared to be adversarially trained.
    """
    test = planned.test.over_trainings() if "pairs" in provides else planned.test
    if planned.test.about_twin and "alternative" in provides:
        test = replace(test, statement=f"{test.statement}, and more than by the alternative training")
    advisory = ""
    if test.about_twin:
        advisory = ADVISORY_FOR_TWIN
    elif test.about_standard and is_robust:
        advisory = ADVISORY_FOR_ROBUST
    if not planned.gating or not advisory:
        return replace(planned, test=test)
    return replace(planned, test=test, gating=False, advisory=advisory)


def refuse_idle_expectations(planned: Iterable[Planned], settings: Settings, provides: frozenset[str]) -> None:
    """Refuse an expected failure of a check that runs for a subject without a gating claim.

    Raises:
        ConfigError: There is one.
    """
    for id, configured in settings.checks.items():
        if not configured.expected_failure:
            continue
        tests = [item for item in planned if item.check.id == id]
        advisory = [item for item in tests if item.advisory and set(item.test.needs) <= provides]
        if advisory and not any(item.gating for item in tests):
            remedy = "give pairs, or remove it" if advisory[0].test.about_twin else "remove it"
            raise ConfigError(
                f"an expected failure is set for {id!r}, none of whose claims gates for this subject: "
                f"{advisory[0].advisory}; {remedy}"
            )


def _gates(test: Test, gate: tuple[Gate, ...]) -> bool:
    """Return whether a refutation of a test fails the run.

    It does so by the tier of the test, or where the setting `gate` asks for more than chance and the test has a
    control.
    """
    return test.tier in gate or (BEYOND_CHANCE in gate and bool(test.control))


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
    fast: bool = False,
) -> tuple[Planned, ...]:
    """Return the planned tests of the named checks and tiers; in a fast run, only the stated tests of these.

    Tests of the tier search run where their check or tier is named, or where they gate: what they find depends on what
    Hypothesis has found before, while all other findings depend on subject and settings alone.

    Raises:
        CheckError: A name is not a check (or tier), and the message lists the valid ones; or nothing is selected.
    """
    known = list(registry())
    wanted = known if checks is None else _valid(checks, known, "check")
    unwanted = _valid(exclude, known, "check")
    kept_tiers = TIERS if tiers is None else _valid(tiers, TIERS, "tier")
    is_named = checks is not None or tiers is not None
    selected = tuple(
        item
        for item in planned
        if item.check.id in wanted
        and item.check.id not in unwanted
        and item.tier in kept_tiers
        and (item.tier != SEARCH or is_named or item.gating)
        and (item.tier == "stated" or not fast)
    )
    if not selected:
        raise CheckError(
            "checks, exclude and tiers (--dmm-checks, --dmm-exclude and --dmm-tier) leave no check; see --dmm-list for "
            f"the ids and their tiers{', of which fast keeps the tier stated' if fast else ''}"
        )
    return selected


def _valid(names: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    if isinstance(names, Mapping) or not isinstance(names, Iterable):
        raise CheckError(
            f"the {what}s to select are {shown(names)}, expected a list of names, e.g. ['{next(iter(known))}']"
        )
    given = [names] if isinstance(names, str) else list(names)
    for name in given:
        if name not in known:
            close = did_you_mean(name, known) if isinstance(name, str) else ""
            raise CheckError(f"unknown {what} {shown(name)}{close}; valid: {', '.join(known)}")
    return given


def _validate_settings(check: Check, configured: CheckSettings, gate: tuple[Gate, ...]) -> None:
    if configured.expected_failure and not any(_gates(test, gate) for test in check.tests):
        raise CheckError(
            f"an expected failure is set for {check.id!r}, none of whose tiers ({', '.join(check.tiers)}) gates; "
            "add one to gate, or remove it"
        )
    has_radius = any(test.has_radius for test in check.tests)
    if has_radius and configured.threshold is not None and not configured.threshold > 0:
        raise CheckError(
            f"a threshold of {configured.threshold:g} is set for {check.id!r}, which searches steps up to that radius; "
            "give a number above 0, in units of the inputs, e.g. 0.5"
        )
    if configured.threshold is not None and "stated" not in check.tiers and not has_radius:
        raise CheckError(
            f"a threshold of {configured.threshold:g} is set for {check.id!r}, which has no stated claim to use it for "
            f"(its tiers: {', '.join(check.tiers)}); remove it"
        )
    _validate_numbers(check, configured)
    if configured.min_effect is not None and not any(test.control for test in check.tests):
        raise CheckError(
            f"a min-effect of {configured.min_effect:g} is set for {check.id!r}, which is compared with no control; "
            "remove it"
        )


def _validate_numbers(check: Check, configured: CheckSettings) -> None:
    """Refuse numbers that the statistic of a check cannot reach, which would decide its claims beforehand."""
    for test in check.tests:
        for name, value in (("threshold", configured.threshold), ("min-effect", configured.min_effect)):
            is_used = test.control if name == "min-effect" else test.tier == "stated"
            wrong = "" if value is None or not is_used else unreachable(test.unit, value, name)
            if wrong:
                raise CheckError(f"a {name} of {value:g} is set for {check.id!r}, {wrong}")
