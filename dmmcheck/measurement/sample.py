"""Which inputs are measured: the correctly classified ones, in an order that does not depend on how they were given."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from dmmcheck.errors import ModelError, SubjectError
from dmmcheck.inference.types import MIN_INPUTS
from dmmcheck.models.base import Classifier, called
from dmmcheck.models.memory import in_batches
from dmmcheck.models.torch import own_points


@dataclass(frozen=True, eq=False)
class Sample:
    """The measured inputs.

    Attributes:
        x: (n, D) flat, correctly classified.
        y: (n,) their labels.
        accuracy: Share of all distinct inputs classified correctly.
        majority: Share of the most frequent label among them.
        labelled: Number of distinct inputs, which the accuracy is taken over.
    """

    x: Tensor
    y: Tensor
    accuracy: float
    majority: float
    labelled: int


def draw_sample(classifier: Classifier, x: Tensor, y: Tensor, *, seed: int, limit: int) -> Sample:
    """At most `limit` correctly classified inputs, ordered by a keyed hash of their content.

    An input given several times with the same label counts once, in the accuracy too: copies add no evidence.

    Args:
        classifier: The model under test.
        x: (m, *input_shape).
        y: (m,).
        seed: Key of the order.
        limit: Most inputs to take.

    Raises:
        ModelError: Logits are NaN or infinite.
        SubjectError: Fewer than 8 inputs are classified correctly.
    """
    points, labels = own_points(classifier, x), y.to(classifier.device)
    is_correct = predict(classifier, points) == labels
    distinct = torch.tensor(_by_content(points, labels, seed), device=labels.device)
    correct, n = distinct[is_correct[distinct]], len(distinct)
    if len(correct) < MIN_INPUTS:
        raise SubjectError(
            f"the model classifies {len(correct)} of {n} distinct inputs correctly, at least {MIN_INPUTS} are needed; "
            "check that labels and inputs belong together and have the preprocessing of training, or pass more inputs"
        )
    kept = correct[:limit]
    majority = float(torch.bincount(labels[distinct]).max()) / n
    return Sample(points[kept], labels[kept], len(correct) / n, majority, n)


def predict(classifier: Classifier, points: Tensor) -> Tensor:
    """Labels (m,) of points (m, D), in evaluation mode.

    Raises:
        ModelError: The model raises, or logits are NaN or infinite.
    """
    with classifier.evaluation(), torch.no_grad():
        logits = in_batches(points, lambda rows: called(classifier, points[rows]))
    bad = int((~torch.isfinite(logits)).any(1).sum())
    if bad:
        raise ModelError(
            f"the logits of the {classifier.role} are NaN or infinite on {bad} of {len(points)} inputs; "
            "check its weights and the preprocessing of the inputs"
        )
    return logits.argmax(1)


def _by_content(points: Tensor, labels: Tensor, seed: int) -> list[int]:
    """Rows in the order of a keyed hash of their content: shuffled data give the same sample, copies count once."""
    key = seed.to_bytes(8, "big", signed=True)
    first: dict[bytes, int] = {}
    for row, (values, label) in enumerate(zip(points.cpu().numpy(), labels.tolist(), strict=True)):
        content = values.tobytes() + str(label).encode()
        first.setdefault(hashlib.blake2b(content, key=key, digest_size=16).digest(), row)
    return [first[digest] for digest in sorted(first)]
