"""A world in other coordinates, units or order has the distances that its transform says."""

from __future__ import annotations

import pytest
import torch
from made import made, searched

from dmmcheck import worlds
from dmmcheck.manifolds.base import validate_manifold
from dmmcheck.worlds.transforms import Turn


@pytest.mark.parametrize(
    "name", ["normal nearly in N", "sphere", "half way", "shallow dimples", "classes that change places"]
)
@pytest.mark.parametrize(
    "transform",
    [
        lambda world: worlds.turned(world, seed=2),
        lambda world: worlds.scaled(world, inputs=0.01, logits=100.0),
        lambda world: worlds.shuffled(world, seed=2),
    ],
    ids=["turned", "scaled", "shuffled"],
)
def test_the_distances_of_a_transformed_world_are_those_that_a_search_finds(name, transform):
    world = transform(made(name))
    validate_manifold(world.subject.manifold, world.subject.x)
    for arm, crossing in searched(world).items():
        torch.testing.assert_close(crossing.distance.double(), world.distance[arm], rtol=1e-3, atol=0)


def test_reference_models_are_transformed_with_the_model():
    world = worlds.turned(worlds.training(samples=16, seed=0), seed=1)
    subject = world.subject
    assert subject.provides == {"checkpoints", "differentiable", "examples", "factory"}
    with torch.no_grad():
        assert torch.equal(subject.factory(7)(subject.x).argmax(1), subject.y)
        assert all(torch.equal(model(subject.x).argmax(1), subject.y) for _, model in subject.checkpoints)


def test_a_model_paired_with_itself_is_still_one_model():
    subject = worlds.turned(worlds.pair(standard=0.2, robust=0.2, samples=16, seed=0), seed=1).subject
    assert subject.robust is subject.model


def test_a_product_of_reflections_is_orthogonal():
    normals = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turn = Turn(normals / normals.norm(dim=1, keepdim=True))
    image = turn.apply(torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(image @ image.T, torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(turn.inverse(image), torch.eye(8, dtype=torch.float64))


def test_the_truth_of_a_world_stays_the_same():
    world = made("sphere")
    for transformed in (worlds.turned(world, seed=1), worlds.scaled(world, inputs=3.0), worlds.shuffled(world, seed=1)):
        assert transformed.truth == world.truth


def test_a_stretched_world_has_the_same_logits_and_a_manifold_of_the_same_points():
    world = worlds.hyperplane(seed=0, samples=16, ambient_dim=10, dim=3)
    other = worlds.stretched(world, seed=1)
    factors = (other.subject.x / world.subject.x).median(0).values
    assert sorted(set(factors.log10().round().int().tolist())) != [0]
    with torch.no_grad():
        torch.testing.assert_close(other.subject.model(other.subject.x), world.subject.model(world.subject.x))
    off = world.subject.x + 1.0
    projected = other.subject.manifold.project_point(off * factors) / factors
    torch.testing.assert_close(projected, world.subject.manifold.project_point(off), rtol=1e-4, atol=1e-4)
    basis = other.subject.manifold.tangent_basis(other.subject.x)
    torch.testing.assert_close(basis.T @ basis, torch.eye(3), rtol=1e-5, atol=1e-5)
    steps = factors[:, None].double() * world.subject.manifold.tangent_basis(world.subject.x).double()
    steps = steps / steps.norm(dim=0)
    torch.testing.assert_close(basis.double() @ (basis.double().T @ steps), steps, rtol=1e-4, atol=1e-5)
    assert not other.distance
    assert not other.truth


def test_pairs_of_trainings_are_turned_with_the_rest():
    world = worlds.trainings(seed=0, samples=16, alternative=0.1)
    other = worlds.turned(world, seed=1)
    for before, after in zip(world.subject.pairs(3), other.subject.pairs(3), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(after(other.subject.x), before(world.subject.x), rtol=1e-3, atol=1e-4)
    listed = worlds.turned(worlds.trainings(seed=0, samples=16, count=2, alternative=0.1), seed=1).subject
    assert len(listed.pairs) == len(listed.alternative) == 2
