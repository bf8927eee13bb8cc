"""The span in which random subspaces are drawn."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dmmcheck.manifolds import principal
from dmmcheck.manifolds.rotations import Haar, Within
from dmmcheck.manifolds.span import data_span, varying


def points(m=200, d=12, seed=0):
    return torch.randn(m, d, generator=torch.Generator().manual_seed(seed))


def test_data_in_all_directions_span_the_whole_space():
    assert data_span(points(), 3) is None


def test_features_that_never_vary_are_left_out():
    x = points()
    x[:, [2, 5]] = 0.25
    span = data_span(x, 3)
    assert span.dtype == torch.bool
    assert torch.nonzero(~span).reshape(-1).tolist() == [2, 5]


def test_directions_without_variance_are_left_out_where_the_examples_tell():
    plane = torch.linalg.qr(points(12, 8, seed=1)).Q  # (12, 8)
    x = points(200, 8, seed=2) @ plane.T
    span = data_span(x, 3)
    assert span.shape == (12, 8)
    torch.testing.assert_close(span @ span.T, plane @ plane.T, atol=1e-5, rtol=0)
    assert data_span(x[:20], 3) is None  # too few examples for 12 directions


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_which_directions_have_a_variance_depends_on_no_pieces_and_no_units(scale, monkeypatch):
    plane = torch.linalg.qr(points(12, 8, seed=1)).Q
    x = scale * (5 + points(200, 8, seed=2) @ plane.T)
    whole = data_span(x, 3)
    monkeypatch.setattr(principal, "_SLAB_VALUES", 100)
    pieces = data_span(x, 3)
    assert whole.shape == pieces.shape == (12, 8)
    torch.testing.assert_close(pieces @ pieces.T, whole @ whole.T, atol=1e-5, rtol=0)


def test_no_float64_copy_of_all_examples_is_made(monkeypatch):
    plane = torch.linalg.qr(points(12, 8, seed=1)).Q
    x = points(200, 8, seed=2) @ plane.T
    monkeypatch.setattr(principal, "_SLAB_VALUES", 120)
    with Largest() as largest:
        data_span(x, 3)
    assert largest.float64 == 12 * 12


class Largest(TorchDispatchMode):
    """Notes the number of values of the largest float64 tensor that an operation returns."""

    float64 = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            self.float64 = max(self.float64, result.numel())
        return result


def test_a_span_without_room_for_random_subspaces_is_not_used():
    plane = torch.linalg.qr(points(12, 4, seed=1)).Q
    x = points(200, 4, seed=2) @ plane.T
    assert data_span(x, 3) is None
    assert data_span(x, 2).shape == (12, 4)


def test_a_rotation_within_a_span_keeps_lengths_and_what_is_outside():
    generator = torch.Generator().manual_seed(3)
    mask = torch.tensor([True] * 9 + [False] * 3)
    basis = torch.linalg.qr(points(12, 9, seed=1)).Q
    v = points(5)
    for span in (mask, basis):
        turn = Within(span, Haar(9, generator=generator))
        turned = turn.apply(v)
        torch.testing.assert_close(turned.norm(dim=1), v.norm(dim=1))
        torch.testing.assert_close(turn.inverse(turned), v, atol=1e-5, rtol=0)
        inside = v * mask if span is mask else v @ basis @ basis.T
        after = turned * mask if span is mask else turned @ basis @ basis.T
        torch.testing.assert_close(turned - after, v - inside, atol=1e-5, rtol=0)
        assert (after - inside).norm() > 1


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_coordinate_varies_where_two_points_differ_in_it(rows):
    x = torch.randint(0, 2, (rows, 9), generator=torch.Generator().manual_seed(rows)).double()
    x[:, 3] = -0.0
    x[0, 3] = 0.0
    naive = torch.tensor([len(set(column)) > 1 for column in x.T.tolist()])
    assert torch.equal(varying(x), naive)
    assert not varying(x[:0]).any()
