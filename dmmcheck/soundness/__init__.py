"""Is the measurement worth trusting? Asked of the model, the attack and the manifold before any verdict.

`assess` takes a `Ground`, the measurements of a fixed part of the sample, and answers with one `Soundness` an aspect. A
check that rests on a family with a failed item ends inconclusive.
"""

from __future__ import annotations

from dmmcheck.report.model import Soundness
from dmmcheck.soundness import attack, manifold, model, probes
from dmmcheck.soundness.context import Ground
from dmmcheck.soundness.dimensions import dimensions

__all__ = ["Ground", "assess"]


def assess(ground: Ground) -> tuple[Soundness, ...]:
    """Every item on model, attack and manifold, in a fixed order.

    Each item depends on the ground alone: its random directions are drawn from the seed under its own name and shared
    by all inputs.
    """
    with ground.classifier.evaluation():
        return (
            *model.items(ground),
            *attack.items(ground),
            *probes.items(ground),
            *manifold.items(ground),
            dimensions(ground),
        )
