"""Distances along the manifold, against Floyd and Warshall's algorithm and in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import views

from dmmcheck.measurement import geodesic
from dmmcheck.measurement.geodesic import geodesic_distance


@pytest.fixture(scope="module", params=["shared", "local"])
def seen(request):
    manifold = views.Local() if request.param == "local" else None
    return views.view(views.subject(manifold=manifold), 40)


def test_it_is_the_shortest_path_in_the_neighbour_graph(seen):
    inputs, examples = views.array(seen.measurement.sample.x), views.array(seen.examples.x)
    everything = np.concatenate([inputs, examples])
    apart = np.linalg.norm(everything[:, None] - everything[None], axis=-1)
    paths = np.full_like(apart, np.inf)
    for i, row in enumerate(apart):
        near = [j for j in np.argsort(row) if j != i][: geodesic.NEIGHBOURS]
        paths[i, near] = paths[near, i] = row[near]
    np.fill_diagonal(paths, 0)
    for middle in range(len(everything)):
        paths = np.minimum(paths, paths[:, middle, None] + paths[None, middle])
    labels = seen.examples.y.numpy()
    expected = [paths[i, len(inputs) :][labels != y].min() for i, y in enumerate(seen.y.tolist())]
    assert np.isfinite(expected).all()
    assert geodesic_distance(seen) == pytest.approx(expected, rel=1e-5)


def test_an_input_has_the_same_distance_in_every_look(seen):
    few = geodesic_distance(replace(seen, n=16))
    assert np.array_equal(few, geodesic_distance(seen)[:16])


def test_more_inputs_than_the_graph_holds_are_added_to_it(monkeypatch):
    monkeypatch.setattr(geodesic, "MAX_EXAMPLES", 24)
    counts, own = [], geodesic._neighbour_graph
    monkeypatch.setattr(geodesic, "_neighbour_graph", lambda view, count: counts.append(count) or own(view, count))
    seen = views.view(views.subject(), 40)
    found = [geodesic_distance(replace(seen, n=n)) for n in (16, 24, 40)]
    assert counts == [24, 40]
    assert np.array_equal(found[1][:16], found[0])
    assert np.isfinite(found[2]).all()


def test_a_point_that_is_given_twice_is_in_the_graph_once():
    x, y = views.subject().x, views.subject().y
    plain, doubled = (
        geodesic_distance(views.view(views.subject(x_train=x_train, y_train=y_train), 16))
        for x_train, y_train in ((x, y), (torch.cat([x, x]), torch.cat([y, y])))
    )
    assert np.allclose(plain, doubled)


def test_points_that_are_equal_are_one_whatever_the_signs_of_their_zeros():
    points = np.array([[0.0, 1.0], [2.0, 0.0], [-0.0, 1.0], [2.0, 0.0], [0.0, -1.0]], dtype=np.float32)
    first, nodes = geodesic._distinct(list(points))
    assert np.array_equal(np.stack(first), points[[0, 1, 4]])
    assert nodes.tolist() == [0, 1, 0, 1, 2]


def test_all_looks_share_one_graph(monkeypatch):
    counts, own = [], geodesic._neighbour_graph
    monkeypatch.setattr(geodesic, "_neighbour_graph", lambda view, count: counts.append(count) or own(view, count))
    seen = views.view(views.subject(), 40)
    for n in (8, 24, 40):
        geodesic_distance(replace(seen, n=n))
    assert counts == [len(seen.measurement.sample.x)]


def test_without_training_examples_paths_lead_to_other_inputs():
    seen = views.view(views.subject(x_train=None, y_train=None), 32)
    straight, _ = seen.nearest_other_class()
    assert np.all(geodesic_distance(seen) >= straight * (1 - 1e-6))


def test_where_no_path_leads_to_another_class_the_distance_is_straight():
    generator = torch.Generator().manual_seed(0)
    x = 0.01 * torch.randn(48, views.D, generator=generator)
    x[24:, 0] += 100  # two clusters of 24, one for each class: ten neighbours never connect them
    subject = views.subject(
        model=lambda points: torch.stack([50 - points[:, 0], points[:, 0] - 50], 1),
        x=x,
        y=(x[:, 0] > 50).long(),
        x_train=None,
        y_train=None,
    )
    seen = views.view(subject)
    straight, _ = seen.nearest_other_class()
    assert np.allclose(geodesic_distance(seen), straight)


def test_along_half_a_circle_it_is_the_arc():
    angles = torch.linspace(0, np.pi, 401)[1:]
    circle = torch.zeros(400, views.D)
    circle[:, 0], circle[:, 1] = torch.cos(angles), torch.sin(angles)
    y = (angles > np.pi / 2).long()
    subject = views.subject(
        model=lambda points: torch.stack([points[:, 0], -points[:, 0]], 1),
        **{"x": circle[::2], "y": y[::2], "x_train": circle[1::2], "y_train": y[1::2]},
    )
    seen = views.view(subject)
    position = torch.atan2(seen.x[:, 1], seen.x[:, 0])
    assert np.allclose(geodesic_distance(seen), views.array((position - np.pi / 2).abs()), atol=0.02)
