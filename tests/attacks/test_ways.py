"""Which ways to the boundary are kept, against a naive loop."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmcheck.attacks.minimal_norm.candidates import Ways, joined

LENGTHS = st.sampled_from([0.5, 1.0, 1.1, 1.3, 2.0, float("inf")])
ENTRIES = st.lists(st.tuples(st.integers(0, 3), LENGTHS), min_size=1, max_size=12)


def ways_of(entries):
    """Ways with the given rows and lengths; their step tells them apart."""
    step = torch.arange(len(entries), dtype=torch.float64)[:, None] + 1
    ways = Ways(torch.tensor([row for row, _ in entries]), step)
    ways.best = step.clone()
    ways.length = torch.tensor([length for _, length in entries], dtype=torch.float64)
    return ways


def kept(ways):
    """Row -> lengths, in order."""
    rows = {}
    for row, length in zip(ways.rows.tolist(), ways.length.tolist(), strict=True):
        rows.setdefault(row, []).append(length)
    return rows


def by_row(entries):
    return {row: sorted(length for other, length in entries if other == row) for row, _ in entries}


@given(ENTRIES, st.integers(1, 4), st.sampled_from([1.0, 1.2, 1.5]))
def test_nearest_keeps_the_shortest_of_each_row_and_those_within_slack(entries, count, slack):
    expected = {
        row: [lengths[0], *(length for length in lengths[1:count] if length <= slack * lengths[0])]
        for row, lengths in by_row(entries).items()
    }
    assert kept(ways_of(entries).nearest(count, slack)) == expected


@given(ENTRIES, st.sampled_from([0.7, 3.0]))
def test_where_nothing_has_crossed_the_guess_ranks(entries, guess):
    ways = ways_of([(row, float("inf")) for row, _ in entries])
    ways.guess = torch.full_like(ways.length, guess)
    ways.guess[-1] = guess / 2
    near = ways.nearest(1, 1.0)
    last = int(ways.rows[-1])
    assert float(near.guess[near.rows == last]) == guess / 2
    assert near.rows.tolist() == sorted({row for row, _ in entries})


@given(ENTRIES, ENTRIES)
def test_shortest_takes_one_crossing_a_row_from_either(one, other):
    finite = {row: lengths[0] for row, lengths in by_row([*one, *other]).items() if lengths[0] < float("inf")}
    assert kept(joined([ways_of(one), ways_of(other)]).shortest()) == {row: [length] for row, length in finite.items()}


def test_an_offer_is_taken_where_it_crosses_and_is_clearly_shorter():
    ways = ways_of([(0, 1.0), (1, 1.0), (2, 1.0), (3, float("inf"))])
    step = torch.tensor([[0.5], [0.5], [1 - 1e-9], [7.0]], dtype=torch.float64)
    taken = ways.offer(step, torch.tensor([-1.0, 0.5, -1.0, -2.0], dtype=torch.float64))
    assert taken.tolist() == [True, False, False, True]
    assert ways.length.tolist() == [0.5, 1.0, 1.0, 7.0]
    assert ways.margin.tolist() == [-1.0, 0.0, 0.0, -2.0]


def test_an_offer_to_some_places_leaves_the_others():
    ways = ways_of([(0, 1.0), (0, 1.0), (1, 1.0)])
    ways.offer(
        torch.tensor([[0.25]], dtype=torch.float64), torch.tensor([-1.0], dtype=torch.float64), torch.tensor([1])
    )
    assert ways.length.tolist() == [1.0, 0.25, 1.0]
    assert ways.best.squeeze(1).tolist() == [1.0, 0.25, 3.0]


@given(ENTRIES)
def test_a_way_is_finished_with_its_best_crossing(entries):
    ways = ways_of([(row, float("inf")) for row, _ in entries])
    length = torch.tensor([length for _, length in entries], dtype=torch.float64)
    found = torch.isfinite(length)
    crossing = -torch.ones_like(length)
    ways.offer(ways.step, torch.where(found, -1.0, 1.0).double(), length=length, nearness=torch.full_like(length, 0.95))
    assert len(ways.unfinished(0.9).rows) == int((~found).sum())
    ways.offer(ways.step, crossing, length=torch.full_like(length, 3.0), nearness=torch.ones_like(length))
    assert len(ways.unfinished(0.96).rows) == int(found.sum()), "what is longer says nothing of the best"
    ways.offer(ways.step, crossing, length=torch.full_like(length, 0.1))
    assert len(ways.unfinished(0.9).rows) == len(entries), "nothing is known of the new best"
