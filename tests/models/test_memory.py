"""Blocks cover all rows in order, and are halved where memory runs out."""

from __future__ import annotations

import ctypes
import sys
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmmcheck.errors import LackOfMemoryError
from dmmcheck.models.memory import (
    BATCH_ROWS,
    BATCH_VALUES,
    batch_results,
    in_batches,
    lack_of_memory_named,
    out_of_memory,
    return_freed_memory,
)

NO_MEMORY = [
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    MemoryError(),
]


def rows_of(block, rows):
    return list(range(rows))[block]


@given(rows=st.integers(0, 60), size=st.integers(1, 70), room=st.integers(1, 70))
def test_results_cover_every_row_once_and_in_order_whatever_fits(rows, size, room):
    def compute(block):
        if len(rows_of(block, rows)) > room:
            raise MemoryError
        return rows_of(block, rows)

    parts, left = batch_results(rows, size, compute)
    assert [row for part in parts for row in part] == list(range(rows))
    assert max(map(len, parts), default=0) <= room
    assert left <= size


def test_the_size_is_halved_until_a_block_fits_and_stays_so():
    tried = []

    def compute(block):
        tried.append((block.start, block.stop))
        if block.stop - block.start > 3:
            raise NO_MEMORY[0]
        return block.start

    assert batch_results(8, 8, compute) == ([0, 2, 4, 6], 2)
    assert tried == [(0, 8), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8)]


def test_a_size_beyond_all_rows_is_halved_from_their_number():
    tried = []

    def compute(block):
        tried.append(block.stop)
        if block.stop - block.start > 3:
            raise MemoryError
        return block.stop

    batch_results(6, 1000, compute)
    assert tried[:2] == [1000, 3]


@pytest.mark.parametrize("rows", [1, 4])
def test_a_single_row_that_does_not_fit_is_an_error(rows):
    def compute(block):
        raise MemoryError("no")

    words = rf'memory ran out on a batch of one input, of {rows} to be measured .*no.*device = "cpu"'
    with pytest.raises(LackOfMemoryError, match=words):
        batch_results(rows, 4, compute)
    with pytest.raises(LackOfMemoryError, match=words):
        in_batches(torch.zeros(rows, 2), compute)


def test_an_inner_batch_of_one_that_does_not_fit_lets_an_outer_batch_be_halved():
    def outer(block):
        held = len(rows_of(block, 8))

        def inner(_):
            if held > 2:
                raise MemoryError("held by the outer batch")
            return held

        return batch_results(1, 1, inner)[0][0]

    assert batch_results(8, 8, outer) == ([2, 2, 2, 2], 2)
    with pytest.raises(LackOfMemoryError, match="of 1 to be measured"):
        batch_results(3, 1, lambda block: batch_results(1, 1, fails))


def fails(_):
    raise MemoryError("no")


@pytest.mark.parametrize("error", NO_MEMORY, ids=["cuda", "cpu", "python"])
def test_a_lack_of_memory_in_a_measurement_names_the_number_of_inputs(error):
    with (
        pytest.raises(LackOfMemoryError, match="memory ran out in a measurement of 12 inputs"),
        lack_of_memory_named(12),
    ):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("another"), LackOfMemoryError("told already")], ids=["other", "told"])
def test_any_other_error_of_a_measurement_passes(error):
    with pytest.raises(type(error), match=str(error)), lack_of_memory_named(12):
        raise error


def test_another_error_is_raised_at_once():
    tried = []

    def compute(block):
        tried.append(block)
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        batch_results(4, 4, compute)
    assert len(tried) == 1


@pytest.mark.parametrize("error", NO_MEMORY)
def test_errors_of_memory_are_known_on_any_device(error):
    assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("shapes differ"))


@given(rows=st.integers(1, 2500), width=st.sampled_from([1, 30_000, 200_000]))
@settings(max_examples=20, deadline=None)
def test_blocks_of_a_tensor_are_bounded_in_rows_and_values(rows, width):
    x = torch.empty(1, 1).expand(rows, width)
    seen = []

    def compute(block):
        seen.append(len(rows_of(block, rows)))
        return torch.arange(rows)[block]

    assert torch.equal(in_batches(x, compute), torch.arange(rows))
    assert max(seen) <= BATCH_ROWS
    assert max(seen) * width <= max(BATCH_VALUES, width)


@pytest.mark.parametrize(
    ("system", "has_trim", "calls"), [("linux", True, [0]), ("linux", False, []), ("win32", True, [])]
)
def test_freed_memory_is_returned_where_the_c_library_can(monkeypatch, system, has_trim, calls):
    asked = []
    library = types.SimpleNamespace(**({"malloc_trim": asked.append} if has_trim else {}))
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    return_freed_memory()
    assert asked == calls
