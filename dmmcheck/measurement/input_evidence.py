"""The values per input behind a report: hashes that find an input again, distances, and residuals of the manifold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dmmcheck.inference.evidence import Floats
from dmmcheck.inference.types import ARMS
from dmmcheck.measurement.measure import Measure
from dmmcheck.measurement.portrait import portrait_of, strips_of
from dmmcheck.measurement.summary import REPORT_NAMES
from dmmcheck.measurement.view import View
from dmmcheck.report.model import InputEvidence
from dmmcheck.seeding import seeded

HASH_BYTES = 8
FIXED_SEED = 0  # of the direction that tells manifold estimates apart: the same in every run


def input_evidence(
    measure: Measure, n: int, *, random: Floats, settings: Mapping[str, str], has_images: bool
) -> InputEvidence:
    """Return the values of the first n inputs of a measurement.

    Args:
        measure: The measurement.
        n: Number of inputs.
        random: Distances of the first inputs in a random subspace.
        settings: The settings that the values depend on.
        has_images: Whether inputs of the shape of an image are shown as images.
    """
    view = View.of(measure, n)
    distances = {REPORT_NAMES[arm]: _numbers(view.distance(arm)) for arm in ARMS}
    x = view.x
    residuals = (x - measure.field.manifold.project_point(x).to(x)).norm(dim=1)
    hashes = tuple(input_hash(row) for row in measure.sample.x)
    return InputEvidence(
        inputs=hashes,
        distances={**distances, "random": _numbers(random)},
        residuals=_numbers(residuals.cpu().numpy()),
        tangent_shares=_numbers(measure.field.share(_fixed_direction(x)).cpu().numpy()),
        settings=dict(settings),
        portrait=portrait_of(view, hashes),
        strips=strips_of(view, hashes) if has_images else (),
    )


def input_hash(row: Tensor) -> str:
    """Return a hash of one input (D,), the same for equal values in every dtype that holds them.

    Example:
        >>> import torch
        >>> from dmmcheck.measurement.input_evidence import input_hash
        >>> input_hash(torch.zeros(3)) == input_hash(torch.zeros(3, dtype=torch.float64))
        True
    """
    values = row.detach().cpu().to(torch.float32).contiguous().numpy() + np.float32(0)  # no negative zeros
    return hashlib.blake2b(values.tobytes(), digest_size=HASH_BYTES).hexdigest()


def _fixed_direction(x: Tensor) -> Tensor:
    """Return one direction for all inputs (n, D), which does not depend on the seed of the run."""
    direction = torch.randn(x.shape[1], generator=seeded(FIXED_SEED, "direction"), dtype=torch.float64)
    return direction.to(x).expand_as(x)


def _numbers(values: Floats) -> tuple[float, ...]:
    return tuple(np.asarray(values, dtype=np.float64).tolist())
