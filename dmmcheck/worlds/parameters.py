"""The limits of the parameters of worlds, and one error for a value beyond them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

from dmmcheck.errors import SubjectError
from dmmcheck.inference.types import MIN_INPUTS

LEAST = 1e-6  # of a length, which must not be zero


def check_sizes(
    *, samples: int, dim: int, ambient_dim: int, least_dim: int = 1, normal_dim: int = 1, **others: tuple[int, int]
) -> None:
    """Raise a SubjectError unless the sizes of a world are integers within their limits.

    Args:
        samples: Number of inputs, at least 8.
        dim: k.
        ambient_dim: D.
        least_dim: The least k.
        normal_dim: The least D - k.
        others: Further integers, as `check_counts` has them.
    """
    check_counts(samples=(samples, MIN_INPUTS), **others, dim=(dim, least_dim))
    check_counts(ambient_dim=(ambient_dim, dim + normal_dim))


def check_counts(**counts: tuple[int, int]) -> None:
    """Raise a SubjectError unless numbers, each given with its least value, are integers of at least this value."""
    for name, (value, least) in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise SubjectError(f"a world cannot have {name} = {value!r}; give an integer of at least {least}")


def check_numbers(**numbers: tuple[float, float, float]) -> None:
    """Raise a SubjectError unless numbers, each given with its least value and a bound, are as large and below it."""
    for name, (value, least, bound) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not least <= value < bound:
            below = "" if math.isinf(bound) else f" and below {bound:g}"
            raise SubjectError(f"a world cannot have {name} = {value!r}; give a number of at least {least:g}{below}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a SubjectError unless a parameter has one of its values."""
    if value not in choices:
        raise SubjectError(f"a world cannot have {name} = {value!r}; choose one of {', '.join(choices)}")
