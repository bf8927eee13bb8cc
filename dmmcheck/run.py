"""run(subject, ...) -> Report: the one way from a subject to findings, under pytest and outside."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from dmmcheck.checks.base import BUILTIN, NEEDS, Test
from dmmcheck.checks.plan import Planned, plan, select
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import CheckError, DmmError
from dmmcheck.inference import stats
from dmmcheck.inference.decide import Decision, Rarity, decide, point_estimate
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.manifolds.fields import TangentField
from dmmcheck.measurement import reference_models
from dmmcheck.measurement.measure import Examples, Measure, View
from dmmcheck.measurement.nulls import BUDGETS, CONTROLS, FEW_INPUTS, null_draws
from dmmcheck.measurement.sample import draw_sample
from dmmcheck.measurement.summary import distances_of, summarise_subject, versions
from dmmcheck.report.model import Control, DistanceSummary, Finding, Report, Soundness
from dmmcheck.soundness import collect
from dmmcheck.subject import Subject

FOUND_LIMIT = 0.95


def run(
    subject: Subject,
    *,
    checks: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    tiers: Iterable[str] | None = None,
    settings: Settings | None = None,
    progress: Callable[[str], None] = lambda line: None,
    **overrides: Any,
) -> Report:
    """Test a subject and report; the same findings as ``pytest --dmm`` for the same settings.

    Args:
        subject: What is under test.
        checks: Ids to run; all where None. A verdict does not depend on what else is selected.
        exclude: Ids to leave out.
        tiers: Tiers to run; all where None.
        settings: How to judge; defaults where None.
        progress: Told in one line what is going on, where something takes long.
        **overrides: Single settings by name, e.g. ``seed=0``, ``samples=256``, ``alpha=0.01``.

    Raises:
        CheckError: An unknown check or tier.
        ConfigError: An unknown setting, or a value it cannot have.
        DmmError: The subject cannot be measured (too few correct inputs, NaN logits, ...).
    """
    chosen = (settings or Settings()).but(**overrides)
    session = Run(subject, chosen, progress)
    selected = select(plan(chosen), checks=checks, exclude=exclude, tiers=tiers)
    return session.report([session.finding(planned) for planned in selected])


class Run:
    """A subject measured on demand and judged test by test; each finding depends on subject and settings alone."""

    def __init__(
        self, subject: Subject, settings: Settings, progress: Callable[[str], None] = lambda line: None
    ) -> None:
        self.settings = settings
        self._progress = progress
        self.subject = subject.to(settings.device) if settings.device else subject
        self.planned = plan(settings)

    @cached_property
    def measure(self) -> Measure:
        """The measurements of the model under test."""
        subject, settings = self.subject, self.settings
        classifier = subject.classifier
        sample = draw_sample(classifier, subject.x, subject.y, seed=settings.seed, limit=settings.samples)
        known = subject.y_train is not None
        examples = (subject.x_train, subject.y_train) if known else (subject.x, subject.y)
        return Measure(
            classifier,
            sample,
            TangentField(subject.manifold, sample.x),
            examples=Examples(classifier.flat(examples[0]), examples[1].to(classifier.device)),
            seed=settings.seed,
            attacks=_panel(settings.attacks),
            twins=reference_models.twins(subject, settings.seed),
            steps=[step for step, _ in subject.checkpoints],
            trainer=reference_models.trainer(subject),
            progress=self._progress,
        )

    @cached_property
    def soundness(self) -> tuple[Soundness, ...]:
        """What was found about the measurement itself, on a fixed part of the sample."""
        return collect.assess(self.subject, self.measure)

    @cached_property
    def pair_soundness(self) -> dict[str, tuple[Soundness, ...]]:
        """The same of the twin in a standard/robust pair, by its name: a masked twin would decide what a pair shows."""
        name = "standard" if self.subject.reference is not None else "robust"
        twin = self.measure.twin(name)
        if twin is self.measure:
            return {}
        return {name: collect.assess(self.subject, twin.right())}

    def finding(self, planned: Planned) -> Finding:
        """Decide one test.

        Raises:
            CheckError: The check's own code raised, or returned something other than evidence.
            DmmError: The subject cannot be measured.
        """
        blank = self._blank(planned)
        missing = self._missing(planned.test)
        if missing:
            return replace(blank, verdict="not-run", reason=missing)
        unsound = self._unsound(planned.test)
        if unsound:
            return replace(blank, verdict="inconclusive", reason=unsound)
        try:
            return self._looked(planned, blank) if planned.test.null == "energy" else self._looked_once(planned, blank)
        except DmmError:
            raise
        except Exception as error:
            raise CheckError(f"check {planned.id!r} raised {type(error).__name__}: {error}") from error

    def report(self, findings: Iterable[Finding]) -> Report:
        """The findings with everything else a report says."""
        import dmmcheck  # noqa: PLC0415  # for the version; the package imports this module lazily

        return Report(
            dmmcheck=dmmcheck.__version__,
            versions=versions(),
            seed=self.settings.seed,
            device=str(self.measure.classifier.device),
            alpha=self.settings.alpha,
            subject=summarise_subject(self.subject, self.measure),
            soundness=self.soundness,
            distances=self._distances(),
            findings=tuple(findings),
        )

    def header(self) -> dict[str, Any]:
        """Everything of the report but the findings, JSON-able."""
        return {key: value for key, value in self.report([]).as_dict().items() if key not in {"findings", "summary"}}

    @cached_property
    def gating_alpha(self) -> float:
        """Share of the run's alpha for each gating test that the subject allows: fixed, whatever is selected."""
        count = sum(planned.gating and not self._lacking(planned.test) for planned in self.planned)
        return self.settings.alpha / max(1, count)

    def _alpha(self, planned: Planned) -> float:
        return self.gating_alpha if planned.gating else self.settings.alpha

    def _blank(self, planned: Planned) -> Finding:
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
            threshold=None if test.control else self._threshold(planned),
            expected_failure=self._setting(planned).expected_failure if planned.gating else "",
        )

    def _setting(self, planned: Planned) -> CheckSettings:
        return self.settings.checks.get(planned.check.id, CheckSettings())

    def _threshold(self, planned: Planned) -> float:
        """The configured threshold is the stated claim's; other tiers have their own meaning of no effect."""
        configured = self._setting(planned).threshold
        return planned.test.claim.threshold if configured is None or planned.tier != "stated" else configured

    def _test(self, planned: Planned) -> Test:
        margin = self._setting(planned).margin
        if margin is None:
            return planned.test
        return replace(planned.test, claim=replace(planned.test.claim, margin=margin))

    def _lacking(self, test: Test) -> str:
        for need in test.needs:
            if need not in self.subject.companions:
                return f"needs {NEEDS[need]}"
        return ""

    def _missing(self, test: Test) -> str:
        return self._lacking(test) or (CONTROLS[test.control].unavailable(self.measure.view()) if test.control else "")

    def _unsound(self, test: Test) -> str:
        failed = [item.message for item in self.soundness if item.ok is False and item.family in test.grounds]
        if not failed and "pair" in test.needs:
            failed = [
                f"{name} model: {item.message}"
                for name, items in self.pair_soundness.items()
                for item in items
                if item.ok is False and item.family in test.grounds
            ]
        return f"unsound: {'; '.join(failed)}" if failed else ""

    def _looked(self, planned: Planned, blank: Finding) -> Finding:
        """Take growing numbers of inputs until the verdict is clear; alpha is shared out over the looks."""
        looks = self.measure.looks
        alpha = self._alpha(planned)
        finding = blank
        for n in looks:
            view = self._view(planned, n)
            finding = self._judged(self._test(planned), view, blank, alpha, alpha / len(looks))
            if finding.verdict != "inconclusive":
                break
        return finding

    def _looked_once(self, planned: Planned, blank: Finding) -> Finding:
        """One look on a fixed part of the sample, where every draw of the null evaluates the model anew."""
        view = self._view(planned, min(FEW_INPUTS, len(self.measure.sample.x)))
        view = replace(view, effort="quick" if planned.test.null == "search" else None)
        alpha = self._alpha(planned)
        return self._judged(self._test(planned), view, blank, alpha, alpha)

    def _view(self, planned: Planned, n: int) -> View:
        return replace(self.measure.view(n), attack=planned.test.attack, _used={})

    def _judged(self, test: Test, view: View, blank: Finding, alpha: float, alpha_now: float) -> Finding:
        evidence = _asked(test, view)
        control, null = self._null(test, view, alpha_now)
        limit = _limit(test, evidence, blank, control)
        decision = decide(
            evidence,
            limit=limit,
            limit_ends=None if null is None else _limit_ends(test, evidence, null, alpha_now),
            direction=test.claim.direction,
            alpha=alpha_now,
            rarity=None if null is None else _rarity(test, view, evidence, null),
            inputs=view.n,
            most=None if test.null == "energy" else FEW_INPUTS,
        )
        weak = _weak_attack(test, view)
        if weak:
            decision = replace(decision, verdict="inconclusive", reason=weak)
        return _filled(blank, decision, evidence, limit=limit, control=control, confidence=1 - alpha, view=view)

    def _null(self, test: Test, view: View, alpha: float) -> tuple[Control | None, Floats | None]:
        if not test.control:
            return None, None
        null = null_draws(view, test.ask, test.control, BUDGETS[test.null].draws(alpha), searched=test.null == "search")
        known = null[~np.isnan(null)]  # an undefined draw says nothing of the level; in the p-value it is extreme
        low, middle, high = np.quantile(known, [0.025, 0.5, 0.975], method="nearest") if len(known) else [math.nan] * 3
        control = Control(name=CONTROLS[test.control].title, estimate=float(middle), interval=(float(low), float(high)))
        return control, null

    def _distances(self) -> dict[str, DistanceSummary]:
        return distances_of(self.measure, collect.part(self.measure))


def _panel(names: tuple[str, ...]) -> Mapping[str, Any]:
    if not names:
        return {}
    from dmmcheck.attacks.torchattacks.attack import panel  # noqa: PLC0415  # an optional dependency

    return panel(names)


def _limit(test: Test, evidence: Evidence, blank: Finding, control: Control | None) -> float:
    """The control moved by the margin, or the chance level that came with the evidence, or the threshold."""
    if control is not None:
        return _stricter(test, test.limit(control.estimate), evidence.chance)
    if evidence.chance is not None:
        return evidence.chance
    if blank.threshold is None:
        raise CheckError(f"check {blank.id!r} has neither a threshold nor a control")
    return blank.threshold


def _limit_ends(test: Test, evidence: Evidence, null: Floats, alpha: float) -> tuple[float, float]:
    """Where the limit lies for sure: the control is the median of a limited number of draws."""
    low, high = stats.median_interval(null, alpha)
    return tuple(_stricter(test, test.limit(end), evidence.chance) for end in (low, high))  # type: ignore[return-value]


def _rarity(test: Test, view: View, evidence: Evidence, null: Floats) -> Rarity:
    """By rank; a tail is fitted only where draws are dear and ratios of distances, whose tails are light."""
    searched, direction = test.null == "search", test.claim.direction
    nulls = [null]
    if weaker := CONTROLS[test.control].weaker:
        nulls.append(null_draws(view, test.ask, weaker, len(null), searched=searched))
    estimate = point_estimate(evidence)
    fitted = searched and test.unit == "ratio" and 0 < estimate < math.inf
    p_value = max((stats.tail_p_value if fitted else stats.rank_p_value)(estimate, drawn, direction) for drawn in nulls)
    fitted = fitted and all(stats.can_fit_tail(drawn, direction) for drawn in nulls)
    least = (stats.TAIL_FLOOR if fitted else 1.0) / (len(null) + 1)
    return Rarity(p_value=p_value, least=least, draws=f"{len(null)} draws")


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
            f"the check returned {len(evidence.values)} numbers for {view.n} inputs; return one number an input"
        )
    values = evidence.values[~np.isnan(evidence.values)]
    if evidence.summary == "mean" and not np.isin(values, (0.0, 1.0)).all():
        raise CheckError('the check returned a rate of values other than 0 and 1; leave out summary="mean" for those')
    return evidence


def _weak_attack(test: Test, view: View) -> str:
    """An attack of the panel that often finds nothing says nothing; the built-in search has its own gates."""
    if test.attack == BUILTIN:
        return ""
    found = float(view.crossing("free").found.double().mean())
    if found >= FOUND_LIMIT:
        return ""
    return f"{test.attack} found {found:.0%} anywhere (limit {FOUND_LIMIT:.0%}); give it more effort, or leave it out"


def _filled(
    blank: Finding,
    decision: Decision,
    evidence: Evidence,
    *,
    limit: float,
    control: Control | None,
    confidence: float,
    view: View,
) -> Finding:
    return replace(
        blank,
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
