"""run(subject, ...) -> Report: from a subject to findings, under pytest and outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dmmcheck.attacks.base import Attack
from dmmcheck.checks.base import NEEDS, Test
from dmmcheck.checks.plan import Planned, plan, select
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.judge import draft, judge
from dmmcheck.loading.attacks import load_attacks
from dmmcheck.manifolds.fields import TangentField
from dmmcheck.measurement.measure import LabelledPool, Measure
from dmmcheck.measurement.nulls import why_unavailable
from dmmcheck.measurement.reference_models import reference_models, trainer
from dmmcheck.measurement.sample import draw_sample
from dmmcheck.measurement.summary import distances_of, summarise_subject, versions
from dmmcheck.measurement.training_sets import training_sets
from dmmcheck.measurement.units import in_units
from dmmcheck.measurement.view import View
from dmmcheck.models.torch import own_points
from dmmcheck.report.model import DistanceSummary, Finding, Report, Soundness
from dmmcheck.soundness.collect import assess_measurement, soundness_inputs
from dmmcheck.subject import Subject


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
        settings: Settings of the run; the defaults where None.
        progress: Called with a line of text before each slow part of the run.
        **overrides: Single settings by name, e.g. ``seed=0``, ``samples=256``, ``effort="thorough"``.

    Raises:
        CheckError: A check or tier is unknown, or the code of a check, control or gate raised.
        ConfigError: A setting is unknown, or has a value that is not allowed.
        DmmError: The subject cannot be measured, for example because it has too few correctly classified inputs.

    Example:
        >>> import dmmcheck
        >>> subject = dmmcheck.worlds.hyperplane(angle=85, seed=0).subject
        >>> report = dmmcheck.run(subject, samples=64, checks=["off-manifold-energy"], tiers=["stated"], seed=0)
        >>> report.findings[0].verdict
        'supported'
    """
    chosen = (settings or Settings()).but(**overrides)
    session = Run(subject, chosen, progress)
    selected = select(plan(chosen), checks=checks, exclude=exclude, tiers=tiers)
    return session.report([session.finding(planned) for planned in selected])


class Run:
    """The measurements and verdicts on one subject; each finding depends on subject and settings alone.

    Args:
        subject: What is under test.
        settings: Settings of the run.
        progress: Called with a line of text before each slow part of the run.
        root: Folder that references to attacks are relative to; the current one where None.

    Raises:
        CheckError: The settings name an unknown check.
        ConfigError: A reference to an attack leads nowhere.
        AttackError: torchattacks is missing, or has no attack of a name in the settings.
        SubjectError: The device of the settings cannot be used.
    """

    def __init__(
        self,
        subject: Subject,
        settings: Settings,
        progress: Callable[[str], None] = lambda line: None,
        *,
        root: Path | None = None,
    ) -> None:
        self.settings = settings
        self._progress = progress
        self.subject = in_units(subject.to(settings.device) if settings.device else subject)
        self.planned = plan(settings)
        self._attacks: Mapping[str, Attack] = load_attacks(settings.attacks, root=root or Path.cwd())

    @cached_property
    def measure(self) -> Measure:
        """The measurements of the model under test."""
        subject, settings = self.subject, self.settings
        classifier = subject.classifier
        sample = draw_sample(
            classifier,
            subject.x,
            subject.y,
            seed=settings.seed,
            limit=settings.samples,
            groups=subject.groups,
            training=training_sets(subject),
            is_standard=subject.units == "standard",
        )
        known = subject.y_train is not None
        x, y = (subject.x_train, subject.y_train) if known else (subject.x, subject.y)
        return Measure(
            classifier,
            sample,
            TangentField(subject.manifold, sample.x),
            examples=LabelledPool(own_points(classifier, x), y.to(classifier.device)),
            seed=settings.seed,
            effort=settings.effort,
            attacks=self._attacks,
            reference_models=reference_models(subject, settings.seed),
            steps=[step for step, _ in subject.checkpoints],
            trainer=trainer(subject),
            progress=self._progress,
        )

    @cached_property
    def soundness(self) -> tuple[Soundness, ...]:
        """The soundness items of the measurement, on a fixed part of the sample."""
        return assess_measurement(self.subject, self.measure)

    @cached_property
    def pair_soundness(self) -> dict[str, tuple[Soundness, ...]]:
        """The soundness items of the other model of a pair, by its name; {} where there is none."""
        name = "standard" if self.subject.reference is not None else "robust"
        other = self.measure.paired_model(name)
        if other is self.measure:
            return {}
        return {name: assess_measurement(self.subject, other.correctly_classified())}

    def finding(self, planned: Planned) -> Finding:
        """Decide one test.

        Raises:
            CheckError: The code of a check, control or gate raised, or returned the wrong type.
            DmmError: The subject cannot be measured.
        """
        settings = self.settings.checks.get(planned.check.id, CheckSettings())
        missing = self._missing(planned.test)
        if missing:
            return replace(draft(planned, settings), verdict="not-run", reason=missing)
        unsound = self._unsound(planned.test)
        if unsound:
            return replace(draft(planned, settings), verdict="inconclusive", reason=unsound)
        alpha = self.gating_alpha if planned.gating else self.settings.alpha
        return judge(planned, lambda: self.measure, settings, alpha=alpha)

    def report(self, findings: Iterable[Finding]) -> Report:
        """The findings in a report, with the subject, the soundness items and the distances."""
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

    @cached_property
    def gating_alpha(self) -> float:
        """Alpha of each gating test that the subject allows: equal shares of the run's alpha, whatever is selected."""
        count = sum(planned.gating and not self._lacking(planned.test) for planned in self.planned)
        return self.settings.alpha / max(1, count)

    def _lacking(self, test: Test) -> str:
        for need in test.needs:
            if need not in self.subject.provides:
                return f"needs {NEEDS[need]}"
        return ""

    def _missing(self, test: Test) -> str:
        lacking = self._lacking(test)
        if lacking or not test.control:
            return lacking
        return why_unavailable(View.of(self.measure), test.control)

    def _unsound(self, test: Test) -> str:
        failed = [item.message for item in self.soundness if item.ok is False and item.family in test.requires]
        if not failed and "pair" in test.needs:
            failed = [
                f"{name} model: {item.message}"
                for name, items in self.pair_soundness.items()
                for item in items
                if item.ok is False and item.family in test.requires
            ]
        return f"unsound: {'; '.join(failed)}" if failed else ""

    def _distances(self) -> dict[str, DistanceSummary]:
        return distances_of(self.measure, soundness_inputs(self.measure))
