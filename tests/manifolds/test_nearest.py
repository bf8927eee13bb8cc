"""The nearest codes of points, beside closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmmcheck.manifolds import Autoencoder, KernelPCA, nearest, operators
from dmmcheck.manifolds.nearest import nearest_codes
from dmmcheck.seeding import seeded


def circle(z):
    """Points (n, 2) of the circle of radius 2 at angles (n, 1)."""
    return 2 * torch.cat([z.cos(), z.sin()], 1)


def circle_slope(z):
    return 2 * torch.stack([-z.sin(), z.cos()], 1)


@settings(max_examples=50, deadline=None)
@given(st.floats(-3, 3), st.floats(-1, 1), st.floats(1.5, 3))
def test_the_nearest_point_of_a_circle_has_the_angle_of_the_point(angle, away, radius):
    at = torch.tensor([[angle]], dtype=torch.float64)
    found = nearest_codes(circle(at) * radius / 2, at + away, circle, circle_slope)
    assert torch.allclose(found, at, atol=1e-5)


def test_codes_of_a_linear_decoder_are_those_of_least_squares_and_a_column_of_zeros_keeps_its_code():
    generator = seeded(0, "linear")
    matrix = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    matrix[:, 2] = 0
    x, start = torch.randn(9, 6, generator=generator).double(), torch.randn(9, 3, generator=generator).double()
    found = nearest_codes(x, start, lambda z: z @ matrix.T, lambda z: matrix.expand(len(z), 6, 3))
    expected = torch.linalg.lstsq(matrix[:, :2], x.T).solution.T
    assert torch.allclose(found[:, :2], expected, atol=1e-6)
    assert torch.equal(found[:, 2], start[:, 2])


def test_no_point_ends_farther_than_it_began_and_none_depends_on_the_others():
    generator = seeded(1, "points")
    x = torch.randn(16, 2, generator=generator, dtype=torch.float64)
    start = 6 * torch.rand(16, 1, generator=generator, dtype=torch.float64)
    found = nearest_codes(x, start, circle, circle_slope)
    assert bool(((x - circle(found)).norm(dim=1) <= (x - circle(start)).norm(dim=1)).all())
    alone = torch.cat([nearest_codes(x[i : i + 1], start[i : i + 1], circle, circle_slope) for i in range(16)])
    assert torch.allclose(alone, found, atol=1e-12)


def test_a_jacobian_that_is_not_finite_leaves_the_code():
    nan = torch.full((1, 2, 1), torch.nan, dtype=torch.float64)
    start = torch.zeros(1, 1, dtype=torch.float64)
    assert torch.equal(nearest_codes(torch.ones(1, 2).double(), start, circle, lambda z: nan), start)


@pytest.mark.parametrize("kind", [KernelPCA(dim=2), Autoencoder(dim=2, steps=300)])
def test_learned_manifolds_project_to_their_nearest_point_so_that_their_points_stay(kind):
    flat = torch.randn(300, 2, generator=seeded(2, "sheet"), dtype=torch.float64)
    x = torch.cat([flat, 0.3 * flat.square(), 0.3 * flat.prod(1, keepdim=True)], 1)
    manifold = kind.fit(x)
    near = x[:40] + 0.1 * torch.randn(40, 5, generator=seeded(3, "noise"), dtype=torch.float64)
    projected = manifold.project_point(near)
    assert float((manifold.project_point(projected) - projected).norm(dim=1).max()) < 1e-4
    along = ((near - projected)[:, None] @ manifold.tangent_basis(near))[:, 0].norm(dim=1)
    assert float(along.quantile(0.8)) < 1e-3 * float((near - projected).norm(dim=1).median())


def test_few_points_are_searched_at_a_time_and_large_codes_are_those_of_the_encoder(monkeypatch):
    sizes = []
    x = circle(torch.linspace(0, 3, 10)[:, None].double())

    def slope(z):
        sizes.append(len(z))
        return circle_slope(z)

    monkeypatch.setattr(nearest, "_VALUES", 6)
    nearest_codes(1.2 * x, torch.zeros(10, 1).double(), circle, slope)
    assert max(sizes) == 3
    points = torch.randn(60, 4, generator=seeded(5, "points"), dtype=torch.float64)
    manifold = Autoencoder(dim=1, steps=50).fit(points)
    encoded = manifold.network.encode(points)
    assert not torch.equal(manifold.codes(points), encoded)
    monkeypatch.setattr(operators, "DENSE_BYTES", 31)
    assert torch.equal(manifold.codes(points), encoded)
