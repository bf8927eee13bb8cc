"""Nearest neighbours against a sort of all distances, in pieces of any size."""

from __future__ import annotations

import pytest
import torch

from dmmcheck.manifolds import neighbours
from dmmcheck.manifolds.neighbours import nearest


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive(x, points, count):
    squared = (x[:, None] - points[None]).double().square().sum(2)
    return squared.sort(dim=1).values[:, :count]


@pytest.mark.parametrize("piece_values", [1, 50, 1 << 23])
@pytest.mark.parametrize("count", [1, 4, 30])
def test_neighbours_are_the_nearest_in_increasing_distance(count, piece_values, monkeypatch):
    monkeypatch.setattr(neighbours, "_PIECE_VALUES", piece_values)
    x, points = gaussian(9, 5), gaussian(30, 5, seed=1)
    squared, rows = nearest(x, points, count)
    torch.testing.assert_close(squared, naive(x, points, count))
    torch.testing.assert_close((x[:, None] - points[rows]).square().sum(2), squared)


def test_points_far_from_the_origin_are_told_apart():
    x, points = gaussian(4, 3) + 1e6, gaussian(20, 3, seed=1) + 1e6
    squared, _ = nearest(x, points, 3)
    torch.testing.assert_close(squared, naive(x, points, 3), rtol=1e-6, atol=0)


def test_single_precision_points_have_double_precision_distances():
    x, points = gaussian(4, 3, dtype=torch.float32), gaussian(20, 3, seed=1, dtype=torch.float32)
    squared, rows = nearest(x, points, 3)
    assert (squared.dtype, rows.dtype) == (torch.float64, torch.long)
    torch.testing.assert_close(squared, naive(x, points, 3))


def test_a_point_is_its_own_nearest_neighbour_at_distance_zero():
    points = gaussian(20, 3)
    squared, rows = nearest(points, points, 1)
    assert rows.squeeze(1).tolist() == list(range(20))
    assert float(squared.min()) >= 0
    assert float(squared.max()) < 1e-12
