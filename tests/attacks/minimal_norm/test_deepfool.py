"""The fallback without a near crossing: DeepFool over a bent margin, growing radii over a plateau."""

from __future__ import annotations

import math

import pytest
import torch
from search_cases import oracle_of, rng

from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.deepfool import DOUBLINGS, STEPS, deepfool_fallback, expand_radius
from dmmcheck.attacks.minimal_norm.effort import EFFORTS
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.attacks.search_space import spanned


@pytest.mark.parametrize("effort", EFFORTS)
def test_neighbours_in_the_batch_do_not_help(effort):
    def model(points):  # of the first kind a plateau that no gradient leads over; the second never crosses
        along = points[:, 0]
        plateau = torch.where(along < 0.45, 1 - along, torch.where(along < 1.5, 0.55, 0.55 - 3 * (along - 1.5)))
        margin = torch.where(points[:, 1] < 50, plateau, torch.exp(-along))
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    x, y = torch.tensor([[0.0, 0.0, 0.0], [0.0, 100.0, 0.0]]), torch.zeros(2, dtype=torch.long)
    alone = boundary_search(model, x[:1], y[:1], effort=effort, generator=rng()).distance
    beside = boundary_search(model, x, y, effort=effort, generator=rng()).distance
    torch.testing.assert_close(alone, beside[:1])


def flattening(p):
    """The margin falls ever more slowly and reaches zero at 4 along the first axis; linear steps fall short."""
    return torch.stack([(4 - p[:, 0]).clamp_min(0).square() - (p[:, 0] - 4).clamp_min(0) - 1e-9, 0 * p[:, 0]], 1)


def never(p):
    return torch.stack([1 + 0 * p[:, 0], 0 * p[:, 0]], 1)


def candidates_at(oracle, delta):
    return Candidates(oracle.rows, torch.tensor(delta, dtype=torch.float64))


FAR = torch.full((1,), 1e4, dtype=torch.float64)


@pytest.mark.parametrize("space", [None, spanned(torch.eye(3, 2, dtype=torch.float64))], ids=["anywhere", "plane"])
@pytest.mark.parametrize("bounds", [None, (-9.0, 9.0)], ids=["unboxed", "boxed"])
def test_a_boundary_that_bends_away_is_reached(bounds, space):
    oracle = oracle_of(flattening, torch.zeros(1, 3, dtype=torch.float64), bounds=bounds, spaces=space and [space])
    candidates = candidates_at(oracle, [[0.1, 0.2, 0.0]])
    deepfool_fallback(oracle, candidates, FAR, nearer=1.0)
    assert 4 <= float(candidates.length) < 8.5
    assert float(oracle.margin(candidates.best, oracle.rows)) < 0


def beside_a_crossing(at, linearized_distance):
    """Return an oracle and two candidates of one row: one that crosses at a length, and one that does not cross yet."""
    oracle = oracle_of(flattening, torch.zeros(1, 3, dtype=torch.float64))
    delta = torch.tensor([[at, 0.0, 0.0], [0.1, 0.2, 0.0]], dtype=torch.float64)
    candidates = Candidates(torch.tensor([0, 0]), delta)
    candidates.update_best(candidates.delta, oracle.margin(candidates.delta, candidates.rows))
    candidates.linearized_distance[1] = linearized_distance
    return oracle, candidates


def test_a_candidate_that_may_be_nearer_than_the_crossing_of_its_row_is_moved():
    oracle, candidates = beside_a_crossing(at=50.0, linearized_distance=2.0)
    deepfool_fallback(oracle, candidates, FAR, nearer=1.0)
    assert 4 <= float(candidates.length[1]) < 8.5
    assert (float(candidates.length[0]), candidates.delta[0].tolist()) == (50, [50, 0, 0])


@pytest.mark.parametrize(("linearized_distance", "nearer"), [(6.0, 1.0), (4.6, 0.9), (1.0, 0.0), (math.inf, 1.0)])
def test_a_candidate_whose_boundary_is_hardly_nearer_than_the_crossing_of_its_row_is_left_alone(
    linearized_distance, nearer
):
    oracle, candidates = beside_a_crossing(at=5.0, linearized_distance=linearized_distance)
    spent, delta = oracle.forwards.clone(), candidates.delta.clone()
    deepfool_fallback(oracle, candidates, FAR, nearer=nearer)
    assert torch.equal(candidates.delta, delta)
    assert torch.equal(oracle.forwards, spent)


def test_perturbations_stay_within_the_radius():
    oracle = oracle_of(flattening, torch.zeros(1, 3, dtype=torch.float64))
    candidates = candidates_at(oracle, [[0.1, 0.2, 0.0]])
    deepfool_fallback(oracle, candidates, torch.tensor([2.0], dtype=torch.float64), nearer=1.0)
    assert math.isinf(float(candidates.length))
    assert float(candidates.delta.norm()) <= 2 + 1e-12


def test_a_model_that_never_changes_costs_no_more_than_its_steps():
    oracle = oracle_of(never, torch.zeros(1, 3, dtype=torch.float64))
    candidates = candidates_at(oracle, [[0.1, 0.2, 0.0]])
    deepfool_fallback(oracle, candidates, FAR, nearer=1.0)
    assert math.isinf(float(candidates.length))
    assert int(oracle.forwards) <= STEPS + DOUBLINGS


def test_the_radius_doubles_until_the_label_changes():
    step = lambda p: torch.stack([torch.where(p[:, 0] < 5, 1.0, -1.0), 0 * p[:, 0]], 1)  # noqa: E731
    oracle = oracle_of(step, torch.zeros(1, 3, dtype=torch.float64))
    candidates = candidates_at(oracle, [[1.0, 0.0, 0.0]])
    expand_radius(oracle, candidates, torch.tensor([0]), FAR)
    assert float(candidates.length) == 8  # 2, 4 and 8: the first beyond 5
    assert int(oracle.forwards) == 3
