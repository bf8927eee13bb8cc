"""`Crossing.at` reports a label change only where a forward pass confirms it; any callable is an attack."""

from __future__ import annotations

import math

import pytest
import torch

import dmmcheck
from dmmcheck.attacks.base import Attack, Crossing
from dmmcheck.attacks.search_space import spanned
from dmmcheck.attacks.torchattacks import TorchAttack
from dmmcheck.errors import AttackError
from dmmcheck.models.torch import adapt

X = torch.tensor([[2.0, 0.0], [2.0, 1.0], [-1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
POINTS = torch.tensor([[-1.0, 0.0], [1.0, 1.0], [5.0, 0.0], [math.nan, 0.0]], dtype=torch.float64)
Y = torch.zeros(4, dtype=torch.long)
FOUND, NOT_FOUND, MISCLASSIFIED, NOT_A_POINT = range(4)


def halves(x):
    """Class 0 where the first entry is positive."""
    return torch.stack([x[:, 0], -x[:, 0]], 1)


@pytest.fixture
def crossing():
    return Crossing.at(POINTS, adapt(halves, X), X, Y)


def test_a_confirmed_label_change_is_at_its_point(crossing):
    assert bool(crossing.found[FOUND])
    assert float(crossing.distance[FOUND]) == 3
    assert crossing.point[FOUND].tolist() == [-1, 0]
    assert float(crossing.margin[FOUND]) == -2


@pytest.mark.parametrize("row", [NOT_FOUND, NOT_A_POINT])
def test_a_point_of_the_same_label_is_no_crossing(crossing, row):
    assert not bool(crossing.found[row])
    assert float(crossing.distance[row]) == math.inf
    assert torch.equal(crossing.point[row], X[row])
    assert math.isnan(float(crossing.margin[row]))


def test_an_input_that_is_misclassified_is_its_own_crossing(crossing):
    assert bool(crossing.found[MISCLASSIFIED])
    assert float(crossing.distance[MISCLASSIFIED]) == 0
    assert torch.equal(crossing.point[MISCLASSIFIED], X[MISCLASSIFIED])
    assert float(crossing.margin[MISCLASSIFIED]) == -2


def test_the_radius_is_how_far_the_points_are_unless_it_is_given(crossing):
    assert crossing.radius.tolist() == [3, 1, 6, 0]
    radius = torch.full((4,), 7.0, dtype=torch.float64)
    assert Crossing.at(POINTS, adapt(halves, X), X, Y, radius=radius).radius.tolist() == [7] * 4


def test_passes_are_those_of_the_attack_and_two_to_confirm(crossing):
    assert crossing.forwards.tolist() == [2] * 4
    spent = Crossing.at(POINTS, adapt(halves, X), X, Y, forwards=10, backwards=4)
    assert (spent.forwards.tolist(), spent.backwards.tolist()) == ([12] * 4, [4] * 4)


def test_the_cosine_is_unknown_and_every_field_has_a_row_an_input(crossing):
    assert bool(crossing.kkt_cosine.isnan().all())
    assert {len(value) for value in vars(crossing).values()} == {4}


def test_a_gradient_that_the_points_carry_is_dropped():
    points = POINTS.clone().requires_grad_(True)
    crossing = Crossing.at(points, adapt(halves, X), X, Y)
    assert not any(value.requires_grad for value in vars(crossing).values())


@pytest.mark.parametrize("shape", [(4, 1, 2), (3, 2), (4, 3)])
def test_points_of_another_shape_are_an_error(shape):
    with pytest.raises(AttackError, match=r"the points have shape .*, the inputs \(4, 2\); return one flat point"):
        Crossing.at(torch.zeros(shape), adapt(halves, X), X, Y)


def straight(model, x, y, *, space, bounds=None, generator):
    """An attack: minus the first axis, inside the space."""
    del bounds, generator
    return Crossing.at(x - 4 * space.project(torch.eye(1, x.shape[1]).to(x).expand_as(x)), model, x, y)


def test_a_function_and_an_object_are_attacks_alike():
    assert isinstance(straight, Attack)
    assert isinstance(TorchAttack("fab"), Attack)
    assert not isinstance("fab", Attack)
    everywhere = dmmcheck.boundary_search(halves, X, Y, generator=torch.Generator())
    attack: Attack = straight
    second_axis = torch.eye(2, dtype=torch.float64)[:, 1:]
    for space, found in ((spanned(None), [True] * 4), (spanned(second_axis), [False, False, True, False])):
        crossing = attack(adapt(halves, X), X, Y, space=space, generator=torch.Generator())
        assert crossing.found.tolist() == found
        assert bool((crossing.distance >= everywhere.distance).all())
