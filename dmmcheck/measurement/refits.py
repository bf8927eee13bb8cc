"""Manifold estimates of the same kind with other dimensions, since no single dimension is the right one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from torch import Tensor

from dmmcheck.errors import CheckError, DmmError, user_code
from dmmcheck.manifolds.fields import TangentField
from dmmcheck.manifolds.protected import MISSING, attribute
from dmmcheck.measurement.nulls import OF_DRAWS
from dmmcheck.measurement.view import View

OTHERS = 4  # dimensions that a verdict is repeated at, beside the chosen one
FACTORS = (2, 4, 8)


def refitted(view: View) -> dict[int, View]:
    """Return views of the same inputs for estimates of other dimensions k, by k; searched with brief effort.

    The dimensions are halves and doubles of the chosen one, and its neighbours where there are too few of these. The
    estimates are fitted once for all checks. The dict is empty where the manifold has no ``refit(dim)``.
    """
    fields, _ = view.measurement.cached(("refits",), lambda: (dict(_fields(view)), 0))
    return {
        dim: replace(view, field=field, effort=OF_DRAWS, draw=("dimension", dim), is_estimate=True)
        for dim, field in fields.items()
    }


def _fields(view: View) -> Iterator[tuple[int, TangentField]]:
    refit = attribute(view.manifold, "refit")
    if refit is MISSING or refit is None:
        return
    x, found = view.measurement.sample.x, 0
    for dim in dimensions(view.field.dim, x.shape[1]):
        field = _refitted(refit, dim, x)
        if field is None:
            continue
        yield dim, field
        found += 1
        if found == OTHERS:
            return


def _refitted(refit: Any, dim: int, x: Tensor) -> TangentField | None:
    """Return the tangent field of the manifold with another dimension; None where it cannot have this dimension.

    Raises:
        CheckError: The manifold's ``refit`` raised something other than an error of dmmcheck.
    """
    remedy = "raise dmmcheck.errors.ManifoldError for a dimension that it cannot have, or leave refit out"
    try:
        with user_code("the manifold's refit", remedy, CheckError, where=f"for the dimension {dim}"):
            manifold = refit(dim)
        return TangentField(manifold, x)
    except CheckError:
        raise
    except DmmError:  # more dimensions than the data have
        return None


def dimensions(chosen: int, ambient_dim: int) -> Iterator[int]:
    """Yield dimensions below D other than the chosen one: its halves and doubles, then its neighbours.

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
