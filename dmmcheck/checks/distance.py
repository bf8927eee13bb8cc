"""How far the boundary is: on the manifold, off it, and beside the distances of the data."""

from __future__ import annotations

import math
from dataclasses import replace

from dmmcheck.checks.base import FIELD_CONTROLS, Explanation, check
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement.geodesic import intrinsic_distance
from dmmcheck.measurement.measure import View

RATIO_MARGIN = 0.05
REACH = 1.0  # of a random network, in units of |x| / sqrt(D)


@check(
    "on-manifold-distance",
    statement="staying on the manifold needs larger perturbations",
    threshold=1.0,
    direction="greater",
    unit="ratio",
    per_attack=True,
    explanation=Explanation(
        source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
        formula="stated: s_i = d_on / d_off; controlled: s_i = d_on / d_free beside d_S / d_free",
        control=(
            "A random k-dimensional subspace S shared by all inputs (C0) also makes perturbations longer, by about "
            "sqrt(D/k): the controlled claim is that the tangent space costs more than that. Shared "
            "draws are searched with little effort, this manifold by the same search; so are spectrum-matched spaces "
            "(C1) and those of other inputs (C2)."
        ),
        threshold="1: on the manifold costs more than off it. Raise it to ask for 'much' more.",
        assumptions="Both searches are equally good; a weak tangent search flatters the claim.",
        violation=(
            "A boundary that cuts the manifold at a right angle: the way along the manifold is the shortest, "
            "d_on < d_off."
        ),
        reading=(
            "The ratio itself is the headline. Stated supported and controlled refuted: tangent directions are *more* "
            "vulnerable than random ones of the same dimension, the usual picture for trained networks."
        ),
    ),
)
def on_manifold_distance(measure: View) -> Evidence:
    """d_on / d_off."""
    return Evidence.ratio(measure.distance("tangent"), measure.distance("normal"))


@check(
    "on-manifold-distance",
    tier="controlled",
    statement="staying on the manifold needs larger perturbations",
    threshold=1.0,
    direction="greater",
    unit="ratio",
    margin=RATIO_MARGIN,
    controls=FIELD_CONTROLS,
    null="search",
)
def on_manifold_distance_controlled(measure: View) -> Evidence:
    """d_on / d_free."""
    return Evidence.ratio(measure.distance("tangent"), measure.distance("free"))


@check(
    "off-manifold-suffices",
    statement="leaving the manifold costs almost nothing extra",
    threshold=1.25,
    direction="less",
    unit="ratio",
    explanation=Explanation(
        source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
        formula="s_i = d_off / d_free",
        control=(
            "None: a random subspace gives sqrt(D/(D-k)), close to 1, so this is a plausibility check and no discovery."
        ),
        threshold="1.25: a quarter more than the shortest way.",
        assumptions="The search in the normal space is as good as the free one.",
        violation=(
            "A classifier composed with the projection to the manifold: no step off the manifold changes its mind."
        ),
        reading=(
            "Read it with on-manifold-distance: off-manifold suffices and on-manifold costs more is the paper's "
            "picture."
        ),
    ),
)
def off_manifold_suffices(measure: View) -> Evidence:
    """d_off / d_free."""
    return Evidence.ratio(measure.distance("normal"), measure.distance("free"))


_CLINGS = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula="stated: s_i = d_off / (half the distance to the nearest example of another class)",
    control=(
        "controlled: s_i = d_off sqrt(D) / |x|, which must be smaller than in rotated normal spaces, and below 1, "
        "since random networks too have their boundary at about |x| / sqrt(D); mechanism: d_off over its median in "
        "eight untrained twins, the verdict to hold for a new one too."
    ),
    threshold="0.5: twice as near as a boundary half way between the classes, where a nearest-neighbour rule has it.",
    assumptions="Examples are dense enough that the nearest one of another class says how far the classes are apart.",
    violation="A nearest-neighbour classifier: the boundary lies half way between the classes.",
    reading="Supported: the boundary is much nearer to the data than the data of other classes require.",
)


@check(
    "boundary-clings",
    statement="the boundary passes very close to the manifold",
    threshold=0.5,
    direction="less",
    unit="ratio",
    explanation=_CLINGS,
)
def boundary_clings(measure: View) -> Evidence:
    """d_off / half the distance to the nearest example of another class."""
    apart, _ = measure.nearest_other_class()
    return Evidence.ratio(measure.distance("normal"), apart / 2)


@check(
    "boundary-clings",
    tier="controlled",
    statement="the boundary passes very close to the manifold",
    threshold=REACH,
    direction="less",
    unit="ratio",
    margin=RATIO_MARGIN,
    controls=("rotation",),
    null="search",
)
def boundary_clings_controlled(measure: View) -> Evidence:
    """d_off / (|x| / sqrt(D))."""
    reach = measure.x.norm(dim=1) / math.sqrt(measure.x.shape[1])
    return replace(Evidence.ratio(measure.distance("normal"), reach), chance=REACH)


@check(
    "boundary-clings",
    tier="mechanism",
    statement="training draws the boundary nearer to the manifold",
    threshold=1.0,
    direction="less",
    unit="ratio",
    null="search",
    needs=("factory",),
)
def boundary_clings_mechanism(measure: View) -> Evidence:
    """d_off / d_off of untrained twins."""
    return Evidence.against(measure.distance("normal"), [view.distance("normal") for view in measure.untrained()])


@check(
    "dimples-shallow",
    statement="dimples are shallow beside the manifold's own scale",
    threshold=0.25,
    direction="less",
    unit="ratio",
    explanation=Explanation(
        source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
        formula="s_i = d_off / intrinsic distance to the nearest example of another class",
        control=(
            "training-points: d_off at training examples over d_off at held-out inputs, paired at random. Dimples are "
            "bent for each training example, so they should be deeper there; where they are not, the boundary's "
            "distance is a matter of the region and not of the example."
        ),
        threshold="0.25: a quarter of the way along the manifold.",
        assumptions="Shortest paths in the neighbour graph of the examples stand for distances along the manifold.",
        violation="A boundary as far off the manifold as the classes are apart along it.",
        reading="Supported: a small step off the manifold does what a long way along it would.",
    ),
)
def dimples_shallow(measure: View) -> Evidence:
    """d_off / distance along the manifold to the nearest example of another class."""
    return Evidence.ratio(measure.distance("normal"), intrinsic_distance(measure))


@check(
    "dimples-shallow",
    tier="controlled",
    variant="training-points",
    statement="and deeper at training examples than at held-out ones",
    threshold=1.0,
    direction="greater",
    unit="ratio",
    needs=("examples",),
)
def dimples_deeper_at_training_points(measure: View) -> Evidence:
    """d_off of a training example / d_off of an input."""
    held_out, trained = measure.distance("normal"), measure.training().distance("normal")
    count = min(len(held_out), len(trained))
    return Evidence.ratio(trained[:count], held_out[:count])
