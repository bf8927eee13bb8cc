"""The inputs that are measured: those that the model classifies correctly, in an order that follows from their content.

The order in which they are given changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmmcheck.errors import ModelError, SubjectError
from dmmcheck.inference.types import MIN_INPUTS
from dmmcheck.measurement.independence import SPARE, Independence, first_of_each, grouped, without_copies
from dmmcheck.models.base import Classifier, called, evaluating
from dmmcheck.models.memory import in_batches
from dmmcheck.models.torch import own_points

ROUNDED = 1  # decimals of standard units that the order of the sample depends on
CANDIDATES = 2048  # inputs among which near-duplicates are looked for, in the order of the sample


@dataclass(frozen=True, eq=False)
class Sample:
    """The inputs that are measured, and the accuracy of the model on all inputs that they were taken from.

    Attributes:
        x: (n, D) flat, correctly classified.
        y: (n,) their labels.
        accuracy: Share that the model classifies correctly, of all distinct inputs or of those that it was asked about.
        majority: Share of the most frequent label among them.
        labelled: Number of inputs that the accuracy is taken over, of which near-duplicates and groups count once.
        independence: How many inputs are independent; None where this is not known.
    """

    x: Tensor
    y: Tensor
    accuracy: float
    majority: float
    labelled: int
    independence: Independence | None = None


def draw_sample(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    *,
    seed: int,
    limit: int,
    groups: Tensor | None = None,
    training: Sequence[Tensor] = (),
    is_standard: bool = False,
    are_all_judged: bool = True,
) -> Sample:
    """Draw at most `limit` correctly classified inputs, ordered by a keyed hash of their content.

    An input given several times with the same label counts once, in the accuracy too: copies add no evidence. Inputs
    of one label that are nearly the same form a group, and so do inputs with the same number in `groups`. Of each group
    the first input that is classified correctly is measured. Inputs that are copies of training data are left out,
    unless they are many: then the sample keeps them, and the soundness item ``disjoint`` fails.

    Args:
        classifier: The model under test.
        x: (m, *input_shape).
        y: (m,).
        seed: Key of the order.
        limit: Most inputs to take.
        groups: Group numbers (m,) of inputs that belong together; None where all inputs are independent.
        training: Flat points (p, D), each a set that the model or the manifold was fitted on.
        is_standard: Whether x is in standard units: then the order is that of the content up to rounding, the same
            wherever the same data come from.
        are_all_judged: Whether the accuracy is that of all inputs; else that of the first ones in the order of
            the sample: twice as many as it needs, and again twice as many until enough are correct. This saves a pass
            through the model for each of the others.

    Raises:
        ModelError: Logits are NaN or infinite.
        SubjectError: Fewer than 8 inputs are classified correctly, or fewer than 8 groups have such an input.
    """
    points, labels = own_points(classifier, x), y.to(classifier.device)
    distinct = torch.tensor(_by_content(points, labels, seed, is_standard=is_standard), device=labels.device)
    order = distinct[: max(CANDIDATES, limit)]
    group, independence = grouped(points[order], labels[order], None if groups is None else groups[order.cpu()])
    if are_all_judged:
        is_correct = predict(classifier, points) == labels
    else:
        distinct, is_correct = _judged(
            classifier, points, labels, order, group, wanted=max(MIN_INPUTS, limit + limit // SPARE)
        )
    accuracy = int(is_correct[distinct].sum()) / len(distinct)
    correct = order[first_of_each(group, is_correct[order].cpu()).to(order.device)]
    if len(correct) < MIN_INPUTS:
        raise SubjectError(_too_few(len(correct), len(distinct), independence))
    kept, independence = without_copies(points, correct, limit, training, independence)
    majority = float(torch.bincount(labels[distinct]).max()) / len(distinct)
    independent = round(len(distinct) * independence.groups / independence.inputs)
    return Sample(points[kept], labels[kept], accuracy, majority, independent, independence)


def _judged(
    classifier: Classifier, points: Tensor, labels: Tensor, order: Tensor, group: Tensor, *, wanted: int
) -> tuple[Tensor, Tensor]:
    """Return the first rows of an order that hold enough groups with a correctly classified input, or all of its rows.

    Args:
        classifier: The model.
        points: Points (m, D).
        labels: Their labels (m,).
        order: Row numbers (r,).
        group: Number (r,) of the group of each of these rows.
        wanted: How many groups are enough.

    Returns:
        Row numbers, and for each of the m points whether it is known to be classified correctly.
    """
    is_correct, done, size = torch.zeros_like(labels, dtype=torch.bool), 0, 2 * wanted
    while done < len(order):
        rows = order[done:size]
        is_correct[rows] = predict(classifier, points[rows]) == labels[rows]
        done, size = done + len(rows), 2 * size
        if len(first_of_each(group[:done], is_correct[order[:done]].cpu())) >= wanted:
            break
    return order[:done], is_correct


def _too_few(correct: int, distinct: int, independence: Independence) -> str:
    """Return the message where too few inputs can be measured."""
    if distinct < MIN_INPUTS:
        noun = "inputs differ" if distinct != 1 else "input differs"
        return (
            f"only {distinct} {noun} from all others, at least {MIN_INPUTS} are needed, since copies count once; pass "
            "inputs that differ from each other"
        )
    if independence.groups < independence.inputs:
        return (
            f"{distinct} distinct inputs form {independence.groups} independent groups, and in {correct} of these "
            f"the model classifies an input correctly; at least {MIN_INPUTS} are needed: pass inputs that are neither "
            "of one group nor nearly the same"
        )
    return (
        f"the model classifies {correct} of {distinct} distinct inputs correctly, at least {MIN_INPUTS} are needed; "
        "check that labels and inputs belong together and have the preprocessing of training, or pass more inputs"
    )


def predict(classifier: Classifier, points: Tensor) -> Tensor:
    """Return the labels (m,) of points (m, D), in evaluation mode.

    Raises:
        ModelError: The model raises, or logits are NaN or infinite.
    """
    with evaluating(classifier), torch.no_grad():
        logits = in_batches(points, lambda rows: called(classifier, points[rows]))
    bad = int((~torch.isfinite(logits)).any(1).sum())
    if bad:
        raise ModelError(
            f"the logits of the {classifier.role} are NaN or infinite on {bad} of {len(points)} inputs; "
            "check its weights and the preprocessing of the inputs"
        )
    return logits.argmax(1)


def _by_content(points: Tensor, labels: Tensor, seed: int, *, is_standard: bool = False) -> list[int]:
    """Return the rows in the order of a keyed hash of their content.

    Shuffled data give the same sample, and copies count once.

    Features that are the same in all rows are left out, so that a constant column changes nothing of what is drawn.
    """
    key = seed.to_bytes(8, "big", signed=True)

    def digest(values: np.ndarray[Any, Any], label: int) -> bytes:
        return hashlib.blake2b(values.tobytes() + str(label).encode(), key=key, digest_size=16).digest()

    exact = points.cpu().numpy()
    varying = _varying(exact)
    first: dict[tuple[bytes, bytes], int] = {}
    for row, label in enumerate(labels.tolist()):
        values = exact[row, varying]
        content = digest(values, label)
        rounded = digest(values.round(ROUNDED) + 0.0, label) if is_standard else content  # + 0.0: -0.0 becomes 0.0
        first.setdefault((rounded, content), row)
    return [first[digests] for digests in sorted(first)]


def _varying(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the indices of the features of points (m, D) that are not the same in all of them."""
    varies = np.zeros(points.shape[1], dtype=bool)
    for start in range(0, len(points), CANDIDATES):
        varies |= (points[start : start + CANDIDATES] != points[0]).any(0)
    return np.flatnonzero(varies)
