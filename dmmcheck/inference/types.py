"""The types that all parts of the package share: verdicts, tiers, directions and costs; no heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["supported", "refuted", "inconclusive", "not-run"]
ChanceWord = Literal["more", "like", "less", "not-told"]
ChangeWord = Literal["better", "worse", "changed", "no-change", "not-told"]
Tier = Literal["stated", "controlled", "mechanism"]
Gate = Literal["stated", "controlled", "mechanism", "beyond-chance", "baseline"]
Direction = Literal["greater", "less"]
DrawCost = Literal["energy", "forward", "search"]
EffortName = Literal["quick", "default", "thorough"]
ArmName = Literal["free", "tangent", "normal"]
Unit = Literal["input", "training", "untrained network", "draw"]
"""What a claim is about, and so what is counted: inputs, trainings, untrained networks, or draws of a control."""

ARMS: tuple[ArmName, ...] = ("free", "tangent", "normal")
"""Where a boundary is searched: anywhere, in the tangent space x + T, or in the normal space x + N."""
TIERS: tuple[Tier, ...] = ("stated", "controlled", "mechanism")
GATES: tuple[Gate, ...] = (*TIERS, "beyond-chance", "baseline")
"""What can fail a run: the refuted claims of a tier, any gating claim that does not stand out from chance, or a change
for the worse beside the baseline."""
AGAINST_BASELINE: Gate = "baseline"
"""The word of the setting `gate` that makes changes for the worse beside the baseline fail the run."""
BEYOND_CHANCE: Gate = "beyond-chance"
"""The word of the setting `gate` that makes the comparisons with controls gate."""
MIN_INPUTS = 8
"""The smallest number of inputs that anything is measured on."""
BUILTIN = "builtin"
"""The variant of a check without other variants, and the name of the built-in search among the attacks."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of the measurements behind a finding; a measurement that findings share counts in full for each.

    Attributes:
        gradient_evaluations: Number of gradient evaluations.
        seconds: Wall-clock time.
    """

    gradient_evaluations: int = 0
    seconds: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Both costs together."""
        return Cost(
            gradient_evaluations=self.gradient_evaluations + other.gradient_evaluations,
            seconds=self.seconds + other.seconds,
        )
