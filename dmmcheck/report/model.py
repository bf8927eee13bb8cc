"""Finding and Report: the results of a run as plain data, JSON-able as they stand."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from dmmcheck.inference.types import Cost, Direction, Tier, Verdict

SCHEMA = "dmmcheck.report/1"


@dataclass(frozen=True, kw_only=True)
class Control:
    """What chance would do: the statistic's median over the draws of the null, and its central 95 %."""

    name: str
    estimate: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check in one tier and variant, decided.

    `estimate`, `interval`, `threshold` are in `unit`; infinities are allowed here and become null in JSON. `limit`
    is what the verdict was taken against: the threshold, or the control plus its margin. `expected_failure` says why a
    refutation is expected and fails nothing, where it is.
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
    reason: str = ""
    reference: str = ""
    expected_failure: str = ""
    cost: Cost = field(default_factory=Cost)

    @property
    def id(self) -> str:
        """The name a node id ends with."""
        return f"{self.check}-{self.tier}-{self.variant}"


@dataclass(frozen=True, kw_only=True)
class Soundness:
    """Whether one aspect of the measurement is worth trusting; `ok` is None where it only informs.

    `family` is what it says something about: ``model``, ``attack``, ``manifold``. A check that rests on a family with a
    failed item ends inconclusive.
    """

    name: str
    family: str
    ok: bool | None
    value: float | None
    limit: float | None
    message: str


@dataclass(frozen=True, kw_only=True)
class ManifoldSummary:
    """The manifold estimate, as the report shows it."""

    name: str
    dim: int
    hash: str
    residual_median: float | None
    label_agreement: float | None


@dataclass(frozen=True, kw_only=True)
class SubjectSummary:
    """What was under test, as the report shows it."""

    model: str
    model_hash: str
    classes: int
    inputs: int
    input_shape: tuple[int, ...]
    ambient_dim: int
    accuracy: float
    manifold: ManifoldSummary


@dataclass(frozen=True, kw_only=True)
class DistanceSummary:
    """Distances of one arm over the measured inputs; censored ones rank as infinite."""

    median: float
    quantiles: dict[str, float]
    n: int
    censored: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How many checks were planned, ran, and ended how."""

    planned: int
    ran: int
    supported: int
    refuted: int
    inconclusive: int
    not_run: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything one run found."""

    dmmcheck: str
    versions: dict[str, str]
    seed: int
    device: str
    alpha: float
    subject: SubjectSummary | None
    soundness: tuple[Soundness, ...]
    distances: dict[str, DistanceSummary]
    findings: tuple[Finding, ...]
    schema: str = SCHEMA

    @property
    def summary(self) -> Summary:
        """Counts over the findings."""
        verdicts = [finding.verdict for finding in self.findings]
        return Summary(
            planned=len(verdicts),
            ran=len(verdicts) - verdicts.count("not-run"),
            supported=verdicts.count("supported"),
            refuted=verdicts.count("refuted"),
            inconclusive=verdicts.count("inconclusive"),
            not_run=verdicts.count("not-run"),
        )

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Gating findings that were refuted, and not expected to be."""
        return tuple(
            finding
            for finding in self.findings
            if finding.gating and finding.verdict == "refuted" and not finding.expected_failure
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts and lists, floats as they are (the JSON renderer turns the non-finite into null)."""
        return {**asdict(self), "summary": asdict(self.summary)}
