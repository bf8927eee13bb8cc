"""Dimples of known depth: the nearest points of smooth ones, phases of training, pairs of depths."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from made import made, searched
from scipy import optimize

from dmmcheck import worlds
from dmmcheck.worlds import dimples


def labels(model, x):
    """Labels (n, m) of points (n, m, D), in double precision."""
    with torch.no_grad():
        return copy.deepcopy(model).double()(x.reshape(-1, x.shape[-1])).argmax(1).reshape(x.shape[:-1])


def test_the_edge_of_a_smooth_dimple_is_where_the_label_changes():
    world = made("smooth dimples")
    x, y, model = world.subject.x.double(), world.subject.y, world.subject.model
    axes = model.axes.double().T
    edges = world.distance["tangent"][:, None, None] * torch.cat([axes, -axes])  # (n, 4, D)
    assert not bool((labels(model, x[:, None] + 0.999 * edges) != y[:, None]).any())
    assert bool((labels(model, x[:, None] + 1.001 * edges) != y[:, None]).any(1).all())


@pytest.mark.parametrize("depth", [0.1, 0.5, 2.0])
def test_the_nearest_point_of_a_smooth_dimple_is_the_one_that_an_optimiser_finds(depth):
    world = worlds.dimpled(profile="smooth", depth=depth, samples=8, seed=1)
    positions = world.subject.x.double() @ world.subject.model.axes.double()

    def squared(to, here):
        return ((to - here) ** 2).sum() + (depth * math.sin(math.pi * to[0]) * math.sin(math.pi * to[1])) ** 2

    for here, exact in zip(positions.numpy(), world.distance["free"].tolist(), strict=True):
        initial = [here + offset for offset in torch.cartesian_prod(*[torch.linspace(-0.3, 0.3, 3)] * 2).numpy()]
        best = min(optimize.minimize(squared, begin, args=(here,), tol=1e-10).fun for begin in initial)
        assert math.isclose(exact, math.sqrt(best), rel_tol=1e-5)


@pytest.mark.parametrize(
    ("depths", "phases"),
    [
        (dimples.TWO_PHASES, True),
        (dimples.FALLING, False),
        (dimples.RISING, False),
        (dimples.REVERSED, False),
        (dimples.CONSTANT, False),
        ((1.0, 0.97, 0.96, 0.97, 1.0), False),  # a fall of less than 5 %
    ],
)
def test_two_phases_are_an_early_fall_and_a_later_rise(depths, phases):
    assert worlds.training(depths=depths, samples=8, seed=0).truth["two-phases-mechanism-builtin"] is phases


def test_four_checkpoints_have_no_known_answer():
    world = worlds.training(depths=(1.0, 0.1, 0.2, 0.3), samples=8, seed=0)
    assert "two-phases-mechanism-builtin" not in world.truth


def test_deeper_dimples_are_farther_off_the_manifold_and_no_farther_on_it():
    world = worlds.pair(standard=0.1, robust=0.4, samples=32, seed=0)
    subject = world.subject
    before, after = (
        searched(worlds.World("", type(subject)(model=model, x=subject.x, y=subject.y, manifold=subject.manifold)))
        for model in (subject.model, subject.robust)
    )
    torch.testing.assert_close(after["normal"].distance, 4 * before["normal"].distance, rtol=1e-3, atol=0)
    torch.testing.assert_close(after["tangent"].distance, before["tangent"].distance, rtol=1e-3, atol=0)


def test_a_pair_of_equal_depths_is_one_model():
    world = worlds.pair(standard=0.2, robust=0.2, samples=8, seed=0)
    assert world.subject.robust is world.subject.model
    assert world.truth["adversarial-training-deepens-mechanism-depth"] is False


def test_distances_of_checkpoints_are_proportional_to_their_depths():
    world = worlds.training(depths=(0.4, 0.1), samples=16, seed=0)
    subject = world.subject
    (_, first), (_, last) = subject.checkpoints
    before, after = (
        searched(worlds.World("", type(subject)(model=model, x=subject.x, y=subject.y, manifold=subject.manifold)))
        for model in (first, last)
    )
    torch.testing.assert_close(before["normal"].distance, 4 * after["normal"].distance, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("depths", "truth", "at_limit"),
    [
        ({}, {True}, False),
        ({"robust": 0.1}, set(), True),
        ({"robust": 0.05}, {False}, False),
        ({"alternative": 0.3}, set(), True),
        ({"alternative": 0.1}, {True}, False),
        ({"alternative": 0.2}, set(), False),
        ({"robust": 0.1, "alternative": 0.1}, {False}, False),
    ],
)
def test_trainings_answer_claims_where_the_depths_of_their_kinds_differ(depths, truth, at_limit):
    world = worlds.trainings(seed=0, samples=16, **depths)
    assert set(world.truth.values()) == truth
    assert bool(world.at_limit) == at_limit


def test_every_training_has_a_depth_of_its_own_that_depends_on_its_number_alone():
    function, several = worlds.trainings(seed=1, samples=16), worlds.trainings(seed=1, samples=16, count=5)
    depths = [[model.depth for model in function.subject.pairs(number)] for number in range(5)]
    assert depths == [[model.depth for model in pair] for pair in several.subject.pairs]
    assert len({depth for pair in depths for depth in pair}) == 10
    assert all(standard >= 0.1 and robust >= 0.3 for standard, robust in depths)
