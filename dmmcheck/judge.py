"""The decision on one planned test: its evidence, compared with a threshold or a control, as a finding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dmmcheck.checks.base import Test
from dmmcheck.checks.plan import Planned
from dmmcheck.config.settings import CheckSettings
from dmmcheck.errors import CheckError, DmmError
from dmmcheck.inference import stats
from dmmcheck.inference.decide import Decision, MonteCarloTest, decide, point_estimate
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.inference.types import BUILTIN
from dmmcheck.measurement.measure import Measure
from dmmcheck.measurement.nulls import BUDGETS, FEW_INPUTS, null_draws
from dmmcheck.measurement.view import View
from dmmcheck.registry import CONTROLS
from dmmcheck.report.model import Control, Finding
from dmmcheck.soundness.attack import FOUND_LEAST


def draft(planned: Planned, settings: CheckSettings) -> Finding:
    """The finding of a test before anything is measured."""
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
        threshold=None if test.control else _threshold(test, settings),
        expected_failure=settings.expected_failure if planned.gating else "",
    )


def judge(planned: Planned, measure: Callable[[], Measure], settings: CheckSettings, *, alpha: float) -> Finding:
    """Decide one test.

    A test whose draws do not evaluate the model looks at more and more inputs until the verdict is clear, and shares
    alpha among these looks. Every other test takes one look, at few inputs.

    Args:
        planned: The test.
        measure: Gives the measurements.
        settings: Settings of the check.
        alpha: Error rate of this test.

    Raises:
        CheckError: The check's own code raised, or returned something other than evidence.
        DmmError: The subject cannot be measured.
    """
    test = planned.test
    if settings.min_effect is not None:
        test = replace(test, claim=replace(test.claim, min_effect=settings.min_effect))
    trial = _Trial(test, draft(planned, settings), measure(), alpha)
    try:
        return trial.sequential() if test.draw_cost == "energy" and not test.one_look else trial.single()
    except DmmError:
        raise
    except Exception as error:
        raise CheckError(f"check {planned.id!r} raised {type(error).__name__}: {error}") from error


def _threshold(test: Test, settings: CheckSettings) -> float:
    """The configured threshold for a stated claim; the declared one in other tiers, where it means no effect."""
    configured = settings.threshold
    return test.claim.threshold if configured is None or test.tier != "stated" else configured


@dataclass(frozen=True, eq=False)
class _Trial:
    """One test on one measurement."""

    test: Test
    draft: Finding
    measure: Measure
    alpha: float

    def sequential(self) -> Finding:
        """Look at more and more inputs until the verdict is clear."""
        looks = self.measure.looks
        finding = self.draft
        for n in looks:
            finding = self._look(self._view(n), self.alpha / len(looks))
            if finding.verdict != "inconclusive":
                break
        return finding

    def single(self) -> Finding:
        """Take one look: at few inputs, since every draw of the control evaluates the model again, or at all."""
        n = len(self.measure.sample.x)
        view = self._view(n if self.test.one_look else min(FEW_INPUTS, n))
        searched = self.test.draw_cost == "search"
        return self._look(replace(view, effort="quick" if searched else None), self.alpha)

    def _view(self, n: int) -> View:
        return replace(View.of(self.measure, n), attack=self.test.attack, _used={})

    def _look(self, view: View, alpha: float) -> Finding:
        view = replace(view, alpha=alpha)
        test, evidence = self.test, _asked(self.test, view)
        control, null = _null(test, view, alpha)
        limit = _limit(test, evidence, self.draft, control)
        decision = decide(
            evidence,
            limit=limit,
            limit_ends=None if null is None else _limit_ends(test, evidence, null, alpha),
            direction=test.claim.direction,
            alpha=alpha,
            monte_carlo=None if null is None else _monte_carlo(test, view, evidence, null),
            inputs=view.n,
            most=None if test.draw_cost == "energy" else FEW_INPUTS,
        )
        weak = _weak_attack(test, view)
        if weak:
            decision = replace(decision, verdict="inconclusive", reason=weak)
        return _filled(
            self.draft, decision, evidence, limit=limit, control=control, confidence=1 - self.alpha, view=view
        )


def _null(test: Test, view: View, alpha: float) -> tuple[Control | None, Floats | None]:
    """Summary and draws of the control; (None, None) where there is none."""
    if not test.control:
        return None, None
    count = BUDGETS[test.draw_cost].draws(alpha)
    null = null_draws(view, test.ask, test.control, count, searched=test.draw_cost == "search")
    known = null[~np.isnan(null)]  # an undefined draw is left out here; for the p-value it counts as extreme
    low, middle, high = np.quantile(known, [0.025, 0.5, 0.975], method="nearest") if len(known) else [math.nan] * 3
    control = Control(name=CONTROLS[test.control].title, estimate=float(middle), interval=(float(low), float(high)))
    return control, null


def _limit(test: Test, evidence: Evidence, draft: Finding, control: Control | None) -> float:
    """The control moved by the minimum effect, or the chance level of the evidence, or the threshold."""
    if control is not None:
        return _stricter(test, test.limit(control.estimate), evidence.chance)
    if evidence.chance is not None:
        return evidence.chance
    if draft.threshold is None:
        raise CheckError(f"check {draft.id!r} has neither a threshold nor a control; declare it with one of them")
    return draft.threshold


def _limit_ends(test: Test, evidence: Evidence, null: Floats, alpha: float) -> tuple[float, float]:
    """The interval that the limit lies in, since the control is the median of a limited number of draws."""
    low, high = stats.median_interval(null, alpha)
    return tuple(_stricter(test, test.limit(end), evidence.chance) for end in (low, high))  # type: ignore[return-value]


def _monte_carlo(test: Test, view: View, evidence: Evidence, null: Floats) -> MonteCarloTest:
    """The p-value by rank; with a fitted tail for ratios of searched distances alone, whose tails are light."""
    searched, direction = test.draw_cost == "search", test.claim.direction
    nulls = [null]
    if weaker := CONTROLS[test.control].weaker:
        nulls.append(null_draws(view, test.ask, weaker, len(null), searched=searched))
    estimate = point_estimate(evidence)
    fitted = searched and test.unit == "ratio" and 0 < estimate < math.inf
    p_value = max((stats.tail_p_value if fitted else stats.rank_p_value)(estimate, drawn, direction) for drawn in nulls)
    fitted = fitted and all(stats.can_fit_tail(drawn, direction) for drawn in nulls)
    least = (stats.TAIL_FLOOR if fitted else 1.0) / (len(null) + 1)
    return MonteCarloTest(p_value=p_value, least=least, draws=f"{len(null)} draws")


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
    """Why the perturbations of an attack of the settings give no verdict; "" where they do."""
    if test.attack == BUILTIN:
        return ""
    found = float(view.crossing("free").found.double().mean())
    if found >= FOUND_LEAST:
        return ""
    return (
        f"the attack {test.attack} found a label change for {found:.0%} of inputs (at least {FOUND_LEAST:.0%}); "
        "give it more steps, for example attacks=[dmmcheck.attacks.torchattacks.TorchAttack('fab', steps=100)] in "
        "run(...), or leave it out of attacks"
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
