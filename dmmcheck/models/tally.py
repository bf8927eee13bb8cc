"""Counts the rows that pass through a model, forwards and for gradients, while someone counts."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor


@dataclass
class Tally:
    """Rows that have passed through models.

    Attributes:
        forwards: Rows of forward passes.
        gradients: Rows of gradient evaluations.
    """

    forwards: int = 0
    gradients: int = 0


TALLY: ContextVar[Tally | None] = ContextVar("TALLY", default=None)
"""The tally that rows are added to at present; None where nobody counts."""


def count_gradients(rows: int) -> None:
    """Add gradients that were evaluated without a backward pass to the present tally.

    Args:
        rows: Number of rows that they were evaluated at.
    """
    tally = TALLY.get()
    if tally is not None:
        tally.gradients += rows


def counted(output: Tensor, rows: int) -> Tensor:
    """Return the output of a model, and add its rows, and each gradient of it, to the present tally.

    Args:
        output: What the model returned.
        rows: Number of rows that it was called with.

    Example:
        >>> import torch
        >>> from dmmcheck.models.tally import TALLY, Tally, counted
        >>> x = torch.ones(3, 2, requires_grad=True)
        >>> token = TALLY.set(Tally())
        >>> counted(x.square(), len(x)).sum().backward()
        >>> TALLY.get()
        Tally(forwards=3, gradients=3)
        >>> TALLY.reset(token)
    """
    tally = TALLY.get()
    if tally is None:
        return output
    tally.forwards += rows
    if output.requires_grad:

        def add(gradient: Tensor) -> None:
            del gradient
            tally.gradients += rows

        output.register_hook(add)  # type: ignore[no-untyped-call]
    return output
