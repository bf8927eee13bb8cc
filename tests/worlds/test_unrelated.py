"""Manifolds that are unrelated to the network: what holds by chance, and the tangent spaces of a torus."""

from __future__ import annotations

import pytest
import torch
from made import made
from scipy import stats

from dmmcheck import worlds


@pytest.mark.parametrize(("name", "dim"), [("random subspace", 8), ("rotated copy", 4)])
def test_what_holds_by_chance_holds_nearly_always(name, dim):
    world = made(name)
    assert (world.subject.x.shape[1], world.subject.manifold.dim) == (100, dim)
    chance = stats.beta((100 - dim) / 2, dim / 2)  # rho_N of a direction unrelated to the manifold
    assert chance.cdf(1.25**-2) < 1e-3  # of d_off / d_free < 1.25, the most demanding of the claims


def test_the_tangent_spaces_of_the_torus_are_those_of_the_copy_that_was_not_rotated():
    world = worlds.rotated(samples=8, seed=0)
    torus, x = world.subject.manifold, world.subject.x.double()
    circles = torus.axes.double()
    unrotated = x @ circles @ torus.turned.double().T  # the same angles in the other copy
    angle = 1e-4
    for circle in range(torus.dim):
        plane = torus.turned.double()[:, 2 * circle : 2 * circle + 2]
        here = unrotated @ plane
        turned = torch.stack([here[:, 0] - angle * here[:, 1], here[:, 1] + angle * here[:, 0]], 1)
        velocity = (turned - here) @ plane.T / angle
        torch.testing.assert_close(torus.tangent_basis(x)[:, :, circle], velocity, rtol=0, atol=1e-5)


def test_reference_models_are_trained_alike_from_other_weights():
    world = worlds.random_subspace(reference_models=3, ambient_dim=32, dim=4, samples=64, seed=0)
    subject = world.subject
    assert subject.provides == {"checkpoints", "classes", "differentiable", "examples", "pair"}
    assert [step for step, _ in subject.checkpoints] == [0, 100, 200]
    assert subject.reference is subject.checkpoints[0][1]
    with torch.no_grad():
        logits = [model(subject.x) for _, model in subject.checkpoints]
        accuracies = [float((z.argmax(1) == subject.y).double().mean()) for z in logits]
    assert min(accuracies) > 0.8
    assert not torch.equal(logits[0], logits[1])
    alone = worlds.random_subspace(ambient_dim=32, dim=4, samples=64, seed=0)
    assert alone.subject.provides == {"classes", "differentiable", "examples"}
    assert set(world.truth) - set(alone.truth) == {
        "adversarial-training-deepens-controlled-main-effect",
        "robust-turns-tangential-controlled-builtin",
        "two-phases-controlled-builtin",
    }


def test_inputs_can_be_images():
    subject = worlds.random_subspace(image=(4, 8), ambient_dim=32, dim=4, samples=16, seed=0).subject
    assert subject.input_shape == (4, 8)
    assert subject.x_train.shape == (16, 4, 8)
