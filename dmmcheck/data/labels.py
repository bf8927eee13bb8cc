"""Labels of any kind as class numbers: numbers, texts of a model that names its classes, and one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmmcheck.data.arrays import check_layout, listed, plain
from dmmcheck.errors import SubjectError, one_error

_TEXTS = "OUS"  # kinds of numpy dtypes that hold texts or other objects


def class_names(model: Any) -> list[Any] | None:
    """Return the labels that a model's outputs stand for, as in scikit-learn's ``classes_``; None where unknown.

    Args:
        model: A model, or a method of one.
    """
    names = getattr(getattr(model, "__self__", model), "classes_", None)
    if names is None or np.ndim(names) != 1:
        return None
    return [name.item() if isinstance(name, np.generic) else name for name in names]


def labels_of(y: Any, name: str, n: int, names: list[Any] | None = None) -> tuple[Tensor, str]:
    """Return the n labels of any array, frame or list as class numbers, a long tensor (n,).

    Args:
        y: Labels (n,) or (n, 1), or one-hot rows (n, classes).
        name: What messages call them.
        n: Number of inputs.
        names: The label of each class, see `class_names`; labels that are class numbers need none.

    Returns:
        The class numbers, and how they were made in a few words; "" for class numbers.

    Raises:
        SubjectError: y is no array, has another shape, holds fractions, texts without `names`, or a label that `names`
            lacks.

    Example:
        >>> from dmmcheck.data.labels import labels_of
        >>> labels_of(["cat", "dog", "cat"], "y", 3, names=["cat", "dog"])
        (tensor([0, 1, 0]), 'y: the labels cat, dog are the classes 0 to 1')
        >>> labels_of([[0, 1], [1, 0]], "y", 2)
        (tensor([1, 0]), 'y: one-hot rows were read as class numbers')
    """
    labels, made = _numbers(_array(y, name), name, n, names)
    return (labels.to(y.device) if isinstance(y, Tensor) else labels), made


def _numbers(values: Any, name: str, n: int, names: list[Any] | None) -> tuple[Tensor, str]:
    """Return the class numbers of an array, and how they were made; see `labels_of`."""
    if values.shape == (n, 1):
        values = values[:, 0]
    if values.shape != (n,):
        return _from_one_hot(values, name, n), f"{name}: one-hot rows were read as class numbers"
    if names is not None and names != list(range(len(names))):
        return _by_name(values, names, name), f"{name}: {_mapping(names)}"
    if values.dtype.kind in _TEXTS:
        raise SubjectError(
            f"{name} holds {listed(sorted({repr(value) for value in values.tolist()}))}, which are no numbers, and the "
            "model has no classes_ that say which output each one is; pass (n,) integer labels, the numbers of the "
            "outputs"
        )
    if values.dtype.kind == "f":
        whole = bool((values == np.round(values)).all())
        if not whole:
            raise SubjectError(
                f"{name} has dtype {values.dtype} and holds fractions, expected integers; pass class numbers"
            )
        return torch.as_tensor(values.astype(np.int64)), f"{name}: whole numbers in {values.dtype} were read as classes"
    if values.dtype.kind not in "iub":
        raise SubjectError(f"{name} has dtype {values.dtype}, expected integers; pass class numbers")
    return torch.as_tensor(values.astype(np.int64)), ""


def _array(y: Any, name: str) -> Any:
    remedy = f"it is a {type(y).__name__}; pass (n,) integer labels"
    with one_error(name, remedy, SubjectError, where="when it was converted to an array"):
        given, _ = (y.to_numpy(), "") if callable(getattr(y, "to_numpy", None)) else plain(y, name)
        if isinstance(given, Tensor):
            check_layout(given, name)
        values = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if values.ndim == 0:
        raise SubjectError(
            f"{name} is a {type(y).__name__} that does not convert to a tensor; pass (n,) integer labels"
        )
    return values


def _from_one_hot(values: Any, name: str, n: int) -> Tensor:
    """Return the class numbers of one-hot rows (n, classes).

    Raises:
        SubjectError: They are no such rows.
    """
    fits = values.ndim == 2 and len(values) == n and values.dtype.kind in "iubf"
    if not fits:
        raise SubjectError(
            f"{name} has shape {values.shape}, expected ({n},): one label per input; "
            "pass class numbers of the same split as the inputs"
        )
    if not (np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all()):
        raise SubjectError(
            f"{name} has shape {values.shape}, and its rows are not one-hot (a single 1 among zeros); pass class "
            "numbers, e.g. y.argmax(1) for the likeliest class"
        )
    return torch.as_tensor(values.argmax(1))


def _by_name(values: Any, names: list[Any], name: str) -> Tensor:
    """Return the place of each label among the names of the classes."""
    place = {label: number for number, label in enumerate(names)}
    given = values.tolist()
    unknown = sorted({repr(value) for value in given if value not in place})
    if unknown:
        raise SubjectError(
            f"{name} holds {listed(unknown)}, which the model's classes_ ({listed(list(map(repr, names)))}) lack; pass "
            "labels that the model was trained on"
        )
    return torch.as_tensor([place[value] for value in given])


def _mapping(names: list[Any]) -> str:
    return f"the labels {listed(list(map(str, names)))} are the classes 0 to {len(names) - 1}"
