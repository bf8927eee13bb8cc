"""The span of the data: the directions in which inputs vary at all."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.manifolds.principal import moments

EXACT_UP_TO = 4096  # largest D for which principal directions are computed; above it, coordinates are told apart
NO_VARIANCE = 1e-10  # of the largest variance; a direction below it is constant up to rounding
EXAMPLES_A_DIRECTION = 2  # fewer examples than this many times D say little of the directions without variance
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
    varies = varying(x)
    count, ambient_dim = int(varies.sum()), x.shape[1]
    if count < ROOM * dim:
        return None
    if ambient_dim <= EXACT_UP_TO and len(x) >= EXAMPLES_A_DIRECTION * ambient_dim:
        basis = _principal(x)
        if ROOM * dim <= basis.shape[1] < count:
            return basis
    return None if count == ambient_dim else varies


def varying(x: Tensor) -> Tensor:
    """Return the mask (D,) of the coordinates that are not the same in all points (m, D), without a copy of these."""
    return x.amax(0) != x.amin(0) if len(x) else torch.zeros(x.shape[1:], dtype=torch.bool, device=x.device)


def _principal(x: Tensor) -> Tensor:
    """Return the orthonormal basis (D, r) of the principal directions that have a variance."""
    variance, directions = torch.linalg.eigh(moments(x)[1])
    basis: Tensor = directions[:, variance > NO_VARIANCE * variance[-1]].to(x)
    return basis
