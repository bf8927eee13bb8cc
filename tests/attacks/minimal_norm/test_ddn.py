"""DDN steps slide along the boundary to its nearest point, and stay in their search space."""

from __future__ import annotations

import math

import pytest
import torch
from search_cases import oracle_of, rng

from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.ddn import ddn_steps
from dmmcheck.attacks.search_space import spanned


def test_a_perturbation_along_its_own_gradient_stays_in_its_line():
    # the margin grows along the line in both directions: there is nothing to turn to but what rounding left outside
    basis = geometry.random_basis(20, 1, generator=rng(1))

    def model(p):
        return torch.stack([1 + p.square().sum(1), 0 * p[:, 0]], 1)

    oracle = oracle_of(model, torch.zeros(8, 20), spaces=[spanned(basis)])
    candidates = Candidates(oracle.rows, oracle.project(torch.randn(8, 20, generator=rng()), oracle.rows))
    ddn_steps(oracle, candidates, range(40), 48, optimality_tol=1.0)
    outside = (candidates.delta - geometry.project_tangent(candidates.delta, basis)).norm(dim=1)
    assert bool((outside < 1e-5 * candidates.delta.norm(dim=1)).all())


def parabola(p):
    """Class 1 beyond the surface x_0 = 1 + x_1^2 / 4, whose nearest point to the origin is (1, 0)."""
    return torch.stack([1 + p[:, 1].square() / 4 - p[:, 0], 0 * p[:, 0]], 1)


def plane(p):
    return torch.stack([1 - p[:, 0], 0 * p[:, 0]], 1)


@pytest.mark.parametrize("bounds", [None, (-3.0, 3.0)], ids=["unboxed", "boxed"])
@pytest.mark.parametrize("model", [plane, parabola])
def test_candidates_beside_the_nearest_point_slide_to_it(model, bounds):
    n = 16
    oracle = oracle_of(model, torch.zeros(n, 6, dtype=torch.float64), bounds=bounds)
    delta = torch.randn(n, 6, generator=rng(), dtype=torch.float64)
    delta[:, 0] = 1.2
    candidates = Candidates(oracle.rows, delta)
    ddn_steps(oracle, candidates, range(48), 48, optimality_tol=0.9999)
    assert bool((candidates.length >= 1).all())
    assert float(candidates.length.max()) < 1.01
    assert float(candidates.optimality.min()) > 0.99


def test_steps_in_parts_are_the_steps_in_one():
    oracle = oracle_of(parabola, torch.zeros(4, 6, dtype=torch.float64))
    delta = torch.randn(4, 6, generator=rng(), dtype=torch.float64)
    whole, parts = (Candidates(oracle.rows, delta.clone()) for _ in range(2))
    ddn_steps(oracle, whole, range(12), 12, optimality_tol=1.0)
    for numbers in (range(4), range(4, 12)):
        ddn_steps(oracle, parts, numbers, 12, optimality_tol=1.0)
    torch.testing.assert_close(parts.delta, whole.delta, rtol=0, atol=0)
    torch.testing.assert_close(parts.length, whole.length, rtol=0, atol=0)


def test_optimality_is_the_linearised_distance_over_the_length():
    oracle = oracle_of(plane, torch.zeros(2, 3, dtype=torch.float64))
    delta = torch.tensor([[1.5, 0.0, 0.0], [1.5, 2.0, 0.0]], dtype=torch.float64)
    candidates = Candidates(oracle.rows, delta)
    ddn_steps(oracle, candidates, range(1), 12, optimality_tol=1.0)
    assert candidates.length.tolist() == pytest.approx([1.5, 2.5])
    assert candidates.optimality.tolist() == pytest.approx([1 / 1.5, 1 / 2.5])
    assert bool((candidates.delta.norm(dim=1) < candidates.length).all())


def test_a_vanishing_gradient_moves_nothing_and_gives_no_nan():
    oracle = oracle_of(lambda p: torch.stack([1 + 0 * p[:, 0], 0 * p[:, 0]], 1), torch.zeros(3, 4))
    delta = torch.randn(3, 4, generator=rng())
    candidates = Candidates(oracle.rows, delta.clone())
    ddn_steps(oracle, candidates, range(5), 12, optimality_tol=1.0)
    torch.testing.assert_close(candidates.delta, delta)
    assert candidates.length.tolist() == [math.inf] * 3
