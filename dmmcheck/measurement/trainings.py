"""How many networks a claim about networks needs, and which of them count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from dmmcheck.inference import stats

if TYPE_CHECKING:
    from dmmcheck.measurement.view import View

COMPARED = 8  # inputs at which the logits of two networks are compared


def untrained_needed(alpha: float) -> int:
    """The number of untrained networks that decide a claim at this alpha where all but one of them agree.

    One is spared, since untrained networks are cheap.
    """
    return stats.replicates_needed(alpha * (1 - stats.SHARE_OF_INPUTS), spare=1)


def trainings_needed(alpha: float) -> int:
    """The number of new trainings, each judged on many inputs, that decide a claim at this alpha where all agree."""
    return stats.replicates_needed(alpha * (1 - stats.SHARE_OF_INPUTS))


def distinct(networks: Iterable[View]) -> list[View]:
    """The views of networks whose logits differ: a network that is given twice is one replicate and not two."""
    kept: list[View] = []
    seen: list[torch.Tensor] = []
    for view in networks:
        logits = first_logits(view)
        if not any(torch.equal(logits, other) for other in seen):
            kept.append(view)
            seen.append(logits)
    return kept


def first_logits(view: View) -> torch.Tensor:
    """Logits (m, C) of a network at the first inputs of its sample, m at most 8."""
    classifier = view.classifier
    with classifier.evaluation(), torch.no_grad():
        return classifier.logits(view.x[:COMPARED])
