"""Manifolds in closed form: nearest points against brute force, and what is drawn."""

from __future__ import annotations

import math

import pytest
import torch

from dmmcheck.manifolds import analytic

D = 7
KINDS = {
    "affine": lambda generator: analytic.affine(3, D, generator=generator),
    "sphere": lambda generator: analytic.sphere(2, D, radius=3.0, generator=generator),
    "torus": lambda generator: analytic.torus(D, generator=generator),
    "swiss-roll": lambda generator: analytic.swiss_roll(D, generator=generator),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=KINDS)
def manifold(request):
    made = KINDS[request.param](seeded())
    assert made.name == request.param
    return made


def test_points_that_are_drawn_lie_on_the_manifold(manifold):
    points = manifold.sample(50, generator=seeded(1))
    torch.testing.assert_close(manifold.project_point(points), points, rtol=0, atol=1e-9)


def test_no_drawn_point_is_nearer_than_the_projection(manifold):
    points = manifold.sample(4000, generator=seeded(1))
    x = points[:20] + 0.5 * torch.randn(20, D, generator=seeded(2), dtype=torch.float64)
    nearest = torch.cdist(x, points).amin(1)
    assert bool(((x - manifold.project_point(x)).norm(dim=1) <= nearest + 1e-9).all())


def test_the_offset_is_normal_to_the_tangent_space(manifold):
    x = manifold.sample(200, noise=0.05, generator=seeded(3))
    inner = x[(manifold.project_point(x) - manifold.origin).norm(dim=1) < 12]  # away from the ends of the Swiss roll
    offset = inner - manifold.project_point(inner)
    assert float((offset[:, None] @ manifold.tangent_basis(inner)).abs().max()) < 1e-8


def test_noise_has_its_standard_deviation(manifold):
    off = manifold.sample(2000, noise=0.01, generator=seeded(4)) - manifold.sample(2000, generator=seeded(4))
    assert float(off.std()) == pytest.approx(0.01, rel=0.05)


def test_points_of_a_sphere_and_of_a_torus_satisfy_their_equations():
    u = analytic.Sphere(4, radius=2.0).nearest(torch.randn(9, 5, generator=seeded(), dtype=torch.float64))
    torch.testing.assert_close(u.norm(dim=1), torch.full((9,), 2.0, dtype=torch.float64))
    v = analytic.Torus(3.0, 1.0).draw(9, seeded())
    tube = ((v[:, :2].norm(dim=1) - 3).square() + v[:, 2].square()).sqrt()
    torch.testing.assert_close(tube, torch.ones(9, dtype=torch.float64))


def test_the_centre_of_a_sphere_has_a_projection():
    sphere = analytic.Sphere(2)
    torch.testing.assert_close(sphere.nearest(torch.zeros(1, 3)), torch.tensor([[1.0, 0, 0]]))


def test_a_swiss_roll_ends():
    beyond = torch.tensor([[6 * math.pi, 0.0, 0.0]], dtype=torch.float64)
    t = analytic.Roll()._angle(beyond)
    assert analytic.TURNS[0] <= float(t) <= analytic.TURNS[1]
