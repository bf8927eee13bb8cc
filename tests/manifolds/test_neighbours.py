"""Nearest neighbours against a sort of all distances, in pieces of any size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmmcheck.manifolds import neighbours
from dmmcheck.manifolds.neighbours import distance_matrix, nearest


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def all_squared(x, points):
    return (x.double()[:, None] - points.double()[None]).square().sum(2)


def naive(x, points, count):
    return all_squared(x, points).sort(dim=1).values[:, :count]


def check_exact(x, points, count):
    """Distances and rows agree with a sort of all distances, up to the rounding of float64."""
    expected = all_squared(x, points)
    scale = 1e-12 * float(expected.max())
    squared, rows = nearest(x, points, count)
    assert (squared.dtype, rows.dtype, squared.shape, rows.shape) == (torch.float64, torch.long, *2 * [(len(x), count)])
    torch.testing.assert_close(squared, expected.sort(dim=1).values[:, :count], rtol=1e-9, atol=scale)
    torch.testing.assert_close(expected.gather(1, rows), squared, rtol=1e-9, atol=scale)
    assert all(len(set(row)) == count for row in rows.tolist())
    assert bool((squared.diff(dim=1) >= 0).all())


@pytest.fixture(autouse=True, scope="module")
def _few_points_are_many():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_MANY_VALUES", 0)
        yield


@pytest.fixture
def calls(monkeypatch):
    """How many queries were compared with all points in float64, by call."""
    numbers, among_all = [], neighbours._among_all
    monkeypatch.setattr(neighbours, "_among_all", lambda x, *others: (numbers.append(len(x)), among_all(x, *others))[1])
    return numbers


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


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 8),
    number=st.integers(6, 200),
    dim=st.integers(1, 40),
    count=st.integers(1, 6),
    scale=st.sampled_from([1e-30, 1e-22, 1e-21, 1e-3, 1.0, 1e3, 1e17]),
    offset=st.sampled_from([0.0, 1.0, 10.0, 100.0, 1e4]),
    copies=st.sampled_from([1, 2, 40]),
    at_points=st.booleans(),
    dtypes=st.sampled_from([(torch.float32, torch.float32), (torch.float64, torch.float32), (torch.float64,) * 2]),
)
def test_neighbours_are_exact_for_any_points(
    *, seed, queries, number, dim, count, scale, offset, copies, at_points, dtypes
):
    of_x, of_points = dtypes
    points = scale * (gaussian(number, dim, seed=seed) + offset)
    points = points[torch.arange(number) // copies].to(of_points)
    x = points[:queries] if at_points else scale * (gaussian(queries, dim, seed=seed + 1) + offset)
    check_exact(x.to(of_x), points, count)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    power=st.floats(-9, -3),
    offset=st.sampled_from([0.0, 0.3, 3.0]),
    dim=st.integers(2, 50),
)
def test_points_whose_distances_differ_by_less_than_a_rounding_are_told_apart(seed, power, offset, dim):
    directions = torch.nn.functional.normalize(gaussian(300, dim, seed=seed))
    radii = 1 + 10**power * gaussian(300, 1, seed=seed + 1)
    check_exact(gaussian(3, dim, seed=seed + 2) * 1e-4 + offset, (radii * directions + offset).float(), 4)


@pytest.mark.parametrize("columns", [1, 7, 1024])
@pytest.mark.parametrize("piece_values", [1, 1000, 1 << 23])
def test_points_in_single_precision_are_found_by_way_of_candidates(columns, piece_values, calls, monkeypatch):
    for name, value in {"_COLUMNS": columns, "_PIECE_VALUES": piece_values, "_CACHE_VALUES": piece_values}.items():
        monkeypatch.setattr(neighbours, name, value)
    points = gaussian(400, 30, dtype=torch.float32)
    check_exact(gaussian(7, 30, seed=1, dtype=torch.float32), points, 10)
    check_exact(points[:7], points, 10)
    assert not calls


def test_ordinary_images_need_no_comparison_with_all_points(calls):
    points = torch.rand(2000, 784, generator=torch.Generator().manual_seed(0))
    check_exact(torch.rand(4, 784, generator=torch.Generator().manual_seed(1)), points, 50)
    assert not calls


def test_queries_far_from_the_origin_are_compared_with_all_points(calls):
    points = gaussian(400, 30, dtype=torch.float32) + 1e4
    check_exact(gaussian(7, 30, seed=1, dtype=torch.float32) + 1e4, points, 10)
    assert calls == [7]


def test_only_queries_that_rounding_leaves_open_are_compared_with_all_points(calls):
    points = gaussian(400, 30, dtype=torch.float32)
    points[100:200] = points[100]
    check_exact(torch.cat([gaussian(3, 30, seed=1, dtype=torch.float32), points[100:102]]), points, 10)
    assert calls == [2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_points_that_are_not_finite_or_huge_come_last(number, dtype, recwarn):
    points = gaussian(100, 5, dtype=torch.float32)
    x = gaussian(4, 5, seed=1, dtype=dtype)
    expected = nearest(x, points, 3)
    _, rows = nearest(x, torch.cat([points, points.new_full((1, 5), number)]), 3)
    assert rows.tolist() == expected[1].tolist()
    x[1] = number
    squared, rows = nearest(x, points, 3)
    assert rows[[0, 2, 3]].tolist() == expected[1][[0, 2, 3]].tolist()
    torch.testing.assert_close(squared[[0, 2, 3]], expected[0][[0, 2, 3]])
    assert not recwarn.list


def test_products_are_exact_where_torch_computes_them_in_half_precision(calls):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        points = torch.rand(2000, 784, generator=torch.Generator().manual_seed(0))
        check_exact(torch.rand(4, 784, generator=torch.Generator().manual_seed(1)), points, 50)
    finally:
        torch.set_float32_matmul_precision(before)
    assert not calls


def test_scores_are_off_by_no_more_than_their_bound(monkeypatch):
    monkeypatch.setattr(neighbours, "_COLUMNS", 64)
    for seed, offset in enumerate([0.0, 0.5, 30.0]):
        x, points = gaussian(3, 500, seed=seed) + offset, (gaussian(300, 500, seed=seed + 9) + offset).float()
        norms = neighbours._squared_norms(points)
        (scores,) = neighbours._scores(x.float(), points, norms)
        error = (scores.double() + x.square().sum(1, keepdim=True) - all_squared(x, points)).abs()
        assert bool((error.amax(1) <= neighbours._largest_error(x.float(), norms)).all())


@pytest.mark.parametrize("offset", [0.0, 1.0, 3.0])
def test_neighbours_are_exact_where_scores_are_off_by_as_much_as_they_can_be(offset, monkeypatch):
    """The scores of the nearest points are as much too large, and all others as much too small, as their bound says."""
    count, x = 5, torch.full((1, 60), offset, dtype=torch.float64)
    directions = torch.nn.functional.normalize(gaussian(1000, 60))
    radii = torch.where(torch.arange(1000) < 12, 1 + 1e-6 * torch.arange(1000), 20)  # twelve are nearly equally near
    points = (radii[:, None] * directions + offset).float()
    true = all_squared(x, points).topk(count, largest=False).indices
    plain = neighbours._scores

    def scores(x, points, squared_norms):
        error = 0.99 * neighbours._largest_error(x, squared_norms)[:, None].expand(-1, len(points)).clone()
        error = (-error).scatter(1, true, error.gather(1, true))
        yield (torch.cat(list(plain(x, points, squared_norms)), dim=1).double() + error).float()

    monkeypatch.setattr(neighbours, "_scores", scores)
    check_exact(x, points, count)


@pytest.mark.parametrize("queries", [5, 300])
def test_few_points_and_many_queries_are_compared_directly(queries, calls, monkeypatch):
    monkeypatch.setattr(neighbours, "_MANY_VALUES", 0 if queries > 5 else 3001)
    check_exact(gaussian(queries, 30, seed=1, dtype=torch.float32), gaussian(100, 30, dtype=torch.float32), 4)
    assert calls == [queries]


def test_no_queries_have_no_neighbours():
    squared, rows = nearest(torch.empty(0, 5), gaussian(100, 5, dtype=torch.float32), 3)
    assert (squared.shape, rows.shape) == ((0, 3), (0, 3))


def test_distances_have_the_gradients_of_their_differences():
    x = gaussian(4, 5, dtype=torch.float32).requires_grad_()
    points = gaussian(100, 5, seed=1, dtype=torch.float32)
    squared, rows = nearest(x, points, 3)
    (gradient,) = torch.autograd.grad(squared.sum(), x)
    torch.testing.assert_close(gradient, (2 * (x[:, None] - points[rows])).sum(1))


@pytest.mark.parametrize("rows", [(7, 11), (60, 31)])
@pytest.mark.parametrize("values", [4, 12, 1 << 22], ids=lambda values: f"pieces-of-{values}")
def test_a_matrix_of_distances_in_pieces_is_that_of_all_points(monkeypatch, values, rows):
    monkeypatch.setattr("dmmcheck.data.arrays.PIECE_VALUES", values)
    x, points = (torch.randn((n, 4), generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in rows)
    torch.testing.assert_close(distance_matrix(x, points), (x[:, None] - points[None]).norm(dim=2))


@pytest.mark.parametrize("count", [2, 20])
@pytest.mark.parametrize("values", [1, 12, 1 << 18], ids=lambda values: f"pieces-of-{values}")
def test_a_matrix_of_distances_to_some_points_holds_those_columns(monkeypatch, values, count):
    monkeypatch.setattr(neighbours, "_CACHE_VALUES", values)
    monkeypatch.setattr("dmmcheck.data.arrays.PIECE_VALUES", 20)
    x, points = gaussian(11, 4), gaussian(40, 4, seed=1)
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(2))[:count]
    torch.testing.assert_close(distance_matrix(x, points, rows), (x[:, None] - points[None]).norm(dim=2)[:, rows])


def test_a_matrix_of_distances_to_some_points_copies_few_of_them_at_once(monkeypatch):
    copied = []

    def cdist(x, piece, **keywords):
        copied.append(len(piece))
        return torch.linalg.vector_norm(x[:, None] - piece[None], dim=2)

    monkeypatch.setattr(torch, "cdist", cdist)
    x, points = torch.zeros(3, 1 << 19), torch.ones(30, 1).expand(-1, 1 << 19)
    distance_matrix(x, points, torch.arange(20))
    assert sum(copied) == 20
    assert max(copied) * points.shape[1] <= 1 << 22
