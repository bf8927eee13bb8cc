"""A report as a flat dict of numbers, as trackers of experiments take it."""

from __future__ import annotations

import math

from dmmcheck.report.model import Report


def metrics(report: Report) -> dict[str, float]:
    """Finite numbers by names of letters, digits, hyphens and slashes.

    The names are ``dmmcheck/ID/estimate``, ``.../low``, ``.../high`` and ``.../supported`` (1 or 0; absent where there
    is no verdict) for each finding, ``dmmcheck/distance/NAME`` for each median, and ``dmmcheck/claims/VERDICT`` for the
    counts.
    """
    found: dict[str, float] = {}
    for finding in report.findings:
        found[f"{finding.id}/estimate"] = math.nan if finding.estimate is None else finding.estimate
        if finding.interval is not None:
            found[f"{finding.id}/low"], found[f"{finding.id}/high"] = finding.interval
        if finding.verdict in {"supported", "refuted"}:
            found[f"{finding.id}/supported"] = float(finding.verdict == "supported")
        if finding.change is not None and finding.change.estimate is not None:
            found[f"{finding.id}/change"] = finding.change.estimate
    found |= {f"distance/{name}": arm.median for name, arm in report.distances.items()}
    counts = report.summary
    found |= {f"claims/{word}": float(getattr(counts, word)) for word in ("supported", "refuted", "inconclusive")}
    return {f"dmmcheck/{name}": float(value) for name, value in found.items() if math.isfinite(value)}
