"""The error of an estimator that is of no kind with an exact differentiable form."""

from __future__ import annotations

from dmmcheck.errors import ModelError


class NoExactFormError(ModelError):
    """An estimator, or a part of one, has no exact differentiable form here; its own methods are called instead."""
