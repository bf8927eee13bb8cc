"""The words of verdicts, tiers and efforts are public; the module that holds them imports nothing heavy."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import get_args

import pytest

from dmmcheck.inference.cost import Cost
from dmmcheck.inference.types import (
    AGAINST_BASELINE,
    ARMS,
    BEYOND_CHANCE,
    GATES,
    MIN_INPUTS,
    SEARCH,
    TIERS,
    ArmName,
    EffortName,
    Gate,
    Tier,
    Verdict,
)


def test_the_public_words():
    assert get_args(Verdict) == ("supported", "refuted", "inconclusive", "not-run")
    assert get_args(Tier) == TIERS == ("stated", "controlled", "mechanism", "search")
    assert get_args(EffortName) == ("quick", "default", "thorough")
    assert get_args(ArmName) == ARMS == ("free", "tangent", "normal")


def test_a_cost_starts_at_nothing():
    assert (Cost().gradient_evaluations, Cost().forward_evaluations, Cost().seconds) == (0, 0, 0.0)


def test_the_types_need_the_standard_library_alone():
    code = (
        "import sys, dmmcheck.inference.types; print(sorted({'torch', 'numpy', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_costs_add_up_and_a_part_is_taken_off():
    one = Cost(gradient_evaluations=13, forward_evaluations=10, seconds=2.5)
    other = Cost(gradient_evaluations=6, forward_evaluations=3, seconds=1.0)
    assert one.plus(other) == Cost(gradient_evaluations=19, forward_evaluations=13, seconds=3.5)
    assert one.minus(other) == Cost(gradient_evaluations=7, forward_evaluations=7, seconds=1.5)
    assert one.plus(Cost()) == one == one.minus(Cost())
    assert Cost(seconds=1.0).minus(Cost(seconds=1.5)).seconds == 0.0  # clocks differ; no time is below nothing
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.seconds = 0.0


def test_what_can_gate_is_each_tier_and_the_two_comparisons():
    assert GATES == get_args(Gate) == (*TIERS, BEYOND_CHANCE, AGAINST_BASELINE)
    assert SEARCH in TIERS
    assert MIN_INPUTS == 8  # as the messages and docs/reading_a_report.md say
