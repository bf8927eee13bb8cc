"""Where perturbations and boundary normals point: the shares of their energy on and off the manifold."""

from __future__ import annotations

import numpy as np

from dmmcheck.checks.base import claim, declare
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement.view import View
from dmmcheck.registry import FIELD_CONTROLS

SHARE_EFFECT = 0.05
MOSTLY = 0.5


def off_manifold_energy(view: View) -> Evidence:
    """rho_N of the smallest perturbation."""
    share = 1 - view.tangent_share(view.delta("free"))
    return Evidence.of(share, censored=int(np.isnan(share).sum()))


def boundary_parallel(view: View) -> Evidence:
    """rho_N of the margin gradient at the nearest boundary point."""
    share = 1 - view.tangent_share(view.boundary_gradient())
    return Evidence.of(share, censored=int(np.isnan(share).sum()))


declare(
    "off-manifold-energy",
    "adversarial perturbations lie mostly off-manifold",
    claim(
        off_manifold_energy,
        threshold=MOSTLY,
        direction="greater",
        unit="share",
        min_effect=SHARE_EFFECT,
        controls=FIELD_CONTROLS,
        per_attack=True,
        about_standard=True,
    ),
)
declare(
    "boundary-parallel",
    "near the data the boundary runs along the manifold",
    claim(
        boundary_parallel,
        threshold=MOSTLY,
        direction="greater",
        unit="share",
        min_effect=SHARE_EFFECT,
        controls=FIELD_CONTROLS,
        needs=("differentiable",),
        about_standard=True,
    ),
)
