"""Whether a convolutional network on the CPU computes faster with channels last in memory, by one call of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """Return whether a function could compute inputs ``(n, *input_shape)`` faster with channels last in memory.

    It can where the inputs are images, and a module with convolutions computes them in float32 on the CPU.
    """
    module = module_of(forward)
    is_precise = inputs.dtype == torch.float32 and inputs.device.type == "cpu"
    return is_precise and inputs.ndim == 4 and module is not None and any(p.ndim == 4 for p in module.parameters())


def agree(output: Tensor, other: Tensor) -> bool:
    """Return whether two outputs of a network differ by the rounding of another order of sums alone.

    Rounding is relative to the typical output, so that a large number in one class hides nothing in the others.
    """
    if (output.shape, output.dtype, output.device) != (other.shape, other.dtype, other.device):
        return False
    typical = float(output.abs().median()) if output.is_floating_point() else 0.0
    return torch.allclose(output, other, rtol=ROUNDING, atol=ROUNDING * typical)


class FasterCalls(TorchFunctionMode):
    """A context that looks at the functions of torch that a network calls with channels last in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._gains = self._loses = False

    @property
    def are_faster(self) -> bool:
        """Whether the network calls functions that are faster with channels last, on such images, and none slower."""
        return self._gains and not self._loses

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        self._loses |= name in SLOWER
        self._gains |= name in FASTER and bool(args) and _has_channels_last(args[0])
        return func(*args, **(kwargs or {}))


def _has_channels_last(images: Any) -> bool:
    return (
        isinstance(images, Tensor)
        and images.ndim == 4
        and images.is_contiguous(memory_format=torch.channels_last)
        and not images.is_contiguous()
    )
