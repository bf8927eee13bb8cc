"""Local PCA against closed forms and a naive reference, what must not change it, and its errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_swiss_roll

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import LocalPCA, analytic


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def sphere(m: int, *, seed: int = 0) -> torch.Tensor:
    points = gaussian(m, 3, seed=seed)
    return points / points.norm(dim=1, keepdim=True)


def swiss_roll(m: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (m, 3) and orthonormal tangent bases (m, 3, 2) in closed form."""
    points, turn = make_swiss_roll(m, random_state=seed)
    along = np.stack([np.cos(turn) - turn * np.sin(turn), 0 * turn, np.sin(turn) + turn * np.cos(turn)], 1)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.tile([0.0, 1.0, 0.0], (m, 1))
    return torch.from_numpy(points), torch.from_numpy(np.stack([along, across], 2))


def apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Largest sine of an angle between subspaces of the same dimension, (n, D, k) each, (n,)."""
    one, other = one.double(), other.double()
    return torch.linalg.matrix_norm(one - other @ (other.mT @ one), 2)


def naive(points: np.ndarray, x: np.ndarray, dim: int, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and basis at one point, written as in the docstring."""
    squared = ((points - x) ** 2).sum(1)
    near = np.argsort(squared)[:neighbours]
    weight = squared[near].max() - squared[near]
    mean = np.average(points[near], axis=0, weights=weight)
    return mean, np.linalg.svd(np.sqrt(weight)[:, None] * (points[near] - mean))[2][:dim].T


@pytest.mark.parametrize(("ambient_dim", "dim", "neighbours"), [(3, 1, 5), (10, 2, None), (40, 5, 12), (5, 3, 30)])
def test_planes_are_those_of_the_naive_reference(ambient_dim, dim, neighbours):
    points, x = gaussian(60, ambient_dim), gaussian(7, ambient_dim, seed=1)
    manifold = LocalPCA(dim=dim, neighbours=neighbours).fit(points)
    basis, projected = manifold.tangent_basis(x), manifold.project_point(x)
    for row in range(len(x)):
        mean, reference = naive(points.numpy(), x[row].numpy(), dim, neighbours or 4 * dim)
        assert apart(basis[row : row + 1], torch.from_numpy(reference)[None]) < 1e-7
        expected = mean + reference @ (reference.T @ (x[row].numpy() - mean))
        np.testing.assert_allclose(projected[row].numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_a_plane_the_plane_is_found_exactly(dim, dtype):
    basis = geometry.random_basis(30, dim, generator=seeded(), dtype=torch.float64)
    points = (5 + gaussian(200, dim) @ basis.T).to(dtype)
    x = points[:9] + gaussian(9, 30, seed=1).to(dtype)
    manifold, rounding = LocalPCA(dim=dim, neighbours=50).fit(points), 30 * torch.finfo(dtype).eps
    assert apart(manifold.tangent_basis(x), basis.expand(9, -1, -1)).max() < 10 * rounding
    expected = 5 + geometry.project_tangent(x - 5, basis.to(dtype))
    torch.testing.assert_close(manifold.project_point(x), expected, rtol=0, atol=10 * rounding)
    assert geometry.orthonormal_residual(manifold.tangent_basis(x)) < rounding


def test_on_a_sphere_planes_are_within_the_neighbours_reach_and_converge():
    x = sphere(100, seed=1)
    median = []
    for m in (500, 8000):
        points = sphere(m)
        manifold = LocalPCA(dim=2, neighbours=20).fit(points)
        basis = manifold.tangent_basis(x)
        tilt = torch.bmm(x[:, None, :], basis).norm(dim=(1, 2))  # sine of the angle to the true tangent space
        reach = torch.cdist(x, points).kthvalue(20, dim=1).values
        assert (tilt < reach).all()
        assert ((manifold.project_point(x) - x).norm(dim=1) < reach.square()).all()
        median.append(float(tilt.median()))
    assert median[1] < 0.4 * median[0]  # 16 times the points: a quarter of the reach, and of the error


def test_on_a_swiss_roll_planes_converge_to_the_closed_form():
    x, truth = swiss_roll(100, seed=1)
    median = [
        float(apart(LocalPCA(dim=2, neighbours=20).fit(swiss_roll(m)[0]).tangent_basis(x), truth).median())
        for m in (1000, 16000)
    ]
    assert median[0] < 0.2
    assert median[1] < 0.4 * median[0]


def test_a_step_off_a_flat_manifold_does_not_change_the_plane():
    basis = geometry.random_basis(20, 6, generator=seeded(), dtype=torch.float64)
    points = gaussian(300, 5) @ basis[:, :5].T
    x = gaussian(8, 5, seed=1) @ basis[:, :5].T
    manifold = LocalPCA(dim=2, neighbours=15).fit(points)
    assert apart(manifold.tangent_basis(x), manifold.tangent_basis(x + 7 * basis[:, 5])).max() < 1e-6


def test_planes_change_continuously_where_neighbours_come_and_go():
    points, ends = gaussian(300, 6), gaussian(2, 6, seed=3)
    manifold = LocalPCA(dim=2, neighbours=8).fit(points)

    def largest_jump(steps: int) -> float:
        path = ends[0] + torch.linspace(0, 0.02, steps + 1).double()[:, None] * (ends[1] - ends[0])
        basis = manifold.tangent_basis(path)
        return float(apart(basis[1:], basis[:-1]).max())

    assert largest_jump(1000) < 0.15 * largest_jump(100)


def test_a_planes_rows_do_not_depend_on_the_batch_or_its_order():
    points, x = gaussian(400, 50).float(), gaussian(70, 50, seed=1).float()
    manifold = LocalPCA(dim=3).fit(points)
    basis, projected = manifold.tangent_basis(x), manifold.project_point(x)
    order = torch.randperm(70, generator=seeded())
    for pieces in (x.split(1), x.split(9)):
        torch.testing.assert_close(
            torch.cat([manifold.tangent_basis(piece) for piece in pieces]), basis, rtol=0, atol=1e-6
        )
        torch.testing.assert_close(torch.cat([manifold.project_point(piece) for piece in pieces]), projected)
    torch.testing.assert_close(manifold.tangent_basis(x[order]), basis[order], rtol=0, atol=1e-6)


def test_the_order_of_training_points_does_not_matter_even_among_ties():
    grid = torch.cartesian_prod(*[torch.arange(5.0)] * 3) * torch.tensor([1.0, 1.0, 0.25])
    x = torch.tensor([[2.0, 2.0, 0.5], [1.0, 2.0, 0.25], [2.0, 3.0, 0.75]])
    squared = torch.cdist(x, grid).square().sort(dim=1).values
    assert (squared[:, 30] == squared[:, 29]).all()  # the last neighbour ties with the next point
    base = LocalPCA(dim=2, neighbours=30).fit(grid)
    for seed in range(5):
        shuffled = LocalPCA(dim=2, neighbours=30).fit(grid[torch.randperm(len(grid), generator=seeded(seed))])
        assert apart(shuffled.tangent_basis(x), base.tangent_basis(x)).max() < 1e-6
        torch.testing.assert_close(shuffled.project_point(x), base.project_point(x))


def test_duplicates_count_as_often_as_they_are_there():
    points, x = gaussian(80, 6), gaussian(10, 6, seed=1)
    once = LocalPCA(dim=2, neighbours=12).fit(points)
    twice = LocalPCA(dim=2, neighbours=24).fit(torch.cat([points, points]))
    assert apart(once.tangent_basis(x), twice.tangent_basis(x)).max() < 1e-7
    torch.testing.assert_close(once.project_point(x), twice.project_point(x))


def test_a_training_point_is_among_its_own_neighbours():
    points = gaussian(60, 4)
    manifold = LocalPCA(dim=2, neighbours=10).fit(points)
    mean, reference = naive(points.numpy(), points[5].numpy(), 2, 10)
    assert apart(manifold.tangent_basis(points[5:6]), torch.from_numpy(reference)[None]) < 1e-7
    nearby = manifold.project_point(points[5:6] + 1e-9)
    torch.testing.assert_close(manifold.project_point(points[5:6]), nearby, rtol=0, atol=1e-6)
    assert np.isfinite(mean).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([1e-3, 1.0, 1e3]), shift=st.sampled_from([0.0, 10.0]))
def test_rotating_scaling_or_shifting_everything_takes_the_planes_along(seed, scale, shift):
    rotation = geometry.random_basis(7, 7, generator=seeded(seed), dtype=torch.float64)
    points, x = gaussian(90, 7, seed=seed), gaussian(4, 7, seed=seed + 1)
    manifold = LocalPCA(dim=2).fit(points)
    moved = LocalPCA(dim=2).fit(scale * points @ rotation.T + shift)
    basis = moved.tangent_basis(scale * x @ rotation.T + shift)
    assert apart(basis, rotation @ manifold.tangent_basis(x)).max() < 1e-6
    projected = moved.project_point(scale * x @ rotation.T + shift)
    torch.testing.assert_close(projected, scale * manifold.project_point(x) @ rotation.T + shift)


def test_neighbours_follow_the_dimension_unless_given():
    points = gaussian(50, 30)
    assert LocalPCA(dim=3).fit(points).neighbour_count == 12
    assert LocalPCA(dim=1).fit(points).neighbour_count == 4
    assert LocalPCA(dim=20).fit(points).neighbour_count == 50
    counts = {(1, 2000): 36, (2, 2000): 13, (2, 1122): 8, (2, 1123): 9, (5, 10_000): 20, (8, 100_000): 32}
    assert {of: LocalPCA(dim=of[0]).fit(torch.zeros(of[1], 9)).neighbour_count for of in counts} == counts
    assert LocalPCA(dim=3).fit(points).refit(5).neighbour_count == 20
    assert LocalPCA(dim=3, neighbours=9).fit(points).refit(5).neighbour_count == 9
    assert LocalPCA(dim=3).fit(points).name == "local-pca"
    torch.testing.assert_close(LocalPCA(dim=3).fit(points.reshape(50, 5, 6)).training_points, points)


NOISY = [
    (analytic.sphere(1, 50, generator=seeded()), 2000, 5),
    (analytic.affine(1, 50, generator=seeded()), 2000, 5),
    (analytic.sphere(2, 50, generator=seeded()), 2000, 5),
    (analytic.affine(2, 50, generator=seeded()), 2000, 5),
    (analytic.torus(50, generator=seeded()), 2000, 5),
    (analytic.swiss_roll(50, generator=seeded()), 2000, 5),
    (analytic.sphere(5, 50, generator=seeded()), 10_000, 5),
    (analytic.sphere(10, 50, generator=seeded()), 10_000, 15),
]


@pytest.mark.parametrize(("manifold", "count", "most"), NOISY, ids=[f"{of.name}-{of.dim}" for of, *_ in NOISY])
def test_planes_of_noisy_points_are_within_few_degrees_of_the_tangent_spaces(manifold, count, most):
    """The noise is 0.5 % of the extent of the manifold, in 50 dimensions."""
    points = manifold.sample(count, generator=seeded(1))
    noise = 0.01 * float((points - points.mean(0)).abs().max()) / 50**0.5
    points = points + noise * torch.randn(points.shape, generator=seeded(2), dtype=torch.float64)
    x = manifold.sample(100, generator=seeded(3))
    basis = LocalPCA(dim=manifold.dim).fit(points).tangent_basis(x)
    cosines = torch.linalg.svdvals(manifold.tangent_basis(x).mT @ basis).clamp(max=1)
    assert float(torch.rad2deg(cosines.acos()).median()) < most


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_answers_follow_the_dtype_of_the_question(dtype):
    manifold, x = LocalPCA(dim=2).fit(gaussian(50, 6)), gaussian(3, 6).to(dtype)
    assert manifold.tangent_basis(x).dtype == manifold.project_point(x).dtype == dtype


LINE = torch.linspace(0, 1, 40)[:, None] * torch.ones(6)


@pytest.mark.parametrize(
    ("options", "points", "words"),
    [
        ({"dim": 2}, LINE, ["dim is 2", "8 nearest", "span 1 directions", "smaller dim, or more neighbours"]),
        (
            {"dim": 1},
            torch.cat([LINE[:1].expand(20, -1), LINE]),
            ["span 0 directions", "more neighbours, or give more points"],
        ),
        ({"dim": 2}, torch.ones(20, 3), ["all training points are equal: give points that differ from each other"]),
        ({"dim": 2}, torch.eye(20), ["span 0 directions", "equally far"]),
    ],
    ids=["line", "duplicates", "all-equal", "equally-far"],
)
def test_neighbours_that_span_too_little_are_an_error_not_a_basis(options, points, words):
    manifold = LocalPCA(**options).fit(points)
    for ask in (manifold.tangent_basis, manifold.project_point):
        with pytest.raises(ManifoldError) as error:
            ask(torch.zeros_like(points[:3]))
        assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("options", "m", "words"),
    [
        ({"dim": 4, "neighbours": 5}, 50, ["neighbours is 5", "dim 4 needs a whole number of at least 6"]),
        ({"dim": 4, "neighbours": 7.5}, 50, ["neighbours is 7.5", "a whole number"]),
        ({"dim": 4.0}, 50, ["dim is 4.0", "a whole number"]),
        ({"dim": 4, "neighbours": 60}, 50, ["neighbours is 60", "50 training points", "fewer neighbours"]),
        ({"dim": 4}, 5, ["neighbours is 6", "5 training points"]),
        ({"dim": 4}, 4, ["at least 5 points"]),
        ({"dim": 8}, 50, ["dim is 8", "D = 8"]),
    ],
)
def test_what_cannot_be_fitted_is_one_clear_error(options, m, words):
    with pytest.raises(ManifoldError) as error:
        LocalPCA(**options).fit(gaussian(m, 8))
    assert all(word in str(error.value) for word in words)


def test_refitting_to_too_many_dimensions_is_an_error():
    with pytest.raises(ManifoldError, match="neighbours is 8, dim 7 needs a whole number of at least 9"):
        LocalPCA(dim=3, neighbours=8).fit(gaussian(40, 20)).refit(7)
