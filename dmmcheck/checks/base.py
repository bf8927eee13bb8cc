"""What a check is, and its two declarations: `declare` with all claims at once, and the decorator `@check`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dmmcheck.checks.declaration import BOUNDED, FAMILIES, validate_question, validate_tests, validated
from dmmcheck.checks.explanation import Explanation, builtin_explanation
from dmmcheck.config.schema import did_you_mean
from dmmcheck.errors import CheckError
from dmmcheck.errors.text import shown
from dmmcheck.inference.evidence import Claim, Evidence
from dmmcheck.inference.types import BUILTIN, TIERS, Direction, DrawCost, SearchKind, Tier, Unit
from dmmcheck.registry import CHECKS, CONTROLS, module_of, source_of, unwrapped

if TYPE_CHECKING:
    from dmmcheck.measurement.view import View

Question = Callable[["View"], Evidence]
SMALLEST_EFFECT = 1e-3  # of shares and rates, so that rounding does not decide where statistic and control are 1

UNSET: Mapping[str, Any] = {"min_effect": 0.0, "draw_cost": "energy", "requires": FAMILIES}
RENAMED = {"margin": "min_effect", "null": "draw_cost", "grounds": "requires"}
"""Arguments of `check` in version 0.1 and their replacements; the old names still work, with a DeprecationWarning."""


@dataclass(frozen=True)
class OverTrainings:
    """The claim about training that a claim about one twin stands for, where the subject has pairs of models.

    Attributes:
        ask: Function from a view to evidence with one number for each pair, of the unit ``training``.
        statement: What is then claimed.
        statistic: What the number is, in words.
    """

    ask: Question
    statement: str
    statistic: str


@dataclass(frozen=True, kw_only=True)
class Test:
    """One claim of a check, in one tier: a statistic, and what it is compared with.

    Attributes:
        tier: stated, controlled or mechanism.
        variant: Distinguishes tests of one check and tier; ``builtin`` where there is only one.
        statement: What is claimed.
        statistic: What the number is, in words.
        unit: ``share``, ``ratio`` or another unit, which decides how a minimum effect applies (`Test.limit`).
        claim: Threshold, direction and minimum effect.
        ask: Function from a view of the measurement to evidence.
        control: Name of the control, or "" where the statistic is compared with its threshold.
        draw_cost: What a draw of the control costs, which decides how many are made (`measurement.nulls.BUDGETS`):
            ``energy`` where it evaluates no model, ``forward`` where it takes a few forward passes, ``search`` where it
            takes a search. With the latter two a test takes one look at few inputs; with ``search`` draws are
            searched with brief effort, and other networks with quick effort. Where it needs ``factory`` and that look
            is clear, a second one with the effort of the run gives the verdict.
        needs: What a subject must provide for the test to run; keys of `NEEDS`.
        requires: Families of soundness items that must pass for a verdict.
        per_attack: The test is repeated for each of the attacks that the settings name.
        against_chance: The evidence gives the level that replaces the threshold.
        attack: Name of the attack that finds the perturbations.
        about_standard: The claim is about what standard training leaves, and so fails no run of a robust model.
        about_twin: The claim is about one pair of networks, and so fails no run.
        trainings: The claim about training that takes its place where the subject has `pairs`.
        one_look: The test takes one look, at all inputs, since each further look would ask for more trainings.
        costly_looks: Each look searches further inputs for this test alone. So the looks end where the other inputs
            would hardly decide it, or where only the word beside chance is open.
        is_targeted: The statistic grows with distances to given classes, whose searches have less effort than the
            others. So it is refuted only beyond the error bar of a search with more effort.
        search: What a test of the tier search tries, see `dmmcheck.checks.search`; None in other tiers.
        worse: The direction of the statistic that is worse for a user of the model, which a comparison with a baseline
            can fail on; None where neither is.
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
    draw_cost: DrawCost = "energy"
    needs: tuple[str, ...] = ()
    requires: tuple[str, ...] = FAMILIES
    per_attack: bool = False
    against_chance: bool = False
    attack: str = BUILTIN
    one_look: bool = False
    costly_looks: bool = False
    is_targeted: bool = False
    about_standard: bool = False
    about_twin: bool = False
    trainings: OverTrainings | None = None
    search: SearchKind | None = None
    worse: Direction | None = None

    @property
    def has_radius(self) -> bool:
        """Whether its threshold is the longest step that a search tries."""
        return self.search in {"tangent", "normal"}

    def limit(self, control: float) -> float:
        """Return the limit that the estimate must exceed: the control moved by the minimum effect of the claim."""
        return self.moved(control, self.claim.direction)

    def moved(self, value: float, side: Direction) -> float:
        """Return a value moved to one side by the minimum effect.

        The effect is relative to the value for a ratio, to the rest of the unit interval for a share or rate, absolute
        otherwise.
        """
        effect = self.claim.min_effect if side == "greater" else -self.claim.min_effect
        if self.unit in BOUNDED and effect:
            room = 1 - value if effect > 0 else value
            return value + math.copysign(max(abs(effect) * room, SMALLEST_EFFECT), effect)
        if self.unit == "ratio":
            return value * (1 + abs(effect)) ** (1 if effect >= 0 else -1)
        return value + effect

    @property
    def largest(self) -> float:
        """The largest value that the statistic can take."""
        return 1.0 if self.unit in BOUNDED else math.inf

    def reachable(self, limit: float) -> float:
        """Return the limit, or the end of the unit interval where a share or rate cannot be beyond the limit."""
        return min(max(limit, 0.0), 1.0) if self.unit in BOUNDED else limit

    def over_trainings(self) -> Test:
        """Return the claim about training, where the test has one; else the test itself.

        The claim about training is made over pairs of models, on few inputs each.
        """
        if self.trainings is None:
            return self
        return replace(
            self,
            ask=self.trainings.ask,
            statement=self.trainings.statement,
            statistic=self.trainings.statistic,
            needs=("pairs",),
            draw_cost="forward",  # one look at few inputs: the replicate is the training
            about_twin=False,
            trainings=None,
        )

    def replication(self, evidence: Evidence, draws: int = 0) -> tuple[Unit, int]:
        """Return the unit that the claim is about, and the number of such units that the verdict rests on.

        Args:
            evidence: The evidence of the test.
            draws: Number of draws of the control, where the test has one.
        """
        return ("draw", draws) if self.control else (evidence.unit, evidence.replications)

    def through(self, attack: str) -> Test:
        """Return the same test with the perturbations that another attack finds, which names the variant."""
        return replace(self, attack=attack, variant=attack)


@dataclass(frozen=True, kw_only=True)
class Check:
    """A public id with its tests, in report order."""

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
        """What at least one of its tests needs from a subject."""
        return tuple(sorted({need for test in self.tests for need in test.needs}))

    @property
    def source(self) -> str:
        """Where the claim is published."""
        return self.explanation.source


def claim(
    ask: Question,
    *,
    threshold: float,
    direction: Direction,
    statement: str = "",
    tier: Tier = "stated",
    variant: str = BUILTIN,
    statistic: str = "",
    unit: str = "",
    min_effect: float = 0.0,
    controls: tuple[str, ...] = (),
    draw_cost: DrawCost = "energy",
    needs: tuple[str, ...] = (),
    requires: tuple[str, ...] = FAMILIES,
    per_attack: bool = False,
    against_chance: bool = False,
    one_look: bool = False,
    costly_looks: bool = False,
    is_targeted: bool = False,
    about_standard: bool = False,
    trainings: OverTrainings | None = None,
    worse: Direction | None = None,
) -> tuple[Test, ...]:
    """Return the tests of one question: the claim itself, and one test in the controlled tier for each control.

    A claim that is itself in the controlled tier and names controls has only the tests against these controls. The
    arguments are those of `check`, and six attributes of `Test`. With `trainings`, the claim is about one twin.
    """
    base = Test(
        tier=tier,
        variant=variant,
        statement=statement,
        statistic=statistic or (unwrapped(ask).__doc__ or "").strip().partition("\n")[0].rstrip("."),
        unit=unit,
        claim=Claim(threshold=threshold, direction=direction),
        ask=ask,
        needs=needs,
        requires=requires,
        per_attack=per_attack,
        against_chance=against_chance,
        draw_cost="energy" if controls else draw_cost,
        one_look=one_look,
        costly_looks=costly_looks,
        is_targeted=is_targeted,
        about_standard=about_standard,
        about_twin=trainings is not None,
        trainings=trainings,
        worse=worse,
    )
    alone = () if tier == "controlled" and controls else (base,)
    against = replace(
        base,
        tier="controlled",
        draw_cost=draw_cost,
        claim=replace(base.claim, min_effect=min_effect),
        trainings=None,
    )
    return (*alone, *(_controlled(against, name, first=number == 0) for number, name in enumerate(controls)))


def declare(id: str, statement: str, *claims: tuple[Test, ...], explanation: Explanation | None = None) -> Check:
    """Register a check with all its claims, or add claims to one that exists.

    Args:
        id: Public name: lower case, digits, hyphens.
        statement: What is claimed; also the statement of each claim that has no other.
        *claims: Each as `claim` makes it.
        explanation: The text of ``--dmm-explain``; the built-in checks have theirs in ``checks/explanations``.

    Raises:
        CheckError: The id is malformed, another function has a test of the same tier and variant, or a word is unknown.
    """
    tests = [replace(test, statement=test.statement or statement) for group in claims for test in group]
    validate_tests(id, tests)
    return _add(id, statement, explanation, tests)


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
    min_effect: float = 0.0,
    controls: tuple[str, ...] = (),
    draw_cost: DrawCost = "energy",
    needs: tuple[str, ...] = (),
    requires: tuple[str, ...] = FAMILIES,
    per_attack: bool = False,
    against_chance: bool = False,
    explanation: Explanation | None = None,
    worse: Direction | None = None,
    **renamed: Any,
) -> Callable[[Question], Question]:
    """Register a function as a check, or as a further claim of an existing check.

    The decorated function takes a `dmmcheck.View` and returns `dmmcheck.Evidence`, one number per input; the verdict
    is taken elsewhere.

    Args:
        id: Public name: lower case, digits, hyphens.
        statement: What is claimed.
        threshold: Number that the statistic's median (or rate) is compared with.
        direction: Whether the claim is that the statistic is ``greater`` or ``less`` than the threshold.
        tier: stated, controlled or mechanism.
        variant: Distinguishes tests of the same id and tier.
        statistic: What the number is; the first line of the function's docstring where it is empty.
        unit: Unit of the statistic. ``share``, ``rate`` and ``ratio`` decide how a minimum effect applies; a ``ratio``
            has a fitted tail beyond the outermost draw where `draw_cost` is ``search``.
        min_effect: The smallest difference from a control that counts. Relative to the control for a ratio, to the rest
            of the unit interval for a share or rate, absolute otherwise.
        controls: Names of controls that the statistic is compared with; each adds a test in the controlled tier.
        draw_cost: ``search`` where the function searches in the tangent spaces of each draw, or (without controls) for
            many networks: the test then takes one look at few inputs, with brief effort in draws and quick effort for
            networks; with ``factory`` in `needs`, a second look with the effort of the run gives the verdict where the
            first one is clear. ``forward`` where it only evaluates the model there: the test takes one look at few
            inputs, and as many draws as alpha needs. ``energy`` where it does neither.
        needs: What the subject must provide; keys of `NEEDS`.
        requires: Families of soundness items that must pass: ``model``, ``attack``, ``manifold``.
        per_attack: Repeat the claim for each attack of the setting `attacks`.
        against_chance: The evidence gives the level that replaces the threshold (`Evidence.chance`).
        explanation: The text of ``--dmm-explain``.
        worse: The direction of the statistic that is worse for a user of the model; a change in this direction beside
            a baseline fails the run where `gate` holds ``"baseline"``.
        **renamed: Arguments by their names in version 0.1 (margin, null, grounds), with a DeprecationWarning.

    Raises:
        CheckError: The id is malformed, another function has a test of the same tier and variant, a word is unknown,
            or an argument has a value that it cannot have; all of this before the check runs.

    Example:
        >>> import dmmcheck
        >>> @dmmcheck.check("short-perturbations", statement="perturbations are short", threshold=1.0, direction="less")
        ... def short_perturbations(view):
        ...     '''d_free.'''
        ...     return dmmcheck.Evidence.of(view.distance("free"))
    """
    given: dict[str, Any] = {
        "statement": statement,
        "threshold": threshold,
        "direction": direction,
        "tier": tier,
        "variant": variant,
        "statistic": statistic,
        "unit": unit,
        "min_effect": min_effect,
        "controls": controls,
        "draw_cost": draw_cost,
        "needs": needs,
        "requires": requires,
        "per_attack": per_attack,
        "against_chance": against_chance,
        "worse": worse,
        "explanation": explanation,
    }
    known = validated(id, {**given, **_translated(id, renamed, given)})
    text = known.pop("explanation")

    def register(ask: Question) -> Question:
        validate_question(id, ask)
        declare(id, statement, claim(ask, **known), explanation=text)
        return ask

    return register


def registry() -> dict[str, Check]:
    """Return all registered checks by id, the built-in ones first, in report order.

    A check also has a test for each control that lists it in `checks`.

    Raises:
        CheckError: A control lists a check that does not exist.
    """
    known: dict[str, Check] = dict(CHECKS)
    for name, control in CONTROLS.items():
        for id in control.checks:
            if id not in known:
                raise CheckError(
                    f"the control {name!r} lists the unknown check {id!r}{did_you_mean(id, known)}; "
                    f"valid: {', '.join(known)}"
                )
            known[id] = _with_control(known[id], name)
    return known


def _with_control(check: Check, control: str) -> Check:
    """Return the check with a test against a control, unless it has one already."""
    controlled = [test for test in check.tests if test.control]
    if any(test.control == control for test in controlled):
        return check
    # what a question without controls evaluates in a draw is unknown, so its draws are searched
    base = controlled[0] if controlled else replace(check.tests[0], tier="controlled", draw_cost="search")
    test = replace(base, control=control, variant=control, per_attack=False)
    return replace(check, tests=(*check.tests, test))


def _controlled(test: Test, control: str, *, first: bool) -> Test:
    """Return the test against one control; the first keeps the variant's name and is repeated for each attack."""
    if first:
        return replace(test, control=control)
    return replace(test, control=control, variant=control, per_attack=False)


def _translated(id: str, renamed: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of version 0.1 by their present names, with a DeprecationWarning."""
    for name in renamed:
        if name not in RENAMED:
            raise CheckError(f"check {shown(id)}: unknown argument {name!r}; see help(dmmcheck.check)")
        if given[RENAMED[name]] != UNSET[RENAMED[name]]:
            raise CheckError(f"check {shown(id)}: both {RENAMED[name]} and {name}, its old name; remove {name}")
        warnings.warn(f"the argument {name} of check is now {RENAMED[name]}", DeprecationWarning, stacklevel=3)
    return {RENAMED[name]: value for name, value in renamed.items()}


def _add(id: str, statement: str, explanation: Explanation | None, tests: list[Test]) -> Check:
    known: Check = CHECKS.get_added(id) or Check(id=id, statement=statement, explanation=builtin_explanation(id))
    for test in tests:
        for other in known.tests:
            if (other.tier, other.variant) != (test.tier, test.variant):
                continue
            if source_of(other.ask) != source_of(test.ask):
                raise CheckError(
                    f"check {id!r} has a {test.tier} test {test.variant!r} already (in {module_of(other.ask)}); "
                    "choose another id or variant"
                )
    fresh = {(test.tier, test.variant) for test in tests}
    kept = tuple(test for test in known.tests if (test.tier, test.variant) not in fresh)
    added = replace(known, tests=(*kept, *tests), explanation=explanation or known.explanation)
    CHECKS.put(id, added)
    return added
