"""A PyTorch classifier seen as a function from flat inputs to logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dmmcheck.errors import ModelError

OutputForm = Literal["logits", "binary", "probabilities"]

_SEARCHABLE = (torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class TorchClassifier:
    """A classifier with its calling convention settled; made by `adapt`.

    Attributes:
        forward: The user's module or function, called with ``(n, *input_shape)``.
        input_shape: Shape of one input; flat inputs have ``ambient_dim`` entries.
        device: Where the parameters live; inputs follow.
        dtype: float32 or float64; inputs follow.
        form: ``"logits"``; ``"binary"`` for one logit z an input, read as (0, z); ``"probabilities"`` for
            rows that are non-negative and sum to one, read as log p.
        classes: Number of classes C.
    """

    forward: Callable[[Tensor], Any]
    input_shape: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    form: OutputForm
    classes: int

    @property
    def ambient_dim(self) -> int:
        """Entries of one input, D."""
        return int(torch.Size(self.input_shape).numel())

    @property
    def name(self) -> str:
        """What a report calls the model."""
        forward = self.forward
        return type(forward).__name__ if isinstance(forward, nn.Module) else getattr(forward, "__name__", "model")

    def flat(self, x: Tensor) -> Tensor:
        """``(n, *input_shape)`` or ``(n, D)`` as ``(n, D)`` on the model's device, in its dtype, detached."""
        return x.detach().reshape(x.shape[0], -1).to(self.device, self.dtype)

    def logits(self, x: Tensor) -> Tensor:
        """Logits (n, C) of flat inputs (n, D); differentiable in x."""
        output = _tensor_of(self.forward(x.reshape(-1, *self.input_shape)))
        if self.form == "binary":
            score = output.reshape(-1)
            return torch.stack([torch.zeros_like(score), score], dim=1)
        if self.form == "probabilities":
            return output.clamp_min(torch.finfo(output.dtype).tiny).log()
        return output

    @contextmanager
    def evaluation(self) -> Iterator[TorchClassifier]:
        """Evaluation mode without parameter gradients for the duration; every flag restored after, come what may."""
        if not isinstance(self.forward, nn.Module):
            yield self
            return
        training = [(module, module.training) for module in self.forward.modules()]
        wanted = [(parameter, parameter.requires_grad) for parameter in self.forward.parameters()]
        try:
            self.forward.eval()
            for parameter, _ in wanted:
                parameter.requires_grad_(False)
            yield self
        finally:
            for module, flag in training:
                module.training = flag
            for parameter, flag in wanted:
                parameter.requires_grad_(flag)


def adapt(model: Any, x: Tensor) -> TorchClassifier:
    """Settle how `model` is called, from one forward pass over at most two of the inputs.

    Args:
        model: A ``torch.nn.Module``, any callable on tensors, or a `TorchClassifier` (returned as it is). It
            returns a tensor or an object with ``.logits``: (n, C) logits, (n, C) probabilities, or one logit
            an input as (n,) or (n, 1).
        x: Inputs ``(n, *input_shape)``, at least one.

    Raises:
        ModelError: The model is not callable, lies on more than one device or dtype, computes in half
            precision, raises in forward, or returns a wrong shape.
    """
    if isinstance(model, TorchClassifier):
        return model
    if not callable(model):
        raise ModelError(
            f"the model is a {type(model).__name__}, which cannot be called; "
            "pass a torch.nn.Module or a function from a tensor to logits"
        )
    device, dtype = _placement(model, x)
    draft = TorchClassifier(model, tuple(x.shape[1:]), device, dtype, "logits", 0)
    probe = draft.flat(x[:2])
    with draft.evaluation(), torch.no_grad():
        try:
            output = _tensor_of(draft.forward(probe.reshape(-1, *draft.input_shape)))
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"the model raised {type(error).__name__} in forward on an input of shape "
                f"{(len(probe), *draft.input_shape)}, {dtype}, on {device}: {error}; "
                "check that the data have the shape the model expects"
            ) from error
    form, classes = _form(output, len(probe))
    return TorchClassifier(model, draft.input_shape, device, dtype, form, classes)


def _placement(model: Any, x: Tensor) -> tuple[torch.device, torch.dtype]:
    """The one device and floating dtype of the model; those of x where it has no parameters."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    devices = {tensor.device for tensor in tensors}
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    dtypes = {parameter.dtype for parameter in parameters if parameter.is_floating_point()}
    for what, found in (("devices", devices), ("dtypes", dtypes)):
        if len(found) > 1:
            raise ModelError(
                f"the model's parameters lie on {len(found)} {what} ({', '.join(sorted(map(str, found)))}), one is "
                "supported; move it as a whole with model.to(...)"
            )
    device = devices.pop() if devices else x.device
    dtype = dtypes.pop() if dtypes else (x.dtype if x.is_floating_point() else torch.get_default_dtype())
    if device.type == "meta":
        raise ModelError("the model's parameters are on the meta device and hold no values; load its weights first")
    if dtype not in _SEARCHABLE:
        raise ModelError(
            f"the model computes in {dtype}, the boundary search needs float32 or float64; pass model.float()"
        )
    return device, dtype


def _tensor_of(output: Any) -> Tensor:
    """The output itself, or its ``.logits``."""
    tensor = getattr(output, "logits", output)
    if not isinstance(tensor, Tensor):
        raise ModelError(
            f"the model returned a {type(output).__name__}, expected a tensor or an object with .logits; "
            "wrap it in a function that returns the logits"
        )
    return tensor


def _form(output: Tensor, n: int) -> tuple[OutputForm, int]:
    """What the rows of the output mean, and the number of classes."""
    shape = tuple(output.shape)
    if shape in {(n,), (n, 1)}:
        return "binary", 2
    if len(shape) != 2 or shape[0] != n:
        raise ModelError(
            f"the model returned shape {shape} for {n} inputs, expected ({n}, classes), ({n}, 1) or ({n},); "
            "flatten or pool the output to one row of logits an input"
        )
    if not output.is_floating_point():
        raise ModelError(f"the model returned {output.dtype}, expected floating-point logits, not labels")
    sums_to_one = torch.allclose(output.sum(1), torch.ones_like(output[:, 0]), atol=1e-3)
    is_probability = bool((output >= 0).all()) and sums_to_one
    return ("probabilities" if is_probability else "logits"), shape[1]
