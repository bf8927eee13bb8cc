"""Batches that fit: rows of a model's answers in blocks bounded in memory, halved where they still do not fit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BATCH_VALUES = 1 << 24  # values of x in one pass
BATCH_ROWS = 1024


def in_batches(flat: Tensor, compute: Callable[[slice], Tensor]) -> Tensor:
    """Results of the rows of a flat tensor (m, D), block after block, joined along the first axis.

    Args:
        flat: (m, D), m at least 1; its width says how many rows make a block.
        compute: Results (rows, ...) of a block of rows. Called again with half of it where memory runs out.
    """
    size = max(1, min(len(flat), BATCH_ROWS, BATCH_VALUES // max(1, flat.shape[1])))
    parts: list[Tensor] = []
    start = 0
    while start < len(flat):
        try:
            parts.append(compute(slice(start, start + size)))
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not out_of_memory(error):
                raise
            size //= 2
            continue
        start += size
    return torch.cat(parts)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    words = str(error)
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words
