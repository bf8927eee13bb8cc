"""The evidence per input as CSV: a row for each input, a column for each distance and each statistic."""

from __future__ import annotations

import csv
import io
from itertools import zip_longest

from dmmcheck.errors.text import harmless
from dmmcheck.report.model import Report

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a text for a formula."""


def render(report: Report) -> str:
    """Return the evidence per input; a cell is empty without a value, and ``inf`` where no distance was found.

    See `Report.columns` for the columns.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = report.columns()
    writer.writerow([_cell(harmless(name)) for name in columns])
    writer.writerows([map(_cell, row) for row in zip_longest(*columns.values())])
    return buffer.getvalue()


def _cell(value: str | float | None) -> str | float | None:
    """Return the value; a text that a spreadsheet would run as a formula gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
