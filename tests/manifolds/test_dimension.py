"""The dimension of points whose dimension is known."""

from __future__ import annotations

import math

import pytest
import torch

from dmmcheck import geometry
from dmmcheck.manifolds.dimension import two_nn


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
