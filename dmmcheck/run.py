"""run(subject, ...) -> Report: from a subject to findings, under pytest and outside."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, get_args

from dmmcheck.attacks.base import Attack
from dmmcheck.checks.base import Test
from dmmcheck.checks.declaration import NEEDS
from dmmcheck.checks.expected import PAIRS, expected_gradients
from dmmcheck.checks.plan import ADVISORY_FOR_TWIN, Planned, for_subject, plan, refuse_idle_expectations, select
from dmmcheck.checks.search import searched
from dmmcheck.config.settings import CheckSettings, Settings, refuse_settings
from dmmcheck.errors import BaselineError, ConfigError, DmmError, is_out_of_time
from dmmcheck.errors.text import shown, told
from dmmcheck.inference import stats
from dmmcheck.inference.cost import Cost
from dmmcheck.inference.types import AGAINST_BASELINE, BEYOND_CHANCE, SEARCH, EffortName
from dmmcheck.judge import draft, is_per_input, judge, values_of
from dmmcheck.loading.attacks import load_attacks
from dmmcheck.manifolds.fields import TangentField
from dmmcheck.measurement.forecast import Forecast, seconds_per_gradient
from dmmcheck.measurement.input_evidence import input_evidence
from dmmcheck.measurement.measure import ALTERNATIVE, BASELINE, PAIR, LabelledPool, Measure, of_pair
from dmmcheck.measurement.meter import NULLS, SOUNDNESS, WHAT, Meter
from dmmcheck.measurement.nulls import meaningless, why_unavailable
from dmmcheck.measurement.reference_models import pair_count, reference_models, trainer
from dmmcheck.measurement.sample import draw_sample
from dmmcheck.measurement.shard_worker import SESSION_LIMIT, ShardWorker
from dmmcheck.measurement.sharing import measure_in_processes
from dmmcheck.measurement.store import Store
from dmmcheck.measurement.summary import distances_of, summarise_distances, summarise_subject, trajectory_of, versions
from dmmcheck.measurement.training_sets import training_sets
from dmmcheck.measurement.trainings import pairs_needed
from dmmcheck.measurement.units import in_units
from dmmcheck.measurement.view import View
from dmmcheck.measurement.workers import Done, threads_of
from dmmcheck.measurement.wrapping import in_box
from dmmcheck.models.process_state import neutral_state
from dmmcheck.models.torch import own_points
from dmmcheck.registry import CHECKS, CONTROLS, GATES
from dmmcheck.report import json
from dmmcheck.report.changes import ARMS as CHANGING
from dmmcheck.report.changes import Comparison, comparison_with
from dmmcheck.report.claims import with_chance
from dmmcheck.report.model import Baseline, DistanceSummary, Finding, InputEvidence, Report, RunCost, Soundness
from dmmcheck.soundness.collect import assess_measurement, assess_quickly, soundness_content, soundness_inputs
from dmmcheck.soundness.more_effort import Items, assessed_with_enough_effort
from dmmcheck.subject import Subject, training_role

T = TypeVar("T")

SOUNDNESS_KEY = ("soundness",)  # of the items of a measurement, with which they are cached
REPORT = "report"  # the part of the work that is the report's own


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
    """Test a subject, and return a report with the findings of ``pytest --dmm`` for the same settings.

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
    _refuse_junk(subject, settings, progress)
    chosen = (settings or Settings()).but(**overrides)
    selected = select(plan(chosen), checks=checks, exclude=exclude, tiers=tiers, fast=chosen.fast)
    session = Run(subject, chosen, progress)
    return session.whole_report(selected)


def _refuse_junk(subject: Any, settings: Any, progress: Any) -> None:
    """Refuse arguments of `run` that are of the wrong type, by name.

    Raises:
        ConfigError: There is one.
    """
    if not isinstance(subject, Subject):
        raise ConfigError(
            f"the subject is {shown(subject)}, expected a dmmcheck.Subject(model=..., x=..., y=..., manifold=...)"
        )
    refuse_settings(settings)
    if not callable(progress):
        raise ConfigError(f"progress is {shown(progress)}, expected a function of one line of text, e.g. print")


def _as_measured(subject: Subject, settings: Settings) -> Subject:
    """Return the subject on the device, in the box and in the units in which it is measured.

    Raises:
        ConfigError: The run is boxed, and the subject has no bounds.
    """
    there = subject.to(settings.device) if settings.device else subject
    if settings.boxed and subject.bounds is None:
        raise ConfigError(
            "boxed is true, but bounds are not given, which say what the box is; set bounds = [lo, hi], or "
            "--dmm-bounds LO,HI, or Subject(bounds=(lo, hi)), or leave boxed out"
        )
    return in_units(in_box(there) if settings.boxed else there)


class Run:
    """The measurements and verdicts on one subject; each finding depends on subject and settings alone.

    Args:
        subject: What is under test.
        settings: Settings of the run.
        progress: Called with a line of text before each slow part of the run.
        root: Folder that references to attacks, the baseline and the setting `cache` are relative to; the current one
            where None.
        store: Keeps measurements on disk; where None, that in the folder of the setting `cache`, if it names one.
        session: Shares measurements with the other processes of the run; one of its own where None.

    Raises:
        CheckError: The settings name an unknown check.
        ConfigError: A reference to an attack leads nowhere, or a failure is expected of a check that cannot fail the
            run.
        BaselineError: A baseline is given both as a file and as a model.
        AttackError: torchattacks is missing, or has no attack of a name in the settings.
        SubjectError: The device of the settings cannot be used.
    """

    @neutral_state()
    def __init__(
        self,
        subject: Subject,
        settings: Settings,
        progress: Callable[[str], None] = lambda line: None,
        *,
        root: Path | None = None,
        store: Store | None = None,
        session: Store | None = None,
    ) -> None:
        self.settings, self._given = settings, subject
        self._progress, self._root = progress, root or Path.cwd()
        self.id = uuid.uuid4().hex
        self._meter = Meter(settings.max_time)
        self._forecast: Forecast | None = None
        self._findings_cost = self._shared_cost = Cost()
        self.subject = _as_measured(subject, settings)
        if settings.baseline is not None and subject.baseline_model is not None:
            raise BaselineError("both baseline and baseline-model are given; keep the file, or the model")
        self.planned = self._settled(self.subject.provides)
        refuse_idle_expectations(self.planned, settings, self.subject.provides)
        if store is None and isinstance(settings.cache, str):
            store = Store(_cache_folder(self._root / settings.cache))
        self._store = store
        self._folder = None if session or settings.jobs == 1 else TemporaryDirectory(prefix="dmmcheck-")
        self._session = session if self._folder is None else Store(Path(self._folder.name), limit=SESSION_LIMIT)
        self._searched: dict[str, Measure] = {}
        self._jobs_note = ""
        self._attacks: Mapping[str, Attack] = load_attacks(settings.attacks, root=self._root)

    @cached_property
    def measure(self) -> Measure:
        """The measurements of the model under test, with the effort of the settings."""
        with self._shared():
            return self._measure()

    def _measure(self) -> Measure:
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
            effort=self._first_effort,
            queries=settings.queries,
            attacks=self._attacks,
            reference_models=reference_models(subject, settings.seed),
            steps=[step for step, _ in subject.checkpoints],
            pairs=pair_count(subject),
            trainer=trainer(subject),
            progress=self._progress,
            meter=self._meter,
            store=self._store,
            session=self._session,
        )

    @property
    def _first_effort(self) -> EffortName:
        """The effort that the search starts with: that of the settings, or that of the baseline where it is higher."""
        own, name = self.settings.search_effort, self.settings.baseline
        is_new = name is None or not (self._root / name).exists()  # a baseline that this run is to write
        earlier = None if is_new or self.settings.fast else self._baseline
        if earlier is None or earlier.evidence is None:
            return own
        efforts = get_args(EffortName)
        known = [effort for effort in efforts if effort == earlier.evidence.settings.get("effort")]
        return max([own, *known], key=efforts.index)

    @cached_property
    def _baseline(self) -> Report | None:
        """The earlier report that the settings name; None where they name none."""
        name = self.settings.baseline
        return None if name is None else read_baseline(self._root / name)

    @cached_property
    def soundness(self) -> tuple[Soundness, ...]:
        """The soundness items of the measurement, on a fixed part of the sample; the search raises its effort first."""
        return self._with_enough_effort("", self.measure, lambda measure: {"": self._assessed(measure)})[""]

    @property
    def searched(self) -> Measure:
        """The measurements with the effort that the search needs by the soundness items of the model under test."""
        assert self.soundness is not None
        return self._searched.get("", self.measure)

    def _searched_for(self, test: Test) -> Measure:
        """Return the measurements for a test, with one effort that suffices for all models that the test asks about."""
        assert self._soundness_of_others(test) is not None
        need = "pair" if "pair" in test.needs else "pairs" if "pairs" in test.needs else ""
        return self._searched.get(need, self.searched)

    def _soundness_of_others(self, test: Test) -> Items:
        """Return the soundness items of the other models that a test compares; {} where it compares none."""
        if "pair" in test.needs:
            return self.pair_soundness
        return self.trainings_soundness if "pairs" in test.needs else {}

    def _with_enough_effort(self, need: str, measure: Measure, assess: Callable[[Measure], Items]) -> Items:
        """Return the soundness items of models, with as much search effort as they need.

        A fast run does not raise the effort.
        """
        if self.settings.fast:
            return assess(measure)
        found = assessed_with_enough_effort(measure, assess, self._progress)
        self._searched[need] = found.measure
        return found.items

    def _assessed(
        self,
        measure: Measure,
        assess: Callable[[Subject, Measure], tuple[Soundness, ...]] = assess_measurement,
    ) -> tuple[Soundness, ...]:
        def assessed() -> tuple[tuple[Soundness, ...], int]:
            return assess(self.subject, measure), 0

        key = SOUNDNESS_KEY if assess is assess_measurement else (*SOUNDNESS_KEY, "quick")
        with self._shared(SOUNDNESS):
            return measure.cached(key, assessed, beside=soundness_content(self.subject, measure))[0]

    @cached_property
    def pair_soundness(self) -> dict[str, tuple[Soundness, ...]]:
        """The soundness items of the other model of a twin, by its name; {} where there is none."""
        names = _names_of_pair(0)
        if self.subject.pair is not None:
            name = "standard" if self.subject.reference is not None else "robust"
            names = {f"{name} model": name, "alternative model": ALTERNATIVE}
        return self._with_enough_effort("pair", self.searched, partial(self._soundness_of, names))

    @cached_property
    def trainings_soundness(self) -> dict[str, tuple[Soundness, ...]]:
        """The soundness items of the models of all pairs of trainings that claims need.

        All gates look at the first pair. At the other pairs, gates look at the models and their gradients alone, since
        a search for each of some twenty models would take longer than the claims.
        """
        first = partial(self._soundness_of, _names_of_pair(0))
        items = self._with_enough_effort("pairs", self.searched, first)
        measure = self._searched.get("pairs", self.searched)
        count = self._pairs_used(
            2 if any(item.widens for one in (self.soundness, *items.values()) for item in one) else 1
        )
        for number in range(1, count):
            self._progress(f"the soundness of pair {number + 1} of {count}")
            items |= self._soundness_of(_names_of_pair(number), measure, assess_quickly)
        return items

    def _pairs_used(self, parts: int) -> int:
        """Return how many pairs of trainings the claims use.

        Where a function makes the pairs, it is asked for as many as the most demanding claim needs.

        Args:
            parts: Into how many equal parts the alpha of a claim is shared: 2 where an error bar has one of them.
        """
        given = pair_count(self.subject)
        if given is not None:
            return given
        claims = [one for one in self.planned if "pairs" in one.test.needs and not self._lacking(one.test)]
        alphas = [self.gating_alpha if one.gating else self.settings.alpha for one in claims]
        return max((pairs_needed(alpha / parts) for alpha in alphas), default=1)

    def _soundness_of(
        self,
        names: Mapping[str, str],
        measure: Measure,
        assess: Callable[[Subject, Measure], tuple[Soundness, ...]] = assess_measurement,
    ) -> dict[str, tuple[Soundness, ...]]:
        """Return the soundness items of other models than the model under test, by the words of a message."""
        given = {role: name for role, name in names.items() if measure.has_reference_model(name)}
        others = {role: measure.paired_model(name) for role, name in given.items()}
        return {
            role: self._assessed(other.correctly_classified(), assess)
            for role, other in others.items()
            if other is not measure
        }

    @neutral_state()
    def finding(self, planned: Planned) -> Finding:
        """Decide one test, and charge it with the measurements that no earlier test needed.

        Raises:
            CheckError: The code of a check, control or gate raised, or returned the wrong type.
            DmmError: The subject cannot be measured.
        """
        found = self._charged(planned)
        self._findings_cost = self._findings_cost.plus(found.cost)
        return found

    def _charged(self, planned: Planned) -> Finding:
        """Decide one test, and charge it, without a place in the costs of the report."""
        before, shared = self._meter.total, self._shared_cost
        if self._forecast is not None:
            self._forecast.begin(planned.id, before.gradient_evaluations)
        with self._meter.measuring():
            try:
                found = self._decided(planned)
            except DmmError as error:
                if not is_out_of_time(error):
                    raise
                found = self._open_draft(planned, str(error))
            cost = self._meter.total.minus(before).minus(self._shared_cost.minus(shared))
        if self._forecast is not None:
            self._forecast.end(planned.id, self._meter.total.gradient_evaluations)
        return replace(found, cost=cost)

    @neutral_state()
    def forecast(self, ids: Iterable[str]) -> Forecast:
        """Show the expected cost of some tests, and from then on the share of the cost that is spent.

        Args:
            ids: Ids of the tests that are to be decided.

        Returns:
            The forecast that is shown.
        """
        wanted = set(ids)
        tests = [one for one in self.planned if one.id in wanted and not self._missing(one.test)]
        expected = {**dict.fromkeys(wanted, 0), **self._expected(tests)}
        with self._shared():
            forecast = Forecast(expected, seconds_per_gradient(self.measure), self._progress)
        forecast.announce(is_shared=self.settings.jobs != 1)

        def update(part: str) -> None:
            spent = self._meter.total
            forecast.update(WHAT[part], spent.gradient_evaluations, spent.seconds)

        self._forecast, self._meter.watch = forecast, update
        return forecast

    def _expected(self, tests: Iterable[Planned]) -> dict[str, int]:
        """Return the expected gradients of tests by id, and of the measurements that tests share by ""."""
        return expected_gradients(
            tests,
            inputs=len(self.measure.sample.x),
            classes=self.measure.classifier.classes,
            effort=self.measure.effort,
            refits=not self.settings.fast,
            checkpoints=len(self.subject.checkpoints),
            pairs=pair_count(self.subject) or PAIRS,
        )

    @neutral_state()
    def measure_ahead(self, ids: Iterable[str]) -> None:
        """Let other processes measure what tests need, where the setting `jobs` asks for them.

        The findings are decided here afterwards, from the same numbers as without other processes.

        Args:
            ids: Ids of the tests that are to be decided.

        Raises:
            ConfigError: The subject cannot be sent to another process, or the package of the cluster is missing.
        """
        left = self._meter.left
        if self._folder is None or self._session is None or (left is not None and left <= 0):
            return
        shards, spent, start = self._shards(set(ids)), dict[str, Cost](), time.perf_counter()
        before, measured = self._meter.total.seconds, list[str]()

        def own(shard: str) -> Done:
            try:
                self.measure_shard(shard)
            except Exception as error:  # the test is decided later, and meets the error again
                return Done(shard, error=told(error))
            return Done(shard)

        def take(done: Done) -> None:
            for address, copy in done.entries.items():
                self._session.take(address, copy)  # type: ignore[union-attr]
            for part, cost in done.spent.items():
                spent[part] = spent.get(part, Cost()).plus(cost)
            measured.extend([] if done.error else [done.shard])

        run = partial(Run, self._given, self.settings.but(jobs=1, max_time=left), root=self._root)
        make = partial(
            ShardWorker.of,
            run,
            store=None if self._store is None else self._store.folder,
            session=self._session.folder,
            name=self.id,
            threads=threads_of(self.settings.jobs),
            added=[(registry, registry.added()) for registry in (CHECKS, CONTROLS, GATES)],
        )
        (self._session.folder / self.id).touch()
        with self._silent():
            self._jobs_note = measure_in_processes(
                self.id,
                make,
                shards,
                jobs=self.settings.jobs,
                folder=self._session.folder,
                own=own,
                progress=self._progress,
                take=take,
            )
        self._meter.add(spent, time.perf_counter() - start - (self._meter.total.seconds - before))
        if self._forecast is not None:
            self._forecast.skip(measured)

    @contextmanager
    def _silent(self) -> Iterator[None]:
        """Show no forecast in this context, in which several processes measure."""
        shown, self._forecast = self._forecast, None
        watch, self._meter.watch = self._meter.watch, lambda part: None
        try:
            yield
        finally:
            self._forecast, self._meter.watch = shown, watch

    def _shards(self, wanted: Set[str]) -> dict[str, float]:
        """Return what several processes can measure: soundness items, tests and report values, most expensive first.

        Each has how long it is expected to take, in gradients: those that it asks for, and as many as the parts have on
        average, since parts without gradients take time, too.

        Tests that train networks are left out, since each process would train them again, and so are searches with
        Hypothesis, whose results depend on what it has found before.
        """
        trains = {"trainer"} | ({"pair", "pairs"} if callable(self.subject.pairs) else set())
        tests = [
            one
            for one in self.planned
            if one.id in wanted
            and one.tier != SEARCH
            and not trains & set(one.test.needs)
            and not self._missing(one.test)
        ]
        expected = self._expected(tests)
        # Draws that evaluate no model have no gradients, but take longer than a statistic alone.
        tests.sort(key=lambda one: (-expected[one.id], not one.test.control))
        ids = [one.id for one in tests]
        ids.insert(len(ids) // 2, REPORT)  # long, though no test: at the end one process would measure it alone
        mean = max(1.0, sum(expected.values()) / (1 + len(ids)))
        return {id: mean + expected.get("" if id == SOUNDNESS else id, mean) for id in [SOUNDNESS, *ids]}

    @neutral_state()
    def measure_shard(self, shard: str) -> dict[str, Cost]:
        """Measure what `measure_ahead` hands to this process, and return the cost by part of the work."""
        before = dict(self._meter.parts)
        if shard == SOUNDNESS:
            assert self.soundness is not None
        elif shard == REPORT:
            self.report([])
        else:
            self._measure_for(next(one for one in self.planned if one.id == shard))
        return {part: cost.minus(before[part]) for part, cost in self._meter.parts.items()}

    def _measure_for(self, planned: Planned) -> None:
        """Measure what a test needs.

        Where another process is still at the soundness items, the measurement counts as sound and the effort of the
        search as sufficient: what is measured then is what the finding needs in most runs.
        """
        if self.measure.is_known(SOUNDNESS_KEY) or set(planned.test.needs) & {"pair", "pairs"}:
            self._charged(planned)  # the report decides it again, and has its finding and cost from then
            return
        settings = self.settings.checks.get(planned.check.id, CheckSettings())
        alpha = self.gating_alpha if planned.gating else self.settings.alpha
        with self._meter.measuring():
            judge(planned, lambda: self.measure, settings, alpha=alpha, refits=not self.settings.fast)

    @neutral_state()
    def too_few_inputs(self) -> str:
        """Return why no claim about the inputs can fail the run; "" where the inputs suffice.

        Nothing is measured for the answer.
        """
        count, alpha = len(self.measure.sample.x), self.gating_alpha
        needed = stats.replicates_needed(alpha / len(self.measure.looks))
        if count >= needed:
            return ""
        remedy = f"set samples to {needed} or more" if self.settings.samples < needed else "pass more inputs"
        return (
            f"{count} inputs cannot decide a claim that can fail the run: its alpha of {alpha:.2g} needs at least "
            f"{needed} independent inputs that are classified correctly; {remedy}"
        )

    def _open_draft(self, planned: Planned, reason: str) -> Finding:
        """Return the finding of a test that the time did not suffice for."""
        own = next((one for one in self.planned if one.id == planned.id), planned)
        settings = self.settings.checks.get(planned.check.id, CheckSettings())
        return replace(draft(own, settings), reason=reason, out_of_time=True)

    def _decided(self, planned: Planned) -> Finding:
        settings = self.settings.checks.get(planned.check.id, CheckSettings())
        planned = next((own for own in self.planned if own.id == planned.id), planned)
        missing = self._missing(planned.test)
        if missing:
            return replace(draft(planned, settings), verdict="not-run", reason=missing)
        alpha = self.gating_alpha if planned.gating else self.settings.alpha
        open_because = self._too_few_pairs(planned.test, alpha) or self._unsound(planned.test)
        if open_because:
            found = replace(draft(planned, settings), verdict="inconclusive", reason=open_because)
        elif planned.tier == SEARCH:
            found = searched(draft(planned, settings), planned.test, self.subject, settings.threshold)
        else:
            widen, refits = self._widen(planned.test), not self.settings.fast
            measure = self._searched_for(planned.test)
            found = judge(planned, lambda: measure, settings, alpha=alpha, widen=widen, refits=refits)
            if measure.effort != self.searched.effort:
                why = (
                    f"all models of this claim were searched with {measure.effort} effort, since "
                    f"{self.searched.effort} effort was too little for one of them"
                )
                found = replace(found, reason="; ".join(filter(None, (found.reason, why))))
        found = self._compared(planned, self._with_trajectory(planned, self._beyond_chance(planned, found)))
        return replace(found, reason="; ".join(filter(None, (found.reason, self._why_advisory(planned, found)))))

    def _beyond_chance(self, planned: Planned, found: Finding) -> Finding:
        """Return the finding, refuted where `gate` asks for more than chance and the claim is like or below chance."""
        word = "not-told" if found.chance is None else found.chance.word
        asked = BEYOND_CHANCE in self.settings.gate and planned.gating and found.verdict == "inconclusive"
        if not asked or word not in {"like", "less"}:
            return found
        reason = f"{'like' if word == 'like' else 'less than'} chance, and gate asks for more than chance"
        return replace(found, verdict="refuted", reason=reason)

    @neutral_state()
    def whole_report(self, selected: Sequence[Planned]) -> Report:
        """Forecast the cost of tests, decide them, and report; the report says whether the time sufficed for all."""
        few = self.too_few_inputs()
        if few:
            self._progress(few)
        ids = [planned.id for planned in selected]
        self.forecast(ids)
        self.measure_ahead(ids)
        report = self.report([self.finding(planned) for planned in selected])
        complete = not any(finding.out_of_time for finding in report.findings)
        return replace(report, planned=tuple(planned.id for planned in selected), complete=complete)

    @neutral_state()
    def report(self, findings: Iterable[Finding]) -> Report:
        """Return the findings in a report, with the subject, the soundness items and the distances."""
        with self._shared():
            subject, distances = summarise_subject(self.subject, self.measure), self._distances()
        return Report(
            dmmcheck=_version(),
            versions=versions(),
            seed=self.settings.seed,
            device=str(self.measure.classifier.device),
            alpha=self.settings.alpha,
            subject=subject,
            soundness=self._within_time(lambda: self.soundness, ()),
            distances=distances,
            findings=with_chance(findings),
            evidence=self._within_time(lambda: self.evidence, None),
            baseline=self._within_time(self._changes_of_distances, None),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            run=self.id,
            fast=self.settings.fast,
            box=self._given.bounds if self.settings.boxed else None,
            cost=self.cost,
        )

    @property
    def cost(self) -> RunCost:
        """What the run has cost up to now."""
        total, store = self._meter.total, "" if self._store is None else self._store.summary()
        return RunCost(
            total=total,
            shared=total.minus(self._findings_cost),
            parts=dict(self._meter.parts),
            store="; ".join(filter(None, (self._jobs_note, store))),
            store_error="" if self._store is None else self._store.unwritten,
        )

    @contextmanager
    def _shared(self, part: str = "") -> Iterator[None]:
        """Measure in this context what all findings need; the cost is charged to none of them."""
        before, inner = self._meter.total, self._shared_cost
        with self._meter.measuring(part):
            yield
            spent = self._meter.total.minus(before)
        self._shared_cost = inner.plus(spent)

    @cached_property
    def evidence(self) -> InputEvidence:
        """The values per input: of every input where a baseline or the setting `evidence` asks for it."""
        return self._evidence_of(self.searched)

    @cached_property
    def comparison(self) -> Comparison | None:
        """The comparison with the baseline that settings or subject name; None where there is none.

        Raises:
            BaselineError: The baseline cannot be compared with this run.
            ReportError: Its file cannot be read.
        """
        if self.subject.baseline_model is not None:
            return self._beside_model()
        if self._baseline is None:
            return None
        return comparison_with(
            self._baseline,
            self.evidence,
            name=str(self.settings.baseline),
            dmmcheck=_version(),
            alpha=self.settings.alpha,
            is_gate=AGAINST_BASELINE in self.settings.gate,
            is_raised=self.searched.effort != self.measure.effort,
        )

    def _changes_of_distances(self) -> Baseline | None:
        """Return the baseline of the run, with the change of each distance; None where the run has no baseline."""
        return None if self.comparison is None else self.comparison.baseline()

    def _beside_model(self) -> Comparison:
        """Return the comparison with another model, at the inputs that both models classify correctly."""
        other = self.searched.paired_model(BASELINE).correctly_classified()
        by_id = {planned.id: planned for planned in self.planned}

        def values(finding: Finding) -> tuple[float, ...]:
            same = self._searched_for(by_id[finding.id].test)
            before = same.paired_model(BASELINE).correctly_classified()
            evidence = values_of(by_id[finding.id], before, finding)
            return () if evidence is None else tuple(evidence.values.tolist())

        comparison = Comparison(
            name=f"the model {other.classifier.name}",
            before=self._evidence_of(other),
            now=self.evidence,
            values=values,
            count=len(CHANGING) + sum(is_per_input(planned.test) for planned in self.planned),
            alpha=self.settings.alpha,
            is_gate=AGAINST_BASELINE in self.settings.gate,
        )
        comparison.refuse_others()
        return comparison

    def _compared(self, planned: Planned, found: Finding) -> Finding:
        """Return the finding with its change beside the baseline, and with the values that this compares."""
        if not self._keeps_all or not found.values:
            return found
        evidence = values_of(planned, self._searched_for(planned.test), found)
        found = replace(found, values=() if evidence is None else tuple(evidence.values.tolist()))
        return found if self.comparison is None else replace(found, change=self.comparison.of_finding(found))

    def _with_trajectory(self, planned: Planned, found: Finding) -> Finding:
        """Return the finding of a claim about checkpoints, with d_off along the checkpoints."""
        if "checkpoints" not in planned.test.needs or not found.n:
            return found
        return replace(found, trajectory=trajectory_of(View.of(self.searched, found.n)))

    @property
    def _keeps_all(self) -> bool:
        """Whether the values of every input are measured."""
        settings = self.settings
        return settings.evidence or settings.baseline is not None or self.subject.baseline_model is not None

    @property
    def _box(self) -> dict[str, str]:
        """The box that the search stays in, in words; {} where it has none."""
        bounds = self._given.bounds
        return {} if bounds is None or not self.settings.boxed else {"box": f"{bounds[0]:g} to {bounds[1]:g}"}

    def _evidence_of(self, measure: Measure) -> InputEvidence:
        n = len(measure.sample.x) if self._keeps_all else soundness_inputs(measure)
        units = self.subject.units or "input"
        return input_evidence(
            measure,
            n,
            random=meaningless(View.of(measure, soundness_inputs(measure))).distance("tangent"),
            settings={"effort": measure.effort, "units": units, **self._box},
            has_images=units == "input",
        )

    @cached_property
    def gating_alpha(self) -> float:
        """Alpha of each gating test that the subject allows: equal shares of the run's alpha, whatever is selected.

        A search takes no share, since it refutes by a counterexample and never supports.
        """
        count = sum(
            planned.gating and planned.tier != SEARCH and not self._lacking(planned.test) for planned in self.planned
        )
        return self.settings.alpha / max(1, count)

    def _settled(self, provides: frozenset[str]) -> tuple[Planned, ...]:
        """Return the planned tests as they are for a subject that provides these parts."""
        robust = self.subject.is_robust
        return tuple(for_subject(planned, provides=provides, is_robust=robust) for planned in plan(self.settings))

    def _too_few_pairs(self, test: Test, alpha: float) -> str:
        """Return why a claim about training cannot be decided, which is known before anything is measured; else ""."""
        given, needed = pair_count(self.subject), pairs_needed(alpha)
        if "pairs" not in test.needs or given is None or given >= needed:
            return ""
        return (
            f"the alpha of this claim ({alpha:.2g}) needs {needed} pairs of networks that all agree, and pairs has "
            f"{given}; nothing was measured; give more pairs, or a function seed -> (standard, robust), which is asked "
            "for as many as needed"
        )

    def _why_advisory(self, planned: Planned, finding: Finding) -> str:
        """Return the part of a reason that says why a claim does not gate, and what would make it gate."""
        test = planned.test
        if test.about_twin and test.trainings is not None:
            return f"{ADVISORY_FOR_TWIN}; give `pairs` ({self._pairs_that_would_do(planned)} of them) for such a claim"
        return f"advisory: {planned.advisory}" if planned.advisory and finding.verdict == "refuted" else ""

    def _pairs_that_would_do(self, planned: Planned) -> int:
        """Return how many pairs of trainings would decide the claim about adversarial training in place of one twin.

        Args:
            planned: The test that compares the model with one twin.
        """
        provides = self.subject.provides | {"pair", "pairs"}
        allowed = [one for one in self._settled(provides) if set(one.test.needs) <= provides]
        gating = [one.id for one in allowed if one.gating]
        return pairs_needed(self.settings.alpha / (len(gating) if planned.id in gating else 1))

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
        if not failed:
            failed = [
                f"{name}: {item.message}"
                for name, items in self._soundness_of_others(test).items()
                for item in items
                if item.ok is False and item.family in test.requires
            ]
        return f"unsound: {'; '.join(failed)}" if failed else ""

    def _widen(self, test: Test) -> bool:
        """Return whether intervals of a test include the error of the search, as a soundness item of a model says."""
        if "attack" not in test.requires:
            return False
        others = self._soundness_of_others(test).values()
        return any(item.widens for items in (self.soundness, *others) for item in items)

    def _distances(self) -> dict[str, DistanceSummary]:
        n = soundness_inputs(self.measure)
        nothing: dict[str, DistanceSummary] = {}
        found = self._within_time(lambda: distances_of(self.searched, n), nothing)
        with self._meter.measuring(NULLS):
            random = self._within_time(lambda: meaningless(View.of(self.searched, n)).distance("tangent"), None)
        return found if random is None else {**found, "random": summarise_distances(random)}

    @staticmethod
    def _within_time(measured: Callable[[], T], otherwise: T) -> T:
        """Return what is measured, or the value `otherwise` where the time of ``max-time`` was over before."""
        try:
            return measured()
        except DmmError as error:
            if not is_out_of_time(error):
                raise
            return otherwise


def _names_of_pair(number: int) -> dict[str, str]:
    """Return the names of the models of a pair of trainings, by the words of a message."""
    return {training_role(name, number): of_pair(number, name) for name in (*PAIR, ALTERNATIVE)}


def _version() -> str:
    import dmmcheck  # noqa: PLC0415  # the package imports this module lazily

    return dmmcheck.__version__


def _cache_folder(path: Path) -> Path:
    """Return the folder of the setting ``cache``, which need not be there yet.

    Raises:
        ConfigError: It is a file, or lies below one.
    """
    parts = (path, *path.absolute().parents)
    there = next((part for part in parts if os.path.exists(part)), None)  # unlike Path.exists, this never raises
    if there is None or os.path.isdir(there):
        return path
    raise ConfigError(f"cache is {str(path)!r}, but {there} is no folder; name a folder, or set cache to off")


def read_baseline(path: Path) -> Report:
    """Return the earlier report that a run is compared with.

    Raises:
        BaselineError: There is no such file.
        ReportError: It holds no report.
    """
    if not path.exists():
        raise BaselineError(f"there is no baseline {path}; write it first, with --dmm-update-baseline")
    return json.read(path)
