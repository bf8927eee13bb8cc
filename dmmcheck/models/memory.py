"""Batches that fit into memory: rows are computed in blocks, whose size is halved where memory runs out."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from dmmcheck.errors import DmmError, LackOfMemoryError
from dmmcheck.errors.text import described, told

BATCH_VALUES = 1 << 24  # most values of x in one block
BATCH_ROWS = 1024  # most rows in one block

T = TypeVar("T")


def in_batches(x: Tensor, compute: Callable[[slice], Tensor]) -> Tensor:
    """Return the results for the rows of a tensor, computed block by block and joined along the first axis.

    Args:
        x: (m, D), m at least 1. The size of a block depends on D.
        compute: From a block of rows to their results (rows, ...).
    """
    size = max(1, min(len(x), BATCH_ROWS, BATCH_VALUES // max(1, x.shape[1])))
    parts, _ = batch_results(len(x), size, compute)
    return torch.cat(parts)


def batch_results(rows: int, size: int, compute: Callable[[slice], T]) -> tuple[list[T], int]:
    """Return the results for consecutive blocks of rows.

    Args:
        rows: Number of rows.
        size: Rows in a block. Where memory runs out, it is halved, and the block is computed again.
        compute: From a block of rows to its result.

    Returns:
        The result of each block, and the size of the last one.

    Raises:
        RuntimeError: From `compute`, for another reason than a lack of memory.
        LackOfMemoryError: Memory ran out for a block of a single row.

    Example:
        >>> from dmmcheck.models.memory import batch_results
        >>> def compute(rows):
        ...     if rows.stop - rows.start > 2:
        ...         raise MemoryError
        ...     return list(range(5))[rows]
        >>> batch_results(5, 4, compute)
        ([[0, 1], [2, 3], [4]], 2)
    """
    parts: list[T] = []
    start = 0
    while start < rows:
        try:
            parts.append(compute(slice(start, start + size)))
        except (RuntimeError, MemoryError) as error:
            if (isinstance(error, LackOfMemoryError) and min(size, rows) == 1) or not out_of_memory(error):
                raise
            if min(size, rows) == 1:
                raise _lack(f"on a batch of one input, of {rows} to be measured", error) from error
            size = min(size, rows) // 2
            continue
        start += size
    return parts, size


def return_freed_memory() -> None:
    """Return memory that was freed, and that the C library keeps for later, to the operating system.

    The C library of most Linux systems can do so; elsewhere, nothing happens.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that memory ran out, on any device."""
    words = described(error)
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


@contextmanager
def lack_of_memory_named(inputs: int) -> Iterator[None]:
    """Turn a lack of memory in this context into one error, which says for how many inputs memory ran out.

    Args:
        inputs: Number of inputs of the measurement.

    Raises:
        LackOfMemoryError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, DmmError) or not out_of_memory(error):
            raise
        raise _lack(f"in a measurement of {inputs} inputs", error) from error


def _lack(where: str, error: BaseException) -> LackOfMemoryError:
    return LackOfMemoryError(
        f"memory ran out {where} ({told(error)}); use a smaller model or fewer samples, or, where the model lies on a "
        'GPU, the memory of the CPU: device = "cpu" (--dmm-device cpu)'
    )


@contextmanager
def out_of_memory_passes() -> Iterator[None]:
    """Raise a lack of memory in this context as it is, although `errors.user_code` inside makes an error of it.

    A smaller batch may need no more memory than there is, see `batch_results`.
    """
    try:
        yield
    except DmmError as error:
        if error.__cause__ is not None and out_of_memory(error.__cause__):
            raise error.__cause__ from None
        raise
