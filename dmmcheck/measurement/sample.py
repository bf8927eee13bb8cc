"""Which inputs are measured: the correctly classified ones, in an order that does not depend on how they were given."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from dmmcheck.errors import ModelError, SubjectError
from dmmcheck.models.memory import in_batches, out_of_memory
from dmmcheck.models.torch import TorchClassifier
from dmmcheck.subject import MIN_INPUTS


@dataclass(frozen=True, eq=False)
class Sample:
    """The measured inputs.

    Attributes:
        x: (n, D) flat, correctly classified.
        y: (n,) their labels.
        accuracy: Share of all distinct inputs classified correctly.
        majority: Share of the most frequent label among them.
        labelled: How many inputs the accuracy rests on.
    """

    x: Tensor
    y: Tensor
    accuracy: float
    majority: float
    labelled: int


def draw_sample(classifier: TorchClassifier, x: Tensor, y: Tensor, *, seed: int, limit: int) -> Sample:
    """At most `limit` correctly classified inputs, ordered by a keyed hash of their content.

    An input given several times with the same label counts once, in the accuracy too: copies are no further evidence.

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
    flat, labels = classifier.flat(x), y.to(classifier.device)
    correct = predict(classifier, flat) == labels
    distinct = torch.tensor(_by_content(flat, labels, seed), device=labels.device)
    right, n = distinct[correct[distinct]], len(distinct)
    if len(right) < MIN_INPUTS:
        raise SubjectError(
            f"the model classifies {len(right)} of {n} distinct inputs correctly, at least {MIN_INPUTS} are needed; "
            "check that labels and inputs belong together and have the preprocessing of training, or pass more inputs"
        )
    kept = right[:limit]
    majority = float(torch.bincount(labels[distinct]).max()) / n
    return Sample(flat[kept], labels[kept], len(right) / n, majority, n)


def predict(classifier: TorchClassifier, flat: Tensor) -> Tensor:
    """Labels (m,) of flat inputs (m, D), in evaluation mode.

    Raises:
        ModelError: The model raises, or logits are NaN or infinite.
    """
    with classifier.evaluation(), torch.no_grad():
        logits = in_batches(flat, lambda rows: _logits(classifier, flat[rows]))
    bad = int((~torch.isfinite(logits)).any(1).sum())
    if bad:
        raise ModelError(
            f"the logits of the {classifier.role} are NaN or infinite on {bad} of {len(flat)} inputs; "
            "check its weights and the preprocessing of the inputs"
        )
    return logits.argmax(1)


def _logits(classifier: TorchClassifier, batch: Tensor) -> Tensor:
    try:
        return classifier.logits(batch)
    except Exception as error:
        if out_of_memory(error):
            raise
        shape = (len(batch), *classifier.input_shape)
        raise ModelError(
            f"the {classifier.role} raised {type(error).__name__} in forward on a batch of shape {shape}: {error}; "
            "it must accept batches of any size"
        ) from error


def _by_content(flat: Tensor, labels: Tensor, seed: int) -> list[int]:
    """Rows in the order of a keyed hash of their content: shuffled data give the same sample, copies count once."""
    key = seed.to_bytes(8, "big", signed=True)
    first: dict[bytes, int] = {}
    for row, (values, label) in enumerate(zip(flat.cpu().numpy(), labels.tolist(), strict=True)):
        content = values.tobytes() + str(label).encode()
        first.setdefault(hashlib.blake2b(content, key=key, digest_size=16).digest(), row)
    return [first[digest] for digest in sorted(first)]
