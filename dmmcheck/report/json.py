"""A report as strict JSON in the schema ``dmmcheck.report/2``, and back; reports of schema 1 are read, too.

JSON has no NaN and no infinities. They become null, and the object that contains them gets a reason under the key
``reason``, or ``message`` in soundness items. When a report is read back, null becomes infinity for a distance
(censored distances rank as infinite), None where a value may be missing, and NaN elsewhere.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import resources
from numbers import Real
from pathlib import Path
from typing import Any, get_args

from dmmcheck.errors import ReportError
from dmmcheck.inference.cost import Cost
from dmmcheck.inference.types import ChanceWord, ChangeWord, Direction, Tier, Verdict
from dmmcheck.report import evidence_json
from dmmcheck.report.headline import headline
from dmmcheck.report.model import (
    SCHEMA,
    Baseline,
    Chance,
    Change,
    Control,
    DistanceSummary,
    Finding,
    ManifoldSummary,
    Report,
    RunCost,
    Soundness,
    SubjectSummary,
)

SCHEMA_FILE = "report-2.schema.json"
READ = ("dmmcheck.report/1", SCHEMA)
"""The schemas that are read; what schema 1 lacks gets its default."""
UNDEFINED = "no finite value"
SELDOM = ("expected_failure", "counterexample", "change", "worse", "dim_estimates")
"""Keys of a finding that are present only where they say something."""

Object = Mapping[str, Any]


def render(report: Report) -> str:
    """Return the report as JSON text, with keys in the order of the schema and a newline at the end."""
    return json.dumps(as_json(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as dicts, lists, texts, finite numbers and None.

    Raises:
        ReportError: A value of the report is of another type.
    """
    content = {
        "schema": report.schema,
        "headline": headline(report),
        **asdict(report),
        "summary": asdict(report.summary),
    }
    content["soundness"] = [_explained(item, "message") for item in content["soundness"]]
    content["distances"] = {name: _explained(arm) for name, arm in content["distances"].items()}
    for name in ("evidence", "baseline", "box"):
        if content[name] is None:
            del content[name]
    if "evidence" in content:
        content["evidence"] = evidence_json.as_json(report)
    if "baseline" in content:
        changes = content["baseline"]["distances"]
        changes.update({name: _explained(change) for name, change in changes.items()})
    content["findings"] = [_finding(finding) for finding in content["findings"]]
    if content["subject"] is not None:
        content["subject"]["manifold"] = _explained(content["subject"]["manifold"])
        if not content["subject"]["manifold"]["note"]:
            del content["subject"]["manifold"]["note"]
        if not content["subject"]["conversions"]:
            del content["subject"]["conversions"]
        content["subject"] = _explained(content["subject"])
    plain: dict[str, Any] = _plain(content, "report")
    return plain


def _finding(finding: dict[str, Any]) -> dict[str, Any]:
    """Return a finding with the reasons that the schema requires."""
    for part in (*evidence_json.OF_FINDINGS, *(key for key in SELDOM if not finding[key])):
        del finding[part]
    for part in ("control", "chance", "change"):
        if part not in finding:
            continue
        if finding[part] is not None:
            finding[part] = _explained(finding[part])
    if (finding["verdict"] == "not-run" or finding["estimate"] is None) and not finding["reason"]:
        finding["reason"] = "no reason given"
    return _explained(finding)


def _explained(item: dict[str, Any], key: str = "reason") -> dict[str, Any]:
    """Return the object, with a reason added under `key` if a number is lost and there is no reason yet."""
    lost = [name for name, value in item.items() if _is_lost(value)]
    if lost and not item.get(key):
        return {**item, key: f"{UNDEFINED}: {', '.join(lost)}"}
    return item


def _is_lost(value: Any) -> bool:
    """Return whether a value is, or contains, a number that JSON does not have."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_lost, value))
    if isinstance(value, Mapping):
        return any(_is_lost(part) for part in value.values() if isinstance(part, Real))
    return isinstance(value, Real) and not math.isfinite(value)


def _plain(value: Any, path: str) -> Any:
    """Return the value in types of Python alone; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part, f"{path}.{key}") for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part, f"{path}[{index}]") for index, part in enumerate(value)]
    if hasattr(value, "item"):  # a scalar of numpy
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise ReportError(
        f"{path} is a {type(value).__name__}, but a report holds numbers, texts and lists only; convert it first"
    )


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of the report."""
    text = resources.files("dmmcheck.report").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def parse(text: str) -> Report:
    """Return the report in a text that `render` wrote.

    Raises:
        ReportError: The text is not JSON, the schema is another one, or a key is missing or malformed.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ReportError(f"the report is not JSON ({error}); write it with --dmm-report PATH.json") from error
    return from_dict(content)


def read(path: str | os.PathLike[str]) -> Report:
    """Return the report in a file, of schema 1 or 2.

    Args:
        path: A file that ``--dmm-report PATH.json`` or `dmmcheck.report.write.write` wrote.

    Raises:
        ReportError: The file cannot be read, or holds no report; see `parse`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(
            f"the report {str(path)!r} cannot be read ({error}); give the path of a report that "
            "--dmm-report PATH.json wrote"
        ) from error
    return parse(text)


def from_dict(content: Object) -> Report:
    """Return the report in a dict that `as_json` returned.

    Raises:
        ReportError: The schema is another one, or a key is missing or malformed.
    """
    found = content.get("schema") if isinstance(content, Mapping) else type(content).__name__
    if found not in READ:
        raise ReportError(
            f"the report has the schema {found!r}, but this version reads {' and '.join(map(repr, READ))}; "
            "write it again"
        )
    try:
        return _report(content)
    except KeyError as error:
        raise ReportError(f"the report lacks the key {error}, which {found} requires; write it again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"the report is malformed ({error}), expected {found}; write it again") from error


def _report(content: Object) -> Report:
    subject, evidence = content["subject"], content.get("evidence")
    return Report(
        dmmcheck=content["dmmcheck"],
        versions=dict(content["versions"]),
        seed=content["seed"],
        device=content["device"],
        alpha=content["alpha"],
        subject=None if subject is None else _subject(subject),
        soundness=tuple(_soundness(item) for item in content["soundness"]),
        distances={name: _distances(arm) for name, arm in content["distances"].items()},
        findings=tuple(evidence_json.with_values(_read_finding(one), one, evidence) for one in content["findings"]),
        planned=tuple(content.get("planned", ())),
        complete=content.get("complete", True),
        errors=tuple(content.get("errors", ())),
        created=content.get("created", ""),
        run=content.get("run", ""),
        fast=content.get("fast", False),
        box=None if content.get("box") is None else (float(content["box"][0]), float(content["box"][1])),
        cost=_run_cost(content.get("cost", {})),
        evidence=None if evidence is None else evidence_json.read(evidence),
        baseline=None if content.get("baseline") is None else _baseline(content["baseline"]),
    )


def _baseline(content: Object) -> Baseline:
    return Baseline(
        **{key: content[key] for key in ("name", "created", "run", "common")},
        distances={name: _change(change) for name, change in content["distances"].items()},
    )


def _change(content: Object) -> Change:
    return Change(
        **{key: content[key] for key in ("confidence", "n", "is_ratio", "worse", "gating", "reason")},
        word=_word(content, "word", ChangeWord),
        estimate=_lost_or_none(content, "estimate"),
        interval=None if content["interval"] is None else _pair(content["interval"]),
    )


def _run_cost(content: Object) -> RunCost:
    return RunCost(
        total=_cost(content.get("total", {})),
        shared=_cost(content.get("shared", {})),
        store=content.get("store", ""),
        store_error=content.get("store_error", ""),
        parts={name: _cost(part) for name, part in content.get("parts", {}).items()},
    )


def _cost(content: Object) -> Cost:
    """Return a cost; a field that reports of older versions lack is 0."""
    known = {key: content[key] for key in ("gradient_evaluations", "forward_evaluations", "seconds") if key in content}
    return Cost(**known)


def _subject(content: Object) -> SubjectSummary:
    manifold = content["manifold"]
    return SubjectSummary(
        **{key: content[key] for key in ("model", "model_hash", "classes", "inputs", "ambient_dim")},
        input_shape=tuple(content["input_shape"]),
        accuracy=_number(content["accuracy"]),
        conversions=tuple(content.get("conversions", ())),
        manifold=ManifoldSummary(
            **{key: manifold[key] for key in ("name", "dim", "hash")},
            residual_median=_lost_or_none(manifold, "residual_median"),
            label_agreement=_lost_or_none(manifold, "label_agreement"),
            note=manifold.get("note", ""),
        ),
    )


def _soundness(content: Object) -> Soundness:
    return Soundness(
        **{key: content[key] for key in ("name", "family", "ok", "value", "limit", "message")},
        widens=content.get("widens", False),
    )


def _distances(content: Object) -> DistanceSummary:
    return DistanceSummary(
        median=_number(content["median"], math.inf),
        quantiles={level: _number(value, math.inf) for level, value in content["quantiles"].items()},
        n=content["n"],
        censored=content["censored"],
    )


_COPIED = (
    *("check", "variant", "statement", "statistic", "unit", "gating", "estimate", "confidence", "threshold"),
    *("n", "censored", "p_value", "reason", "reference"),
)


def _read_finding(content: Object) -> Finding:
    control, chance, dims = content["control"], content.get("chance"), content.get("dims")
    return Finding(
        **{key: content[key] for key in _COPIED},
        expected_failure=content.get("expected_failure", ""),
        counterexample=content.get("counterexample"),
        tier=_word(content, "tier", Tier),
        direction=_word(content, "direction", Direction),
        verdict=_word(content, "verdict", Verdict),
        interval=None if content["interval"] is None else _pair(content["interval"]),
        control=None if control is None else _control(control),
        chance=None if chance is None else _chance(chance),
        dims=None if dims is None else {int(dim): _word(dims, dim, Verdict) for dim in dims},
        meaningless=None if content.get("meaningless") is None else _word(content, "meaningless", Verdict),
        search_error=None if content.get("search_error") is None else _pair(content["search_error"]),
        unit_of_replication=content.get("unit_of_replication", "input"),
        replicates=content.get("replicates", content["n"]),
        out_of_time=content.get("out_of_time", False),
        cost=_cost(content["cost"]),
        change=None if content.get("change") is None else _change(content["change"]),
        worse=content.get("worse", ""),
        dim_estimates=_dim_estimates(content.get("dim_estimates")),
    )


def _dim_estimates(content: Object | None) -> dict[int, float] | None:
    return None if content is None else {int(dim): _number(value) for dim, value in content.items()}


def _control(content: Object) -> Control:
    return Control(name=content["name"], estimate=_number(content["estimate"]), interval=_pair(content["interval"]))


def _chance(content: Object) -> Chance:
    return Chance(
        word=_word(content, "word", ChanceWord),
        effect=_number(content["effect"]),
        interval=_pair(content["interval"]),
        p_value=_number(content["p_value"]),
        **{key: content[key] for key in ("control", "draws", "reason")},
    )


def _word(content: Object, key: str, words: Any) -> Any:
    """Return the value of a key that must be one of the words of a Literal type."""
    if content[key] not in get_args(words):
        raise ValueError(f"{key} is {content[key]!r}, expected one of {', '.join(get_args(words))}")
    return content[key]


def _pair(ends: Any) -> tuple[float, float]:
    low, high = ends
    return _number(low), _number(high)


def _lost_or_none(content: Object, key: str) -> float | None:
    """Return the value of a key; for null, NaN if the reason says that a number was lost, else None."""
    value: float | None = content[key]
    return math.nan if value is None and key in content.get("reason", "") else value


def _number(value: float | None, otherwise: float = math.nan) -> float:
    return otherwise if value is None else value
