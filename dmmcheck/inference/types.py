"""The types that all parts of the package share: verdicts, tiers and directions; no heavy imports."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["supported", "refuted", "inconclusive", "not-run"]
ChanceWord = Literal["more", "like", "less", "not-told"]
Tier = Literal["stated", "controlled", "mechanism", "search"]
Gate = Literal["stated", "controlled", "mechanism", "search", "beyond-chance", "baseline"]
ChangeWord = Literal["better", "worse", "changed", "no-change", "not-told"]
SearchKind = Literal["tangent", "normal", "augment"]
"""What a test of the tier search tries: steps along the manifold, steps off it, or changes by the user's function."""
Direction = Literal["greater", "less"]
DrawCost = Literal["energy", "forward", "search"]
EffortName = Literal["quick", "default", "thorough"]
SearchEffort = Literal["brief", "quick", "default", "thorough", "exhaustive"]
"""The efforts of the setting `effort`, a smaller one for draws of controls, and a larger one that checks the others."""
ArmName = Literal["free", "tangent", "normal"]
Unit = Literal["input", "training", "untrained network", "draw"]
"""What a claim is about, and so what is counted: inputs, trainings, untrained networks, or draws of a control."""

ARMS: tuple[ArmName, ...] = ("free", "tangent", "normal")
"""Where a boundary is searched: anywhere, in the tangent space x + T, or in the normal space x + N."""
TIERS: tuple[Tier, ...] = ("stated", "controlled", "mechanism", "search")
SEARCH: Tier = "search"
"""The tier whose tests look for counterexamples with Hypothesis; a default run leaves it out."""
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
HOLDS_LIMIT = "the interval holds the limit"
"""The first words of the reason why a claim is inconclusive whose interval contains what is asked."""
