"""What a check is, and the registry that `@check` fills."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

from dmmcheck.errors import CheckError
from dmmcheck.inference.evidence import Claim, Evidence
from dmmcheck.inference.types import TIERS, Direction, Tier

if TYPE_CHECKING:
    from dmmcheck.measurement.measure import View

Question = Callable[["View"], Evidence]
Null = Literal["energy", "forward", "search"]
BUILTIN = "builtin"

FIELD_CONTROLS = ("rotation", "spectrum", "same-class", "other-class")
CONTROL_NAMES = (*FIELD_CONTROLS, "order")
"""The nulls of `dmmcheck.controls`, named here so that declaring a check loads nothing heavy."""

LEAST_MARGIN = 1e-3  # of shares and rates: where both are 1, rounding decides nothing

NEEDS: Mapping[str, str] = {
    "classes": "at least three classes: with two there is only one other class",
    "pair": "a standard/robust pair of models: set `reference` (the standard twin of a robust model) or `robust`",
    "examples": "the labelled data that the manifold was fitted on: set `x_train` and `y_train` (key `manifold-data`)",
    "factory": "an untrained model: set `factory` (seed -> model)",
    "checkpoints": "models along training: set `checkpoints` ([(step, model), ...], the first one untrained)",
    "trainer": "a training function: set `trainer` ((x, y, seed) -> model)",
}
"""What checks may need beyond a model, data and a manifold, and how to give it."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """One claim of a check: a question asked of a measurement, in one tier.

    Attributes:
        tier: stated, controlled or mechanism.
        variant: Tells tests of one check and tier apart; ``builtin`` where there is but one.
        statement: What is claimed.
        statistic: What the number is, in words.
        unit: ``share``, ``ratio`` or another unit; says how a margin applies (`Test.limit`).
        claim: Threshold and direction.
        ask: The question: a view of the measurement to evidence.
        control: Name of the null (`dmmcheck.controls`), or "" where the threshold itself is the control.
        null: What a draw of the null costs, which says how many there are (`dmmcheck.controls.BUDGETS`): ``energy``
            where it is no evaluation of the model, ``forward`` where it is a few forward passes, ``search`` where it is
            a search of its own. With the latter two one look at few inputs is all; with ``search`` all searches are
            made with little effort.
        needs: Companions without which it does not run; keys of `NEEDS`.
        grounds: Families of soundness items it rests on.
        against_chance: The evidence brings the level that takes the threshold's place.
        attack: Through which attack it looks.
    """

    __test__ = False  # not a pytest class

    tier: Tier
    variant: str
    statement: str
    statistic: str
    unit: str
    claim: Claim
    ask: Question
    control: str = ""
    null: Null = "energy"
    needs: tuple[str, ...] = ()
    grounds: tuple[str, ...] = ("model", "attack", "manifold")
    per_attack: bool = False
    against_chance: bool = False
    attack: str = BUILTIN

    def limit(self, control: float) -> float:
        """What the estimate must clear: the control's value, moved by the margin in the claim's direction."""
        margin = self.claim.margin if self.claim.direction == "greater" else -self.claim.margin
        if self.unit in {"share", "rate"} and margin:
            room = 1 - control if margin > 0 else control
            return control + math.copysign(max(abs(margin) * room, LEAST_MARGIN), margin)
        if self.unit == "ratio":
            return control * (1 + abs(margin)) ** (1 if margin >= 0 else -1)
        return control + margin

    def through(self, attack: str) -> Test:
        """The same test by another attack."""
        return replace(self, attack=attack, variant=attack)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The text behind ``--dmm-explain`` and the check reference.

    Attributes:
        source: Where the claim is made.
        formula: The statistic as a formula.
        control: What it is held against, and why that is fair.
        threshold: Why this threshold.
        assumptions: What must hold for the verdict to mean what it says.
        violation: What a model that violates the claim looks like.
        reading: How to read each verdict.
    """

    source: str = ""
    formula: str = ""
    control: str = ""
    threshold: str = ""
    assumptions: str = ""
    violation: str = ""
    reading: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A public claim id with its tests, one or more."""

    id: str
    statement: str
    explanation: Explanation = field(default_factory=Explanation)
    tests: tuple[Test, ...] = ()

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers it has tests in, in report order."""
        return tuple(tier for tier in TIERS if any(test.tier == tier for test in self.tests))

    @property
    def needs(self) -> tuple[str, ...]:
        """Companions that some of its tests need."""
        return tuple(sorted({need for test in self.tests for need in test.needs}))

    @property
    def source(self) -> str:
        """Where the claim is made."""
        return self.explanation.source

    def explain(self) -> str:
        """The text of ``--dmm-explain``."""
        from dmmcheck.checks.explain import explain  # noqa: PLC0415  # it needs this class

        return explain(self)


_REGISTRY: dict[str, Check] = {}


def check(
    id: str,
    *,
    statement: str,
    threshold: float,
    direction: Direction,
    tier: Tier = "stated",
    variant: str = BUILTIN,
    statistic: str = "",
    unit: str = "",
    margin: float = 0.0,
    controls: tuple[str, ...] = (),
    null: Null = "energy",
    needs: tuple[str, ...] = (),
    grounds: tuple[str, ...] = ("model", "attack", "manifold"),
    per_attack: bool = False,
    against_chance: bool = False,
    explanation: Explanation | None = None,
) -> Callable[[Question], Question]:
    """Register a question as a check, or as one more test of a check that exists.

    The decorated function takes a `dmmcheck.measure.View` and returns `Evidence`; it neither prints nor decides.

    Args:
        id: Public name: lower case, digits, hyphens.
        statement: What is claimed.
        threshold: What the statistic's median (or rate) is held against.
        direction: On which side of it the claim lies.
        tier: stated, controlled or mechanism.
        variant: Tells tests of the same id and tier apart.
        statistic: What the number is; the first line of the function's docstring where it is empty.
        unit: Unit of the statistic; ``share`` and ``ratio`` have a meaning for margins, and ``ratio`` has a fitted tail
            past the outermost draw where `null` is ``search``.
        margin: Controlled tests: the smallest difference from the control that counts (relative for ratios, relative to
            the rest of the unit interval for shares and rates, absolute otherwise).
        controls: Nulls to hold the same question against; each adds a test in the controlled tier.
        null: ``search`` where the question searches anew in the null's tangent spaces, or (without controls) for many
            networks: then one look at few inputs is all, with little effort. ``forward`` where it only evaluates the
            model there: one look at few inputs, and as many draws as alpha asks for.
        needs: What it does not run without; keys of `NEEDS`.
        grounds: Families of soundness items that must hold: ``model``, ``attack``, ``manifold``.
        per_attack: One more variant for each of ``--dmm-attacks``.
        against_chance: The evidence brings the level that takes the threshold's place (`Evidence.chance`).
        explanation: The text of ``--dmm-explain``.

    Raises:
        CheckError: The id is malformed, taken, or names an unknown need or control.
    """

    def register(ask: Question) -> Question:
        words = statistic or (ask.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        claim = Claim(threshold=threshold, direction=direction)
        base = Test(
            tier=tier,
            variant=variant,
            statement=statement,
            statistic=words,
            unit=unit,
            claim=claim,
            ask=ask,
            needs=needs,
            grounds=grounds,
            per_attack=per_attack,
            against_chance=against_chance,
            null="energy" if controls else null,
        )
        tests = [] if tier == "controlled" and controls else [base]
        held = replace(base, tier="controlled", null=null, claim=replace(claim, margin=margin))
        tests += [_controlled(held, name, first=number == 0) for number, name in enumerate(controls)]
        _add(id, statement, explanation, tests)
        return ask

    _validate(id, needs, controls, tier, null)
    return register


def registry() -> dict[str, Check]:
    """All registered checks by id, the built-in ones first, in report order."""
    import dmmcheck.checks  # noqa: PLC0415  # registers the built-in ones

    del dmmcheck
    return dict(_REGISTRY)


def _controlled(test: Test, control: str, *, first: bool) -> Test:
    """A test against one control; the first keeps the plain name and follows the attacks."""
    if first:
        return replace(test, control=control)
    return replace(test, control=control, variant=control, per_attack=False)


def _validate(id: str, needs: tuple[str, ...], controls: tuple[str, ...], tier: str, null: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", id):
        raise CheckError(f"check id {id!r} is malformed; use lower-case words joined by hyphens, e.g. 'my-check'")
    for what, given, valid in (
        ("need", needs, NEEDS),
        ("control", controls, CONTROL_NAMES),
        ("tier", (tier,), TIERS),
        ("null", (null,), get_args(Null)),
    ):
        unknown = [name for name in given if name not in valid]
        if unknown:
            raise CheckError(f"check {id!r}: unknown {what} {unknown[0]!r}; valid: {', '.join(valid)}")


def _add(id: str, statement: str, explanation: Explanation | None, tests: list[Test]) -> None:
    known = _REGISTRY.get(id) or Check(id=id, statement=statement)
    for test in tests:
        for other in known.tests:
            if (other.tier, other.variant) != (test.tier, test.variant):
                continue
            if (other.ask.__module__, other.ask.__qualname__) != (test.ask.__module__, test.ask.__qualname__):
                raise CheckError(
                    f"check {id!r} has a {test.tier} test {test.variant!r} already (in {other.ask.__module__}); "
                    "choose another id or variant"
                )
    fresh = {(test.tier, test.variant) for test in tests}
    kept = tuple(test for test in known.tests if (test.tier, test.variant) not in fresh)
    _REGISTRY[id] = replace(known, tests=(*kept, *tests), explanation=explanation or known.explanation)
