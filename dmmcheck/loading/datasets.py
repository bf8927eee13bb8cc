"""From arrays, tensors or a torch Dataset to inputs and labels."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import TensorDataset

from dmmcheck.errors import SubjectError

PAIR, TRIPLE = 2, 3
ADVICE = "give (x, y) arrays or tensors, or a torch Dataset of (input, label)"


def with_groups(value: Any, what: str) -> tuple[Any, Any, Any | None]:
    """Inputs x, labels y, and groups (n,) or None, of ``(x, y)``, ``(x, y, groups)`` or a Dataset; see `labelled`.

    Raises:
        SubjectError: The value is none of these.
    """
    if isinstance(value, TensorDataset):
        value = value.tensors
    if isinstance(value, (tuple, list)) and len(value) == TRIPLE:
        return value[0], value[1], value[2]
    return (*labelled(value, what), None)


def labelled(value: Any, what: str) -> tuple[Any, Any]:
    """Inputs x ``(n, *input_shape)`` and labels y ``(n,)`` of labelled data.

    Args:
        value: (x, y), or a map-style Dataset of (input, label).
        what: Its name in messages.

    Raises:
        SubjectError: The value is neither of the two.
    """
    x, y = inputs_and_labels(value, what)
    if y is None:
        raise SubjectError(f"{what} has no labels; {ADVICE}")
    return x, y


def inputs_and_labels(value: Any, what: str) -> tuple[Any, Any | None]:
    """Inputs, and labels or None; see `labelled`. An array alone has no labels."""
    if isinstance(value, TensorDataset):
        value = value.tensors
    if isinstance(value, (tuple, list)):
        if len(value) != PAIR:
            raise SubjectError(
                f"{what} is a {type(value).__name__} of {len(value)} elements, expected 2 (inputs x and labels y); "
                f"{ADVICE}"
            )
        return value[0], value[1]
    if hasattr(value, "__array__"):
        return value, None
    if hasattr(value, "dataset") and hasattr(value, "batch_size"):
        raise SubjectError(f"{what} is a {type(value).__name__}; give its attribute .dataset")
    if not (hasattr(value, "__getitem__") and hasattr(value, "__len__")) or isinstance(value, (str, dict)):
        raise SubjectError(f"{what} is a {type(value).__name__}; {ADVICE}")
    return _stacked(value, what)


def _stacked(dataset: Any, what: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All items of a Dataset as two tensors."""
    if not len(dataset):
        raise SubjectError(f"{what} is an empty {type(dataset).__name__}; give the test split")
    inputs, labels = [], []
    for index in range(len(dataset)):
        item = dataset[index]
        if not isinstance(item, (tuple, list)) or len(item) != PAIR:
            raise SubjectError(f"{what}: item {index} is a {type(item).__name__}, not a pair (input, label); {ADVICE}")
        inputs.append(_tensor(item[0], f"{what}: the input of item {index}"))
        labels.append(_tensor(item[1], f"{what}: the label of item {index}").reshape(()))
    shapes = {tuple(x.shape) for x in inputs}
    if len(shapes) > 1:
        raise SubjectError(
            f"{what} has inputs of {len(shapes)} shapes ({', '.join(map(str, sorted(shapes)[:3]))}); "
            "give the dataset a transform that brings all inputs to one shape"
        )
    return torch.stack(inputs), torch.stack(labels)


def _tensor(value: Any, what: str) -> torch.Tensor:
    """A value of a Dataset as a tensor."""
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SubjectError(
            f"{what} is a {type(value).__name__}, not a tensor; give the dataset a transform, e.g. ToTensor()"
        ) from error
