"""Reference models, brought to the device and the dtype of the model under test and compared with its classes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dmmcheck.errors import ModelError
from dmmcheck.errors.text import told
from dmmcheck.models.base import Classifier, ambient_dim
from dmmcheck.models.callables import as_callable
from dmmcheck.models.evaluation import module_of
from dmmcheck.models.numpy_function import over_arrays
from dmmcheck.models.placement import placement
from dmmcheck.models.torch import TorchClassifier, adapt, verify


def reference_model(
    model: Any, x: Tensor, *, like: Classifier, role: str, bounds: tuple[float, float] | None = None
) -> Classifier:
    """Return a reference model as a classifier, on the device and in the dtype of the model under test.

    A module on another device or of another dtype is copied, and the given module stays as it is. A function gets
    inputs on the device and in the dtype of the model under test, and must compute there.

    Args:
        model: A module, a function or a `Classifier`, see `models.torch.adapt`.
        x: Inputs ``(n, *input_shape)``, at least one.
        like: The model under test.
        role: What messages call the reference model.
        bounds: Box (lo, hi) of the inputs, see `models.torch.adapt`.

    Raises:
        ModelError: The reference model cannot be called on these inputs, cannot be moved, or has another number of
            classes or of input values than the model under test.
    """
    is_adapted = isinstance(model, Classifier)
    model = as_callable(model, x, role=role, bounds=bounds)
    if callable(model) and not is_adapted:
        model = over_arrays(model, x, bounds=bounds)
    x, there = x[:2].to(like.device, like.dtype), (like.device, like.dtype)
    given, dtype = (model.device, model.dtype) if is_adapted else placement(model, x, what=role)
    if (_device(given), dtype) != (_device(there[0]), there[1]):
        model = moved(model, *there, role=role)
    fitting = (
        replace(model, role=role) if isinstance(model, TorchClassifier) else adapt(model, x, role=role, bounds=bounds)
    )
    for what, own, expected in (
        ("classes", fitting.classes, like.classes),
        ("values an input", ambient_dim(fitting), ambient_dim(like)),
    ):
        if own != expected:
            raise ModelError(
                f"the {role} has {own} {what}, the model under test has {expected}; give a model of the same task"
            )
    if is_adapted:
        verify(fitting, x)
    return fitting


def _device(device: torch.device | str) -> torch.device:
    """Return a device with its index, so that ``cuda`` and ``cuda:0`` are the same."""
    found = torch.device(device)
    return torch.device(found.type, 0) if found.index is None and found.type != "cpu" else found


def moved(function: Any, device: torch.device | str, dtype: torch.dtype | None = None, *, role: str) -> Any:
    """Return a copy of a module, or of a bound method of one, on another device and in another dtype.

    A `TorchClassifier` is copied with the module that it calls. Any other function is returned as it is.

    Args:
        function: A module, a bound method of one, a `Classifier`, or any other callable.
        device: The device of the copy.
        dtype: The dtype of the copy; that of the original where None.
        role: What messages call the function.

    Raises:
        ModelError: The module cannot be copied or moved, or the function is a `Classifier` of another kind.
    """
    if isinstance(function, TorchClassifier):
        forward = moved(function.forward, device, dtype, role=role)
        to, precision = torch.device(device), dtype or function.dtype
        return replace(function, forward=forward, device=to, dtype=precision, layout=torch.preserve_format)
    there = f"{device}" if dtype is None else f"{device} in {dtype}"
    if isinstance(function, Classifier):
        if _device(function.device) == _device(device) and dtype in {None, function.dtype}:
            return function
        raise ModelError(
            f"the {role} computes on {function.device} in {function.dtype} and cannot be copied to {there}; "
            "pass one that computes there"
        )
    if module_of(function) is None:
        return function
    try:
        with torch.no_grad():  # otherwise the parameters of a scripted module's copy would not be leaf tensors
            copied = copy.deepcopy(function)
            module = module_of(copied)
            assert module is not None
            module.to(device=device, dtype=dtype)
    except Exception as error:
        raise ModelError(
            f"the {role} cannot be copied to {there}, where it is needed ({told(error)}); "
            "move it there yourself, with .to(...)"
        ) from error
    return copied
