"""What adversarial training changes: a standard model compared with an adversarially trained one."""

from __future__ import annotations

import numpy as np

from dmmcheck.checks.base import claim, declare
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.inference.types import ArmName
from dmmcheck.measurement.measure import PAIR
from dmmcheck.measurement.view import View


def pair_distances(view: View, arm: ArmName) -> tuple[Floats, Floats]:
    """Distances of the robust and of the standard model, at the inputs that both classify correctly."""
    standard, robust = (view.paired_model(name).distance(arm) for name in PAIR)
    both = (robust > 0) & (standard > 0)
    return robust[both], standard[both]


def adversarial_training_deepens(view: View) -> Evidence:
    """d_off of the robust model / d_off of the standard one."""
    return Evidence.ratio(*pair_distances(view, "normal"))


def deepening_is_the_main_effect(view: View) -> Evidence:
    """Growth of d_off / growth of d_on, robust over standard."""
    off, on = (Evidence.ratio(*pair_distances(view, arm)) for arm in ("normal", "tangent"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Evidence(off.values / on.values, off.censored + on.censored)


def robust_turns_tangential(view: View) -> Evidence:
    """rho_T of the robust model's perturbation - rho_T of the standard one's."""
    models = [view.paired_model(name) for name in PAIR]
    standard, robust = (model.tangent_share(model.delta("free")) for model in models)
    both = np.all([model.distance("free") > 0 for model in models], axis=0)
    turn = (robust - standard)[both]
    return Evidence(turn, int(np.isnan(turn).sum()))


declare(
    "adversarial-training-deepens",
    "adversarial training deepens the dimples",
    claim(
        adversarial_training_deepens,
        tier="mechanism",
        variant="depth",
        threshold=1.0,
        direction="greater",
        unit="ratio",
        needs=("pair",),
    ),
    claim(
        deepening_is_the_main_effect,
        tier="mechanism",
        variant="main-effect",
        statement="and that is its main effect: distances on the manifold grow less",
        threshold=1.0,
        direction="greater",
        unit="ratio",
        needs=("pair",),
        controls=("rotation",),
        draw_cost="search",
    ),
)
declare(
    "robust-turns-tangential",
    "with deeper dimples, perturbations turn towards the manifold",
    claim(
        robust_turns_tangential,
        tier="mechanism",
        threshold=0.0,
        direction="greater",
        unit="difference",
        needs=("pair",),
        controls=("rotation",),
    ),
)
