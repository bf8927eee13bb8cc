"""The words that the whole package shares: verdicts, tiers, directions, costs. The standard library alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["supported", "refuted", "inconclusive", "not-run"]
Tier = Literal["stated", "controlled", "mechanism"]
Direction = Literal["greater", "less"]
DrawCost = Literal["energy", "forward", "search"]

TIERS: tuple[Tier, ...] = ("stated", "controlled", "mechanism")
BUILTIN = "builtin"
"""The variant of a check that has no other, and the name of the built-in search among the attacks."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the measurements behind a finding took, shared ones counted in full."""

    gradient_evaluations: int = 0
    seconds: float = 0.0
