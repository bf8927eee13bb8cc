"""Numbers and facts of a report as short texts; all renderers for people use the same words."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping

from dmmcheck.inference.types import BUILTIN, HOLDS_LIMIT, ChanceWord, ChangeWord, Verdict
from dmmcheck.report.model import (
    EFFORT_USED,
    Chance,
    Change,
    DistanceSummary,
    Finding,
    Report,
    RunCost,
    Soundness,
    SubjectSummary,
)

EXPECTED = {"found-tangent": 1.0, "found-normal": 1.0, "gradients-tangent": 0.0, "gradients-normal": 0.0}
"""Expected values of items for information: no distance is censored, and no gradient vanishes."""


def number(value: float | None) -> str:
    """Return a number with three significant digits; ``inf`` or ``nan`` where it is not finite, "" for None.

    Example:
        >>> number(0.91234), number(float("inf"))
        ('0.912', 'inf')
    """
    if value is None:
        return ""
    if not math.isfinite(value):
        return f"{value}"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        decimals = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{decimals}f}"
    return f"{value:.2e}"


def interval(ends: tuple[float, float] | None) -> str:
    """Return ``[low, high]``; "" for None."""
    return "" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"


def threshold(finding: Finding) -> str:
    """Return the threshold with its direction, e.g. ``> 0.5``."""
    if finding.threshold is None:
        return ""
    return f"{'>' if finding.direction == 'greater' else '<'} {finding.threshold:.3g}"


def p_value(finding: Finding) -> str:
    """Return the Monte-Carlo p-value of a controlled finding, e.g. ``p 0.001``."""
    if finding.control is None or finding.p_value is None:
        return ""
    return f"p {finding.p_value:.2g}"


def control_in_full(finding: Finding) -> str:
    """Return the median and central 95 % of the control's draws, and the p-value among them."""
    if finding.control is None:
        return ""
    parts = number(finding.control.estimate), interval(finding.control.interval), p_value(finding)
    return " ".join(filter(None, parts))


CHANCE_WORDS: Mapping[ChanceWord, str] = {"more": "more", "like": "like", "less": "less", "not-told": "not told"}


def chance(found: Chance | None, unit: str, separator: str = " ") -> str:
    """Return how a statistic stands beside chance, with the effect, e.g. ``more 1.31x [1.20, 1.42]``."""
    if found is None:
        return ""
    low, effect, high = (_effect(value, unit) for value in (found.interval[0], found.effect, found.interval[1]))
    times = "x" if unit == "ratio" else ""
    return f"{CHANCE_WORDS[found.word]}{separator}{effect}{times} [{low}, {high}]"


def _effect(value: float, unit: str) -> str:
    """Return an effect: a ratio with two decimals, or a difference with its sign and three."""
    if not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.2f}" if unit == "ratio" else f"{value:+.3f}"


def dims(finding: Finding) -> str:
    """Return the tried dimensions k at which a claim holds, e.g. ``2-16 of 2-32``; "" where no k was tried."""
    if not finding.dims:
        return ""
    tried = sorted(finding.dims)
    held = [dim for dim in tried if finding.dims[dim] == "supported"]
    whole = f"{tried[0]}-{tried[-1]}"
    if held == tried:
        return whole
    if not held:
        return f"none of {whole}"
    first = tried.index(held[0])
    adjacent = tried[first : first + len(held)] == held
    shown = ", ".join(map(str, held)) if not adjacent or len(held) == 1 else f"{held[0]}-{held[-1]}"
    return f"{shown} of {whole}"


def control_name(finding: Finding) -> str:
    """Return the title of the control; the variant of the finding where it has not been measured."""
    return finding.variant if finding.control is None else finding.control.name


def inputs(finding: Finding) -> str:
    """Return the number of inputs, and in brackets how many of them are censored, if any: ``256 (3)``."""
    if finding.verdict == "not-run":
        return ""
    return f"{finding.n} ({finding.censored})" if finding.censored else f"{finding.n}"


def verdict(finding: Finding) -> str:
    """Return the verdict in words, with the reason if a refutation does not fail the run: ``refuted (advisory)``."""
    words = finding.verdict.replace("-", " ")
    if finding.verdict != "refuted":
        return words
    if not finding.gating:
        return f"{words} (advisory)"
    return f"{words} (expected)" if finding.expected_failure else words


def statement(finding: Finding) -> str:
    """Return the claim as a sentence; in the controlled tier with the control that it is compared with."""
    against = finding.control
    return finding.statement + (f", beyond {against.name}" if against else "")


def by_check(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return the findings in groups of one check each, each claim directly followed by its controlled findings."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.check, []).append(finding)
    return [_paired(group) for group in groups.values()]


def _paired(group: list[Finding]) -> list[Finding]:
    """Return the findings of one check, by variant and then by tier."""
    variants = sorted(dict.fromkeys(finding.variant for finding in group), key=lambda name: name != BUILTIN)
    stated = {finding.variant for finding in group if finding.tier == "stated"}

    def position(finding: Finding) -> tuple[int, int]:
        tiers = ("stated", "controlled", "mechanism", "search")
        if finding.variant not in stated:
            tiers = ("mechanism", "controlled", "stated", "search")
        return variants.index(finding.variant), tiers.index(finding.tier)

    return sorted(group, key=position)


def reasons(findings: Iterable[Finding], verdict: Verdict, *, brief: bool = False) -> Iterator[tuple[str, str]]:
    """Yield (names, reason) of the findings with a verdict, one for each reason.

    In brief, the findings whose interval holds the limit share one reason, since the table shows each limit.
    """
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.verdict == verdict:
            reason = finding.reason or "no reason given"
            groups.setdefault(HOLDS_LIMIT if brief and _is_only_limit(reason) else reason, []).append(finding)
    for reason, group in groups.items():
        yield names_of(group), reason


def _is_only_limit(reason: str) -> bool:
    """Return whether a reason says only that the interval holds the limit."""
    return reason.startswith(f"{HOLDS_LIMIT} ") and " " not in reason[len(HOLDS_LIMIT) + 1 :]


def not_told(findings: Iterable[Finding]) -> Iterator[tuple[str, str]]:
    """Yield (name, reason) of each finding whose comparison with chance gives no answer."""
    for finding in findings:
        if finding.chance is not None and finding.chance.word == "not-told":
            yield names_of([finding]), f"{finding.chance.reason} (control: {finding.chance.control})"


def notes(findings: Iterable[Finding], *, brief: bool = False) -> Iterator[tuple[str, str]]:
    """Yield (names, note) of the supported or refuted findings with a note, one for each note.

    In brief, the names are those of the checks, and the note is its first part.
    """
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.verdict in {"supported", "refuted"} and finding.reason:
            groups.setdefault(finding.reason, []).append(finding)
    for note, group in groups.items():
        yield (checks_of(group), note.partition(";")[0]) if brief else (names_of(group), note)


def checks_of(findings: Iterable[Finding]) -> str:
    """Return the checks without tiers and variants, each once, e.g. ``two-phases, noise-like``."""
    return ", ".join(dict.fromkeys(finding.check for finding in findings))


def names_of(findings: Iterable[Finding]) -> str:
    """Return the checks with tiers and variants, e.g. ``two-phases (mechanism), noise-like (stated, controlled)``."""
    parts = []
    for group in by_check(findings):
        tests = ", ".join(name_in_check(finding) for finding in group)
        parts.append(f"{group[0].check} ({tests})")
    return ", ".join(parts)


def name_in_check(finding: Finding) -> str:
    """Return the tier, and the variant unless it is ``builtin``."""
    return finding.tier + ("" if finding.variant == BUILTIN else f" {finding.variant}")


def facts(report: Report, *, brief: bool = False) -> Iterator[tuple[str, str]]:
    """Yield (label, text) of each line below the table.

    In brief, the counts and the parts of the cost are left out, and the cost stands beside the run. The store is named
    where it cannot be used.
    """
    if report.subject is None:
        yield "subject", "not measured"
    else:
        yield "subject", _subject(report.subject)
        yield "manifold", _manifold(report.subject, report.distances.get("free"))
        if report.subject.conversions:
            yield "conversions", "; ".join(report.subject.conversions)
    if report.distances:
        yield "distances", distances(report.distances, report.box)
    if report.baseline is not None:
        yield "baseline", baseline(report)
    if report.soundness:
        yield "soundness", soundness(report.soundness)
    if report.cost.store_error:
        yield "store", _unusable_store(report.cost.store_error)
    has_cost = bool(report.cost.total.seconds)
    if brief:
        yield "run", _run(report) + f", {cost(report.cost, brief=True)}" * has_cost
        return
    yield "run", _run(report)
    yield "counts", counts(report)
    if has_cost:
        yield "cost", cost(report.cost)


def _subject(subject: SubjectSummary) -> str:
    shape = " x ".join(map(str, subject.input_shape))
    return (
        f"{subject.model}, D = {subject.ambient_dim} ({shape}), {subject.classes} classes, "
        f"accuracy {percent(subject.accuracy)}, {subject.inputs} inputs measured"
    )


def _unusable_store(error: str) -> str:
    remedy = "set cache to another folder, or to false"
    return f"new measurements are not kept for the next run ({error}); {remedy}"


def _manifold(subject: SubjectSummary, free: DistanceSummary | None) -> str:
    manifold = subject.manifold
    parts = [f"{manifold.name}, k = {manifold.dim}"]
    if manifold.residual_median is not None:
        times = manifold.residual_median / free.median if free is not None and free.median > 0 else 0.0
        coarse = f", {times:.2g} times the distance to the boundary" if times > 1 else ""
        parts.append(f"residual {number(manifold.residual_median)} (median{coarse})")
    if manifold.label_agreement is not None:
        parts.append(f"label agreement {percent(manifold.label_agreement)}")
    return ", ".join(filter(None, [*parts, manifold.note]))


def soundness(items: Iterable[Soundness]) -> str:
    """Return how many soundness items failed, informational ones left out, and whether the run raised its effort."""
    items = list(items)
    judged = [item.ok for item in items if item.ok is not None]
    failed = judged.count(False)
    raised = [item.message for item in items if item.name == EFFORT_USED]
    return "; ".join([f"{failed} of {len(judged)} failed" if failed else f"all {len(judged)} ok", *raised])


def notable(items: Iterable[Soundness]) -> list[Soundness]:
    """Return the failed gates, then informational items whose values differ from what is expected."""
    shown = (
        item for item in items if item.ok is False or (item.ok is None and item.value != EXPECTED.get(item.name, ...))
    )
    return sorted(shown, key=lambda item: item.ok is None)


def distances(arms: Mapping[str, DistanceSummary], box: tuple[float, float] | None = None) -> str:
    """Return the median L2 distance and the number of censored inputs in each search space, and the box."""
    medians = "median L2 " + ", ".join(
        f"{name} {number(arm.median)}" + (f" ({arm.censored} of {arm.n} censored)" if arm.censored else "")
        for name, arm in arms.items()
    )
    return medians if box is None else f"{medians}; boxed: every search stays within bounds {box[0]:g} to {box[1]:g}"


def _run(report: Report) -> str:
    shares = sorted({finding.confidence for finding in report.findings if finding.confidence is not None})
    levels = " to ".join(dict.fromkeys(f"{share * 100:.4g}" for share in (*shares[:1], *shares[-1:])))
    return f"seed {report.seed}, {report.device}, alpha {report.alpha:g}" + (
        f", intervals of {levels} %" if levels else ""
    )


def counts(report: Report) -> str:
    """Return how many findings were planned, ran, and ended with each verdict."""
    total = report.summary
    failures = f" ({len(report.failures)} gating)" if total.refuted else ""
    return (
        f"{total.planned} planned, {total.ran} ran: {total.supported} supported, {total.refuted} refuted{failures}, "
        f"{total.inconclusive} inconclusive; {total.not_run} not run"
    )


def cost(spent: RunCost, *, brief: bool = False) -> str:
    """Return what the run cost in all, and, unless in brief, which parts took how much of the time."""
    total = spent.total
    whole = f"{total.gradient_evaluations} gradients, {total.forward_evaluations} forward passes"
    if brief:
        return f"{whole}, {duration(total.seconds)}"
    shares = {name: part.seconds / total.seconds for name, part in spent.parts.items()}
    parts = [f"{name} {percent(share)}" for name, share in shares.items() if share >= 0.005]
    return f"{whole}, {duration(total.seconds)} ({', '.join(parts)})" + f"; {spent.store}" * bool(spent.store)


def expectation(gradients: int, per_gradient: float, *, workers: int = 1, where: str = "") -> str:
    """Return what a run is expected to cost before it measures.

    Args:
        gradients: Expected gradients of all workers together.
        per_gradient: Seconds that a worker needs for one.
        workers: How many workers share the work.
        where: Words for where it would take this time, after the time.

    Example:
        >>> expectation(4000, 0.01)
        'about 4,000 gradients expected, 40 s (100 a second on this model)'
    """
    speed = 1 / per_gradient if per_gradient > 0 else math.inf
    digits = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
    pace = "too fast to time" if math.isinf(speed) else f"{digits} a second"
    where, each = (f" in {workers} workers", " in each") if workers > 1 else (where, "")
    took = duration(gradients * per_gradient / workers)
    return f"about {gradients:,} gradients expected, {took}{where} ({pace} on this model{each})"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    Example:
        >>> duration(0.4), duration(42.2), duration(400), duration(30_000)
        ('0.4 s', '42 s', '6.7 min', '8.3 h')
    """
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


CHANGE_WORDS: Mapping[ChangeWord, str] = {
    "better": "better",
    "worse": "worse",
    "changed": "changed",
    "no-change": "no change",
    "not-told": "not told",
}


def change(found: Change) -> str:
    """Return the change beside a baseline, e.g. ``worse 0.70x [0.68, 0.73]``; with the reason where nothing is told."""
    word = CHANGE_WORDS[found.word]
    if found.estimate is None or found.interval is None:
        return f"{word} ({found.reason})"
    unit = "ratio" if found.is_ratio else ""
    low, middle, high = (_effect(value, unit) for value in (found.interval[0], found.estimate, found.interval[1]))
    return f"{word} {middle}{'x' * found.is_ratio} [{low}, {high}]"


def baseline(report: Report) -> str:
    """Return the name of the baseline, the changes of the distances, and the number of claims with each change."""
    found = report.baseline
    if found is None:
        return ""
    made = f" of {found.created}" if found.created else ""
    distances = ", ".join(f"{name} {change(one)}" for name, one in found.distances.items())
    words = [finding.change.word for finding in report.findings if finding.change is not None]
    counted = ", ".join(f"{words.count(word)} {text}" for word, text in CHANGE_WORDS.items() if words.count(word))
    return f"{found.name}{made}, {found.common} inputs in both; distances: {distances}; claims: {counted or 'none'}"


def acceptance(name: str, run: str) -> str:
    """Return how a change for the worse is accepted.

    Args:
        name: Path of the baseline, or name of its model.
        run: Id of the run that made the baseline; "" where that is another model of the same run.

    Example:
        >>> acceptance("main.json", "9f3a")
        'pytest --dmm-only --dmm-baseline main.json --dmm-update-baseline accepts it'
    """
    if not run:
        return f"remove baseline from gate to accept it, or compare with another model than {name}"
    return f"{shlex.join(['pytest', '--dmm-only', '--dmm-baseline', name, '--dmm-update-baseline'])} accepts it"


def regression(name: str, found: Change, accepted: str) -> str:
    """Return a change for the worse that fails the run: its name, the change with the interval, and the remedy.

    Args:
        name: Id of the claim, or ``distance NAME``.
        found: The change.
        accepted: What accepts it, see `acceptance`.
    """
    return f"{name} is {change(found)} beside the baseline, on {found.n} inputs that both have; {accepted}"


def regressions(report: Report) -> dict[str, str]:
    """Return the sentence of each change for the worse that fails the run, by claim id or ``distance NAME``."""
    if report.baseline is None:
        return {}
    accepted = acceptance(report.baseline.name, report.baseline.run)
    return {name: regression(name, found, accepted) for name, found in report.regressions.items()}


def failure(finding: Finding) -> str:
    """Return a refuted finding in one line: estimate, interval, threshold and claim."""
    return (
        f"{finding.check} ({name_in_check(finding)}): {number(finding.estimate)} {interval(finding.interval)}, "
        f"claimed {threshold(finding)}: {statement(finding)}"
    )


def percent(share: float) -> str:
    """Return a share in per cent with one decimal, e.g. ``98.3 %``."""
    return f"{share * 100:.1f} %"
