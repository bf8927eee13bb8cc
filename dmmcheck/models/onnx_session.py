"""An ONNX session as a function over numpy arrays; nothing here loads onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np

from dmmcheck.errors import ModelError


def is_session(model: Any) -> bool:
    """Return whether a model is a session of onnxruntime, told by its methods."""
    return all(callable(getattr(model, name, None)) for name in ("run", "get_inputs", "get_outputs"))


class OnnxModel:
    """An ONNX session with one input as a function over numpy arrays.

    Args:
        session: The session, an ``onnxruntime.InferenceSession``.
        name: Its name in a report.

    Raises:
        ModelError: The graph has several inputs.
    """

    def __init__(self, session: Any, name: str = "onnx") -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1:
            raise ModelError(
                f"the ONNX graph has {len(inputs)} inputs ({', '.join(part.name for part in inputs)}), expected one; "
                "pass a function over numpy arrays that takes one of them and gives the others itself"
            )
        self.__name__ = name
        self._session, self._input = session, inputs[0]
        floats = [part.name for part in outputs if part.type in {"tensor(float)", "tensor(double)"}]
        self._output = (floats or [outputs[0].name])[0]

    def __call__(self, x: Any) -> Any:
        """Return the first output of scores (n, C) for inputs ``(n, *shape)``; of labels where there are no scores."""
        dtype = np.float64 if self._input.type == "tensor(double)" else np.float32
        given = np.asarray(x, dtype=dtype)
        size = self._input.shape[0] if self._input.shape else None
        if not isinstance(size, int) or size == len(given):
            return self._session.run([self._output], {self._input.name: given})[0]
        if size != 1:
            raise ValueError(f"the graph takes batches of {size}; export it with a dynamic first dimension")
        return np.concatenate([self._session.run([self._output], {self._input.name: row[None]})[0] for row in given])
