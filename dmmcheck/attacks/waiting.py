"""When to look at values that lie on a GPU: the processor waits there until all work under way has ended."""

from __future__ import annotations

from torch import Tensor


def waits(values: Tensor) -> bool:
    """Return whether reading values waits for a device, as for all values outside of the processor's memory."""
    return values.device.type != "cpu"


def may_have(mask: Tensor) -> bool:
    """Return whether a mask may have a true entry, so that what depends on the mask is worth computing.

    On a GPU the answer is always yes, because looking costs more than what is saved. The result must not depend on the
    answer: where the mask has no true entry, the computation changes nothing.
    """
    return waits(mask) or bool(mask.any())
