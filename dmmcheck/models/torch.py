"""A PyTorch classifier seen as a function from flat inputs to logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from dmmcheck.errors import ModelError
from dmmcheck.models.evaluation import evaluation, module_of
from dmmcheck.models.placement import PRECISE, placement

UNDER_TEST = "model"
OutputForm = Literal["logits", "binary", "probabilities", "binary-probability"]

_SUMS_TO_ONE = 1e-4
_FAR = (-10.0, 10.0)  # times (x + 1): where logits that look like probabilities near the data give themselves away


@dataclass(frozen=True, eq=False)
class TorchClassifier:
    """A classifier with its calling convention settled; made by `adapt`.

    Attributes:
        forward: The user's module or function, called with ``(n, *input_shape)``.
        input_shape: Shape of one input; flat inputs have ``ambient_dim`` entries.
        device: Where the parameters live; inputs follow.
        dtype: float32 or float64; inputs follow.
        form: ``"logits"``; ``"binary"`` for one logit z an input, read as (0, z); ``"probabilities"`` for rows that are
            non-negative and sum to one, read as log p; ``"binary-probability"`` for one p in [0, 1] an input, read as
            (log (1 - p), log p).
        classes: Number of classes C.
        role: What messages call it.
    """

    forward: Callable[[Tensor], Any]
    input_shape: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    form: OutputForm
    classes: int
    role: str = UNDER_TEST

    @property
    def ambient_dim(self) -> int:
        """Entries of one input, D."""
        return int(torch.Size(self.input_shape).numel())

    @property
    def name(self) -> str:
        """What a report calls the model."""
        module = module_of(self.forward)
        return getattr(self.forward, "__name__", "model") if module is None else type(module).__name__

    def flat(self, x: Tensor) -> Tensor:
        """``(n, *input_shape)`` or ``(n, D)`` as ``(n, D)`` on the model's device, in its dtype, detached."""
        return x.detach().reshape(x.shape[0], -1).to(self.device, self.dtype)

    def logits(self, x: Tensor) -> Tensor:
        """Logits (n, C) of flat inputs (n, D); differentiable in x, which in-place models do not touch."""
        output = _tensor_of(self.forward(x.reshape(-1, *self.input_shape).clone()), self.role)
        if self.form == "binary":
            score = output.reshape(-1)
            return torch.stack([torch.zeros_like(score), score], dim=1)
        if self.form == "binary-probability":
            score = output.reshape(-1)
            output = torch.stack([1 - score, score], dim=1)
        if self.form != "logits":
            return output.clamp_min(torch.finfo(output.dtype).tiny).log()
        return output

    @contextmanager
    def evaluation(self) -> Iterator[TorchClassifier]:
        """The classifier, in evaluation mode for the duration; see `models.evaluation`."""
        with evaluation(self.forward):
            yield self


def adapt(model: Any, x: Tensor, *, role: str = UNDER_TEST) -> TorchClassifier:
    """Settle how `model` is called, from a forward pass over at most two of the inputs.

    Where their outputs could be probabilities, a second pass over points far from them decides: outputs that could be
    there too are read as such.

    Args:
        model: A ``torch.nn.Module``, any callable on tensors, or a `TorchClassifier` (returned as it is). It
            returns a tensor or an object with ``.logits``: (n, C) logits or probabilities, or one logit or
            probability of class 1 an input as (n,) or (n, 1).
        x: Inputs ``(n, *input_shape)``, at least one.
        role: What messages call the model.

    Raises:
        ModelError: The model is not callable, lies on more than one device or dtype, computes in half
            precision, raises in forward, or returns a wrong shape.
    """
    if isinstance(model, TorchClassifier):
        return model
    if not callable(model):
        raise ModelError(
            f"the {role} is a {type(model).__name__}, which cannot be called; "
            "pass a torch.nn.Module or a function from a tensor to logits"
        )
    device, dtype = placement(model, x, what=role)
    draft = TorchClassifier(model, tuple(x.shape[1:]), device, dtype, "logits", 0, role)
    inputs = draft.flat(x[:2])
    output = probe(draft, inputs)
    classes = _classes(output, len(inputs), role)
    likely = _likely(output) and _likely_far_away(draft, inputs)
    forms: tuple[OutputForm, OutputForm] = ("probabilities", "logits")
    if output.shape != (len(inputs), classes):
        forms = ("binary-probability", "binary")
    return replace(draft, form=forms[0] if likely else forms[1], classes=classes)


def probe(draft: TorchClassifier, inputs: Tensor) -> Tensor:
    """What the model returns for flat inputs (n, D).

    Raises:
        ModelError: It raises, or returns no tensor.
    """
    with draft.evaluation(), torch.no_grad():
        try:
            return draft.logits(inputs)
        except ModelError:
            raise
        except Exception as error:
            remedy = "check that the data have the shape the model expects"
            if draft.role != UNDER_TEST:
                remedy = "it must take the inputs of the model under test: check their shape"
            if module_of(draft.forward) is None:
                remedy += ", and its dtype and device; inputs follow those of a torch.nn.Module that is passed itself"
            raise ModelError(
                f"the {draft.role} raised {type(error).__name__} in forward on an input of shape "
                f"{(len(inputs), *draft.input_shape)}, {draft.dtype}, on {draft.device}: {error}; {remedy}"
            ) from error


def _tensor_of(output: Any, role: str) -> Tensor:
    """The output itself, or its ``.logits``."""
    tensor = getattr(output, "logits", output)
    if not isinstance(tensor, Tensor):
        raise ModelError(
            f"the {role} returned a {type(output).__name__}, expected a tensor or an object with .logits; "
            "wrap it in a function that returns the logits"
        )
    return tensor


def _classes(output: Tensor, n: int, role: str) -> int:
    """How many classes the rows of an output for n inputs tell apart.

    Raises:
        ModelError: Not one row an input, a single column apart; or not numbers in float32 or float64.
    """
    shape, single = tuple(output.shape), tuple(output.shape) in {(n,), (n, 1)}
    if not single and (len(shape) != 2 or shape[0] != n or shape[1] == 0):
        raise ModelError(
            f"the {role} returned shape {shape} for {n} inputs, expected ({n}, classes), ({n}, 1) or ({n},); "
            "flatten or pool the output to one row of logits an input"
        )
    if not output.is_floating_point():
        raise ModelError(f"the {role} returned {output.dtype}, expected floating-point logits, not labels")
    if output.dtype not in PRECISE:
        raise ModelError(
            f"the {role} returned {output.dtype}, too coarse to find a boundary by; compute logits in float32, "
            "without autocast"
        )
    return 2 if single else int(output.shape[1])


def _likely(output: Tensor) -> bool:
    """Whether an output could be probabilities: rows in [0, 1] that sum to one, a single column apart."""
    rows = output.reshape(len(output), -1)
    inside = bool(((rows >= 0) & (rows <= 1)).all())
    return inside and (rows.shape[1] == 1 or bool(((rows.sum(1) - 1).abs() <= _SUMS_TO_ONE).all()))


def _likely_far_away(draft: TorchClassifier, inputs: Tensor) -> bool:
    """The same far from the inputs, be they zeros; a model that refuses such points is taken by its word."""
    try:
        return _likely(probe(draft, torch.cat([factor * (inputs + 1) for factor in _FAR])))
    except ModelError:
        return True
