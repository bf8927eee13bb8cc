"""Which candidates are kept, and which crossing of each, against a naive loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from search_cases import distances

from dmmcheck.attacks import waiting
from dmmcheck.attacks.minimal_norm import candidates as candidates_module
from dmmcheck.attacks.minimal_norm.candidates import Candidates, joined

LENGTHS = st.sampled_from([0.5, 1.0, 1.1, 1.3, 2.0, float("inf")])
ENTRIES = st.lists(st.tuples(st.integers(0, 3), LENGTHS), min_size=1, max_size=12)


def candidates_of(entries):
    """Candidates with the given rows and lengths; their perturbations tell them apart."""
    delta = torch.arange(len(entries), dtype=torch.float64)[:, None] + 1
    candidates = Candidates(torch.tensor([row for row, _ in entries]), delta)
    candidates.best = delta.clone()
    candidates.length = torch.tensor([length for _, length in entries], dtype=torch.float64)
    return candidates


def kept(candidates):
    """Row -> lengths, in order."""
    rows = {}
    for row, length in zip(candidates.rows.tolist(), candidates.length.tolist(), strict=True):
        rows.setdefault(row, []).append(length)
    return rows


def by_row(entries):
    return {row: sorted(length for other, length in entries if other == row) for row, _ in entries}


@given(ENTRIES, st.integers(1, 4), st.sampled_from([1.0, 1.2, 1.5]))
def test_nearest_keeps_the_shortest_of_each_row_and_those_within_the_ratio(entries, count, max_ratio):
    expected = {
        row: [lengths[0], *(length for length in lengths[1:count] if length <= max_ratio * lengths[0])]
        for row, lengths in by_row(entries).items()
    }
    assert kept(candidates_of(entries).nearest(count, max_ratio)) == expected


@given(ENTRIES, st.sampled_from([0.7, 3.0]))
def test_where_nothing_has_crossed_the_linearized_distance_ranks(entries, distance):
    candidates = candidates_of([(row, float("inf")) for row, _ in entries])
    candidates.linearized_distance = torch.full_like(candidates.length, distance)
    candidates.linearized_distance[-1] = distance / 2
    near = candidates.nearest(1, 1.0)
    last = int(candidates.rows[-1])
    assert float(near.linearized_distance[near.rows == last]) == distance / 2
    assert near.rows.tolist() == sorted({row for row, _ in entries})


@given(ENTRIES, ENTRIES)
def test_shortest_takes_one_crossing_a_row_from_either(one, other):
    finite = {row: lengths[0] for row, lengths in by_row([*one, *other]).items() if lengths[0] < float("inf")}
    every = joined([candidates_of(one), candidates_of(other)])
    assert kept(every.shortest()) == {row: [length] for row, length in finite.items()}


def test_joined_candidates_are_copies():
    one = candidates_of([(0, 1.0)])
    every = joined([one, candidates_of([(1, 2.0)])])
    every.best[0] = 7.0
    assert every.rows.tolist() == [0, 1]
    assert float(one.best) == 1.0


def test_a_perturbation_is_kept_where_it_crosses_and_is_clearly_shorter():
    candidates = candidates_of([(0, 1.0), (1, 1.0), (2, 1.0), (3, float("inf"))])
    delta = torch.tensor([[0.5], [0.5], [1 - 1e-9], [7.0]], dtype=torch.float64)
    taken = candidates.update_best(delta, torch.tensor([-1.0, 0.5, -1.0, -2.0], dtype=torch.float64))
    assert taken.tolist() == [True, False, False, True]
    assert candidates.length.tolist() == [0.5, 1.0, 1.0, 7.0]
    assert candidates.margin.tolist() == [-1.0, 0.0, 0.0, -2.0]


def test_perturbations_at_some_positions_leave_the_other_candidates():
    candidates = candidates_of([(0, 1.0), (0, 1.0), (1, 1.0)])
    candidates.update_best(
        torch.tensor([[0.25]], dtype=torch.float64), torch.tensor([-1.0], dtype=torch.float64), torch.tensor([1])
    )
    assert candidates.length.tolist() == [1.0, 0.25, 1.0]
    assert candidates.best.squeeze(1).tolist() == [1.0, 0.25, 3.0]


@given(ENTRIES)
def test_a_candidate_is_finished_with_its_best_crossing(entries):
    candidates = candidates_of([(row, float("inf")) for row, _ in entries])
    length = torch.tensor([length for _, length in entries], dtype=torch.float64)
    found = torch.isfinite(length)
    crossing = -torch.ones_like(length)
    candidates.update_best(
        candidates.delta,
        torch.where(found, -1.0, 1.0).double(),
        length=length,
        optimality=torch.full_like(length, 0.95),
    )
    assert len(candidates.unfinished(0.9).rows) == int((~found).sum())
    longer = torch.full_like(length, 3.0)
    candidates.update_best(candidates.delta, crossing, length=longer, optimality=torch.ones_like(length))
    assert len(candidates.unfinished(0.96).rows) == int(found.sum()), "a longer crossing does not change the best one"
    candidates.update_best(candidates.delta, crossing, length=torch.full_like(length, 0.1))
    assert len(candidates.unfinished(0.9).rows) == len(entries), "the optimality of the new best one is unknown"


@pytest.mark.parametrize("bounds", [None, (-4.0, 4.0)], ids=["unbounded", "boxed"])
def test_crossings_are_the_same_whether_masks_are_looked_at_or_not(monkeypatch, bounds):
    looked = distances(bounds=bounds)
    monkeypatch.setattr(waiting, "waits", lambda values: True)
    monkeypatch.setattr(candidates_module, "waits", lambda values: True)
    torch.testing.assert_close(distances(bounds=bounds), looked, rtol=1e-9, atol=0)
