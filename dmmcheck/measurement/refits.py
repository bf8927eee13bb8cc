"""Manifold estimates of the same kind with other dimensions, since no single dimension is the right one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from dmmcheck.errors import DmmError
from dmmcheck.manifolds.fields import TangentField
from dmmcheck.measurement.view import View

OTHERS = 4  # dimensions that a verdict is repeated at, beside the chosen one
FACTORS = (2, 4, 8)


def refitted(view: View) -> dict[int, View]:
    """Views of the same inputs for estimates of other dimensions k, by k; searched with quick effort.

    The dimensions are halves and doubles of the chosen one, and its neighbours where there are too few of these. The
    estimates are fitted once for all checks. The dict is empty where the manifold has no ``refit(dim)``.
    """
    fields, _ = view.measurement.cached(("refits",), lambda: (dict(_fields(view)), 0))
    return {
        dim: replace(view, field=field, effort="quick", draw=("dimension", dim), is_estimate=True)
        for dim, field in fields.items()
    }


def _fields(view: View) -> Iterator[tuple[int, TangentField]]:
    refit: Any = getattr(view.manifold, "refit", None)
    if refit is None:
        return
    x, found = view.measurement.sample.x, 0
    for dim in dimensions(view.field.dim, x.shape[1]):
        try:
            field = TangentField(refit(dim), x)
        except DmmError:  # more dimensions than the data have
            continue
        yield dim, field
        found += 1
        if found == OTHERS:
            return


def dimensions(chosen: int, ambient_dim: int) -> Iterator[int]:
    """Other dimensions than the chosen one, below D: its halves and doubles first, then its neighbours.

    Example:
        >>> from itertools import islice
        >>> from dmmcheck.measurement.refits import dimensions
        >>> list(islice(dimensions(8, 64), 4))
        [4, 16, 2, 32]
    """
    scaled = chain.from_iterable((chosen // factor, chosen * factor) for factor in FACTORS)
    near = chain.from_iterable((chosen - offset, chosen + offset) for offset in range(1, ambient_dim))
    for dim in dict.fromkeys(chain(scaled, near)):
        if dim != chosen and 0 < dim < ambient_dim:
            yield dim
