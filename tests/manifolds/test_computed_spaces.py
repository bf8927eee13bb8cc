"""Tangent spaces whose bases do not fit in memory together give what bases give, and compute few bases at a time."""

from __future__ import annotations

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmmcheck import geometry
from dmmcheck.attacks.search_space import Everywhere, at_once, basis_of, spanned
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.computed_spaces import ComputedBases, ComputedSpaces
from dmmcheck.manifolds.fields import RotatedSpaces
from dmmcheck.manifolds.rotations import Haar

N, D, K, ROOM = 11, 9, 2, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


BASES = torch.linalg.qr(torch.randn((N, D, K), generator=seeded(), dtype=torch.float64)).Q


class Counted:
    """Computes bases, and keeps what it was asked for; no earlier bases may be in memory by then."""

    def __init__(self, room: int = ROOM) -> None:
        self.asked: list[list[int]] = []
        self.last = lambda: None
        self.bases = ComputedBases(self.compute, N, room)

    def compute(self, inputs):
        assert self.last() is None
        self.asked.append(list(inputs))
        found = BASES[list(inputs)]
        self.last = weakref.ref(found)
        return found

    def spaces(self, inputs=range(N)):
        return ComputedSpaces(self.bases, torch.tensor(list(inputs)))


def vectors(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn((n, D), generator=seeded(seed), dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, N - 1), min_size=2, max_size=20), st.integers(1, N + 1), st.integers(0, N))
def test_rows_project_as_the_bases_of_their_inputs_do(inputs, room, before):
    counted = Counted(room)
    counted.spaces().rows(slice(0, before)).project(vectors(before))
    v = vectors(len(inputs))
    for spaces in (counted.spaces(inputs), counted.spaces().rows(torch.tensor(inputs))):
        torch.testing.assert_close(spaces.project(v), geometry.project_tangent(v, BASES[inputs]))
    assert max(map(len, counted.asked)) <= room


def test_no_rows_are_projected_without_a_basis():
    counted = Counted()
    assert counted.spaces().rows(slice(0, 0)).project(vectors(0)).shape == (0, D)
    assert not counted.asked


def test_there_is_a_vector_for_each_space():
    with pytest.raises(ManifoldError, match="6 vectors are projected onto 3 tangent spaces; pass one for each"):
        Counted().spaces([0, 1, 2]).project(vectors(6))


@pytest.mark.parametrize("inputs", [[5], [3, 5], [5, 3, 3, 9, 0], [0, 1, 2, 3, 4], []])
def test_bases_that_fit_together_are_given(inputs):
    found = basis_of(Counted().spaces(inputs))
    if not inputs or len(set(inputs)) > ROOM:
        assert found is None
    else:
        torch.testing.assert_close(found, BASES[inputs[0]] if len(inputs) == 1 else BASES[inputs])


def test_a_single_space_projects_any_number_of_vectors():
    v = vectors(5)
    torch.testing.assert_close(Counted().spaces([7]).project(v), geometry.project_tangent(v, BASES[7]))


def test_the_projection_is_differentiable():
    v = vectors(N).requires_grad_(True)
    (Counted().spaces().project(v) * vectors(N, 2)).sum().backward()
    torch.testing.assert_close(v.grad, geometry.project_tangent(vectors(N, 2), BASES))


def test_inputs_in_their_order_are_computed_in_batches_and_those_that_are_kept_come_first():
    counted = Counted()
    for _ in range(2):
        counted.spaces().project(vectors(N))
    batches = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert counted.asked == [*batches, batches[0], batches[1]]


def test_inputs_of_several_batches_that_fit_together_are_computed_alone_and_kept():
    counted = Counted()
    for _ in range(3):
        counted.spaces([9, 2, 5, 2]).project(vectors(4))
    counted.spaces([9, 5]).project(vectors(2))
    assert counted.asked == [[2, 5, 9]]


def test_spaces_say_for_how_many_inputs_they_are_searched_at_once():
    spaces = Counted().spaces()
    assert [at_once(one) for one in (spaces, spaces.rows(slice(2)), spanned(spaces, normal=True))] == [ROOM] * 3
    assert at_once(RotatedSpaces(spaces, Haar(D, generator=seeded(3)))) == ROOM
    assert at_once(Everywhere()) is at_once(spanned(BASES)) is None


def test_freed_memory_is_returned_before_other_bases_are_computed(monkeypatch):
    counted, returned = Counted(), []
    monkeypatch.setattr(
        "dmmcheck.manifolds.computed_spaces.return_freed_memory", lambda: returned.append(len(counted.asked))
    )
    counted.spaces().project(vectors(N))
    assert returned == list(range(len(counted.asked)))
