"""A report beside a baseline: the paired change of each claim and each distance, on the inputs that both have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from dmmcheck.errors import BaselineError
from dmmcheck.report.model import EFFORT_USED, Baseline, Change, Finding, InputEvidence, Report

if TYPE_CHECKING:
    from dmmcheck.inference.paired import Scale

LEAST_COMMON = 64  # inputs that both reports must have
SAME_MANIFOLD = 1e-3  # largest median relative difference of residuals, and of shares, on the same manifold estimate
ARMS = ("free", "on", "off")
"""The distances that are compared; a shorter one is worse."""
UPDATE = "write a new baseline with --dmm-update-baseline"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A measurement beside a baseline.

    Attributes:
        name: Path of the baseline's file, or name of its model.
        before: Evidence of the baseline.
        now: Evidence of the model under test.
        values: Function from a finding to the baseline's value of its statistic for each input; () where it has none.
        count: How many changes share `alpha`.
        alpha: Error rate over all changes.
        is_gate: Whether changes for the worse fail the run.
        created: When the baseline's report was made; "" for a model of the same run.
        run: Id of the baseline's run; "" for a model of the same run.
        is_raised: Whether one of the two runs raised the effort of its search by itself.
    """

    name: str
    before: InputEvidence
    now: InputEvidence
    values: Callable[[Finding], Sequence[float]]
    count: int
    alpha: float
    is_gate: bool = False
    created: str = ""
    run: str = ""
    is_raised: bool = False

    @cached_property
    def rows(self) -> list[tuple[int, int]]:
        """Positions (before, now) of each input that both have."""
        known = {name: position for position, name in enumerate(self.before.inputs)}
        return [(known[name], position) for position, name in enumerate(self.now.inputs) if name in known]

    def refuse_others(self) -> None:
        """Refuse a baseline whose numbers cannot be compared.

        Raises:
            BaselineError: Settings, data or manifold estimate differ.
        """
        before, now = self.before.settings, self.now.settings
        settings = [
            f"{key} was {before.get(key, 'not set')} and is {now.get(key, 'not set')}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key) and not (key == "effort" and self.is_raised)
        ]
        if settings:
            raise BaselineError(f"{self._what}: settings differ ({'; '.join(settings)}); {UPDATE}")
        if len(self.rows) < LEAST_COMMON:
            raise BaselineError(
                f"{self._what}: the data differ: {len(self.rows)} of {len(self.now.inputs)} inputs are in both (at "
                f"least {LEAST_COMMON}); use the same data, with the baseline's seed or more samples, or {UPDATE}"
            )
        for what, apart in self._manifold_apart():
            if apart > SAME_MANIFOLD:
                raise BaselineError(
                    f"{self._what}: the manifold estimate differs: the {what} of the inputs that both have differ by "
                    f"{apart:.2g} (median, relative; limit {SAME_MANIFOLD:g}); fit it on the same data with the same "
                    f"options, or {UPDATE}"
                )

    def of_finding(self, finding: Finding) -> Change | None:
        """Return the change of a claim; None where the claim has no value per input, as with claims about networks."""
        before = self.values(finding)
        if not finding.values or not len(before):
            return None
        return self._change(before, finding.values, unit=finding.unit, worse=finding.worse)

    def baseline(self) -> Baseline:
        """Return the report that this one is compared with, and the change of each distance."""
        arms = [arm for arm in ARMS if arm in self.before.distances and arm in self.now.distances]
        changes = {
            arm: self._change(self.before.distances[arm], self.now.distances[arm], unit="ratio", worse="less")
            for arm in arms
        }
        return Baseline(name=self.name, created=self.created, run=self.run, common=len(self.rows), distances=changes)

    def _change(self, before: Sequence[float], now: Sequence[float], *, unit: str, worse: str) -> Change:
        from dmmcheck.inference.paired import paired_change  # noqa: PLC0415  # loads numpy and scipy

        rows = [(a, b) for a, b in self.rows if a < len(before) and b < len(now)]
        gating = self.is_gate and bool(worse)
        reason = self._why_efforts_differ
        if not reason and len(rows) < LEAST_COMMON:
            reason = f"{len(rows)} inputs have a value in both reports, at least {LEAST_COMMON} are needed"
        if reason:
            return Change(word="not-told", n=len(rows), worse=worse, gating=gating, reason=reason)
        scale = _scale(unit)
        alpha = self.alpha / max(1, self.count)
        pairs = [before[a] for a, _ in rows], [now[b] for _, b in rows]
        found = paired_change(*pairs, scale=scale, alpha=alpha, worse=worse)
        reason = "the interval holds both a change and none" if found.word == "not-told" else ""
        return Change(
            word=found.word,
            estimate=found.estimate,
            interval=found.interval,
            confidence=1 - alpha,
            n=len(rows),
            is_ratio=scale == "ratio",
            worse=worse,
            gating=gating,
            reason=reason,
        )

    @property
    def _why_efforts_differ(self) -> str:
        """Why nothing can be said where the two runs searched with different effort; "" where they did not."""
        before, now = self.before.settings.get("effort"), self.now.settings.get("effort")
        if before == now:
            return ""
        return (
            f"the search of this run needed {now} effort, and the baseline has {before} effort; {UPDATE}, from which "
            "later runs take their effort"
        )

    @property
    def _what(self) -> str:
        return f"the baseline {self.name} cannot be compared with this run"

    def _manifold_apart(self) -> Iterable[tuple[str, float]]:
        """Yield names and median differences, over common inputs, of the values that tell manifold estimates apart.

        It is relative to their size; for the distances from the manifold, which may be zero but for rounding, to the
        distance to the boundary where that is larger.
        """
        shortest = [value for value in self.now.distances.get("free", ()) if math.isfinite(value)]
        for what, before, now, least in (
            ("distances from it", self.before.residuals, self.now.residuals, median(shortest) if shortest else 0.0),
            ("tangent spaces", self.before.tangent_shares, self.now.tangent_shares, 0.0),
        ):
            rows = [(before[a], now[b]) for a, b in self.rows if a < len(before) and b < len(now)]
            if rows:
                size = max(least, median(abs(b) for _, b in rows))
                yield what, median(abs(a - b) for a, b in rows) / size if size else 0.0


def compared(now: Report, before: Report, *, name: str = "the first report", is_gate: bool = False) -> Report:
    """Return the report with its changes beside an earlier report.

    Args:
        now: The report.
        before: The earlier one.
        name: What the report calls it, e.g. its path.
        is_gate: Whether changes for the worse fail a run.

    Raises:
        BaselineError: One of them lacks the evidence per input; or versions, settings, data or manifold differ.
    """
    if now.evidence is None:
        raise BaselineError("the report has no evidence per input; write it with --dmm-evidence true")
    comparison = comparison_with(
        before,
        now.evidence,
        name=name,
        dmmcheck=now.dmmcheck,
        alpha=now.alpha,
        is_gate=is_gate,
        is_raised=has_raised_effort(now),
    )
    findings = tuple(replace(one, change=comparison.of_finding(one)) for one in now.findings)
    return replace(now, findings=findings, baseline=comparison.baseline())


def comparison_with(
    before: Report, now: InputEvidence, *, name: str, dmmcheck: str, alpha: float, is_gate: bool, is_raised: bool
) -> Comparison:
    """Return the comparison of a measurement with an earlier report.

    Args:
        before: The earlier report.
        now: The evidence of the measurement.
        name: What messages call the earlier report.
        dmmcheck: Version that measured now.
        alpha: Error rate over all changes.
        is_gate: Whether changes for the worse fail the run.
        is_raised: Whether the measurement raised the effort of its search by itself.

    Raises:
        BaselineError: The earlier report has no evidence, or another version, settings, data or manifold.
    """
    if before.evidence is None:
        raise BaselineError(f"the baseline {name} has no evidence per input; {UPDATE}")
    if before.dmmcheck != dmmcheck:
        raise BaselineError(
            f"the baseline {name} cannot be compared with this run: it was measured by dmmcheck {before.dmmcheck}, and "
            f"this is {dmmcheck}, whose checks may measure otherwise; {UPDATE}"
        )
    known = {finding.id: finding for finding in before.findings}

    def values(finding: Finding) -> Sequence[float]:
        other = known.get(finding.id)
        is_same = other is not None and (other.statistic, other.unit) == (finding.statistic, finding.unit)
        return other.values if other is not None and is_same else ()

    comparison = Comparison(
        name=name,
        before=before.evidence,
        now=now,
        values=values,
        count=len(ARMS) + sum(bool(finding.values) for finding in before.findings),
        alpha=alpha,
        is_gate=is_gate,
        created=before.created,
        run=before.run,
        is_raised=is_raised or has_raised_effort(before),
    )
    comparison.refuse_others()
    return comparison


def has_raised_effort(report: Report) -> bool:
    """Return whether a run raised the effort of its search without being asked to."""
    return any(item.name == EFFORT_USED for item in report.soundness)


def _scale(unit: str) -> Scale:
    if unit == "rate":
        return "rate"
    return "ratio" if unit == "ratio" else "difference"
