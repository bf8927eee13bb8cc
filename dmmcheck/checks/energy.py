"""Where perturbations and boundary normals point: shares of energy on and off the manifold."""

from __future__ import annotations

import numpy as np

from dmmcheck.checks.base import FIELD_CONTROLS, Explanation, check
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement.measure import View

SHARE_MARGIN = 0.05
MOSTLY = 0.5

_CHANCE = (
    "A random direction already has the share (D-k)/D off any k-dimensional manifold. So the same "
    "statistic is taken under "
    "null tangent fields, each drawn once and shared by all inputs: rotated (C0), with the same spatial spectrum (C1, "
    "images only), or dealt out to other inputs (C2, beside C0). Supported needs both: the interval over inputs "
    "clear of the null's "
    "median by the margin, and this manifold's statistic extreme among the draws."
)
_READING = (
    "Stated supported and controlled not: true, but as true of a manifold that means nothing. Both "
    "supported: this manifold "
    "is special. Controlled refuted: perturbations point along this manifold more than chance would have them."
)


@check(
    "off-manifold-energy",
    statement="adversarial perturbations lie mostly off-manifold",
    threshold=MOSTLY,
    direction="greater",
    unit="share",
    margin=SHARE_MARGIN,
    controls=FIELD_CONTROLS,
    per_attack=True,
    explanation=Explanation(
        source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
        formula="s_i = |P_N d_i|^2 / |d_i|^2, d_i the smallest perturbation found that changes the label of input i",
        control=_CHANCE,
        threshold="0.5: 'mostly' means more than half of the energy.",
        assumptions=(
            "The tangent spaces describe the data near each input; the search found close to the smallest perturbation."
        ),
        violation="A classifier composed with the projection to the manifold: it is blind off-manifold, so s = 0.",
        reading=_READING,
    ),
)
def off_manifold_energy(measure: View) -> Evidence:
    """rho_N of the smallest perturbation."""
    share = 1 - measure.tangent_share(measure.step("free"))
    return Evidence.of(share, censored=int(np.isnan(share).sum()))


@check(
    "boundary-parallel",
    statement="near the data the boundary runs along the manifold",
    threshold=MOSTLY,
    direction="greater",
    unit="share",
    margin=SHARE_MARGIN,
    controls=FIELD_CONTROLS,
    explanation=Explanation(
        source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
        formula="s_i = |P_N g_i|^2 / |g_i|^2, g_i the margin's gradient at the nearest boundary point of input i",
        control=_CHANCE,
        threshold="0.5: the boundary's normal lies nearer to the normal space than to the tangent space.",
        assumptions=(
            "The margin is differentiable at the boundary; the tangent space at the input serves at the crossing."
        ),
        violation=(
            "A boundary that cuts the manifold at a right angle: its normal is tangent to the manifold, so s = 0."
        ),
        reading=_READING,
    ),
)
def boundary_parallel(measure: View) -> Evidence:
    """rho_N of the margin gradient at the nearest boundary point."""
    share = 1 - measure.tangent_share(measure.boundary_gradient())
    return Evidence.of(share, censored=int(np.isnan(share).sum()))
