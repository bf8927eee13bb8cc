"""Every world holds its promises: exact distances against a search, truth by finding, one seed for all randomness."""

from __future__ import annotations

import pytest
import torch
from made import SAMPLES, made, searched

from dmmcheck import worlds
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings
from dmmcheck.manifolds.base import validate_manifold

WITH_DISTANCES = [name for name in worlds.WORLDS if made(name).distance]


@pytest.mark.parametrize("name", WITH_DISTANCES)
def test_a_search_finds_the_exact_distances_and_nothing_nearer(name):
    world = made(name)
    for arm, crossing in searched(world).items():
        exact, found = world.distance[arm], crossing.distance.double()
        assert exact.dtype == torch.float64
        assert bool((torch.isinf(exact) == torch.isinf(found)).all())
        finite = torch.isfinite(exact)
        assert bool((found[finite] >= exact[finite] * (1 - 1e-4)).all())
        if (name, arm) != ("smooth dimples", "tangent"):  # there it may find the wrong edge; see test_dimples.py
            torch.testing.assert_close(found[finite], exact[finite], rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", worlds.WORLDS)
def test_a_world_is_a_function_of_its_seed(name):
    state = torch.get_rng_state()
    one, same, other = (worlds.WORLDS[name](seed=seed, samples=16) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.subject.x, same.subject.x)
    assert torch.equal(one.subject.y, same.subject.y)
    assert not torch.equal(one.subject.x, other.subject.x)
    assert one.truth == same.truth
    if name != "stochastic":
        with torch.no_grad():
            assert torch.equal(one.subject.model(one.subject.x), same.subject.model(same.subject.x))


@pytest.mark.parametrize("name", worlds.WORLDS)
def test_truth_is_known_for_findings_that_a_run_has(name):
    world = made(name)
    known = {planned.id: planned for planned in plan(Settings())}
    assert set(world.truth) <= set(known)
    assert set(world.at_limit) <= set(known)
    assert world.truth or world.at_limit or not world.sound or name == "smooth dimples"
    assert all(set(known[finding].test.needs) <= world.subject.provides for finding in world.truth)


@pytest.mark.parametrize("name", [name for name in worlds.WORLDS if made(name).sound])
def test_models_of_sound_worlds_classify_their_inputs_correctly(name):
    subject = made(name).subject
    with torch.no_grad():
        correct = subject.model(subject.x).argmax(1) == subject.y
    assert float(correct.double().mean()) >= (1.0 if made(name).distance else 0.9)
    assert len(subject.x) == SAMPLES


@pytest.mark.parametrize("name", worlds.WORLDS)
def test_manifolds_satisfy_the_protocol_and_projecting_twice_is_projecting_once(name):
    subject = made(name).subject
    validate_manifold(subject.manifold, subject.x)
    near = subject.x + 0.05 * torch.randn(subject.x.shape, generator=torch.Generator().manual_seed(0))
    projected = subject.manifold.project_point(near)
    torch.testing.assert_close(subject.manifold.project_point(projected), projected, rtol=0, atol=1e-5)
    if name != "random subspace":  # else x lies on the manifold, and the projection is at least as near
        assert bool(((near - projected).norm(dim=1) <= (near - subject.x).norm(dim=1) + 1e-4).all())
