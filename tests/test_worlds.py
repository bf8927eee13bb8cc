"""Worlds hold what they say: exact distances against a search and other arithmetic, truth against its definition."""

from __future__ import annotations

import copy
import math
from functools import cache

import pytest
import torch
from scipy import optimize, stats

from dmmcheck import geometry, worlds
from dmmcheck.attacks.minimal_norm.search import Arm, search_arms
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings
from dmmcheck.manifolds.base import validate_manifold
from dmmcheck.worlds import dimples
from dmmcheck.worlds.base import Exact, rotation_answers

ARMS = ("free", "tangent", "normal")
SAMPLES = 48


@cache
def made(name):
    return worlds.WORLDS[name](seed=3, samples=SAMPLES)


def searched(world):
    """Crossings by arm, of a search that knows nothing of the world."""
    subject = world.subject
    x = subject.classifier.flat(subject.x)
    basis = subject.manifold.tangent_basis(x)
    arms = [Arm(), Arm(basis), Arm(basis, normal=True)]
    found = search_arms(subject.classifier, x, subject.y, arms, generator=torch.Generator().manual_seed(0))
    return dict(zip(ARMS, found, strict=True))


def flat(model, x):
    """Labels (n, m) of points (n, m, D), in double precision."""
    with torch.no_grad():
        return copy.deepcopy(model).double()(x.reshape(-1, x.shape[-1])).argmax(1).reshape(x.shape[:-1])


WITH_DISTANCES = [name for name in worlds.WORLDS if made(name).distance]


@pytest.mark.parametrize("name", WITH_DISTANCES)
def test_a_search_finds_the_exact_distances_and_nothing_nearer(name):
    world = made(name)
    for arm, crossing in searched(world).items():
        exact, found = world.distance[arm], crossing.distance.double()
        assert exact.dtype == torch.float64
        assert bool((torch.isinf(exact) == torch.isinf(found)).all())
        reached = torch.isfinite(exact)
        assert bool((found[reached] >= exact[reached] * (1 - 1e-4)).all())
        if (name, arm) != ("smooth dimples", "tangent"):  # there it may go to the wrong edge; see the next test
            torch.testing.assert_close(found[reached], exact[reached], rtol=1e-3, atol=0)


def test_the_edge_of_a_smooth_dimple_is_where_the_label_changes():
    world = made("smooth dimples")
    x, y, model = world.subject.x.double(), world.subject.y, world.subject.model
    axes = model.axes.double().T
    edges = world.distance["tangent"][:, None, None] * torch.cat([axes, -axes])  # (n, 4, D)
    assert not bool((flat(model, x[:, None] + 0.999 * edges) != y[:, None]).any())
    assert bool((flat(model, x[:, None] + 1.001 * edges) != y[:, None]).any(1).all())


@pytest.mark.parametrize("depth", [0.1, 0.5, 2.0])
def test_the_nearest_point_of_a_smooth_dimple_is_the_one_that_an_optimiser_finds(depth):
    world = worlds.dimpled(profile="smooth", depth=depth, samples=8, seed=1)
    place = world.subject.x.double() @ world.subject.model.axes.double()

    def squared(to, here):
        return ((to - here) ** 2).sum() + (depth * math.sin(math.pi * to[0]) * math.sin(math.pi * to[1])) ** 2

    for here, exact in zip(place.numpy(), world.distance["free"].tolist(), strict=True):
        starts = [here + offset for offset in torch.cartesian_prod(*[torch.linspace(-0.3, 0.3, 3)] * 2).numpy()]
        best = min(optimize.minimize(squared, start, args=(here,), tol=1e-10).fun for start in starts)
        assert math.isclose(exact, math.sqrt(best), rel_tol=1e-5)


@pytest.mark.parametrize("angle", [30.0, 85.0])
def test_a_sphere_cuts_the_manifold_at_its_angle(angle):
    world = worlds.sphere(angle=angle, samples=8, seed=0)
    basis, centre = world.subject.manifold.basis.double(), world.subject.model.centre.double()
    on = basis[:, 0] * world.subject.model.radius * math.cos(math.radians(angle))  # where T meets the sphere
    normal = (on - centre) / (on - centre).norm()
    assert math.isclose(float((normal @ basis).norm()), math.cos(math.radians(angle)), abs_tol=1e-6)
    assert math.isclose(float((on - centre).norm()), world.subject.model.radius, rel_tol=1e-6)


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
def test_truth_speaks_of_findings_that_a_run_has(name):
    world = made(name)
    known = {planned.id: planned for planned in plan(Settings())}
    assert set(world.truth) <= set(known)
    assert world.truth or not world.sound or name == "smooth dimples"
    assert all(set(known[finding].test.needs) <= world.subject.companions for finding in world.truth)


@pytest.mark.parametrize("name", [name for name in worlds.WORLDS if made(name).sound])
def test_models_of_sound_worlds_know_their_inputs(name):
    subject = made(name).subject
    with torch.no_grad():
        right = subject.model(subject.x).argmax(1) == subject.y
    assert float(right.double().mean()) >= (1.0 if made(name).distance else 0.9)


@pytest.mark.parametrize("name", worlds.WORLDS)
def test_manifolds_hold_to_the_protocol_and_projecting_twice_is_projecting_once(name):
    subject = made(name).subject
    validate_manifold(subject.manifold, subject.x)
    near = subject.x + 0.05 * torch.randn(subject.x.shape, generator=torch.Generator().manual_seed(0))
    once = subject.manifold.project_point(near)
    torch.testing.assert_close(subject.manifold.project_point(once), once, rtol=0, atol=1e-5)
    if name != "random subspace":  # else x lies on the manifold, and nothing of it is nearer than the projection
        assert bool(((near - once).norm(dim=1) <= (near - subject.x).norm(dim=1) + 1e-4).all())


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


@pytest.mark.parametrize(("ambient_dim", "dim"), [(50, 8), (20, 8)])
@pytest.mark.parametrize("angle", [10.0, 45.0, 65.0, 85.0])
def test_what_is_said_of_rotated_spaces_is_what_drawing_them_shows(ambient_dim, dim, angle):
    share = torch.full((4,), math.sin(math.radians(angle)) ** 2, dtype=torch.float64)
    exact = Exact(torch.ones(4), (1 - share) ** -0.5, share**-0.5, share)
    generator = torch.Generator().manual_seed(0)
    normal = torch.eye(ambient_dim, dtype=torch.float64)[:1]
    draws = torch.stack(
        [
            1
            - geometry.energy_share(
                normal, geometry.random_basis(ambient_dim, dim, generator=generator, dtype=torch.float64)
            )
            for _ in range(400)
        ]
    )
    limit = draws.median() + 0.05 * (1 - draws.median())
    extreme = float((draws >= share[0]).double().mean())
    for finding, answer in rotation_answers(exact, ambient_dim, dim).items():
        if finding.startswith(("off-manifold-energy", "boundary-parallel")):
            assert answer == bool(share[0] > limit)
            assert extreme < 0.01 or not answer


@pytest.mark.parametrize(("name", "dim"), [("random subspace", 8), ("rotated copy", 4)])
def test_what_holds_by_chance_holds_nearly_always(name, dim):
    world = made(name)
    assert (world.subject.x.shape[1], world.subject.manifold.dim) == (100, dim)
    chance = stats.beta((100 - dim) / 2, dim / 2)  # rho_N of a direction unrelated to the manifold
    assert chance.cdf(1.25**-2) < 1e-3  # of d_off / d_free < 1.25, the most demanding of the claims


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


@pytest.mark.parametrize(
    "name", ["normal nearly in N", "sphere", "half way", "shallow dimples", "classes that change places"]
)
@pytest.mark.parametrize(
    "seen",
    [
        lambda world: worlds.turned(world, seed=2),
        lambda world: worlds.scaled(world, inputs=0.01, logits=100.0),
        lambda world: worlds.shuffled(world, seed=2),
    ],
    ids=["turned", "scaled", "shuffled"],
)
def test_a_world_seen_otherwise_has_the_distances_it_says(name, seen):
    world = seen(made(name))
    validate_manifold(world.subject.manifold, world.subject.x)
    for arm, crossing in searched(world).items():
        torch.testing.assert_close(crossing.distance.double(), world.distance[arm], rtol=1e-3, atol=0)


def test_turning_carries_companions_along():
    world = worlds.turned(worlds.training(samples=16, seed=0), seed=1)
    subject = world.subject
    assert subject.companions == {"checkpoints", "factory", "examples"}
    with torch.no_grad():
        assert torch.equal(subject.factory(7)(subject.x).argmax(1), subject.y)
        assert all(torch.equal(model(subject.x).argmax(1), subject.y) for _, model in subject.checkpoints)


def test_a_model_with_itself_is_still_one_model_when_turned():
    subject = worlds.turned(worlds.pair(standard=0.2, robust=0.2, samples=16, seed=0), seed=1).subject
    assert subject.robust is subject.model
