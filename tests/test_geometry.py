"""Splitting vectors along subspaces: against the projection matrix, and what must not change it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dmmcheck import geometry

N = 5


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(seed: int, n: int, ambient_dim: int) -> torch.Tensor:
    return torch.randn((n, ambient_dim), generator=seeded(seed), dtype=torch.float64)


def bases(seed: int, ambient_dim: int, dim: int, *, shared: bool) -> torch.Tensor:
    """(D, k), or (N, D, k) all different."""
    generator = seeded(seed)

    def draw() -> torch.Tensor:
        return geometry.random_basis(ambient_dim, dim, generator=generator, dtype=torch.float64)

    return draw() if shared else torch.stack([draw() for _ in range(N)])


@st.composite
def cases(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Vectors (N, D), bases for them, and the seed."""
    ambient_dim = draw(st.integers(2, 12))
    dim = draw(st.integers(1, ambient_dim - 1))
    seed = draw(st.integers(0, 2**20))
    return vectors(seed, N, ambient_dim), bases(seed + 1, ambient_dim, dim, shared=draw(st.booleans())), seed


def each(basis: torch.Tensor) -> torch.Tensor:
    return basis if basis.ndim == 3 else basis.expand(N, -1, -1)


properties = settings(max_examples=60, deadline=None)


@properties
@given(cases())
def test_projection_is_that_of_the_projection_matrix(case):
    v, basis, _ = case
    expected = torch.stack([b @ b.T @ row for b, row in zip(each(basis), v, strict=True)])
    torch.testing.assert_close(geometry.project_tangent(v, basis), expected)
    torch.testing.assert_close(geometry.combine(geometry.coordinates(v, basis), basis), expected)
    torch.testing.assert_close(geometry.energy_share(v, basis), expected.square().sum(1) / v.square().sum(1))
    both, w = torch.stack([v, v.roll(1, 0)]), v.flip(1)
    parts = torch.stack([geometry.project_tangent(one, basis) for one in both])
    found = torch.cosine_similarity(parts, w[None], dim=2)
    torch.testing.assert_close(geometry.tangent_cosines(both, w, basis), found)


@properties
@given(cases())
def test_the_parts_are_orthogonal_add_up_and_obey_pythagoras(case):
    v, basis, _ = case
    tangent, normal = geometry.split(v, basis)
    torch.testing.assert_close(tangent + normal, v)
    torch.testing.assert_close((tangent * normal).sum(1), torch.zeros(N, dtype=v.dtype), rtol=0, atol=1e-12)
    torch.testing.assert_close(tangent.square().sum(1) + normal.square().sum(1), v.square().sum(1))
    torch.testing.assert_close(
        geometry.coordinates(normal, basis).abs().max(), torch.tensor(0.0).double(), rtol=0, atol=1e-12
    )


@properties
@given(cases())
def test_projecting_again_changes_nothing(case):
    v, basis, _ = case
    tangent, normal = geometry.split(v, basis)
    torch.testing.assert_close(geometry.project_tangent(tangent, basis), tangent)
    torch.testing.assert_close(geometry.split(normal, basis)[1], normal)
    torch.testing.assert_close(geometry.energy_share(tangent, basis), torch.ones(N, dtype=v.dtype))


@properties
@given(cases())
def test_rotating_everything_takes_the_parts_along(case):
    v, basis, seed = case
    rotation = bases(seed + 2, v.shape[1], v.shape[1], shared=True)
    turned = rotation @ basis
    torch.testing.assert_close(
        geometry.project_tangent(v @ rotation.T, turned), geometry.project_tangent(v, basis) @ rotation.T
    )
    torch.testing.assert_close(geometry.energy_share(v @ rotation.T, turned), geometry.energy_share(v, basis))


@properties
@given(cases())
def test_another_basis_of_the_same_space_gives_the_same(case):
    v, basis, seed = case
    mixed = basis @ bases(seed + 2, basis.shape[-1], basis.shape[-1], shared=True)
    torch.testing.assert_close(geometry.project_tangent(v, mixed), geometry.project_tangent(v, basis))


@properties
@given(case=cases(), order=st.permutations(range(N)))
def test_rows_do_not_depend_on_each_other(case, order):
    v, basis, _ = case
    shuffled = each(basis)[order] if basis.ndim == 3 else basis
    torch.testing.assert_close(geometry.project_tangent(v[order], shuffled), geometry.project_tangent(v, basis)[order])
    first = geometry.energy_share(v[:1], each(basis)[:1] if basis.ndim == 3 else basis)
    torch.testing.assert_close(first, geometry.energy_share(v, basis)[:1])


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
def test_shares_do_not_depend_on_length_even_where_squares_underflow(scale):
    v, basis = vectors(0, N, 7).float(), bases(1, 7, 3, shared=False).float()
    torch.testing.assert_close(geometry.energy_share(scale * v, basis), geometry.energy_share(v, basis))


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
def test_cosines_do_not_depend_on_lengths(scale):
    v, w, basis = vectors(0, N, 7).float(), vectors(1, N, 7).float(), bases(1, 7, 3, shared=False).float()
    expected = geometry.tangent_cosines(v[None], w, basis)
    torch.testing.assert_close(geometry.tangent_cosines(scale * v[None], w, basis), expected)
    torch.testing.assert_close(geometry.tangent_cosines(v[None], scale * w, basis), expected)


def test_a_vector_without_tangent_part_has_no_cosine():
    v = torch.tensor([[[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]])
    w = torch.tensor([[1.0, 1.0], [0.0, 0.0], [3.0, 4.0]])
    found = geometry.tangent_cosines(v, w, torch.eye(2)[:, :1])
    torch.testing.assert_close(found, torch.tensor([[torch.nan, torch.nan, 0.6]]), equal_nan=True)


def test_a_zero_vector_has_no_unit_vector():
    v = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-30, 4e-30]])
    torch.testing.assert_close(geometry.unit_vectors(v)[::2], torch.tensor([[0.6, 0.8], [0.6, 0.8]]))
    assert bool(geometry.unit_vectors(v)[1].isnan().all())


def test_a_zero_or_unknown_vector_has_no_share():
    v = torch.stack([torch.zeros(4), torch.full((4,), torch.nan), torch.ones(4)])
    share = geometry.energy_share(v, torch.eye(4)[:, :1])
    assert share[:2].isnan().all()
    torch.testing.assert_close(share[2], torch.tensor(0.25))


def test_the_residual_is_the_largest_error_of_any_basis():
    basis = torch.eye(5)[:, :2].repeat(3, 1, 1)
    assert geometry.orthonormal_residual(basis) == 0
    basis[1, 0, 0] = 1.1
    assert geometry.orthonormal_residual(basis) == pytest.approx(0.21)
    basis[2, 0, 1] = 0.5
    assert geometry.orthonormal_residual(basis) == pytest.approx(0.5)
    basis[0, 4, 0] = math.nan
    assert math.isnan(geometry.orthonormal_residual(basis))


@pytest.mark.parametrize(("ambient_dim", "dim"), [(2, 1), (9, 9), (300, 16)])
def test_random_bases_are_orthonormal_and_follow_the_seed(ambient_dim, dim):
    basis = geometry.random_basis(ambient_dim, dim, generator=seeded(3), dtype=torch.float64)
    assert geometry.orthonormal_residual(basis) < 1e-12
    torch.testing.assert_close(basis, geometry.random_basis(ambient_dim, dim, generator=seeded(3), dtype=torch.float64))
    assert not torch.allclose(basis, geometry.random_basis(ambient_dim, dim, generator=seeded(4), dtype=torch.float64))


@pytest.mark.parametrize("dim", [1, 4])
def test_random_subspaces_are_uniform(dim):
    generator, v = seeded(0), torch.eye(20)[:1].double()
    share = [
        float(geometry.energy_share(v, geometry.random_basis(20, dim, generator=generator, dtype=torch.float64)))
        for _ in range(2000)
    ]
    assert stats.kstest(share, stats.beta(dim / 2, (20 - dim) / 2).cdf).pvalue > 0.001


def test_random_bases_are_uniform_in_the_signs_of_their_columns_too():
    generator = seeded(0)
    first = torch.stack([geometry.random_basis(6, 2, generator=generator)[0] for _ in range(2000)])
    assert stats.kstest(first[:, 0].numpy(), stats.beta(2.5, 2.5, loc=-1, scale=2).cdf).pvalue > 0.001
    assert stats.kstest(first[:, 1].numpy(), stats.beta(2.5, 2.5, loc=-1, scale=2).cdf).pvalue > 0.001
