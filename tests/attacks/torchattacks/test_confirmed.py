"""What the library returns counts where the classifier confirms it, moved back to the boundary."""

from __future__ import annotations

import math

import pytest
import torch
from library_cases import SPACES, Linear, exact, generator, inputs, labels

from dmmcheck.attacks.torchattacks.confirmed import SCALE, Found, Task
from dmmcheck.models.torch import adapt

MODEL, X = Linear(), inputs()
Y = labels(MODEL, X)


def task(space="free", x=X, y=Y):
    return Task(adapt(MODEL, x), x, y, SPACES[space], None, torch.tensor(1.0))


@pytest.mark.parametrize("space", SPACES)
def test_the_linearized_distance_of_a_plane_is_its_distance(space):
    distance = task(space).linearized_distance()
    truth = exact(MODEL, X, SPACES[space].project)
    assert bool((distance >= truth * (1 - 1e-4)).all())  # of the largest other logit, which need not be the nearest
    assert float((distance / truth).median()) == pytest.approx(1, abs=1e-3)


def test_the_linearized_distance_without_a_gradient_is_the_unit():
    flat = Task(
        adapt(lambda x: 0 * x[:, :2] + torch.tensor([1.0, 0.0]), X), X, Y * 0, SPACES["free"], None, torch.tensor(3.0)
    )
    assert flat.linearized_distance().tolist() == [3] * 10


def farther(share, x=X, y=Y):
    """Points beyond the nearest plane of each input, by this share of the distance."""
    logits = MODEL(x).detach()
    weight = MODEL.weight.detach()
    points = []
    for row, label in enumerate(y.tolist()):
        planes = weight[label] - weight
        lengths = (logits[row, label] - logits[row]) / planes.norm(dim=1)
        other = min((j for j in range(3) if j != label), key=lambda j: float(lengths[j]))
        points.append(x[row] - share * lengths[other] * planes[other] / planes[other].norm())
    return torch.stack(points)


def test_a_point_beyond_the_boundary_is_moved_back_to_it():
    here, found = task(), Found.nothing(task())
    with torch.no_grad():
        assert bool(found.improve(here, farther(1.7)).all())
    torch.testing.assert_close(found.distance, exact(MODEL, X), rtol=1e-3, atol=0)
    assert bool((found.distance >= exact(MODEL, X) * (1 - 1e-4)).all())
    assert bool((labels(MODEL, found.point) != Y).all())


def test_a_point_of_the_same_label_and_one_out_of_range_are_not_kept():
    here, found = task(), Found.nothing(task())
    with torch.no_grad():
        assert not bool(found.improve(here, farther(0.9)).any())
        assert not bool(
            found.improve(here, X + SCALE * (farther(1.7) - X) / (farther(1.7) - X).norm(dim=1)[:, None]).any()
        )
    assert not bool(found.found.any())
    assert found.distance.tolist() == [math.inf] * 10
    assert torch.equal(found.point, X)


def test_of_several_points_the_nearest_is_kept():
    here, found = task(), Found.nothing(task())
    aside = X + 1.5 * torch.randn(X.shape, generator=generator(7)) + (farther(2.0) - X)
    with torch.no_grad():
        found.improve(here, farther(1.2))
        nearest = found.distance.clone()
        found.improve(here, aside)
    assert torch.equal(found.distance, nearest)


def test_rows_are_put_where_they_belong():
    whole, part = Found.nothing(task()), Found.nothing(task().take(torch.tensor([7, 2])))
    part.distance[:] = torch.tensor([1.0, 2.0])
    whole.put(torch.tensor([7, 2]), part)
    assert whole.distance[[7, 2]].tolist() == [1, 2]
    assert int(torch.isinf(whole.distance).sum()) == 8


def test_the_fields_are_those_of_a_crossing():
    here, found = task(), Found.nothing(task())
    misclassified = torch.zeros(10, dtype=torch.bool)
    misclassified[3] = True
    rows = (~misclassified).nonzero().reshape(-1)
    part = Found.nothing(here.take(rows))
    with torch.no_grad():
        part.improve(here.take(rows), farther(1.7)[rows])
    found.put(rows, part)
    point, distance, is_found, radius, forwards, backwards, margin, cosine = found.fields(here, misclassified)
    assert bool(is_found.all())
    assert float(distance[3]) == 0
    assert torch.equal(point[3], X[3])
    assert bool((margin[rows] < 0).all())
    torch.testing.assert_close(cosine[rows], torch.ones(9), rtol=0, atol=1e-3)
    assert math.isnan(float(cosine[3]))
    assert (forwards.tolist(), backwards.tolist(), radius.tolist()) == ([1] * 10, [1] * 10, [0] * 10)
