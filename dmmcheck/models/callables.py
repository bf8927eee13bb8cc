"""Models that are no callables yet as callables: estimators, ONNX sessions and exported programs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dmmcheck.models.estimators import as_function, is_estimator
from dmmcheck.models.onnx_session import OnnxModel, is_session


def as_callable(model: Any, x: Tensor, *, role: str, bounds: tuple[Any, Any] | None = None) -> Any:
    """Return the function of an estimator, of an ONNX session or of an exported program; any other model as it is.

    Args:
        model: What a user gave as a model.
        x: Inputs ``(n, *input_shape)``.
        role: What messages call the model.
        bounds: Box (lo, hi) that an estimator is not called outside of here, see `numpy_function`.

    Raises:
        ModelError: The model is an estimator that cannot be used, or an ONNX session with several inputs.
    """
    if is_estimator(model):
        return as_function(model, x, role=role, bounds=bounds)
    if is_session(model):
        return OnnxModel(model)
    return model.module() if isinstance(model, torch.export.ExportedProgram) else model
