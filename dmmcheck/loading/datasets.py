"""From arrays, frames, tensors, datasets and loaders to inputs and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import TensorDataset

from dmmcheck.errors import SubjectError
from dmmcheck.loading.items import ADVICE, READ_LIMIT, Read, are_mappings, is_source, read

PAIR, TRIPLE = 2, 3


def with_groups(value: Any, what: str, *, limit: int = READ_LIMIT) -> tuple[Any, Any, Any | None, str]:
    """Return the inputs x, labels y, groups (n,) or None, and what was read of a source in a few words; see `labelled`.

    Raises:
        SubjectError: The value is neither ``(x, y)``, ``(x, y, groups)`` nor a source of labelled items.
    """
    if isinstance(value, (tuple, list)) and len(value) == TRIPLE and not are_mappings(value):
        return value[0], value[1], value[2], ""
    found = labelled(value, what, limit=limit)
    return found.inputs, found.labels, None, found.said


def labelled(value: Any, what: str, *, limit: int = READ_LIMIT) -> Read:
    """Return the inputs ``(n, *input_shape)`` and labels of labelled data.

    Args:
        value: (x, y), each an array, tensor or frame; or a source of items, see `items.read`.
        what: Its name in messages.
        limit: Most items to read from a source.

    Raises:
        SubjectError: The value is neither of the two, or has no labels.
    """
    found = inputs_and_labels(value, what, limit=limit)
    if found.labels is None:
        raise SubjectError(f"{what} has no labels; {ADVICE}")
    return found


def inputs_and_labels(value: Any, what: str, *, limit: int = READ_LIMIT) -> Read:
    """Return the inputs, and labels or None; see `labelled`. An array, frame or sparse matrix alone has no labels."""
    if isinstance(value, TensorDataset):
        value = value.tensors
    if isinstance(value, (tuple, list)) and not (value and are_mappings(value)):
        if len(value) != PAIR:
            raise SubjectError(
                f"{what} is a {type(value).__name__} of {len(value)} elements, expected 2 (inputs x and labels y); "
                f"{ADVICE}"
            )
        return Read(value[0], value[1])
    if any(hasattr(value, name) for name in ("__array__", "to_numpy", "toarray")):
        return Read(value, None)
    if isinstance(value, (str, Mapping)) or not is_source(value):
        raise SubjectError(f"{what} is a {type(value).__name__}; {ADVICE}")
    return read(value, what, limit)
