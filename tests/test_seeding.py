"""Streams of random numbers depend on the seed and on their name, and on nothing else."""

from __future__ import annotations

import subprocess
import sys

import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmcheck.seeding import seeded

NAMES = st.lists(st.one_of(st.text(max_size=5), st.integers(-3, 3), st.booleans()), max_size=3)


def first(*names):
    return int(torch.randint(2**62, (), generator=seeded(*names)))


@given(st.integers(0, 2**40), NAMES)
def test_the_same_names_give_the_same_stream(seed, names):
    assert first(seed, *names) == first(seed, *names)


@given(st.integers(0, 100), NAMES, st.integers(0, 100), NAMES)
def test_other_names_give_another_stream(seed, names, other_seed, other_names):
    same = repr((seed, *names)) == repr((other_seed, *other_names))
    assert (first(seed, *names) == first(other_seed, *other_names)) == same


def test_a_stream_is_the_same_in_another_process_and_known():
    code = "import torch; from dmmcheck.seeding import seeded; print(seeded(0, 'search', 3).initial_seed())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == seeded(0, "search", 3).initial_seed() == 8953167721728727915


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    torch.randn(5, generator=seeded(0, "a"))
    assert torch.equal(torch.get_rng_state(), state)
