"""Distances to the boundary against naive references and the closed form of a hyperplane."""

from __future__ import annotations

import math

import numpy as np
import pytest
import views

from dmmcheck import worlds
from dmmcheck.checks import distance
from dmmcheck.measurement.geodesic import geodesic_distance
from dmmcheck.measurement.trainings import untrained_needed


@pytest.fixture(scope="module", params=["shared", "local"])
def seen(request):
    manifold = views.Local() if request.param == "local" else None
    return views.view(views.subject(manifold=manifold), 40)


@pytest.mark.parametrize("angle", [20.0, 70.0])
def test_a_hyperplane_has_the_distances_of_its_angle(angle):
    seen = views.view(worlds.hyperplane(angle=angle, seed=0, ambient_dim=16, dim=3, samples=48).subject)
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    assert distance.on_manifold_distance(seen).values == pytest.approx(np.full(48, sine / cosine), rel=1e-2)
    assert distance.on_manifold_distance_controlled(seen).values == pytest.approx(np.full(48, 1 / cosine), rel=1e-2)
    assert distance.off_manifold_suffices(seen).values == pytest.approx(np.full(48, 1 / sine), rel=1e-2)


def test_boundary_clings_halves_the_distance_to_the_nearest_example_of_another_class(seen):
    examples, labels = views.array(seen.examples.x), seen.examples.y.numpy()
    normal = seen.distance("normal")
    expected = [
        normal[i] / (min(np.linalg.norm(e - x) for e, label in zip(examples, labels, strict=True) if label != y) / 2)
        for i, (x, y) in enumerate(zip(views.array(seen.x), seen.y.tolist(), strict=True))
    ]
    assert distance.boundary_clings(seen).values == pytest.approx(expected, rel=1e-4)


def test_boundary_clings_is_compared_with_the_distance_of_a_random_network_too(seen):
    evidence = distance.boundary_clings_controlled(seen)
    unit = np.linalg.norm(views.array(seen.x), axis=1) / math.sqrt(views.D)
    assert evidence.values == pytest.approx(seen.distance("normal") / unit, rel=1e-5)
    assert evidence.chance == 1.0


def test_boundary_clings_compares_with_every_untrained_network():
    seen = views.view(views.subject(factory=views.network), 32)
    evidence = distance.boundary_clings_mechanism(seen)
    untrained = np.stack([other.distance("normal") for other in seen.untrained()])
    own = seen.distance("normal")
    assert len(np.unique(untrained.round(6), axis=0)) == untrained_needed(seen.alpha) == 9
    assert evidence.values == pytest.approx(own / np.median(untrained, axis=0))
    assert np.stack(evidence.replicates) == pytest.approx(own / untrained)
    assert (evidence.unit, evidence.replications) == ("untrained network", 9)


def test_untrained_networks_that_are_all_the_same_count_once():
    seen = views.view(views.subject(factory=lambda seed: views.network(7)), 32)
    assert len(seen.untrained()) == 1
    finding = views.finding(views.subject(factory=lambda: views.network(7)), "boundary-clings-mechanism-builtin")
    assert finding.verdict == "inconclusive"
    assert "untrained networks, and there are 1" in finding.reason


def test_dimples_shallow_divides_by_the_distance_along_the_manifold(seen):
    expected = seen.distance("normal") / geodesic_distance(seen)
    found = distance.dimples_shallow(seen)
    assert found.values == pytest.approx(expected, rel=1e-6)
    straight, _ = seen.nearest_other_class()
    assert found.at_most == pytest.approx(seen.distance("normal") / straight, rel=1e-6)


def test_detours_of_the_neighbour_graph_support_nothing():
    """On a flat manifold the straight way is the distance, at which d_off / distance lies above the limit of 1/4."""
    world = worlds.hyperplane(ambient_dim=32, dim=4, angle=53.0, samples=256, seed=2)
    seen = views.view(world.subject)
    found = distance.dimples_shallow(seen)
    assert np.median(found.values) < 0.25 < np.median(found.at_most)
    finding = views.finding(world.subject, "dimples-shallow-stated-builtin")
    assert finding.verdict != "supported"


def test_training_points_are_searched_like_held_out_ones():
    subject = views.subject()
    seen = views.view(subject, 32)
    evidence = distance.dimples_deeper_at_training_points(seen)
    trained = seen.training()
    known = {row.tobytes() for row in subject.x_train.numpy()}
    assert all(row.tobytes() in known for row in trained.x.numpy())
    assert evidence.values == pytest.approx(trained.distance("normal") / seen.distance("normal"))
