"""How far the boundary is: on the manifold, off it, and compared with distances between examples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dmmcheck.checks.base import claim, declare
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement.geodesic import geodesic_distance
from dmmcheck.measurement.view import View
from dmmcheck.registry import FIELD_CONTROLS

RATIO_EFFECT = 0.05
RANDOM_NETWORK = 1.0  # distance to the boundary of a random network, in units of |x| / sqrt(D)


def on_manifold_distance(view: View) -> Evidence:
    """d_on / d_off."""
    return Evidence.ratio(view.distance("tangent"), view.distance("normal"))


def on_manifold_distance_controlled(view: View) -> Evidence:
    """d_on / d_free."""
    return Evidence.ratio(view.distance("tangent"), view.distance("free"))


def off_manifold_suffices(view: View) -> Evidence:
    """d_off / d_free."""
    return Evidence.ratio(view.distance("normal"), view.distance("free"))


def boundary_clings(view: View) -> Evidence:
    """d_off / half the distance to the nearest example of another class."""
    apart, _ = view.nearest_other_class()
    return Evidence.ratio(view.distance("normal"), apart / 2)


def boundary_clings_controlled(view: View) -> Evidence:
    """d_off / (|x| / sqrt(D))."""
    unit = view.x.norm(dim=1) / math.sqrt(view.x.shape[1])
    return replace(Evidence.ratio(view.distance("normal"), unit), chance=RANDOM_NETWORK)


def boundary_clings_mechanism(view: View) -> Evidence:
    """d_off / d_off of untrained networks."""
    return Evidence.against(view.distance("normal"), [other.distance("normal") for other in view.untrained()])


def dimples_shallow(view: View) -> Evidence:
    """d_off / distance along the manifold to the nearest example of another class.

    That distance is at least the straight one and at most that along the neighbour graph, whose paths make detours.
    """
    off, along, (straight, _) = view.distance("normal"), geodesic_distance(view), view.nearest_other_class()
    most = Evidence.ratio(off, np.minimum(straight, along))
    return replace(Evidence.ratio(off, along), at_most=most.values)


def dimples_deeper_at_training_points(view: View) -> Evidence:
    """d_off of a training example / d_off of an input."""
    held_out, trained = view.distance("normal"), view.training().distance("normal")
    count = min(len(held_out), len(trained))
    return Evidence.ratio(trained[:count], held_out[:count])


declare(
    "on-manifold-distance",
    "staying on the manifold needs larger perturbations",
    claim(on_manifold_distance, threshold=1.0, direction="greater", unit="ratio", per_attack=True, about_standard=True),
    claim(
        on_manifold_distance_controlled,
        tier="controlled",
        threshold=1.0,
        direction="greater",
        unit="ratio",
        min_effect=RATIO_EFFECT,
        controls=FIELD_CONTROLS,
        draw_cost="search",
        about_standard=True,
    ),
)
declare(
    "off-manifold-suffices",
    "leaving the manifold costs almost nothing extra",
    claim(off_manifold_suffices, threshold=1.25, direction="less", unit="ratio", about_standard=True),
)
declare(
    "boundary-clings",
    "the boundary passes very close to the manifold",
    claim(boundary_clings, threshold=0.5, direction="less", unit="ratio", about_standard=True, worse="less"),
    claim(
        boundary_clings_controlled,
        tier="controlled",
        threshold=RANDOM_NETWORK,
        direction="less",
        unit="ratio",
        min_effect=RATIO_EFFECT,
        controls=("rotation",),
        draw_cost="search",
        about_standard=True,
    ),
    claim(
        boundary_clings_mechanism,
        tier="mechanism",
        statement="training has drawn this network's boundary nearer to the manifold than that of untrained networks",
        threshold=1.0,
        direction="less",
        unit="ratio",
        draw_cost="search",
        needs=("factory",),
        about_standard=True,
    ),
)
declare(
    "dimples-shallow",
    "dimples are shallow compared with distances along the manifold",
    claim(dimples_shallow, threshold=0.25, direction="less", unit="ratio", about_standard=True, worse="less"),
    claim(
        dimples_deeper_at_training_points,
        tier="controlled",
        variant="training-points",
        statement="and deeper at training examples than at held-out ones",
        threshold=1.0,
        direction="greater",
        unit="ratio",
        needs=("examples",),
        costly_looks=True,
    ),
)
