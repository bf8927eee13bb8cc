"""The words of verdicts, tiers and efforts are public; the module that holds them imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

from dmmcheck.inference.types import ARMS, TIERS, ArmName, Cost, EffortName, Tier, Verdict


def test_the_public_words():
    assert get_args(Verdict) == ("supported", "refuted", "inconclusive", "not-run")
    assert get_args(Tier) == TIERS == ("stated", "controlled", "mechanism", "search")
    assert get_args(EffortName) == ("quick", "default", "thorough")
    assert get_args(ArmName) == ARMS == ("free", "tangent", "normal")


def test_a_cost_starts_at_nothing():
    assert (Cost().gradient_evaluations, Cost().seconds) == (0, 0.0)


def test_the_types_need_the_standard_library_alone():
    code = (
        "import sys, dmmcheck.inference.types; print(sorted({'torch', 'numpy', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
