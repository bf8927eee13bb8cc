"""Numbers in words."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import reports

from dmmcheck.report import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (0.91234, "0.912"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (123.45, "123"),
        (12345.6, "12346"),
        (-0.04321, "-0.0432"),
        (0.0, "0.00"),
        (0.000123, "1.23e-04"),
        (1234567.0, "1.23e+06"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (None, ""),
    ],
)
def test_three_significant_digits(value: float | None, text: str):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("found-tangent", 1.0, False),
        ("found-tangent", 0.98, True),
        ("gradients-normal", 0.0, False),
        ("gradients-normal", 0.02, True),
        ("flatness", 0.0, True),
        ("flatness", 1.0, True),
        ("flatness", None, True),
    ],
)
def test_what_informs_of_nothing_amiss_is_left_to_the_json_report(name, value, shown):
    item = replace(reports.FLATNESS, name=name, value=value)
    assert wording.remarkable([item]) == [item] * shown
    failed = replace(item, ok=False)
    assert wording.remarkable([failed]) == [failed]
