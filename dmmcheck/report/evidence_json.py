"""The evidence per input as JSON, and back.

Infinities and NaN are the texts ``inf``, ``-inf`` and ``nan`` here, since a distance that was not found (inf) and a
value that is unknown (nan) must stay apart when two reports are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from dmmcheck.report.model import Finding, InputEvidence, Portrait, Report, Strip, TrainingStep

Object = Mapping[str, Any]

OF_FINDINGS = ("values", "draws", "trajectory")
"""Parts of a finding that stand in the evidence, under the id of the finding."""


def as_json(report: Report) -> dict[str, Any]:
    """Return the evidence of a report as dicts, lists, texts and finite numbers."""
    assert report.evidence is not None
    findings = {finding.id: finding for finding in report.findings}
    content = {
        **asdict(report.evidence),
        "values": {id: finding.values for id, finding in findings.items() if finding.values},
        "draws": {id: finding.draws for id, finding in findings.items() if finding.draws},
        "trajectory": {id: list(map(asdict, one.trajectory)) for id, one in findings.items() if one.trajectory},
    }
    plain: dict[str, Any] = _written(content)
    return plain


def read(content: Object) -> InputEvidence:
    """Return the evidence in a dict that `as_json` returned."""
    portrait = content["portrait"]
    return InputEvidence(
        inputs=tuple(content["inputs"]),
        distances={name: _numbers(values) for name, values in content["distances"].items()},
        residuals=_numbers(content["residuals"]),
        tangent_shares=_numbers(content["tangent_shares"]),
        settings=dict(content["settings"]),
        portrait=None if portrait is None else _portrait(portrait),
        strips=tuple(map(_strip, content["strips"])),
    )


def with_values(finding: Finding, content: Object, evidence: Object | None) -> Finding:
    """Return the finding with its parts of the evidence.

    A record between processes holds these parts in the finding itself.
    """
    parts = {
        part: content[part] if part in content else (evidence or {}).get(part, {}).get(finding.id, ())
        for part in OF_FINDINGS
    }
    return replace(
        finding,
        values=_numbers(parts["values"]),
        draws=_numbers(parts["draws"]),
        trajectory=tuple(TrainingStep(**{key: float(one[key]) for key in one}) for one in parts["trajectory"]),
    )


def _portrait(content: Object) -> Portrait:
    along, across = map(float, content["extent"])
    return Portrait(
        input=content["input"],
        extent=(along, across),
        classes=_grid(content["classes"]),
        others={name: _grid(classes) for name, classes in content["others"].items()},
        on=float(content["on"]),
        off=float(content["off"]),
    )


def _grid(rows: Iterable[Iterable[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, rows))


def _strip(content: Object) -> Strip:
    return Strip(
        input=content["input"],
        shape=tuple(content["shape"]),
        image=_numbers(content["image"]),
        steps={arm: _numbers(step) for arm, step in content["steps"].items()},
        lengths={arm: float(length) for arm, length in content["lengths"].items()},
    )


def _numbers(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(map(float, values))


def _written(value: Any) -> Any:
    """Return the value with texts for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _written(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
