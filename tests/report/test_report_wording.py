"""Numbers in words."""

from __future__ import annotations

import math

import pytest

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
