"""Normalisation of the inputs inside a model, so that distances are in the units of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dmmcheck.errors import ModelError, SubjectError, users_state
from dmmcheck.models.base import Classifier
from dmmcheck.models.callables import as_callable
from dmmcheck.models.evaluation import module_of
from dmmcheck.models.numpy_function import NumpyFunction, over_arrays
from dmmcheck.models.placement import placement

CHANNELS = 4  # most channels that the last axis of images is taken to be
EXAMPLE = "{'mean': [0.5], 'std': [0.25]}"


@dataclass(frozen=True, eq=False)
class Normalization:
    """The map ``(x - mean) / std``, as a model expects its inputs.

    Attributes:
        mean: In float64, of a shape that broadcasts over one input.
        std: Of the same shape, above zero.
    """

    mean: Tensor
    std: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the inputs ``(n, *input_shape)`` as the model expects them; differentiable."""
        return (x - self.mean.to(x)) / self.std.to(x)


class Normalized(nn.Module):
    """A module or function that gets normalised inputs.

    Args:
        function: A module, a bound method of one, or a function.
        normalization: What is applied first.
        device: The device on which the function computes.
        dtype: The dtype in which it does.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, function: Callable[..., Any], normalization: Normalization, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.owner = module_of(function)
        self.function = function
        self.register_buffer("mean", normalization.mean.to(device, dtype))
        self.register_buffer("std", normalization.std.to(device, dtype))
        self.differentiable = getattr(function, "differentiable", True)
        self.returns_logits = getattr(function, "returns_logits", False)
        own_name = type(self.owner).__name__ if self.owner is not None else getattr(function, "__name__", "model")
        self.reported_name = getattr(function, "reported_name", own_name)

    def forward(self, x: Tensor) -> Any:
        """Return what the function returns for the normalised inputs."""
        normalized = (x - self.mean) / self.std
        with users_state(self.function):
            return self.function(normalized)


def arrays_function(forward: Any) -> NumpyFunction | None:
    """Return a model's function over numpy arrays, with or without normalised inputs; None where it has none."""
    inner = forward.function if isinstance(forward, Normalized) else forward
    return inner if isinstance(inner, NumpyFunction) else None


def difference_steps(forward: Any, input_shape: tuple[int, ...]) -> Tensor | None:
    """Return the sizes (D,) of the differences that the gradients of a model are made of, in units of its inputs.

    None where its gradients are not finite differences, or where these must stay in a box: there each feature has a
    side on which a step stays inside, and a direction may have none.
    """
    function = arrays_function(forward)
    if function is None or function.steps is None or function.bounds is not None:
        return None
    if function is forward:
        return function.steps
    steps: Tensor = function.steps.reshape(input_shape) * forward.std.to(function.steps)
    return steps.reshape(-1)


def within(forward: Any, bounds: tuple[Any, Any], input_shape: tuple[int, ...]) -> Any:
    """Return the model; a function over numpy arrays in it takes its differences inside a box of the inputs."""
    function = arrays_function(forward)
    if function is None:
        return forward
    if function is forward:
        return replace(function, bounds=bounds)
    mean, std = forward.mean, forward.std
    inner = replace(function, bounds=_normalized_bounds(bounds, Normalization(mean, std), mean.new_empty(input_shape)))
    return Normalized(inner, Normalization(mean, std), mean.device, mean.dtype)


def _normalized_bounds(bounds: tuple[Any, Any], normalization: Normalization, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ends (D,) of a box of inputs, normalised as the model expects its inputs.

    Args:
        bounds: The box: two numbers, or two tensors (D,).
        normalization: What the model expects.
        like: Any tensor of the shape of an input.
    """
    ends = (torch.as_tensor(end).to(like).expand(like.numel()).reshape(like.shape) for end in bounds)
    low, high = (normalization(end[None]).reshape(-1) for end in ends)
    return low, high


def folded(
    model: Any,
    normalization: Normalization | None,
    x: Tensor,
    *,
    role: str,
    bounds: tuple[Any, Any] | None = None,
) -> Any:
    """Return a model that takes inputs in the units of the data, from a model that takes normalised inputs.

    Args:
        model: A module, function or estimator; anything that cannot be called is returned as it is.
        normalization: What the model expects; the model is returned as it is where None.
        x: Inputs ``(n, *input_shape)`` in the units of the data.
        role: What messages call the model.
        bounds: Box (lo, hi) that a function over numpy arrays is not called outside of here, in the units of the data.

    Raises:
        ModelError: The model is a `Classifier`, or cannot be used.
    """
    if normalization is None:
        return model
    if isinstance(model, Classifier):
        raise ModelError(
            f"normalize is given and the {role} is a {type(model).__name__}, which has logits of its own; leave "
            "normalize out, and normalise inputs in its method logits"
        )
    inner = None if bounds is None else _normalized_bounds(bounds, normalization, x[0])
    model = as_callable(model, normalization(x), role=role, bounds=inner)
    if not callable(model):
        return model
    model = over_arrays(model, normalization(x), bounds=inner)
    return Normalized(model, normalization, *placement(model, x, what=role))


def normalization_of(value: Any, input_shape: tuple[int, ...]) -> Normalization | None:
    """Return the normalisation that a user gave, for inputs of a shape.

    Args:
        value: A mapping with ``mean`` and ``std``, each a number, or a list with one number for each channel of images
            (C, H, W) or (H, W, C), or for each feature; None for none.
        input_shape: Shape of one input.

    Raises:
        SubjectError: It is no such mapping, a standard deviation is not above zero, or the lengths do not fit.

    Example:
        >>> import torch
        >>> from dmmcheck.models.normalize import normalization_of
        >>> normalization_of({"mean": [0.5, 0.0], "std": [0.25, 1.0]}, (2,))(torch.tensor([[1.0, 3.0]]))
        tensor([[2., 3.]])
    """
    if value is None or isinstance(value, Normalization):
        return value
    if not isinstance(value, Mapping) or set(value) != {"mean", "std"}:
        raise SubjectError(f"normalize is {value!r}, expected a mapping with mean and std, e.g. {EXAMPLE}")
    mean, std = (_numbers(value[name], name) for name in ("mean", "std"))
    if len(mean) != len(std):
        raise SubjectError(
            f"normalize has {len(mean)} means and {len(std)} standard deviations; give as many of each, e.g. {EXAMPLE}"
        )
    if not bool((std > 0).all()):
        raise SubjectError(f"normalize has the std {float(std.min()):g}, expected numbers above 0; correct it")
    shape = _shape(len(mean), input_shape)
    return Normalization(mean.reshape(shape), std.reshape(shape))


def _numbers(value: Any, name: str) -> Tensor:
    """Return the value, which must be finite numbers, as a tensor (c,) in float64."""
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64).detach().cpu().reshape(-1)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SubjectError(f"{name} of normalize is {value!r}, expected numbers; e.g. {EXAMPLE}") from error
    if not len(numbers) or not bool(torch.isfinite(numbers).all()):
        raise SubjectError(f"{name} of normalize is {value!r}, expected finite numbers; e.g. {EXAMPLE}")
    return numbers


def _shape(count: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in which `count` numbers broadcast over an input."""
    if count == 1:
        return (1,) * len(input_shape)
    rest = (1,) * (len(input_shape) - 1)
    if count == input_shape[0]:
        return (count, *rest)
    if len(input_shape) == 3 and count == input_shape[-1] <= CHANNELS < input_shape[0]:
        return (*rest, count)
    kind = "channels" if len(input_shape) == 3 else "features"
    raise SubjectError(
        f"normalize has {count} means, inputs of shape {input_shape} have {input_shape[0]} {kind}; give one number for "
        "each of these, or one for all"
    )
