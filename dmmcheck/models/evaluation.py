"""Modules called without leaving a trace: evaluation mode for the duration, and every flag as it was after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def evaluation(*functions: Any) -> Iterator[None]:
    """Evaluation mode without parameter gradients for the duration; every flag restored after, come what may.

    Args:
        *functions: Modules, bound methods of modules, or other callables; a module that a function hides is not seen.
    """
    modules = [module for module in map(module_of, functions) if module is not None]
    training = [(part, part.training) for module in modules for part in module.modules()]
    wanted = [(parameter, parameter.requires_grad) for module in modules for parameter in module.parameters()]
    try:
        for module in modules:
            _evaluating(module)
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for part, flag in training:
            part.training = flag
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)


def _evaluating(module: nn.Module) -> None:
    try:
        module.eval()
    except NotImplementedError:  # an exported program, which computes as it did when it was exported
        for part in module.modules():
            part.training = False


def module_of(function: Any) -> nn.Module | None:
    """The module that a callable is, or is a bound method of."""
    owner = function if isinstance(function, nn.Module) else getattr(function, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None
