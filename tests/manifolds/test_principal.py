"""Principal planes of weighted groups against an SVD, with ranks that rounding does not raise."""

from __future__ import annotations

import pytest
import torch

from dmmcheck.manifolds import principal
from dmmcheck.manifolds.principal import mean_and_variance, moments, principal_plane, principal_planes


def gaussian(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def apart(one, other):
    """Largest sine of an angle between two subspaces of the same dimension, (D, k) each."""
    return float(torch.linalg.matrix_norm(one - other @ (other.mT @ one), 2))


def naive(points, weight, dim):
    """Weighted mean and leading principal directions of points (K, D)."""
    mean = (weight[:, None] * points).sum(0) / weight.sum()
    directions = torch.linalg.svd(weight.sqrt()[:, None] * (points - mean), full_matrices=False)[2]
    return mean, directions[:dim].mT


@pytest.mark.parametrize("slab_values", [7, 750, 1 << 22], ids=["many-slabs", "groups-a-slab", "one-slab"])
@pytest.mark.parametrize("ambient_dim", [4, 30])
def test_planes_are_those_of_a_weighted_svd(ambient_dim, slab_values, monkeypatch):
    monkeypatch.setattr(principal, "_SLAB_VALUES", slab_values)
    points = 3 + gaussian(40, ambient_dim)
    index = torch.stack([torch.arange(12), torch.arange(10, 22), torch.arange(28, 40)])
    weight = torch.rand((3, 12), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    planes = principal_planes(points, index, weight, 2)
    for group in range(3):
        mean, basis = naive(points[index[group]], weight[group], 2)
        torch.testing.assert_close(planes.mean[group], mean)
        assert apart(planes.basis[group], basis) < 1e-9
    assert planes.rank.tolist() == [min(11, ambient_dim)] * 3
    assert planes.basis.is_contiguous()


def test_a_weight_is_a_number_of_copies():
    points, copies = gaussian(6, 5), torch.tensor([[1, 3, 1, 2, 1, 1]])
    repeated = points.repeat_interleave(copies[0], dim=0)
    weighted = principal_planes(points, torch.arange(6)[None], copies.double(), 2)
    counted = principal_planes(repeated, torch.arange(9)[None], torch.ones(1, 9, dtype=torch.float64), 2)
    torch.testing.assert_close(weighted.mean, counted.mean)
    assert apart(weighted.basis[0], counted.basis[0]) < 1e-9


def test_without_weights_the_rank_is_zero():
    planes = principal_planes(gaussian(6, 5), torch.arange(6)[None], torch.zeros(1, 6, dtype=torch.float64), 2)
    assert planes.rank.tolist() == [0]
    assert bool(torch.isfinite(planes.mean).all())


@pytest.mark.parametrize(("count", "ambient_dim"), [(50, 8), (8, 50)], ids=["tall", "wide"])
def test_the_plane_of_all_points_is_that_of_one_group_of_equal_weights(count, ambient_dim):
    points = gaussian(count, ambient_dim)
    one = principal_plane(points, 3)
    group = principal_planes(points, torch.arange(count)[None], torch.ones(1, count, dtype=torch.float64), 3)
    torch.testing.assert_close(one.mean, group.mean)
    assert apart(one.basis[0], group.basis[0]) < 1e-9
    assert one.rank.tolist() == group.rank.tolist() == [min(count - 1, ambient_dim)]


@pytest.mark.parametrize("slab_values", [7, 100, 1 << 22], ids=["a-point-a-piece", "many-pieces", "one-piece"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_are_mean_and_covariance_in_float64_of_pieces(slab_values, dtype, monkeypatch):
    monkeypatch.setattr(principal, "_SLAB_VALUES", slab_values)
    points = (100 + gaussian(50, 8)).to(dtype)
    mean, scatter = moments(points)
    assert mean.dtype == scatter.dtype == torch.float64
    torch.testing.assert_close(mean, points.double().mean(0))
    torch.testing.assert_close(scatter, torch.cov(points.double().T, correction=0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_direction_has_its_largest_entry_positive_and_follows_the_dtype(dtype):
    points = gaussian(20, 6).to(dtype)
    for basis in (principal_plane(points, 3).basis, principal_plane(points[:5], 3).basis):
        assert basis.dtype == dtype
        assert bool((basis.amax(1) >= -basis.amin(1)).all())
        torch.testing.assert_close(basis.mT @ basis, torch.eye(3, dtype=dtype)[None])


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_rounding_of_single_precision_points_adds_no_rank(offset):
    points = (gaussian(60, 3) @ gaussian(3, 20, seed=1) + offset).float()
    index = torch.arange(60)[None]
    planes = principal_planes(points, index, torch.ones(1, 60, dtype=torch.float64), 5)
    assert planes.rank.tolist() == principal_plane(points, 5).rank.tolist() == [3]


@pytest.mark.parametrize("cache_values", [1, 40, 1 << 18])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_variances_are_those_of_float64_in_pieces(cache_values, offset, dtype, monkeypatch):
    monkeypatch.setattr("dmmcheck.manifolds.principal._CACHE_VALUES", cache_values)
    points = torch.randn(
        (300, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ) * 10.0 ** -torch.arange(4)
    points[0] *= 1000  # the origin of the deviations lies far out
    points = (points + offset).to(dtype)
    points[:, 2] = 0.1
    mean, variance = mean_and_variance(points)
    torch.testing.assert_close(mean, points.double().mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(variance, points.double().var(0), rtol=1e-11, atol=0)
    assert variance[2] == 0
