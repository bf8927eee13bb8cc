"""Which inputs are independent: one of each group of inputs, and none that is a copy of training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dmmcheck.inference.types import MIN_INPUTS
from dmmcheck.measurement.near import near_copies, near_duplicates

FEW_COPIES = 0.05  # largest share of inputs that are dropped as copies of training data; more make the run unsound
SPARE = 16  # one input in so many is compared with the training data beyond the limit, to replace what is dropped


@dataclass(frozen=True)
class Independence:
    """How many of the inputs are independent of each other, and of the training data.

    Attributes:
        inputs: Number of distinct inputs that were compared with each other.
        groups: Number of groups that they form, of which one input each is measured.
        near: Number of inputs that are nearly the same as an earlier one of their label.
        declared: Number of groups that the user gave; None where none were given.
        compared: Number of inputs that were compared with the training data.
        copies: Number of these that are copies of training data, exact or near.
        dropped: Whether these copies are left out of the sample; otherwise they are too many.
    """

    inputs: int
    groups: int
    near: int = 0
    declared: int | None = None
    compared: int = 0
    copies: int = 0
    dropped: bool = False


def grouped(points: Tensor, labels: Tensor, groups: Tensor | None) -> tuple[Tensor, Independence]:
    """Return the group numbers (n,) of inputs in the order of the sample, on the CPU, and counts of the groups."""
    group = near_duplicates(points, labels, groups=groups)
    by_nearness = group if groups is None else near_duplicates(points, labels)
    return group, Independence(
        inputs=len(labels),
        groups=_count(group),
        near=len(labels) - _count(by_nearness),
        declared=None if groups is None else _count(groups),
    )


def _count(numbers: Tensor) -> int:
    return len(set(numbers.tolist()))


def first_of_each(group: Tensor, is_correct: Tensor) -> Tensor:
    """Return the rows of the first correctly classified input of each group, in rising order."""
    seen: set[int] = set()
    rows: list[int] = []
    for row, (number, correct) in enumerate(zip(group.tolist(), is_correct.tolist(), strict=True)):
        if correct and number not in seen:
            seen.add(number)
            rows.append(row)
    return torch.tensor(rows, dtype=torch.long)


def without_copies(
    points: Tensor, rows: Tensor, limit: int, training: Sequence[Tensor], known: Independence
) -> tuple[Tensor, Independence]:
    """Return at most `limit` of the rows, without copies of training data where these are few."""
    compared = rows[: limit + limit // SPARE]
    copied = torch.zeros(len(compared), dtype=torch.bool)
    for part in training:
        copied |= near_copies(points[compared], part.to(points))
    copies, left = int(copied.sum()), int((~copied).sum())
    dropped = 0 < copies <= most_copies(len(compared)) and left >= MIN_INPUTS
    kept = compared[~copied.to(compared.device)] if dropped else compared
    return kept[:limit], replace(known, compared=len(compared) if training else 0, copies=copies, dropped=dropped)


def most_copies(inputs: int) -> int:
    """Return how many inputs may be left out as copies of training data; with more, a measurement is unsound."""
    return max(1, int(FEW_COPIES * inputs))
