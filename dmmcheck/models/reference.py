"""Companions of the model under test: adapted as it is, on its device, in its dtype, with its classes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dmmcheck.errors import ModelError
from dmmcheck.models.evaluation import module_of
from dmmcheck.models.placement import placement
from dmmcheck.models.torch import TorchClassifier, adapt, probe


def companion(model: Any, x: Tensor, *, beside: TorchClassifier, role: str) -> TorchClassifier:
    """A companion model that takes the inputs of the model under test where that one takes them.

    A module that lies elsewhere, or computes in another dtype, is copied; the given one stays as it is. A function is
    called with inputs on the device and in the dtype of the model under test, and has to follow them.

    Args:
        model: A module, a function or a `TorchClassifier`, see `models.torch.adapt`.
        x: Inputs ``(n, *input_shape)``, at least one.
        beside: The model under test.
        role: What messages call the companion.

    Raises:
        ModelError: It cannot be called on these inputs, cannot be moved, or is one of another task.
    """
    x, there = x[:2].to(beside.device, beside.dtype), (beside.device, beside.dtype)
    settled = isinstance(model, TorchClassifier)
    if ((model.device, model.dtype) if settled else placement(model, x, what=role)) != there:
        model = moved(model, *there, role=role)
    fitting = replace(model, role=role) if settled else adapt(model, x, role=role)
    for what, own, expected in (
        ("classes", fitting.classes, beside.classes),
        ("values an input", fitting.ambient_dim, beside.ambient_dim),
    ):
        if own != expected:
            raise ModelError(
                f"the {role} has {own} {what}, the model under test {expected}; give a model of the same task"
            )
    if settled:
        probe(fitting, fitting.flat(x))
    return fitting


def moved(function: Any, device: torch.device | str, dtype: torch.dtype | None = None, *, role: str) -> Any:
    """A copy of a module, or of a bound method of one, on another device and in another dtype; else the function.

    A `TorchClassifier` is copied with what it calls.

    Raises:
        ModelError: It cannot be copied or moved.
    """
    if isinstance(function, TorchClassifier):
        forward = moved(function.forward, device, dtype, role=role)
        return replace(function, forward=forward, device=torch.device(device), dtype=dtype or function.dtype)
    if module_of(function) is None:
        return function
    try:
        with torch.no_grad():  # else the parameters of a scripted module's copy are no leaves
            copied = copy.deepcopy(function)
            module = module_of(copied)
            assert module is not None
            module.to(device=device, dtype=dtype)
    except Exception as error:
        there = f"{device}" if dtype is None else f"{device} in {dtype}"
        raise ModelError(
            f"the {role} cannot be copied to {there}, where it is needed ({type(error).__name__}: {error}); "
            "give it there, with .to(...)"
        ) from error
    return copied
