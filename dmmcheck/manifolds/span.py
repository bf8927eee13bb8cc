"""The span of the data: the directions in which inputs vary at all."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.manifolds.principal import moments

EXACT_UP_TO = 4096  # largest D for which principal directions are computed; above it, coordinates are told apart
NO_VARIANCE = 1e-10  # of the largest variance; a direction below it is constant up to rounding
EXAMPLES_A_DIRECTION = 2  # fewer examples than this many times D say little of the directions without variance
_PIECE_VALUES = 1 << 23  # most values of points that are compared with the first one at a time
ROOM = 2  # a span of fewer than this many times k directions leaves random subspaces of it no room


def data_span(x: Tensor, dim: int) -> Tensor | None:
    """Return the span of centred points, for random subspaces of dimension k to be drawn in.

    Args:
        x: Points (m, D).
        dim: Dimension k of the subspaces.

    Returns:
        A mask (D,) of the coordinates that vary, where these span it; else an orthonormal basis (D, r) of the principal
        directions that have a variance. None where the span is the whole space, and where it leaves random subspaces
        no room, e.g. where the data fill a subspace of dimension k.
    """
    varies = (x != x[:1]).any(0)
    count, ambient_dim = int(varies.sum()), x.shape[1]
    if count < ROOM * dim:
        return None
    is_enough = ambient_dim <= EXACT_UP_TO and len(x) >= EXAMPLES_A_DIRECTION * ambient_dim
    if is_enough and not _fills(x, varies):
        basis = _principal(x)
        if ROOM * dim <= basis.shape[1] < count:
            return basis
    return None if count == ambient_dim else varies


def _fills(x: Tensor, varies: Tensor) -> bool:
    """Return whether a part of the points proves that they have a variance in all directions of the coordinates.

    The scatter of all points is at least that of a part of them, in every direction. The part holds evenly spaced
    points, and for each coordinate the point that differs most from the first one there, so that a coordinate that
    hardly ever varies does so in the part, too.

    Args:
        x: Points (m, D).
        varies: Mask (D,) of the coordinates that vary; the others are left out.
    """
    away, farthest, total = torch.zeros_like(x[0]), torch.zeros_like(varies, dtype=torch.long), 0.0
    pieces = torch.split(x, max(1, _PIECE_VALUES // x.shape[1]))
    for number, piece in enumerate(pieces):
        squared = (piece - x[:1]).square_()
        total += float(squared.sum())  # the variance of all points together is at most this, divided by their number
        most, rows = squared.max(0)
        farthest = torch.where(most > away, rows + number * len(pieces[0]), farthest)
        away = torch.maximum(most, away)
    step = max(1, len(x) // (EXAMPLES_A_DIRECTION * x.shape[1]))
    part = torch.unique(torch.cat([torch.arange(0, len(x), step, device=x.device), farthest]))
    least = torch.linalg.eigvalsh(moments(x[part][:, varies])[1])[0]
    return bool(least * len(part) > NO_VARIANCE * total)


def _principal(x: Tensor) -> Tensor:
    """Return the orthonormal basis (D, r) of the principal directions that have a variance."""
    variance, directions = torch.linalg.eigh(moments(x)[1])
    basis: Tensor = directions[:, variance > NO_VARIANCE * variance[-1]].to(x)
    return basis
