"""The first steps, HL-RF and its polishing step, where the linearised boundary and the nearest point are known."""

from __future__ import annotations

import math

import pytest
import torch
from search_cases import oracle_of, rng

from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.hlrf import hlrf, initial_steps, polish
from dmmcheck.attacks.search_space import spanned


def test_the_first_step_goes_half_way_to_what_is_seen_ahead():
    def model(p):  # down along the first axis, further on along the second; class 2 is too far for a candidate
        near = torch.where(p[:, 0] < 1, p[:, 0], 1 + p[:, 1])
        return torch.stack([2 - near, 0 * near, 0 * near - 10], 1)

    oracle = oracle_of(model, torch.zeros(1, 3, dtype=torch.float64))
    _, nearest = oracle.nearest_classes(oracle.rows, 2, 1)
    restart = torch.ones(1, 3, dtype=torch.float64)
    here = initial_steps(oracle, oracle.rows, nearest, restart, max_ratio=2.0, look_ahead=False)
    ahead = initial_steps(oracle, oracle.rows, nearest, restart, max_ratio=2.0, look_ahead=True)
    assert here.target.tolist() == ahead.target.tolist() == [1]
    torch.testing.assert_close(here.delta, torch.tensor([[1.02, 0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(ahead.delta, torch.tensor([[1.02, 1.02, 0.0]], dtype=torch.float64) / math.sqrt(2))


def test_a_gradient_ahead_that_points_back_turns_nothing():
    # behind the slab that starts at 2 the margin grows again: the two directions cancel but for their rounding
    def model(p):
        return torch.stack([(p[:, 0] - 3).abs() - 1, 0 * p[:, 0]], 1)

    x = 0.01 * torch.randn(16, 20, generator=rng())
    basis = geometry.random_basis(20, 4, generator=rng(1))
    oracle = oracle_of(model, x, spaces=[spanned(basis, normal=True)])
    _, nearest = oracle.nearest_classes(oracle.rows, 1, 1)
    restart = torch.ones(1, 20)
    here = initial_steps(oracle, oracle.rows, nearest, restart, max_ratio=2.0, look_ahead=False)
    ahead = initial_steps(oracle, oracle.rows, nearest, restart, max_ratio=2.0, look_ahead=True)
    torch.testing.assert_close(ahead.delta, here.delta)
    assert bool((geometry.coordinates(ahead.delta, basis).norm(dim=1) < 1e-5 * ahead.delta.norm(dim=1)).all())


def wedge(p):
    """Class 0 between two planes: class 1 beyond 1 along the first axis, class 2 beyond 1.5 along the second."""
    return torch.stack([torch.ones_like(p[:, 0]), p[:, 0], p[:, 1] / 1.5], 1)


@pytest.mark.parametrize(("max_ratio", "targets"), [(1.2, [1, -1]), (2.0, [1, 2, -1])])
def test_a_candidate_goes_to_each_class_within_the_ratio_and_the_rest_in_random_directions(max_ratio, targets):
    oracle = oracle_of(wedge, torch.zeros(1, 4, dtype=torch.float64))
    _, nearest = oracle.nearest_classes(oracle.rows, 2, 2)
    restart = torch.randn(3, 4, generator=rng(), dtype=torch.float64)
    found = initial_steps(oracle, oracle.rows, nearest, restart, max_ratio=max_ratio, look_ahead=False)
    assert found.target.tolist() == targets
    torch.testing.assert_close(found.delta[0], torch.tensor([0.51, 0.0, 0.0, 0.0], dtype=torch.float64))
    random = restart[2] / restart[2].norm() / 2  # half the distance of the nearest class
    torch.testing.assert_close(found.delta[-1], random)


def test_hlrf_ends_just_beyond_a_plane():
    oracle = oracle_of(wedge, torch.zeros(1, 4, dtype=torch.float64))
    candidates = Candidates(oracle.rows, torch.tensor([[0.3, 0.4, 0.0, 0.1]], dtype=torch.float64))
    hlrf(oracle, candidates, 1)
    torch.testing.assert_close(candidates.delta, torch.tensor([[1.02, 0.0, 0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(candidates.linearized_distance, torch.tensor([1.02], dtype=torch.float64))


def test_hlrf_approaches_the_class_of_its_candidate_until_the_last_step():
    oracle = oracle_of(wedge, torch.zeros(1, 4, dtype=torch.float64))
    delta = torch.tensor([[0.9, 0.0, 0.0, 0.0]], dtype=torch.float64)
    candidates = Candidates(oracle.rows, delta, torch.tensor([2]))
    hlrf(oracle, candidates, 2)  # the first step goes 60 % of the way to class 2, beside which class 1 is no nearer
    torch.testing.assert_close(candidates.delta, torch.tensor([[0.0, 1.53, 0.0, 0.0]], dtype=torch.float64))


def parabola(p):
    """Class 1 beyond the surface x_0 = 1 + x_1^2 / 4, whose nearest point to the origin is (1, 0)."""
    return torch.stack([1 + p[:, 1].square() / 4 - p[:, 0], 0 * p[:, 0]], 1)


def test_hlrf_converges_to_the_nearest_point_of_a_curved_boundary():
    oracle = oracle_of(parabola, torch.zeros(1, 3, dtype=torch.float64))
    candidates = Candidates(oracle.rows, torch.tensor([[0.9, 0.8, 0.3]], dtype=torch.float64))
    hlrf(oracle, candidates, 20)
    torch.testing.assert_close(candidates.delta / 1.02, torch.eye(1, 3, dtype=torch.float64), rtol=0, atol=1e-3)


def test_polishing_shortens_a_crossing_and_never_lengthens_one():
    oracle = oracle_of(parabola, torch.zeros(2, 3, dtype=torch.float64))
    delta = torch.tensor([[1.02, 0.1, 0.05], [1.0 + 1e-9, 0.0, 0.0]], dtype=torch.float64)
    candidates = Candidates(oracle.rows, delta)
    candidates.update_best(delta, oracle.margin(delta, oracle.rows))
    before = candidates.length.clone()
    polish(oracle, candidates)
    assert bool((candidates.length <= before).all())
    assert float(candidates.length[0]) == pytest.approx(1, abs=3e-3)
    assert bool((oracle.margin(candidates.best, oracle.rows) < 0).all())
    assert len(candidates.unfinished(0.0).rows) == 0


def test_nothing_to_polish_is_no_error():
    oracle = oracle_of(parabola, torch.zeros(2, 3, dtype=torch.float64))
    polish(oracle, Candidates(oracle.rows[:0], torch.zeros(0, 3, dtype=torch.float64)))
    assert oracle.forwards.tolist() == [0, 0]
