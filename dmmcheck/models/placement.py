"""The device and the dtype in which a torch function computes, which inputs must have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from dmmcheck.errors import DmmError, ModelError
from dmmcheck.models.evaluation import module_of

PRECISE = (torch.float32, torch.float64)


def placement(
    function: Any, x: Tensor, *, what: str = "model", error: type[DmmError] = ModelError
) -> tuple[torch.device, torch.dtype]:
    """Return the device and the floating-point dtype of a module's parameters; without parameters, those of x.

    Args:
        function: A module, a bound method of one, or any other callable.
        x: The inputs.
        what: What a message calls the function.
        error: The class of the errors to raise.

    Raises:
        DmmError: Parameters lie on several devices or the meta device, have several dtypes, no shape, or half
            precision; of the class `error`.
    """
    module = module_of(function)
    parameters = list(module.parameters()) if module is not None else []
    buffers = list(module.buffers()) if module is not None else []
    shapeless = sum(is_lazy(parameter) for parameter in parameters)
    if shapeless:
        raise error(
            f"{shapeless} parameters of the {what} are lazy and have no shape yet; call the {what} on a batch first"
        )
    if any(tensor.is_inference() for tensor in [*parameters, *buffers] if not is_lazy(tensor)):
        raise error(
            f"the {what}'s weights were made under torch.inference_mode() and can have no gradients; make or load the "
            f"{what} outside of it, or give a copy that is made outside of it, copy.deepcopy(model)"
        )
    devices = {tensor.device for tensor in [*parameters, *buffers]}
    dtypes = {tensor.dtype for tensor in parameters or buffers if tensor.is_floating_point()}
    for kind, found in (("devices", devices), ("dtypes", dtypes)):
        if len(found) > 1:
            raise error(
                f"the {what}'s parameters have {len(found)} {kind} ({', '.join(sorted(map(str, found)))}), one is "
                f"supported; convert the whole {what} with .to(...)"
            )
    device = devices.pop() if devices else x.device
    if device.type == "meta":
        raise error(f"the {what}'s parameters are on the meta device and hold no values; load the weights first")
    dtype = dtypes.pop() if dtypes else x.dtype if x.is_floating_point() else torch.get_default_dtype()
    if dtype not in PRECISE:
        remedy = "convert it with .float()" if module is not None else "pass inputs in float32"
        raise error(f"the {what} computes in {dtype}, but distances need float32 or float64; {remedy}")
    return device, dtype
