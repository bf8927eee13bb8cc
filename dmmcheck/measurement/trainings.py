"""The networks of claims about networks: how many alpha needs, which of them count, and the pairs of trainings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dmmcheck.inference import stats
from dmmcheck.measurement.measure import ALTERNATIVE, PAIR, of_pair
from dmmcheck.models.base import Classifier, called, evaluating
from dmmcheck.models.torch import in_given_layout

if TYPE_CHECKING:
    from dmmcheck.measurement.view import View

COMPARED = 8  # inputs at which the logits of two networks are compared


def untrained_needed(alpha: float) -> int:
    """Return the number of untrained networks that decide a claim at this alpha where all but one of them agree.

    One is spared, since untrained networks are cheap.
    """
    return stats.replicates_needed(alpha * (1 - stats.SHARE_OF_INPUTS), spare=1)


def trainings_needed(alpha: float) -> int:
    """Return the number of new trainings that decide a claim at this alpha where all agree.

    Each training is judged on many inputs.
    """
    return stats.replicates_needed(alpha * (1 - stats.SHARE_OF_INPUTS))


def pairs_needed(alpha: float) -> int:
    """Return the number of pairs, each with one number, that decide a claim at this alpha where all agree."""
    return stats.replicates_needed(alpha)


def distinct(networks: Iterable[View]) -> list[View]:
    """Return the views of networks whose logits differ: a network that is given twice is one replicate and not two."""
    kept: list[View] = []
    seen: list[torch.Tensor] = []
    for view in networks:
        logits = first_logits(view.classifier, view.x)
        if not any(torch.equal(logits, other) for other in seen):
            kept.append(view)
            seen.append(logits)
    return kept


@dataclass(frozen=True, eq=False)
class Pair:
    """The same view of the two networks of a pair, and of one trained otherwise, if there is one."""

    standard: View
    robust: View
    alternative: View | None = None


def one_pair(view: View) -> Pair:
    """Return the pair of the model under test and its twin; where there is no twin, the first of the pairs."""
    standard, robust = (view.paired_model(name) for name in PAIR)
    has_other = view.measurement.has_reference_model(ALTERNATIVE)
    return Pair(standard, robust, view.paired_model(ALTERNATIVE) if has_other else None)


def pairs(view: View) -> tuple[list[Pair], str]:
    """Return all pairs of a list, or as many as alpha needs of a function; and a note about pairs that do not count.

    A pair counts if none of its networks equals one of a pair before it. How many alpha needs is said before the first
    pair is made.
    """
    measure = view.measurement
    needed = pairs_needed(view.alpha)
    count = needed if measure.pairs is None else measure.pairs
    kept: list[Pair] = []
    repeated: list[str] = []
    seen: list[torch.Tensor] = []
    for number in range(count):
        measure.progress(f"pair {number + 1} of {count} (alpha {view.alpha:.2g} needs {needed} pairs that agree)")
        pair = _pair(view, number)
        own = [first_logits(network.classifier, view.x) for network in (pair.standard, pair.robust)]
        if any(torch.equal(logits, other) for logits in own for other in seen):
            repeated.append(str(number + 1))
            continue
        seen += own
        kept.append(pair)
    return kept, _repeated(repeated)


def _pair(view: View, number: int) -> Pair:
    standard, robust = (view.paired_model(of_pair(number, name)) for name in PAIR)
    other = of_pair(number, ALTERNATIVE)
    return Pair(standard, robust, view.paired_model(other) if view.measurement.has_reference_model(other) else None)


def _repeated(numbers: list[str]) -> str:
    if not numbers:
        return ""
    pairs = f"pair {numbers[0]} does" if len(numbers) == 1 else f"pairs {', '.join(numbers)} do"
    return (
        f"{pairs} not count, since a network of an earlier pair is in it again; train both networks of each pair anew, "
        "from a seed of their own"
    )


def first_logits(classifier: Classifier, x: torch.Tensor) -> torch.Tensor:
    """Return the logits (m, C) at the first m <= 8 of the inputs (n, D), which tell networks apart."""
    classifier = in_given_layout(classifier)
    with evaluating(classifier), torch.no_grad():
        return called(classifier, x[:COMPARED])
