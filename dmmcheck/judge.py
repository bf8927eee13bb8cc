"""The decision on one planned test: its evidence, compared with a threshold or a control, as a finding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from dmmcheck.checks.base import Test
from dmmcheck.checks.plan import Planned
from dmmcheck.config.settings import CheckSettings
from dmmcheck.errors import CheckError, one_error
from dmmcheck.inference import stats
from dmmcheck.inference.chance import OPPOSITE, beside_chance
from dmmcheck.inference.decide import Decision, MonteCarloTest, below, decide, point_estimate
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.inference.search_error import SearchError, search_error
from dmmcheck.inference.types import BUILTIN, Direction
from dmmcheck.measurement.measure import Measure
from dmmcheck.measurement.nulls import BUDGETS, FEW_INPUTS, draw_looks, meaningless, null_draws
from dmmcheck.measurement.refits import refitted
from dmmcheck.measurement.view import View
from dmmcheck.models.base import is_differentiable
from dmmcheck.registry import CONTROLS
from dmmcheck.report.model import Chance, Control, Finding
from dmmcheck.soundness.attack import FOUND_LEAST
from dmmcheck.soundness.context import percent

ELSEWHERE_INPUTS = 32  # most inputs at which a verdict is repeated for other manifold estimates
HOPELESS = 4  # costly looks end where more than this many times all inputs would be needed
ERROR_INPUTS = 32  # most inputs that are searched again for the error bar of a search
EVERY_MODEL = frozenset({"classes", "examples"})
"""What a test can need that does not depend on other models than the one that is measured."""
OWN_NULL = EVERY_MODEL | {"differentiable"}
"""The same for the draws of a control."""


def draft(planned: Planned, settings: CheckSettings) -> Finding:
    """Return the finding of a test before anything is measured."""
    test = planned.test
    return Finding(
        check=planned.check.id,
        tier=test.tier,
        variant=test.variant,
        statement=test.statement,
        statistic=test.statistic,
        unit=test.unit,
        direction=test.claim.direction,
        verdict="inconclusive",
        gating=planned.gating,
        reference=planned.check.source,
        threshold=None if test.control or test.has_radius else _threshold(test, settings),
        expected_failure=settings.expected_failure if planned.gating else "",
        worse=test.worse or "",
    )


def values_of(planned: Planned, measure: Measure, found: Finding) -> Evidence | None:
    """Return the statistic of every input of a measurement; None where the test compares networks, or with a control.

    Where each further input has searches of its own, it is that of as many inputs as the finding took.

    Args:
        planned: The test.
        measure: The measurement.
        found: The finding of the test.

    Raises:
        CheckError: The check's own code raised, or returned something other than evidence.
    """
    test = planned.test
    if not is_per_input(test):
        return None
    n = len(measure.sample.x)
    view = View.of(measure, min(n, found.n) if test.costly_looks else n)
    with one_error(f"check {planned.id!r}", "", CheckError):
        evidence = _asked(test, replace(view, attack=test.attack))
    return evidence if evidence.unit == "input" and len(evidence.values) == view.n else None


def is_per_input(test: Test) -> bool:
    """Return whether a test has a number for each input of any one model, so that models can be compared."""
    return not test.control and test.draw_cost == "energy" and not set(test.needs) - EVERY_MODEL


def judge(
    planned: Planned,
    measure: Callable[[], Measure],
    settings: CheckSettings,
    *,
    alpha: float,
    widen: bool = False,
    refits: bool = True,
) -> Finding:
    """Decide one test.

    A test whose draws do not evaluate the model looks at more and more inputs until the verdict is clear, and shares
    alpha among these looks. Every other test takes one look, at few inputs.

    Args:
        planned: The test.
        measure: Gives the measurements.
        settings: Settings of the check.
        alpha: Error rate of this test.
        widen: Whether intervals include what a more thorough search changes (`inference.search_error`).
        refits: Whether a stated claim is also judged for manifold estimates of other dimensions.

    Raises:
        CheckError: The check's own code raised, or returned something other than evidence.
        DmmError: The subject cannot be measured.
    """
    test = planned.test
    if settings.min_effect is not None:
        test = replace(test, claim=replace(test.claim, min_effect=settings.min_effect))
    trial = _Trial(test, draft(planned, settings), measure(), alpha, widen, refits)
    with one_error(f"check {planned.id!r}", "", CheckError):
        is_sequential = test.draw_cost == "energy" and not test.one_look
        return trial.elsewhere(*(trial.sequential() if is_sequential else trial.single()))


def _threshold(test: Test, settings: CheckSettings) -> float:
    """Return the threshold of a test: for a stated claim the one that the settings give, if any, else the declared one.

    In the other tiers the declared threshold is the value of the statistic where there is no effect.
    """
    configured = settings.threshold
    return test.claim.threshold if configured is None or test.tier != "stated" else configured


@dataclass(frozen=True, eq=False)
class _Trial:
    """A test that is decided on one measurement."""

    test: Test
    draft: Finding
    measure: Measure
    alpha: float
    widen: bool
    refits: bool = True

    def sequential(self) -> tuple[Finding, View]:
        """Look at more and more inputs until the verdict and, in a comparison with chance, the word are clear.

        The intervals of all looks hold together, since these share alpha. So the verdict is that of the first look at
        which it is clear, and the word beside chance that of the first look at which it is told.
        """
        views = {n: self._view(n) for n in self.measure.looks}
        finding, last = _first_clear(self._looks(views))
        return finding, views[last]

    def _looks(self, views: Mapping[int, View]) -> Iterator[tuple[Finding, int]]:
        """Yield the finding of each look and its size, up to a costly one after which the next would decide nothing.

        A costly look is not taken for the word beside chance alone.
        """
        alpha, most, is_decided = self.alpha / len(views), max(views), False
        for n, view in views.items():
            finding = self._look(view, alpha)
            is_decided |= finding.verdict != "inconclusive"
            may_end = self.test.costly_looks and FEW_INPUTS <= n < most
            is_hopeless = may_end and _is_hopeless(finding, alpha, most)
            if is_hopeless:
                stopped = (
                    f"; the other {most - n} of {most} inputs were not searched, since they would hardly decide it"
                )
                finding = replace(finding, reason=finding.reason + stopped)
            yield finding, n
            if is_hopeless or (may_end and is_decided):
                return

    def single(self) -> tuple[Finding, View]:
        """Take one look: at all inputs where the test asks for one look, else at few.

        Few inputs are taken since every draw of the control evaluates the model again.

        A test against a control whose draws are searched looks at more and more draws.
        """
        n = len(self.measure.sample.x)
        view = self._view(n if self.test.one_look else min(FEW_INPUTS, n))
        if self.test.draw_cost != "search":
            return self._look(view, self.alpha), view
        if not self.test.control:
            return self._searched_once(view)
        view = replace(view, effort=None if self._converges else "quick")
        looks = draw_looks(BUDGETS["search"], self.alpha)
        return _first_clear((self._look(view, self.alpha * share, draws), draws) for draws, share in looks)[0], view

    def _searched_once(self, view: View) -> tuple[Finding, View]:
        """Take one look with quick searches, and a second one where that of a claim about untrained networks is clear.

        Quick searches find the boundaries of untrained networks too far away (``python -m benchmarks.untrained``),
        which could decide a comparison with a trained network. So the second look, with the effort of the run, gives
        the verdict. It errs with a probability of at most alpha, since a clear first look decides nothing else.
        """
        quick = replace(view, effort="quick")
        if "factory" not in self.test.needs or self.measure.effort == "quick":
            return self._look(quick, self.alpha), quick
        finding = replace(self, widen=False)._look(quick, self.alpha)  # it decides only whether there is a second look
        return (finding, quick) if finding.verdict == "inconclusive" else (self._look(view, self.alpha), view)

    def elsewhere(self, finding: Finding, view: View) -> Finding:
        """Return the finding of a stated claim with the verdicts on it for other manifold estimates.

        These are refits of other dimensions, and one manifold that means nothing: the tangent spaces rotated at random.
        Each takes one look at few inputs, with searches of brief effort. A claim that uses no tangent spaces has the
        same verdict for every manifold.
        """
        if self.test.tier != "stated" or self.test.attack != BUILTIN:
            return finding
        if not view.uses_tangent_spaces:
            return replace(finding, meaningless=finding.verdict)
        few = self._view(min(ELSEWHERE_INPUTS, len(self.measure.sample.x)))
        decided = {k: self._decided(other) for k, other in (refitted(few).items() if self.refits else ())}
        dims = {k: decision.verdict for k, decision in decided.items()}
        estimates = {k: decision.estimate for k, decision in decided.items()}
        own = few.field.dim
        return replace(
            finding,
            meaningless=self._decided(meaningless(few)).verdict,
            dims={**dims, own: finding.verdict} if dims else None,
            dim_estimates={**estimates, own: math.nan if finding.estimate is None else finding.estimate}
            if dims
            else None,
            cost=finding.cost.plus(few.spent()),
        )

    def _decided(self, view: View) -> Decision:
        evidence = _asked(self.test, view)
        limit = _limit(self.test, evidence, self.draft, None)
        return decide(evidence, limit=limit, direction=self.test.claim.direction, alpha=self.alpha)

    def _view(self, n: int) -> View:
        return replace(View.of(self.measure, n), attack=self.test.attack, _used={})

    @property
    def _converges(self) -> bool:
        """Whether searches of less effort find the same distances in the median over inputs and draws.

        Then the manifold's distances are those of the run, and draws are searched briefly. Otherwise both are searched
        with the same effort, so that what the search misses is about the same on either side.
        """
        return not self.widen and is_differentiable(self.measure.classifier)

    @property
    def _most(self) -> int:
        """The most inputs that the test can take: no more than are there, and few where it takes one look."""
        sample = self.measure.sample
        there = max(len(sample.x), round(sample.accuracy * sample.labelled))
        return there if self.test.draw_cost == "energy" else min(there, FEW_INPUTS)

    def _look(self, view: View, alpha: float, draws: int | None = None) -> Finding:
        """Return the finding of one look at level alpha, with this number of draws; as many as alpha needs if None."""
        view = replace(view, alpha=alpha / 2 if self.widen else alpha)  # the error bar has the other half
        test, evidence = self.test, _asked(self.test, view)
        evidence = replace(evidence, at_most=None) if test.control else evidence  # the control has values alone
        control, null = _null(test, view, evidence, alpha, draws)
        limit = _limit(test, evidence, self.draft, control)
        decided = partial(
            decide,
            evidence,
            limit=limit,
            limit_ends=None if null is None else _limit_ends(test, evidence, null, alpha),
            direction=test.claim.direction,
            alpha=alpha,
            monte_carlo=None if null is None else _monte_carlo(test, view, evidence, null),
            inputs=view.n,
            most=self._most,
        )
        decision, error = decided(), None
        is_clear = decision.verdict != "inconclusive"
        if (self.widen and is_clear) or (test.is_targeted and decision.verdict == "refuted"):
            error = _search_error(test, view, alpha / 2)
            decision = decided(error=error)
        reason = _weak_attack(test, view) or _unreachable(test, control, limit)
        if reason:
            decision = replace(decision, verdict="inconclusive", reason=reason)
        chance = None
        if control is not None and null is not None:
            chance = _beside_chance(test, view, decision, control, null, alpha=alpha)
        unit, replicates = test.replication(evidence, 0 if chance is None else chance.draws)
        return _filled(
            replace(
                self.draft,
                chance=chance,
                search_error=None if error is None else (error.low, error.high),
                unit_of_replication=unit,
                replicates=replicates,
                values=_per_input(evidence, view) if control is None else (),
                draws=() if null is None else tuple(null.tolist()),
            ),
            decision,
            evidence,
            limit=test.reachable(limit),
            control=control,
            confidence=1 - self.alpha,
            view=view,
        )


def _first_clear(looks: Iterable[tuple[Finding, int]]) -> tuple[Finding, int]:
    """Return the finding with the verdict of the first clear look, and the size of the last look.

    The word beside chance is that of the first look that has one.

    The looks share alpha, so that all their intervals hold together. No later look is taken where the verdict and the
    word are known.

    Args:
        looks: The finding of each look and its size, in rising order of the sizes.
    """
    decided: Finding | None = None
    taken: list[tuple[Finding, int]] = []
    for finding, size in looks:
        taken.append((finding, size))
        if decided is None and finding.verdict != "inconclusive":
            decided = finding
        is_told = finding.chance is None or finding.chance.word != "not-told"
        if decided is not None and is_told:
            break
    finding, size = taken[-1]
    return (finding if decided is None else replace(decided, chance=finding.chance, cost=finding.cost)), size


def _is_hopeless(finding: Finding, alpha: float, most: int) -> bool:
    """Return whether several times as many inputs as there are would likely leave a finding inconclusive."""
    if finding.verdict != "inconclusive" or finding.threshold is None or not finding.values:
        return False
    needed = stats.inputs_to_decide(np.array(finding.values), finding.threshold, alpha, "median")
    return needed is None or needed > HOPELESS * most


def _per_input(evidence: Evidence, view: View) -> tuple[float, ...]:
    """Return the values of the evidence where each input of the view has one, else an empty tuple."""
    is_aligned = evidence.unit == "input" and len(evidence.values) == view.n
    return tuple(evidence.values.tolist()) if is_aligned else ()


def _search_error(test: Test, view: View, alpha: float) -> SearchError:
    """Return how much a more thorough search changes the statistic, measured at a few of the inputs."""
    few = replace(view, n=min(ERROR_INPUTS, view.n))
    thorough = replace(few, measurement=view.measurement.more_thorough(), effort=None)
    return search_error(_asked(test, few), _asked(test, thorough), alpha, is_ratio=test.unit == "ratio")


def _null(
    test: Test, view: View, evidence: Evidence, alpha: float, draws: int | None
) -> tuple[Control | None, Floats | None]:
    """Return the summary and the draws of the control; (None, None) where the test has no control."""
    if not test.control:
        return None, None
    null = _drawn(test, view, test.control, draws) if draws else _enough_draws(test, view, evidence, alpha)
    known = null[~np.isnan(null)]  # an undefined draw is left out here; for the p-value it counts as extreme
    low, middle, high = np.quantile(known, [0.025, 0.5, 0.975], method="nearest") if len(known) else [math.nan] * 3
    control = Control(name=CONTROLS[test.control].title, estimate=float(middle), interval=(float(low), float(high)))
    return control, null


def _enough_draws(test: Test, view: View, evidence: Evidence, alpha: float) -> Floats:
    """Return as many draws of the control as alpha needs, or the first of them where the others would change no word.

    Support needs p < alpha. So many of the first draws can lie beyond the statistic that p would not be below alpha
    even if none of the other draws lay beyond. Then the claim cannot be supported, and the other draws are made only
    where the p-value on the other side, which tells whether the statistic is less than chance, is still open.

    Source: for stopping early, Besag & Clifford, Sequential Monte Carlo p-values, Biometrika 78, 1991.
    """
    budget, direction = BUDGETS[test.draw_cost], test.claim.direction
    first, most = budget.first_draws(alpha), budget.draws(alpha)
    null = _drawn(test, view, test.control, first)
    nulls = _nulls(test, view, null)
    p_value, other = (
        _p_value(test, point_estimate(evidence), nulls, side) for side in (direction, OPPOSITE[direction])
    )
    may_support, may_be_less = (below(p * (first + 1) / (most + 1), alpha) for p in (p_value, other))
    is_settled = not may_support and (below(other, alpha) or not may_be_less)
    return null if is_settled else _drawn(test, view, test.control, most)


def _limit(test: Test, evidence: Evidence, draft: Finding, control: Control | None) -> float:
    """Return the control moved by the minimum effect, or the chance level of the evidence, or the threshold."""
    if control is not None:
        return _stricter(test, test.limit(control.estimate), evidence.chance)
    if evidence.chance is not None:
        return evidence.chance
    if draft.threshold is None:
        raise CheckError(f"check {draft.id!r} has neither a threshold nor a control; declare it with one of them")
    return draft.threshold


def _limit_ends(test: Test, evidence: Evidence, null: Floats, alpha: float) -> tuple[float, float]:
    """Return the interval that the limit lies in, since the control is the median of a limited number of draws."""
    low, high = stats.median_interval(null, alpha)
    return tuple(_stricter(test, test.limit(end), evidence.chance) for end in (low, high))  # type: ignore[return-value]


def _monte_carlo(test: Test, view: View, evidence: Evidence, null: Floats) -> MonteCarloTest:
    """Return how extreme the statistic is among the draws of the control, and of the weaker control.

    It is extreme on the claim's side.
    """
    estimate, direction, nulls = point_estimate(evidence), test.claim.direction, _nulls(test, view, null)
    fitted = _has_tail(test, estimate) and all(stats.can_fit_tail(drawn, direction) for drawn in nulls)
    least = (stats.TAIL_FLOOR if fitted else 1.0) / (len(null) + 1)
    p_value = _p_value(test, estimate, nulls, direction)
    return MonteCarloTest(p_value=p_value, least=least, draws=f"{len(null)} draws")


def _nulls(test: Test, view: View, null: Floats) -> list[Floats]:
    """Return the draws of the control, and those of the weaker control where it names one."""
    weaker = CONTROLS[test.control].weaker
    if not weaker:
        return [null]
    return [null, _drawn(test, view, weaker, len(null))]


def _drawn(test: Test, view: View, name: str, count: int) -> Floats:
    """Return the statistic in each draw of a control."""
    builtin = str(getattr(test.ask, "__module__", "")).startswith("dmmcheck.")  # other code can use any model
    own = builtin and not set(test.needs) - OWN_NULL
    return null_draws(view, test.ask, name, count, searched=test.draw_cost == "search", own=own)


def _has_tail(test: Test, estimate: float) -> bool:
    """Return whether an exponential tail may be fitted to the draws, which is so for ratios of searched distances.

    Other statistics can have heavier tails.
    """
    return test.draw_cost == "search" and test.unit == "ratio" and 0 < estimate < math.inf


def _p_value(test: Test, estimate: float, nulls: list[Floats], direction: Direction) -> float:
    """Return the largest Monte-Carlo p-value over the controls, by rank or by a fitted tail."""
    p_value = stats.tail_p_value if _has_tail(test, estimate) else stats.rank_p_value
    return max(p_value(estimate, drawn, direction) for drawn in nulls)


def _beside_chance(
    test: Test, view: View, decision: Decision, control: Control, null: Floats, *, alpha: float
) -> Chance:
    """Return how the statistic stands beside the draws of the control."""
    other = OPPOSITE[test.claim.direction]
    found = beside_chance(
        decision.estimate,
        decision.interval,
        null,
        direction=test.claim.direction,
        moved=test.moved,
        is_ratio=test.unit == "ratio",
        is_more=decision.verdict == "supported",
        p_less=_p_value(test, decision.estimate, _nulls(test, view, null), other),
        alpha=alpha,
        largest=test.largest,
    )
    return Chance(
        word=found.word,
        effect=found.effect,
        interval=found.interval,
        control=control.name,
        p_value=decision.p_value,
        draws=len(null),
        reason=found.reason,
    )


def _unreachable(test: Test, control: Control | None, limit: float) -> str:
    """Return why no statistic can exceed the control by the minimum effect; "" where one can."""
    if control is None or math.isnan(limit) or test.reachable(limit) == limit:
        return ""
    end = "above 1" if test.claim.direction == "greater" else "below 0"
    return f"the control is at {control.estimate:.3g}, and no {test.unit} lies {end}, so nothing can be beyond it"


def _stricter(test: Test, limit: float, chance: float | None) -> float:
    if chance is None:
        return limit
    return max(limit, chance) if test.claim.direction == "greater" else min(limit, chance)


def _asked(test: Test, view: View) -> Evidence:
    evidence = test.ask(view)
    if not isinstance(evidence, Evidence):
        raise CheckError(
            f"the check returned a {type(evidence).__name__}, expected Evidence; return dmmcheck.Evidence.of(values)"
        )
    if len(evidence.values) > view.n:
        raise CheckError(
            f"the check returned {len(evidence.values)} numbers for {view.n} inputs; return one number per input"
        )
    values = evidence.values[~np.isnan(evidence.values)]
    if evidence.summary == "mean" and not np.isin(values, (0.0, 1.0)).all():
        raise CheckError('the check returned the mean of values other than 0 and 1; leave out summary="mean" for those')
    return evidence


def _weak_attack(test: Test, view: View) -> str:
    """Return why the perturbations of an attack of the settings give no verdict; "" where they do."""
    if test.attack == BUILTIN:
        return ""
    found = float(view.crossing("free").found.double().mean())
    if found >= FOUND_LEAST:
        return ""
    return (
        f"the attack {test.attack} found a label change for {percent(found, FOUND_LEAST)} of inputs "
        f"(at least {FOUND_LEAST:.0%}); give it more steps, for example "
        "attacks=[dmmcheck.attacks.torchattacks.TorchAttack('fab', steps=100)] in run(...), or leave it out of attacks"
    )


def _filled(
    draft: Finding,
    decision: Decision,
    evidence: Evidence,
    *,
    limit: float,
    control: Control | None,
    confidence: float,
    view: View,
) -> Finding:
    return replace(
        draft,
        verdict=decision.verdict,
        estimate=decision.estimate,
        interval=decision.interval,
        confidence=confidence,
        threshold=limit,
        n=len(evidence.values),
        censored=evidence.censored,
        p_value=decision.p_value,
        control=control,
        reason="; ".join(part for part in (decision.reason, evidence.note) if part),
        cost=view.spent(),
    )
