"""Gradients by differences along directions against a function whose derivatives and curvature are known."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmmcheck import geometry
from dmmcheck.models import numpy_function
from dmmcheck.models.differences import projected_gradients, step_lengths

D, N = 7, 5


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Quadratic:
    """The function w . x + x^T H x / 2 at N points, with another w for each point, and bases to project onto."""

    def __init__(self, seed: int, dim: int, shared: bool) -> None:
        generator = seeded(seed)
        self.w = torch.randn((N, D), generator=generator, dtype=torch.float64)
        half = torch.randn((D, D), generator=generator, dtype=torch.float64)
        self.hessian = half + half.T
        self.x = torch.randn((N, D), generator=generator, dtype=torch.float64)
        self.steps = 0.001 + torch.rand(D, generator=generator, dtype=torch.float64)
        self.lengths = partial(step_lengths, self.steps)
        bases = [geometry.random_basis(D, dim, generator=generator, dtype=torch.float64) for _ in range(3)]
        self.basis = bases[0] if shared else torch.stack(bases)
        self.which = torch.tensor([2, 0, 0, 1, 2])
        self.calls: list[int] = []

    def __call__(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(x))
        return (self.w[rows] * x).sum(1) + (x @ self.hessian * x).sum(1) / 2

    def found(self) -> torch.Tensor:
        at_x = self(self.x, torch.arange(N))
        self.calls.clear()
        return projected_gradients(self, self.x, at_x, basis=self.basis, which=self.which, lengths=self.lengths)

    def expected(self) -> torch.Tensor:
        """The projected gradient, and the error by curvature of a step that is 1 in units of the differences."""
        basis = self.basis if self.basis.ndim == 3 else self.basis.expand(3, -1, -1)
        here = basis[self.which]
        lengths = 1 / (here / self.steps[:, None]).norm(dim=1)
        curvature = torch.einsum("nij,ik,nkj->nj", here, self.hessian, here)
        along = geometry.coordinates(self.w + self.x @ self.hessian, here)
        return geometry.combine(along + lengths / 2 * curvature, here)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), dim=st.integers(1, D), shared=st.booleans())
def test_a_difference_is_the_projected_gradient_and_the_known_error_by_curvature(seed, dim, shared):
    function = Quadratic(seed, dim, shared)
    torch.testing.assert_close(function.found(), function.expected(), rtol=1e-6, atol=1e-9)


def test_along_the_axes_the_steps_are_those_of_single_features():
    function = Quadratic(0, D, True)
    basis = torch.eye(D, dtype=torch.float64)
    moved = []

    def value(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        moved.append(x - function.x[rows])
        return x.sum(1)

    at_x = function.x.sum(1)
    projected_gradients(value, function.x, at_x, basis=basis, which=function.which, lengths=function.lengths)
    torch.testing.assert_close(torch.cat(moved).reshape(N, D, D), torch.diag(function.steps).expand(N, -1, -1))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("most", [1, 2, 7, 2048])
def test_calls_are_bounded_and_one_for_each_direction(most, shared, monkeypatch):
    monkeypatch.setattr(numpy_function, "BATCH_ROWS", most)
    function = Quadratic(1, 3, shared)
    torch.testing.assert_close(function.found(), function.expected(), rtol=1e-6, atol=1e-9)
    assert sum(function.calls) == 3 * N
    assert max(function.calls) <= most
