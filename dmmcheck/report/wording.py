"""A report's numbers and facts as short texts, the same words for every renderer that people read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from dmmcheck.report.model import DistanceSummary, Finding, Report, Soundness, SubjectSummary

BUILTIN = "builtin"
IN_ORDER = {"found-tangent": 1.0, "found-normal": 1.0, "gradients-tangent": 0.0, "gradients-normal": 0.0}
"""Values of what only informs that say that nothing is censored, or vanishes."""


def number(value: float | None) -> str:
    """Three significant digits; the words inf and nan for what is not finite, nothing for None."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return f"{value}"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        decimals = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{decimals}f}"
    return f"{value:.2e}"


def interval(ends: tuple[float, float] | None) -> str:
    """``[lo, hi]``."""
    return "" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"


def threshold(finding: Finding) -> str:
    """What the claim asks for, ``> 0.5``."""
    if finding.threshold is None:
        return ""
    return f"{'>' if finding.direction == 'greater' else '<'} {finding.threshold:.3g}"


def p_value(finding: Finding) -> str:
    """The Monte-Carlo p-value of a controlled finding."""
    if finding.control is None or finding.p_value is None:
        return ""
    return f"p {finding.p_value:.2g}"


def control(finding: Finding) -> str:
    """The control's value and the p-value among its draws, ``0.876 (p 0.001)``."""
    if finding.control is None:
        return ""
    p = p_value(finding)
    return number(finding.control.estimate) + (f" ({p})" if p else "")


def control_in_full(finding: Finding) -> str:
    """The control's value, the central 95 % of its draws, and the p-value among them."""
    if finding.control is None:
        return ""
    parts = number(finding.control.estimate), interval(finding.control.interval), p_value(finding)
    return " ".join(filter(None, parts))


def inputs(finding: Finding) -> str:
    """How many inputs, and how many of them censored where any were: ``256 (3)``."""
    if finding.verdict == "not-run":
        return ""
    return f"{finding.n} ({finding.censored})" if finding.censored else f"{finding.n}"


def verdict(finding: Finding) -> str:
    """The verdict's word; says so where a refutation does not fail the run."""
    words = finding.verdict.replace("-", " ")
    if finding.verdict != "refuted":
        return words
    return words + (
        " (expected)" if finding.gating and finding.expected_failure else "" if finding.gating else " (advisory)"
    )


def statement(finding: Finding) -> str:
    """The claim as a sentence, with what it is held against in the controlled tier."""
    against = finding.control
    return finding.statement + (f", beyond {against.name}" if against else "")


def by_check(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one check together, the controlled one directly below the claim it holds to account."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.check, []).append(finding)
    return [_paired(group) for group in groups.values()]


def _paired(group: list[Finding]) -> list[Finding]:
    variants = sorted(dict.fromkeys(finding.variant for finding in group), key=lambda name: name != BUILTIN)
    stated = {finding.variant for finding in group if finding.tier == "stated"}

    def place(finding: Finding) -> tuple[int, int]:
        tiers = ("stated", "controlled", "mechanism") if finding.variant in stated else ("mechanism", "controlled")
        return variants.index(finding.variant), tiers.index(finding.tier)

    return sorted(group, key=place)


def not_beyond_chance(report: Report) -> str:
    """Checks whose stated claim is supported and a controlled one is not, with how many; "" if there are none."""
    names = []
    for group in by_check(report.findings):
        stated = {finding.verdict for finding in group if finding.tier == "stated"}
        controls = [f.verdict for f in group if f.tier == "controlled" and f.verdict != "not-run"]
        failed = len(controls) - controls.count("supported")
        if "supported" in stated and failed:
            names.append(f"{group[0].check} ({failed} of {len(controls)} controls)")
    if not names:
        return ""
    return f"supported as stated, not shown to exceed chance: {', '.join(names)}"


def unsettled(report: Report) -> Iterator[tuple[str, str, str]]:
    """(verdict, names, reason) for what ended inconclusive or did not run, one entry a reason."""
    for kind in ("inconclusive", "not-run"):
        reasons: dict[str, list[Finding]] = {}
        for finding in report.findings:
            if finding.verdict == kind:
                reasons.setdefault(finding.reason or "no reason given", []).append(finding)
        for reason, group in reasons.items():
            yield kind.replace("-", " "), names_of(group), reason


def notes(report: Report) -> Iterator[tuple[str, str]]:
    """(name, what else was seen) for each verdict that came with more than its number."""
    for finding in report.findings:
        if finding.verdict in {"supported", "refuted"} and finding.reason:
            yield names_of([finding]), finding.reason


def names_of(findings: Iterable[Finding]) -> str:
    """Checks with the tiers and variants concerned: ``two-phases (mechanism), noise-like (stated, controlled)``."""
    parts = []
    for group in by_check(findings):
        tests = ", ".join(name_in_check(finding) for finding in group)
        parts.append(f"{group[0].check} ({tests})")
    return ", ".join(parts)


def name_in_check(finding: Finding) -> str:
    """The tier, and the variant where it is not the built-in one."""
    return finding.tier + ("" if finding.variant == BUILTIN else f" {finding.variant}")


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """(label, one line) for what stands under the table."""
    if report.subject is None:
        yield "subject", "not measured"
    else:
        yield "subject", _subject(report.subject)
        yield "manifold", _manifold(report.subject)
    if report.soundness:
        yield "soundness", soundness(report.soundness)
    if report.distances:
        yield "distances", distances(report.distances)
    yield "run", _run(report)
    yield "counts", counts(report)


def _subject(subject: SubjectSummary) -> str:
    shape = " x ".join(map(str, subject.input_shape))
    return (
        f"{subject.model}, D = {subject.ambient_dim} ({shape}), {subject.classes} classes, "
        f"accuracy {percent(subject.accuracy)}, {subject.inputs} inputs measured"
    )


def _manifold(subject: SubjectSummary) -> str:
    manifold = subject.manifold
    parts = [f"{manifold.name}, k = {manifold.dim}"]
    if manifold.residual_median is not None:
        parts.append(f"residual {number(manifold.residual_median)} (median)")
    if manifold.label_agreement is not None:
        parts.append(f"label agreement {percent(manifold.label_agreement)}")
    return ", ".join(parts)


def soundness(items: Iterable[Soundness]) -> str:
    """How many of the items that judge are in order."""
    judged = [item.ok for item in items if item.ok is not None]
    failed = judged.count(False)
    return f"{failed} of {len(judged)} failed" if failed else f"all {len(judged)} ok"


def remarkable(items: Iterable[Soundness]) -> list[Soundness]:
    """What failed, then what only informs, unless that is that nothing is amiss."""
    told = (
        item for item in items if item.ok is False or (item.ok is None and item.value != IN_ORDER.get(item.name, ...))
    )
    return sorted(told, key=lambda item: item.ok is None)


def distances(arms: Mapping[str, DistanceSummary]) -> str:
    """Median L2 distance of each arm, and how many inputs it was not found for."""
    return "median L2 " + ", ".join(
        f"{name} {number(arm.median)}" + (f" ({arm.censored} of {arm.n} censored)" if arm.censored else "")
        for name, arm in arms.items()
    )


def _run(report: Report) -> str:
    shares = sorted({finding.confidence for finding in report.findings if finding.confidence is not None})
    levels = " to ".join(dict.fromkeys(f"{share * 100:.4g}" for share in (*shares[:1], *shares[-1:])))
    return f"seed {report.seed}, {report.device}, alpha {report.alpha:g}" + (
        f", intervals of {levels} %" if levels else ""
    )


def counts(report: Report) -> str:
    """How many were planned, ran, and ended how."""
    total = report.summary
    failures = f" ({len(report.failures)} gating)" if total.refuted else ""
    return (
        f"{total.planned} planned, {total.ran} ran: {total.supported} supported, {total.refuted} refuted{failures}, "
        f"{total.inconclusive} inconclusive; {total.not_run} not run"
    )


def failure(finding: Finding) -> str:
    """A refuted finding in one line."""
    return (
        f"{finding.check} ({name_in_check(finding)}): {number(finding.estimate)} {interval(finding.interval)}, "
        f"claimed {threshold(finding)}: {statement(finding)}"
    )


def percent(share: float) -> str:
    """A share in per cent, one decimal."""
    return f"{share * 100:.1f} %"
