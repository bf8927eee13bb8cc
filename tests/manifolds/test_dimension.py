"""The dimension of points whose dimension is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import PCA, Autoencoder, ClassPCA, KernelPCA, LocalPCA, analytic
from dmmcheck.manifolds.dimension import DimensionEstimate, _settled, chosen_dim, estimated, two_nn


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(dim: int) -> torch.Tensor:
    basis = geometry.random_basis(30, dim, generator=seeded(), dtype=torch.float64)
    return torch.rand((4000, dim), generator=seeded(1), dtype=torch.float64) @ basis.T


def ball(dim: int) -> torch.Tensor:
    points = torch.randn((4000, dim + 1), generator=seeded(1), dtype=torch.float64)
    return points / points.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("shape", [flat, ball])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_dimension_of_a_cube_and_of_a_sphere(shape, dim):
    assert two_nn(shape(dim)) == pytest.approx(dim, rel=0.1)  # 2000 ratios: a standard error of 2.2 per cent


def test_scale_position_and_duplicates_do_not_matter():
    points = flat(3)
    assert two_nn(1e-3 * points + 5) == pytest.approx(two_nn(points), rel=1e-6)
    assert two_nn(torch.cat([points, points[:1000]])) == pytest.approx(two_nn(points), rel=1e-9)


def test_too_few_distinct_points_have_no_dimension():
    assert math.isnan(two_nn(torch.eye(4)[[0, 1, 2, 2, 2]]))


def noisy(manifold, count: int) -> torch.Tensor:
    """Points of a manifold with noise of 0.5 % of its extent."""
    points = manifold.sample(count, generator=seeded(1))
    size = 0.005 * float((points - points.mean(0)).abs().max()) * 2
    return points + size / points.shape[1] ** 0.5 * torch.randn(points.shape, generator=seeded(2), dtype=torch.float64)


@pytest.mark.parametrize(
    ("manifold", "count", "within"),
    [
        (analytic.sphere(1, 50, generator=seeded()), 2000, 0),
        (analytic.affine(1, 50, generator=seeded()), 2000, 0),
        (analytic.sphere(2, 50, generator=seeded()), 2000, 0),
        (analytic.affine(2, 50, generator=seeded()), 2000, 0),
        (analytic.torus(50, generator=seeded()), 2000, 0),
        (analytic.swiss_roll(50, generator=seeded()), 2000, 0),
        (analytic.sphere(5, 50, generator=seeded()), 10_000, 0),
        (analytic.affine(5, 50, generator=seeded()), 10_000, 0),
        (analytic.sphere(10, 50, generator=seeded()), 10_000, 1),
    ],
    ids=lambda value: f"{value.name}-{value.dim}" if hasattr(value, "dim") else None,
)
def test_the_estimate_withstands_noise(manifold, count, within):
    assert abs(estimated(noisy(manifold, count)).dim(50) - manifold.dim) <= within


def test_both_figures_are_those_of_a_naive_reference_on_points_without_noise():
    points = ball(3)[:60]
    distances = torch.cdist(points, points).sort(1).values[:, 1:].numpy()
    ratio = 1 / np.log(distances[:, 1] / distances[:, 0]).mean()
    likelihood = 1 / np.log(distances[:, 7:8] / distances[:, :7]).mean()
    found = estimated(points)
    assert found.two_nn == pytest.approx(ratio)
    assert found.likelihood == pytest.approx(likelihood)


def test_an_estimate_that_falls_at_all_scales_is_the_last():
    assert _settled([8.0, 4.0, 2.0]) == 2.0
    assert _settled([8.0, 4.0, 3.9, 2.0]) == 4.0


@pytest.mark.parametrize(("two", "other", "ambient", "dim"), [(5.2, 4.9, 20, 5), (9, 9, 6, 3), (0.2, 0.2, 3, 1)])
def test_the_dimension_is_the_mean_and_at_most_half_of_all_dimensions(two, other, ambient, dim):
    assert DimensionEstimate(two, other).dim(ambient) == dim


def test_equally_far_points_have_as_many_dimensions_as_are_allowed():
    found = estimated(torch.eye(20))
    assert found.dim(20) == 10
    assert found.note == "k estimated: no finite number by TwoNN and no finite number by maximum likelihood"


def test_a_disagreement_is_named():
    assert DimensionEstimate(5.0, 5.5).note == "k estimated: 5.0 by TwoNN and 5.5 by maximum likelihood"
    assert DimensionEstimate(3.0, 4.5).note.endswith("4.5 by maximum likelihood, which disagree by 50%")


@pytest.mark.parametrize("kind", [PCA, LocalPCA, ClassPCA, KernelPCA, Autoencoder], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dim", [None, "estimate"])
def test_a_manifold_is_fitted_with_the_estimate_and_says_so(kind, dim):
    points, labels = flat(3)[:200, :12], [torch.arange(200) % 2] * (kind is ClassPCA)
    made = kind(dim=dim, **({"steps": 1} if kind is Autoencoder else {})).fit(points, *labels)
    assert made.dim == estimated(points).dim(12) == 3
    assert made.note.startswith("k estimated: ")
    stretched = points * torch.tensor([1e4] + [1.0] * 11)
    assert made.refit_on(stretched).dim == estimated(stretched).dim(12) < 3
    assert not made.refit(2).note.startswith("k estimated")


def test_the_estimate_is_at_most_a_quarter_of_the_points():
    points = torch.randn((40, 500), generator=seeded(), dtype=torch.float64)
    assert estimated(points).dim(500) > 10
    assert chosen_dim(points, None)[0] == chosen_dim(points, "estimate")[0] == 10
    assert LocalPCA().fit(points).tangent_basis(points[:2]).shape == (2, 500, 10)


@pytest.mark.parametrize(("ambient", "dim"), [(12, 6), (50, 16)])
def test_points_too_few_for_an_estimate_have_the_plain_default(ambient, dim):
    points = torch.randn((9, ambient), generator=seeded(), dtype=torch.float64).repeat(4, 1)
    assert chosen_dim(points, None) == (dim, "")
    with pytest.raises(ManifoldError, match="the dimension of 9 distinct points cannot be estimated"):
        chosen_dim(points, "estimate")


def test_an_estimate_is_one_that_the_manifold_can_take():
    points = torch.randn((400, 60), generator=torch.Generator().manual_seed(0))
    assert LocalPCA(neighbours=12).fit(points).dim == 10
    labels = torch.arange(400) % 20
    assert ClassPCA().fit(points, labels).dim == 5  # a quarter of the points of a class
    repeated = points[:12].repeat(30, 1)
    assert PCA().fit(repeated).dim == 3  # a quarter of those that differ


def test_another_text_is_no_dimension():
    with pytest.raises(ManifoldError, match="dim is 'many'; give a whole number of at least 1, or 'estimate'"):
        chosen_dim(flat(1), "many")
