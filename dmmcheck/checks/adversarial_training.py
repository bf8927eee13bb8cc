"""What adversarial training changes: a standard model beside its adversarially trained twin."""

from __future__ import annotations

import numpy as np

from dmmcheck.checks.base import Explanation, check
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.measurement.measure import ArmName, View

DEEPENS = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula="depth: s_i = d_off(robust) / d_off(standard); main effect: s_i over the same ratio of d_on",
    control="main effect: the depth's growth against the growth of the distance on the manifold, on the same inputs.",
    threshold="1: no change. Distances, not logits, so that rescaling the logits changes nothing.",
    assumptions=(
        "Both models are sound to measure; inputs that either misclassifies are left out (n says how many remain)."
    ),
    violation="Adversarial training that moves the boundary away along the manifold as much as off it.",
    reading="depth supported, main effect not: dimples got deeper, but no more than everything else.",
)


def growth(measure: View, arm: ArmName) -> tuple[Floats, Floats]:
    """Distances (robust, standard) of the inputs that both classify correctly."""
    robust, standard = (measure.twin(name).distance(arm) for name in ("robust", "standard"))
    both = (robust > 0) & (standard > 0)
    return robust[both], standard[both]


@check(
    "adversarial-training-deepens",
    tier="mechanism",
    variant="depth",
    statement="adversarial training deepens the dimples",
    threshold=1.0,
    direction="greater",
    unit="ratio",
    needs=("pair",),
    explanation=DEEPENS,
)
def adversarial_training_deepens(measure: View) -> Evidence:
    """d_off of the robust twin / d_off of the standard one."""
    return Evidence.ratio(*growth(measure, "normal"))


@check(
    "adversarial-training-deepens",
    tier="mechanism",
    variant="main-effect",
    statement="and that is its main effect: distances on the manifold grow less",
    threshold=1.0,
    direction="greater",
    unit="ratio",
    needs=("pair",),
    controls=("rotation",),
    null="search",
)
def deepening_is_the_main_effect(measure: View) -> Evidence:
    """Growth of d_off / growth of d_on, robust over standard."""
    off, on = Evidence.ratio(*growth(measure, "normal")), Evidence.ratio(*growth(measure, "tangent"))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Evidence(off.values / on.values, off.censored + on.censored)


@check(
    "robust-turns-tangential",
    tier="mechanism",
    statement="with deeper dimples, perturbations turn towards the manifold",
    threshold=0.0,
    direction="greater",
    unit="difference",
    needs=("pair",),
    controls=("rotation",),
    explanation=Explanation(
        source="Shamir, Melamed, BenShmuel, arXiv 2106.10151; Bordt et al., 2206.07387",
        formula="s_i = rho_T(robust) - rho_T(standard) of the smallest perturbations",
        control="The same difference in rotated tangent spaces: smoother gradients alone change shares little.",
        threshold="0: no turn.",
        assumptions="As for adversarial-training-deepens.",
        violation="A robust model whose perturbations keep their direction.",
        reading="Supported and controlled: robustness turns perturbations towards this manifold in particular.",
    ),
)
def robust_turns_tangential(measure: View) -> Evidence:
    """rho_T of the robust twin's perturbation - rho_T of the standard one's."""
    shares, distances = [], []
    for name in ("robust", "standard"):
        twin = measure.twin(name)
        shares.append(twin.tangent_share(twin.step("free")))
        distances.append(twin.distance("free"))
    both = (distances[0] > 0) & (distances[1] > 0)
    turn = (shares[0] - shares[1])[both]
    return Evidence(turn, int(np.isnan(turn).sum()))
