"""A function over numpy arrays as a function on tensors: with finite differences, or without gradients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmmcheck.errors import ModelError
from dmmcheck.models.evaluation import module_of
from dmmcheck.models.tally import counted

STEPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)  # tried sizes of a difference, in standard deviations of each feature
AGREES = 0.02  # differences of two sizes that agree so well, in the median, are derivatives
SMOOTH = 0.1  # where none agrees better than this, the function has no derivative
PROBED = 8  # inputs at which that is tried, each in a random direction
BATCH_ROWS = 2048  # most inputs of one call for a gradient, since many at a time leave the processor's cache
BATCH_VALUES = 1 << 22  # most values of these inputs


@dataclass(frozen=True, eq=False)
class NumpyFunction:
    """A function from numpy arrays to scores or labels, as a function on tensors.

    Attributes:
        function: From an array ``(n, *input_shape)`` to scores (n, C) or (n,), or to labels (n,).
        name: Its name in a report.
        labels: The distinct labels that it returns, in the order of the classes; () where it returns scores.
        steps: (D,) sizes of the differences that give its gradient; None where it has none.
        bounds: Box (lo, hi) that the function must not be called outside of, two numbers or two tensors (D,); None for
            no box.
    """

    function: Callable[[Any], Any]
    name: str
    labels: tuple[Any, ...] = ()
    steps: Tensor | None = None
    bounds: tuple[Any, Any] | None = None

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def differentiable(self) -> bool:
        """Whether its scores have a gradient."""
        return self.steps is not None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the scores (n, C) or (n,) of inputs ``(n, *input_shape)``; labels become rows with one 1."""
        if self.steps is None:
            return self.scores(x.detach())
        result: Tensor = _Differences.apply(x, self)  # type: ignore[no-untyped-call]
        return result

    def scores(self, x: Tensor) -> Tensor:
        """Return the scores without a gradient."""
        values = called_with_array(self.function, x)
        if self.labels:
            return one_hot(values, self.labels, self.name).to(x)
        return torch.as_tensor(values).to(x.device, x.dtype)


def over_arrays(model: Any, x: Tensor, *, bounds: tuple[Any, Any] | None = None) -> Any:
    """Return a function over numpy arrays as a function on tensors; any other model as it is.

    A function is one over arrays where it returns an array, or raises unless it gets one.

    Args:
        model: A callable.
        x: Inputs ``(n, *input_shape)``.
        bounds: Box (lo, hi) that it is not called outside of here, see `numpy_function`.
    """
    if isinstance(model, NumpyFunction) or module_of(model) is not None:
        return model
    name = getattr(model, "__name__", type(model).__name__)
    try:
        with torch.no_grad():
            returned = model(x[:2].detach().clone())
    except SystemExit:  # it is called again, inside the guard of the user's code
        return model
    except Exception:  # it is called again with an array, and what it raises then is reported by the next call
        try:
            called_with_array(model, x[:2])
        except Exception:
            return model
        return numpy_function(model, x, name, bounds=bounds)
    return numpy_function(model, x, name, bounds=bounds) if _holds_arrays(returned) else model


def _holds_arrays(output: Any) -> bool:
    """Return whether an output is an array, of numpy or of another library such as jax, or a list of arrays."""
    parts = output if isinstance(output, (list, tuple)) else [output]
    return len(parts) > 0 and all(hasattr(part, "__array__") and not isinstance(part, Tensor) for part in parts)


class _Differences(torch.autograd.Function):
    """Scores whose gradient is made of forward differences, D calls for all scores of an input at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: NumpyFunction) -> Tensor:
        scores = function.scores(x)
        ctx.save_for_backward(x, scores)
        ctx.function, ctx.jacobian = function, None
        return scores

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, scores = ctx.saved_tensors
        if ctx.jacobian is None:
            ctx.jacobian = _jacobian(ctx.function, x, scores)
        weights = gradients[0].reshape(len(x), -1)
        return torch.einsum("ndc,nc->nd", ctx.jacobian, weights).reshape(x.shape), None


def _jacobian(function: NumpyFunction, x: Tensor, scores: Tensor) -> Tensor:
    """Return the forward differences (n, D, C) of scores at inputs ``(n, *input_shape)``."""
    assert function.steps is not None
    n, width = len(x), x[0].numel()
    points, steps, base = x.reshape(n, width), function.steps.to(x), scores.reshape(n, 1, -1)
    size = max(1, rows_at_once(width) // max(1, n))
    parts = []
    for start in range(0, width, size):
        number = torch.arange(start, min(start + size, width), device=x.device)
        moved = points[:, None].repeat(1, len(number), 1)
        moved[:, torch.arange(len(number)), number] += _inwards(function, points, steps, number)
        real = moved[:, torch.arange(len(number)), number] - points[:, number]  # the step after rounding
        there = counted(function.scores(moved.reshape(-1, *x.shape[1:])), n * len(number))
        there = there.reshape(n, len(number), -1)
        parts.append((there - base) / real[..., None])
    return torch.cat(parts, 1)


def rows_at_once(width: int) -> int:
    """Return the largest number of inputs in one call for a gradient, given the number of values of an input."""
    return max(1, min(BATCH_ROWS, BATCH_VALUES // width))


def _inwards(function: NumpyFunction, x: Tensor, sizes: Tensor, number: Tensor) -> Tensor:
    """Return the steps (n, d) of some entries of points (n, D), which do not leave the box of the function.

    A step goes downwards where it would leave the box upwards.

    Args:
        function: The function.
        x: The points.
        sizes: (D,) sizes of the steps.
        number: (d,) numbers of the entries.
    """
    points, steps = x[:, number], sizes[number]
    if function.bounds is None:
        return steps.expand_as(points)
    highest = torch.as_tensor(function.bounds[1]).to(points)
    highest = highest[number] if highest.ndim else highest
    return torch.where(points + steps > highest, -steps, steps)


def called_with_array(function: Callable[[Any], Any], x: Tensor) -> Any:
    """Return what a function returns for inputs ``(n, *input_shape)`` as a numpy array, as an array."""
    with warnings.catch_warnings(), torch.no_grad():  # a tensor that needs a gradient does not become an array
        warnings.filterwarnings("ignore", message=".*valid feature names")  # it was fitted on a frame
        return np.asarray(function(x.detach().cpu().numpy()))


def one_hot(values: Any, labels: tuple[Any, ...], name: str) -> Tensor:
    """Return the labels (n,) as rows with one 1, at the place of the label among all labels.

    Raises:
        ModelError: A label is none of these.
    """
    places = {label: place for place, label in enumerate(labels)}
    unknown = [label for label in np.asarray(values).reshape(-1).tolist() if label not in places]
    if unknown:
        raise ModelError(
            f"{name} returned the label {unknown[0]!r}, which it did not return for the data (labels "
            f"{', '.join(map(repr, labels))}); let it return scores (n, classes), or pass inputs of all classes"
        )
    numbers = torch.tensor([places[label] for label in np.asarray(values).reshape(-1).tolist()])
    return torch.nn.functional.one_hot(numbers, len(labels))


def numpy_function(
    function: Callable[[Any], Any], x: Tensor, name: str, *, bounds: tuple[Any, Any] | None = None
) -> NumpyFunction:
    """Return a function over arrays whose kind is found by calls: labels, scores with a derivative, or scores without.

    Args:
        function: From an array ``(n, *input_shape)`` to scores or labels.
        x: Inputs ``(n, *input_shape)``, over which labels are counted and step sizes are chosen.
        name: Its name in a report.
        bounds: Box (lo, hi) that the points of these calls lie in, two numbers or two tensors (D,); None for no box.

    Example:
        >>> import torch
        >>> from dmmcheck.models.numpy_function import numpy_function
        >>> x = torch.randn((20, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> numpy_function(lambda x: (x[:, 0] > 0).astype(int), x, "sign").labels
        (0, 1)
        >>> numpy_function(lambda x: x**2, x, "square").differentiable
        True
        >>> numpy_function(lambda x: x.round(), x, "steps").differentiable
        False
    """
    values = called_with_array(function, x)
    if values.ndim == 1 and values.dtype.kind in "iubUSO":
        labels = np.unique(values).tolist()
        if values.dtype.kind in "iu":
            labels = list(range(max(labels) + 1))
        return NumpyFunction(function, name, labels=tuple(labels))
    found = NumpyFunction(function, name)
    return replace(found, steps=difference_steps(found, x, bounds))


def difference_steps(function: NumpyFunction, x: Tensor, bounds: tuple[Any, Any] | None = None) -> Tensor | None:
    """Return the sizes (D,) of the differences for derivatives of a function near inputs x; None without any.

    The derivative along a random direction is taken with two sizes. Where these agree, both are right: a size is too
    small where rounding decides, and too large where the function bends. A function that is constant but for jumps, as
    a forest is, or whose answers vary from call to call, has no size at which they agree. The direction points into the
    box, where there is one.
    """
    points = x.detach().reshape(len(x), -1)
    spread = points.double().std(0) if len(x) > 1 else torch.ones(points.shape[1], dtype=torch.float64)
    spread = torch.where(spread > 0, spread, spread[spread > 0].median() if bool((spread > 0).any()) else 1.0)
    some = points[:: -(-len(points) // PROBED)]
    directions = torch.randn(some.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * spread
    low, high = (torch.as_tensor(end).to(some) for end in bounds or (-torch.inf, torch.inf))
    farthest = some + 2 * STEPS[-1] * directions
    directions = torch.where((farthest >= low) & (farthest <= high), directions, -directions)

    def slopes(size: float) -> Tensor:
        moved = (some.double() + size * directions).to(some).clamp(low, high)
        return (function.scores(moved.reshape(-1, *x.shape[1:])) - base).double().reshape(len(some), -1) / size

    base = function.scores(some.reshape(-1, *x.shape[1:]))
    errors = []
    for size in STEPS:
        one, other = slopes(size), slopes(2 * size)
        length = torch.maximum(one.norm(dim=1), other.norm(dim=1))
        error = torch.where(length > 0, (one - other).norm(dim=1) / length, torch.inf)
        errors.append(float(error.nan_to_num(nan=torch.inf).median()))
        if errors[-1] <= AGREES:
            break
    best = min(range(len(errors)), key=errors.__getitem__)
    if errors[best] > SMOOTH:
        return None
    # a step of one feature may be as long as one of all features together, so that rounding decides less
    return spread * max(STEPS[best], min(STEPS[best] * math.sqrt(points.shape[1]), STEPS[-1]))
