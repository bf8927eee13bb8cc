"""Evaluation mode for the duration of a context, after which every flag of the modules is as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluation(*functions: Any) -> Iterator[None]:
    """Put modules into evaluation mode, without gradients of parameters; every flag is restored, also after an error.

    While a module with recurrent layers is in evaluation mode, cuDNN is off, since it has no gradients of these then.

    Args:
        *functions: Modules, bound methods of modules, or other callables. A module that a function calls is not found.
    """
    modules = [module for module in map(module_of, functions) if module is not None]
    training = [(part, part.training) for module in modules for part in module.modules()]
    wanted = [(parameter, parameter.requires_grad) for module in modules for parameter in module.parameters()]
    changed = [(parameter, flag) for parameter, flag in wanted if flag and not parameter.is_inference()]
    recurrent = torch.backends.cudnn.enabled and any(isinstance(part, nn.RNNBase) for part, _ in training)
    try:
        if recurrent:
            torch.backends.cudnn.enabled = False
        for module in modules:
            _evaluating(module)
        for parameter, _ in changed:
            parameter.requires_grad_(False)
        yield
    finally:
        if recurrent:
            torch.backends.cudnn.enabled = True
        for part, flag in training:
            part.__dict__["training"] = flag  # a module's own __setattr__ or property may raise
        for parameter, flag in changed:
            parameter.requires_grad_(flag)


def _evaluating(module: nn.Module) -> None:
    try:
        module.eval()
    except NotImplementedError:  # raised by an exported program, whose mode was fixed by the export
        for part in module.modules():
            part.training = False


def module_of(function: Any) -> nn.Module | None:
    """Return the callable itself if it is a module, the module if it is a bound method of one, else None."""
    owner = function if isinstance(function, nn.Module) else getattr(function, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None
