"""The memory layout in which a network on the processor computes fastest, found by one call of the network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dmmcheck.models.evaluation import module_of

# Functions of torch with which networks are faster, and slower, with channels last: `python -m benchmarks.layout`.
FASTER = frozenset({"max_pool2d", "batch_norm"})
SLOWER = frozenset({"group_norm", "instance_norm"})
ROUNDING = 1e-4  # relative difference of outputs that the order of a network's sums can cause in float32


def may_gain(forward: Callable[..., Any], inputs: Tensor) -> bool:
    """Return whether inputs ``(n, *input_shape)`` could be computed faster in another layout.

    They can be where they are images, and a module with convolutions computes them in float32 on the processor.
    """
    module = module_of(forward)
    is_precise = inputs.dtype == torch.float32 and inputs.device.type == "cpu"
    return is_precise and inputs.ndim == 4 and module is not None and any(p.ndim == 4 for p in module.parameters())


def is_faster_last(functions: Collection[str]) -> bool:
    """Return whether a network that calls these functions of torch is faster where channels come last in memory."""
    return bool(FASTER.intersection(functions)) and not SLOWER.intersection(functions)


def agree(output: Tensor, other: Tensor) -> bool:
    """Return whether two outputs of a network differ by the rounding of another order of sums alone."""
    if output.shape != other.shape:
        return False
    return bool((output - other).abs().max() <= ROUNDING * output.abs().max())


@contextmanager
def called_functions() -> Iterator[set[str]]:
    """Give the set that the names of all functions of torch enter that are called in this context."""
    with _Names() as mode:
        yield mode.names


class _Names(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.names.add(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))
