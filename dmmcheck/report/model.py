"""Finding and Report: the results of a run as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from dmmcheck.errors import ReportError
from dmmcheck.inference.cost import Cost
from dmmcheck.inference.types import ChanceWord, ChangeWord, Direction, Tier, Verdict
from dmmcheck.registry import REPORT_FORMATS

SCHEMA = "dmmcheck.report/2"


@dataclass(frozen=True, kw_only=True)
class Control:
    """The statistic under a control.

    Attributes:
        name: The title of the control, e.g. ``rotated tangent spaces``.
        estimate: Median of the statistic over the draws of the control.
        interval: The central 95 % of the draws.
    """

    name: str
    estimate: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Chance:
    """How a statistic stands beside chance: beside the same statistic in random draws of a control.

    Attributes:
        word: ``more`` than chance, ``like`` chance, ``less`` than chance, or ``not-told``.
        effect: Statistic over control for a ratio, statistic minus control otherwise.
        interval: Interval of the effect, over the inputs and over the draws of the control.
        control: The title of the control.
        p_value: Monte-Carlo p-value on the claim's side.
        draws: Number of draws.
        reason: Why nothing is told; "" where it is.
    """

    word: ChanceWord
    effect: float
    interval: tuple[float, float]
    control: str
    p_value: float
    draws: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """How a number of one model differs from the same number of a baseline, on the same inputs.

    Attributes:
        word: ``better`` or ``worse`` where one direction is worse, ``changed`` where none is, ``no-change``, or
            ``not-told``.
        estimate: Median of the ratios, now over before, for a ratio or a distance; else the median (or mean, for a
            rate) of the differences, now minus before. None where nothing could be compared.
        interval: Its interval.
        confidence: Level of the interval, which covers all changes of the report together.
        n: How many inputs both have.
        is_ratio: Whether `estimate` is a ratio.
        worse: The direction that is worse; "" where none is.
        gating: Whether a change for the worse fails the run.
        reason: Why nothing is told; "" where it is.
    """

    word: ChangeWord
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    n: int = 0
    is_ratio: bool = True
    worse: str = ""
    gating: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """d_off at one checkpoint of a training: its median and central half over the inputs.

    Attributes:
        step: Number of the training step.
        median: Median of d_off, in units of x.
        low: Its quartile from below.
        high: Its quartile from above.
    """

    step: float
    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check in one tier and variant.

    Attributes:
        check: Id of the check.
        tier: stated, controlled or mechanism.
        variant: Tells findings of one check and tier apart; ``builtin`` where there is only one.
        statement: The claim in words.
        statistic: What the number is, in words.
        unit: Unit of `estimate`, `interval` and `threshold`.
        direction: On which side of the threshold the claim lies.
        verdict: supported, refuted, inconclusive or not-run.
        gating: Whether a refutation fails the run.
        estimate: Median or rate over the inputs; may be infinite, which becomes null in JSON.
        interval: Its interval (low, high); ends may be infinite.
        confidence: Level of the interval over all looks.
        threshold: What the estimate was compared with: the threshold of the claim, or the control moved by the minimum
            effect.
        n: Inputs that the verdict rests on.
        censored: How many of them rest on a distance that was not found.
        p_value: The Monte-Carlo p-value among the draws of the control; without a control, the exact one-sided one.
        control: The statistic under the control; None where there is no control.
        chance: How the statistic stands beside chance: in the controlled tier beside its own control; for other claims
            beside the control of the check that is nearest to the claim. None where there is no control.
        dims: The verdict on the claim for manifold estimates of other dimensions k, by k; None where the claim uses no
            tangent spaces or the estimate cannot be fitted again.
        meaningless: The verdict on the claim for the same tangent spaces rotated at random, as a manifold that means
            nothing; None where it was not asked.
        search_error: By how much a more thorough search may change the statistic, as (low, high): factors for a ratio,
            summands otherwise. The interval includes it. None where the search is exact enough to need no error bar.
        unit_of_replication: What the interval is over: ``input``, ``training``, ``untrained network`` or ``draw``.
        replicates: How many of these there were.
        reason: Why the verdict is inconclusive or not-run, or what else was found.
        reference: Where the claim is made.
        expected_failure: Why a refutation is expected; "" where none is. An expected refutation does not fail the run.
        out_of_time: Whether it is inconclusive since the time of ``max-time`` was over before it was measured.
        cost: Evaluations and time of the measurements that this finding was the first to need.
        counterexample: The counterexample of a search as plain data (`dmmcheck.strategies.search.as_plain`); None
            where there is none.
        change: How it differs from a baseline; None where it was not compared with one.
        worse: The direction of the statistic that is worse for a user of the model; "" where the check names none.
        values: The statistic of each input, in the order of `InputEvidence.inputs`; () where its unit is no input.
        draws: The statistic in each draw of the control; () without a control.
        dim_estimates: The estimate for manifold estimates of other dimensions k, by k; None like `dims`.
        trajectory: d_off along the checkpoints of a training; () where the claim is about none.
    """

    check: str
    tier: Tier
    variant: str
    statement: str
    statistic: str
    unit: str
    direction: Direction
    verdict: Verdict
    gating: bool
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    threshold: float | None = None
    n: int = 0
    censored: int = 0
    p_value: float | None = None
    control: Control | None = None
    chance: Chance | None = None
    dims: dict[int, Verdict] | None = None
    meaningless: Verdict | None = None
    search_error: tuple[float, float] | None = None
    unit_of_replication: str = "input"
    replicates: int = 0
    reason: str = ""
    reference: str = ""
    expected_failure: str = ""
    out_of_time: bool = False
    cost: Cost = field(default_factory=Cost)
    counterexample: dict[str, Any] | None = None
    change: Change | None = None
    worse: str = ""
    values: tuple[float, ...] = ()
    draws: tuple[float, ...] = ()
    dim_estimates: dict[int, float] | None = None
    trajectory: tuple[TrainingStep, ...] = ()

    @property
    def id(self) -> str:
        """Check, tier and variant; the end of the node id in pytest."""
        return f"{self.check}-{self.tier}-{self.variant}"


EFFORT_USED = "effort-used"
"""Name of the soundness item that says that the run has raised the effort of its search."""


@dataclass(frozen=True, kw_only=True)
class Soundness:
    """The result of one soundness item: whether the measurement can be trusted in one respect.

    Attributes:
        name: Name of the item.
        family: What it tests: ``model``, ``attack`` or ``manifold``. A check that requires a family with a failed item
            ends inconclusive.
        ok: Whether it holds; None where the item is for information and cannot fail.
        value: The measured value; None where there is none.
        limit: What the value was compared with; None where there is none.
        message: What was found, and what to do about it.
        widens: Whether intervals that rest on searched distances include the error that this item found. Such an item
            does not fail: what it found is bounded.
    """

    name: str
    family: str
    ok: bool | None
    value: float | None
    limit: float | None
    message: str
    widens: bool = False


@dataclass(frozen=True, kw_only=True)
class ManifoldSummary:
    """The manifold estimate.

    Attributes:
        name: Its name.
        dim: Its dimension k.
        hash: Hash of tangent bases and projections at the first inputs.
        residual_median: Median distance of inputs from it; None where it is unknown.
        label_agreement: Share of inputs whose projection gets the same label from the model; None where it is unknown.
        note: How it was made, in a few words; "" where there is nothing to say.
    """

    name: str
    dim: int
    hash: str
    residual_median: float | None
    label_agreement: float | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SubjectSummary:
    """What was under test.

    Attributes:
        model: Name of the model.
        model_hash: Hash of its weights, or of logits at the first inputs where it has none.
        classes: Number of classes.
        inputs: Number of measured inputs.
        input_shape: Shape of one input.
        ambient_dim: Number D of features of an input.
        accuracy: Share of the labelled inputs that the model classifies correctly.
        manifold: The manifold estimate.
        conversions: What was done to the data and to the model as they were given, one phrase each.
    """

    model: str
    model_hash: str
    classes: int
    inputs: int
    input_shape: tuple[int, ...]
    ambient_dim: int
    accuracy: float
    manifold: ManifoldSummary
    conversions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DistanceSummary:
    """L2 distances to the boundary in one search space, over the measured inputs; censored ones rank as infinite.

    Attributes:
        median: Median distance.
        quantiles: Quantiles by level, e.g. ``"0.05"``.
        n: Number of inputs.
        censored: For how many inputs no label change was found.
    """

    median: float
    quantiles: dict[str, float]
    n: int
    censored: int


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """The classes in a plane through one input, spanned by a tangent and a normal direction.

    Attributes:
        input: Hash of the input, which is the origin.
        extent: Half the width of the plane (tangent, normal), in units of x.
        classes: The model's class at each point of a regular grid: a row for each normal coordinate, from the lowest.
        others: The same for other models on the same plane, by name, e.g. ``robust``.
        on: Tangent coordinate of the crossing found in the tangent space, in units of x.
        off: Normal coordinate of the crossing found in the normal space, in units of x.
    """

    input: str
    extent: tuple[float, float]
    classes: tuple[tuple[int, ...], ...]
    others: dict[str, tuple[tuple[int, ...], ...]]
    on: float
    off: float


@dataclass(frozen=True, kw_only=True)
class Strip:
    """An image, and the smallest steps that change its label.

    Attributes:
        input: Hash of the image.
        shape: (height, width) or (height, width, channels).
        image: Its values, flat, in the order of `shape`.
        steps: The step in each search space, ``free``, ``on`` and ``off``, flat; absent where none was found.
        lengths: L2 length of each step, in units of x.
    """

    input: str
    shape: tuple[int, ...]
    image: tuple[float, ...]
    steps: dict[str, tuple[float, ...]]
    lengths: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class InputEvidence:
    """The values per input behind a report, and what its figures show; rows are in the order of the measurement.

    Attributes:
        inputs: A hash of each measured input (n,), which finds the same input in another report.
        distances: L2 distance of the first inputs in each search space, in units of x; inf where none was found.
        residuals: Distance of each input from the manifold estimate (n,), in units of x.
        tangent_shares: Share of the energy of one fixed direction in the tangent space of each input (n,). With the
            residuals it tells one manifold estimate from another.
        settings: The settings that values per input depend on, e.g. ``effort``.
        portrait: Classes in a plane through one input; None where no crossing on and off the manifold was found.
        strips: Images with their steps; () where inputs are no images.
    """

    inputs: tuple[str, ...]
    distances: dict[str, tuple[float, ...]]
    residuals: tuple[float, ...]
    tangent_shares: tuple[float, ...]
    settings: dict[str, str]
    portrait: Portrait | None = None
    strips: tuple[Strip, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a report was compared with.

    Attributes:
        name: Path of the file, or name of the model.
        created: When that report was made; "" for a model of the same run.
        run: Id of that run; "" for a model of the same run.
        common: How many inputs both have.
        distances: The change of the distance in each search space.
    """

    name: str
    created: str
    run: str
    common: int
    distances: dict[str, Change]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How many findings were planned, ran, and ended with each verdict."""

    planned: int
    ran: int
    supported: int
    refuted: int
    inconclusive: int
    not_run: int


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run cost, each measurement once.

    Attributes:
        total: All of it: the sum of `parts`, and the sum of `shared` and the costs of the findings.
        shared: What no finding is charged for: the soundness items, the distances of the report, and the searches that
            they were the first to need.
        parts: What each part of the work took: ``soundness``, ``search``, ``nulls``, ``refits``, ``other``.
        store: What was read from the store of measurements, and what was not stored and why; "" without a store.
        store_error: Why new measurements could not be kept; "" where all could, or where there is no store.
    """

    total: Cost = field(default_factory=Cost)
    shared: Cost = field(default_factory=Cost)
    parts: dict[str, Cost] = field(default_factory=dict)
    store: str = ""
    store_error: str = ""

    def plus(self, other: RunCost) -> RunCost:
        """Return the cost of both of two processes."""
        names = dict.fromkeys([*self.parts, *other.parts])
        return RunCost(
            total=self.total.plus(other.total),
            shared=self.shared.plus(other.shared),
            store=" | ".join(filter(None, (self.store, other.store))),
            store_error=self.store_error or other.store_error,
            parts={name: self.parts.get(name, Cost()).plus(other.parts.get(name, Cost())) for name in names},
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """All results of one run.

    Attributes:
        dmmcheck: Version of dmmcheck.
        versions: Versions of Python and of the libraries.
        seed: Seed of the run.
        device: Device of the measurements.
        alpha: Largest share of runs with a false gating verdict.
        subject: What was under test; None where nothing was measured.
        soundness: Soundness items.
        distances: Distances by search space: ``free``, ``on``, ``off``.
        findings: Findings in the order of the plan.
        planned: Ids of the tests that were selected, in the order of the plan.
        complete: Whether each of them has a finding that the time of ``max-time`` sufficed for.
        errors: Messages of errors that left selected tests without a finding.
        created: When the report was made, in UTC, as ISO 8601.
        run: Id of the run, drawn at random.
        fast: Whether the run was a fast one: the stated claims only, searched with quick effort.
        box: The bounds (lo, hi) that distances and model calls stay in; None where distances are unboxed.
        cost: What the run cost.
        schema: Name of the JSON schema.
        evidence: The values per input; None where they were not kept.
        baseline: What it was compared with; None where with nothing.
    """

    dmmcheck: str
    versions: dict[str, str]
    seed: int
    device: str
    alpha: float
    subject: SubjectSummary | None
    soundness: tuple[Soundness, ...]
    distances: dict[str, DistanceSummary]
    findings: tuple[Finding, ...]
    planned: tuple[str, ...] = ()
    complete: bool = True
    errors: tuple[str, ...] = ()
    created: str = ""
    run: str = ""
    fast: bool = False
    box: tuple[float, float] | None = None
    cost: RunCost = field(default_factory=RunCost)
    schema: str = SCHEMA
    evidence: InputEvidence | None = None
    baseline: Baseline | None = None

    @property
    def summary(self) -> Summary:
        """Counts of the findings."""
        verdicts = [finding.verdict for finding in self.findings]
        return Summary(
            planned=max(len(verdicts), len(self.planned)),
            ran=len(verdicts) - verdicts.count("not-run"),
            supported=verdicts.count("supported"),
            refuted=verdicts.count("refuted"),
            inconclusive=verdicts.count("inconclusive"),
            not_run=verdicts.count("not-run"),
        )

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Gating findings that are refuted and not expected to be; each fails the run."""
        return tuple(
            finding
            for finding in self.findings
            if finding.gating and finding.verdict == "refuted" and not finding.expected_failure
        )

    @property
    def regressions(self) -> dict[str, Change]:
        """The changes for the worse that fail the run, by id of the finding or by ``distance NAME``."""
        changes = {f"distance {name}": change for name, change in self.distance_changes.items()}
        changes |= {finding.id: finding.change for finding in self.findings if finding.change is not None}
        return {name: change for name, change in changes.items() if change.gating and change.word == "worse"}

    @property
    def distance_changes(self) -> dict[str, Change]:
        """The change of each distance beside the baseline; {} without one."""
        return {} if self.baseline is None else self.baseline.distances

    def as_dict(self) -> dict[str, Any]:
        """Return the report as dicts and tuples, with its counts; infinities and NaN are kept."""
        return {**asdict(self), "summary": asdict(self.summary)}

    def to_html(self) -> str:
        """Return the report as one self-contained HTML page; needs the extra ``report``.

        Raises:
            ReportError: jinja2 is not installed.
        """
        text: str = REPORT_FORMATS[".html"](self)
        return text

    def to_markdown(self) -> str:
        """Return the report as GitHub-flavoured Markdown."""
        text: str = REPORT_FORMATS[".md"](self)
        return text

    def to_dataframe(self) -> Any:
        """Return the values per input as a `pandas.DataFrame`, one row an input; see `columns`.

        Raises:
            ReportError: pandas is not installed.
        """
        try:
            import pandas  # noqa: PLC0415  # not needed otherwise
        except ImportError as error:
            raise ReportError("to_dataframe needs pandas, which is not installed; pip install pandas") from error
        columns = self.columns()
        return pandas.DataFrame({name: pandas.Series(list(values)) for name, values in columns.items()})

    def columns(self) -> dict[str, tuple[Any, ...]]:
        """Return the values per input by column; a column is shorter where only the first inputs have a value.

        The columns are ``input`` (a hash), ``d_free``, ``d_on``, ``d_off`` and ``d_random``, ``residual`` (the distance
        from the manifold estimate), and the statistic of each finding under its id.
        """
        found: dict[str, tuple[Any, ...]] = {}
        if self.evidence is not None:
            found["input"] = self.evidence.inputs
            found |= {f"d_{name}": values for name, values in self.evidence.distances.items()}
            found["residual"] = self.evidence.residuals
        return found | {finding.id: finding.values for finding in self.findings if finding.values}

    def metrics(self) -> dict[str, float]:
        """Return the report for trackers of experiments, as finite numbers by name.

        Names consist of letters, digits, hyphens and slashes.

        For each finding these are ``dmmcheck/ID/estimate``, ``low``, ``high`` and ``change``, and ``supported`` (1 or
        0; absent without a verdict). For each median there is ``dmmcheck/distance/NAME``, and
        ``dmmcheck/claims/VERDICT`` counts the verdicts.
        """
        found: dict[str, float] = {}
        for finding in self.findings:
            found[f"{finding.id}/estimate"] = math.nan if finding.estimate is None else finding.estimate
            if finding.interval is not None:
                found[f"{finding.id}/low"], found[f"{finding.id}/high"] = finding.interval
            if finding.verdict in {"supported", "refuted"}:
                found[f"{finding.id}/supported"] = float(finding.verdict == "supported")
            if finding.change is not None and finding.change.estimate is not None:
                found[f"{finding.id}/change"] = finding.change.estimate
        found |= {f"distance/{name}": arm.median for name, arm in self.distances.items()}
        counts = self.summary
        found |= {f"claims/{word}": float(getattr(counts, word)) for word in ("supported", "refuted", "inconclusive")}
        return {f"dmmcheck/{name}": float(value) for name, value in found.items() if math.isfinite(value)}

    def _repr_html_(self) -> str:
        """Return the report for a notebook: the page in a frame, so that neither changes the other's style."""
        from html import escape  # noqa: PLC0415
        from importlib.util import find_spec  # noqa: PLC0415

        if find_spec("jinja2") is None:
            return f"<pre>{escape(self.to_markdown())}</pre>"
        page = escape(self.to_html(), quote=True)
        return (
            f'<iframe title="dmmcheck report" sandbox="" srcdoc="{page}" width="100%" height="800" '
            'style="border: 1px solid #888"></iframe>'
        )
