"""The evidence per input as CSV: a row for each input, a column for each distance and each statistic."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from dmmcheck.report.harmless import harmless
from dmmcheck.report.model import Report

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a text for a formula."""


def render(report: Report) -> str:
    """The evidence per input; a cell is empty where an input has no such value, ``inf`` where no distance was found.

    The columns are the hash of the input, ``d_free``, ``d_on``, ``d_off`` and ``d_random``, the distance from the
    manifold estimate, and the statistic of each finding under its id.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names, rows = table(report)
    writer.writerow([_cell(harmless(name)) for name in names])
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return buffer.getvalue()


def table(report: Report) -> tuple[list[str], list[list[str | float | None]]]:
    """Names of the columns, and one row for each input."""
    evidence = report.evidence
    columns: dict[str, Sequence[str | float]] = {"input": () if evidence is None else evidence.inputs}
    if evidence is not None:
        columns |= {f"d_{name}": values for name, values in evidence.distances.items()}
        columns["residual"] = evidence.residuals
    columns |= {finding.id: finding.values for finding in report.findings if finding.values}
    count = max(map(len, columns.values()))
    return list(columns), [
        [values[row] if row < len(values) else None for values in columns.values()] for row in range(count)
    ]


def _cell(value: str | float | None) -> str | float | None:
    """The value; a text that a spreadsheet would run as a formula gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
