"""Crossings are shortened along their rays, and moved beyond the boundary by as little as confirms the label."""

from __future__ import annotations

import math
from itertools import count

import pytest
import torch
from search_cases import oracle_of, rng
from torch import nn

from dmmcheck.attacks.minimal_norm import search
from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.line_search import confirm_crossings, line_search, shorten_far_crossings
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.attacks.search_space import Everywhere, spanned

ORIGIN = torch.zeros(1, 3, dtype=torch.float64)


def crossing_at(oracle, *first):
    """Candidates of consecutive rows whose crossings lie at these lengths along the first axis."""
    delta = torch.tensor([[length, 0.0, 0.0] for length in first], dtype=torch.float64)
    candidates = Candidates(torch.arange(len(first)), delta)
    candidates.update_best(delta, oracle.margin(delta, candidates.rows))
    return candidates


def slab(p):
    return torch.stack([1 - p[:, 0], 0 * p[:, 0]], 1)


def cubic(p):
    return torch.stack([1 - p[:, 0] ** 3, 0 * p[:, 0]], 1)


@pytest.mark.parametrize("model", [slab, cubic])
@pytest.mark.parametrize(("length", "forwards"), [(1.001, 3), (1.02, 3), (1.5, 8)])
def test_a_line_search_comes_nearer_and_stays_beyond(model, length, forwards):
    oracle = oracle_of(model, ORIGIN)
    candidates = crossing_at(oracle, length)
    line_search(oracle, candidates, lowest=0.97, forwards=forwards)
    assert 1 <= float(candidates.length) < 1 + 0.5 * (length - 1)
    assert int(oracle.forwards) == forwards + 1  # one found the crossing
    assert float(oracle.margin(candidates.best, candidates.rows)) < 0


def test_where_the_lowest_share_crosses_the_whole_ray_is_searched():
    oracle = oracle_of(slab, ORIGIN)
    candidates = crossing_at(oracle, 3.0)
    line_search(oracle, candidates, lowest=0.97, forwards=6)
    assert 1 <= float(candidates.length) < 1.3


def test_only_crossings_far_beyond_the_linearised_boundary_are_shortened():
    oracle = oracle_of(slab, ORIGIN.expand(3, -1))
    candidates = crossing_at(oracle, 1.05, 2.0, 2.0)
    candidates.linearized_distance = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64)
    shorten_far_crossings(oracle, candidates, torch.ones(3, dtype=torch.float64), forwards=3)
    assert candidates.length.tolist() == pytest.approx([1.05, 1.0, 2.0], abs=0.11)
    assert candidates.length[[0, 2]].tolist() == [1.05, 2.0]
    assert oracle.forwards.tolist() == [1, 4, 1]


def test_a_crossing_just_before_what_is_no_number_is_kept():
    def model(points):
        margin = 1 - points[:, :1]
        return torch.cat([torch.where((margin < -5e-6) & (margin > -5e-5), torch.nan, margin), 0 * margin], 1)

    oracle = oracle_of(model, ORIGIN)
    candidates = crossing_at(oracle, 1.000002)
    confirm_crossings(oracle, candidates, torch.tensor([1e-6], dtype=torch.float64))
    torch.testing.assert_close(candidates.length, torch.tensor([1.0], dtype=torch.float64), rtol=2e-3, atol=0)


@pytest.mark.parametrize("space", [Everywhere(), spanned(torch.eye(3, 1, dtype=torch.float64))], ids=["free", "line"])
def test_each_overshoot_starts_from_the_crossing_and_not_from_the_last_overshoot(space):
    oracle = oracle_of(slab, ORIGIN, spaces=[space])
    candidates = crossing_at(oracle, 1 + 1e-9)
    cosine = confirm_crossings(oracle, candidates, torch.tensor([5e-4], dtype=torch.float64))  # the third is beyond it
    torch.testing.assert_close(candidates.length, torch.tensor([1.001], dtype=torch.float64), rtol=1e-6, atol=0)
    torch.testing.assert_close(cosine, torch.tensor([1.0], dtype=torch.float64))


def test_crossings_are_beyond_what_logits_differ_by_from_call_to_call():
    n, calls = 256, count()
    w = nn.functional.normalize(torch.randn(40, generator=rng(3)), dim=0)
    x = torch.randn(n, 40, generator=rng(2))
    x = x + (torch.linspace(0.1, 1.0, n) - x @ w)[:, None] * w  # 0.1 to 1 from the plane

    def model(points):  # rounded otherwise in every call, as with other batches; logits about 100
        last_bits = 1e-5 * (-1) ** next(calls)
        return torch.stack([points @ w + 100 + last_bits, torch.full_like(points[:, 0], 100.0)], 1)

    found = boundary_search(model, x, torch.zeros(n, dtype=torch.long), generator=rng())
    assert bool(found.found.all())
    margin = found.point.double() @ w.double()
    assert bool((margin < -1e-5).all()), "a crossing that another call takes back"
    assert bool((margin > -0.01 * found.distance).all())


def test_label_changes_that_no_second_pass_repeats_are_not_found_within_any_radius(monkeypatch):
    confirming = []
    monkeypatch.setattr(
        search,
        "confirm_crossings",
        lambda *given, **options: confirming.append(True) or confirm_crossings(*given, **options),
    )

    def model(points):
        margin = 1 - points[:, 0] if not confirming else 1 + points[:, 0].abs()
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    x = torch.zeros(2, 3)
    found = boundary_search(model, x, torch.zeros(2, dtype=torch.long), radius=math.inf, generator=rng())
    assert confirming
    assert not bool(found.found.any())
    assert torch.equal(found.point, x)
    assert bool(found.margin.isnan().all())
    assert bool(found.distance.isinf().all())
