"""Planted boundaries are found before a smooth model and not before a masked one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import dmmcheck
from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.planted import FOUND_WITHIN, SEPARATION, PlantedClassifier, Plants, planted
from dmmcheck.attacks.probe import nothing
from dmmcheck.attacks.search_space import Everywhere, SearchSpace, spanned
from dmmcheck.attacks.torchattacks.attack import TorchAttack
from dmmcheck.geometry import random_basis
from dmmcheck.models.base import Classifier
from dmmcheck.models.torch import TorchClassifier, adapt

D = 20


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classifier(margin: Callable[[Tensor], Tensor], dim: int = D) -> TorchClassifier:
    """Two classes, the first where the margin is positive."""
    return adapt(lambda x: torch.stack([margin(x), -margin(x)], 1), torch.zeros(2, dim))


def plane(x: Tensor) -> Tensor:
    return 1 - x[:, 0]


def zeros(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.long)


def gradient_search(x: Tensor, space: SearchSpace) -> Callable[[Classifier, Tensor], Crossing]:
    def search(model: Classifier, rows: Tensor) -> Crossing:
        attack = TorchAttack("fab")
        return attack(model, x[rows], zeros(len(rows)), space=space.rows(rows), generator=generator())

    return search


def plant(model: TorchClassifier, normal: bool, x: Tensor) -> Tensor:
    """Plants around points of the first class, towards a point of the other."""
    end = torch.full_like(x, 0.1)
    end[:, 0] = 3.0
    space = spanned(random_basis(D, 5, generator=generator(2)), normal=normal)
    radius, search = torch.full((len(x),), 0.1), gradient_search(x, space)
    times, _ = planted(model, x, radius=radius, end=end, space=space, search=search, generator=generator(3))
    return times <= FOUND_WITHIN


@pytest.mark.parametrize("size", [0.2, 0.02], ids=["apart", "crowded"])
@pytest.mark.parametrize("normal", [False, True], ids=["tangent", "normal"])
def test_boundaries_planted_before_a_smooth_model_are_found(normal: bool, size: float):
    assert plant(classifier(plane), normal, size * torch.rand(12, D, generator=generator(1))).all()


@pytest.mark.parametrize("normal", [False, True], ids=["tangent", "normal"])
def test_boundaries_planted_before_a_masked_model_are_not(normal: bool):
    masked = classifier(lambda x: plane(x).sign() + 0 * x[:, 0])
    assert not plant(masked, normal, 0.2 * torch.rand(12, D, generator=generator(1))).any()


def test_a_search_that_ends_farther_than_the_plant_has_not_found_it():
    x = torch.rand(5, D, generator=generator()) * 0.2
    end = torch.full_like(x, 0.1)
    end[:, 0] = 3.0
    lazy = torch.tensor([1, 1, 30, 1, 30])

    def search(model: Classifier, rows: Tensor) -> Crossing:
        found = gradient_search(x, Everywhere())(model, rows)
        return Crossing(**{**vars(found), "distance": found.distance * lazy[rows]})

    radius = torch.full((5,), 0.2)
    times, _ = planted(
        classifier(plane), x, radius=radius, end=end, space=Everywhere(), search=search, generator=generator()
    )
    assert (times <= FOUND_WITHIN).tolist() == [True, True, False, True, False]
    assert (times[lazy == 30] > 5).all()


def test_a_search_that_finds_nothing_is_infinitely_far_from_the_plant():
    x = torch.rand(2, D, generator=generator()) * 0.2

    def search(model: Classifier, rows: Tensor) -> Crossing:
        del model
        return nothing(x[rows], zeros(len(rows)))

    end, radius = torch.full_like(x, 3.0), torch.full((2,), 0.2)
    times, _ = planted(
        classifier(plane), x, radius=radius, end=end, space=Everywhere(), search=search, generator=generator()
    )
    assert times.tolist() == [math.inf, math.inf]


def plants() -> tuple[TorchClassifier, Plants]:
    """A network of three classes, and two plants far apart."""
    torch.manual_seed(0)  # the network's weights
    network = nn.Sequential(nn.Linear(D, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    x = torch.stack([torch.zeros(D), torch.full((D,), 5.0)])
    direction = torch.eye(2, D)
    end = torch.randn(2, D, generator=generator(1))
    return adapt(network, x), Plants(x, direction, torch.tensor([0.5, 0.25]), end)


def test_the_planted_point_is_shown_as_its_end_and_the_input_as_it_is():
    _, planted_here = plants()
    at_plant = planted_here.x + planted_here.radius[:, None] * planted_here.direction
    torch.testing.assert_close(planted_here.sheared(at_plant), planted_here.end)
    torch.testing.assert_close(planted_here.sheared(planted_here.x), planted_here.x)
    order = torch.tensor([1, 0, 1])
    torch.testing.assert_close(planted_here.sheared(at_plant[order]), planted_here.end[order])


def test_a_planted_classifier_is_a_classifier_like_the_one_behind_it():
    model, planted_here = plants()
    wrapped = PlantedClassifier(model, planted_here)
    assert isinstance(wrapped, Classifier)
    for name in ("name", "classes", "input_shape", "device", "dtype", "role"):
        assert getattr(wrapped, name) == getattr(model, name)
    at_plant = planted_here.x + planted_here.radius[:, None] * planted_here.direction
    with wrapped.evaluation():
        assert not model.forward.training
        torch.testing.assert_close(wrapped.logits(at_plant), model.logits(planted_here.end))
    assert model.forward.training


def test_the_boundary_search_takes_a_planted_classifier_and_finds_the_plant():
    model = classifier(plane)
    x = torch.zeros(1, D)
    end = torch.zeros(1, D)
    end[:, 0] = 3.0  # the margin is 1 at the input and -2 here: the boundary is a third of the way to the plant
    here = Plants(x, torch.eye(D)[7:8], torch.tensor([0.3]), end)
    found = dmmcheck.boundary_search(PlantedClassifier(model, here), x, zeros(1), generator=generator())
    assert float(found.distance) == pytest.approx(0.1, rel=5e-2)  # 1 without the plant
    assert float(found.distance) < 0.3


def test_inputs_close_to_each_other_are_searched_one_group_at_a_time():
    x = torch.zeros(4, D)
    x[:, 0] = torch.tensor([0.0, 0.1, 10.0, 10.1])
    end = torch.full_like(x, 30.0)
    groups = []

    def search(model: Classifier, rows: Tensor) -> Crossing:
        groups.append(rows.tolist())
        return gradient_search(x, Everywhere())(model, rows)

    model = classifier(lambda x: 20 - x[:, 0])
    radius = torch.full((4,), 0.1)
    assert float(torch.pdist(x).min()) < SEPARATION * 0.1
    planted(model, x, radius=radius, end=end, space=Everywhere(), search=search, generator=generator())
    assert groups == [[0, 2], [1, 3]]
