"""The state of the process: neutral while dmmcheck measures, the user's own while the user's code runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import torch

from dmmcheck.errors import USERS_STATE

NEWER_NAME, EXACT = "fp32_precision", ("none", "ieee")
_CPU, _FLOAT = torch.device("cpu"), torch.float32


@contextmanager
def neutral_state() -> Iterator[None]:
    """Put torch into its initial state in this context, whatever the process has set; on exit all is as before.

    Gradients are on; inference mode and autocast are off; the default dtype is float32 and the default device the CPU;
    products of float32 numbers are exact in float32, not TF32 or bfloat16, also in the model: a GPU rounds these in
    another way for each size of a batch, so that a crossing would not be confirmed.
    The user's code that is called inside, through `errors.user_code`, sees the default dtype and device of the process.
    The global generators of Python, numpy and torch are restored on exit, also after an error.

    Example:
        >>> import torch
        >>> from dmmcheck.models.process_state import neutral_state
        >>> with torch.inference_mode(), neutral_state():
        ...     torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        (False, True)
    """
    if USERS_STATE.get() is not nullcontext:  # inside another context of this kind
        yield
        return
    defaults = _Defaults()
    with ExitStack() as stack:
        stack.callback(_random_states())
        stack.callback(_exact_products())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in {"cpu", _accelerator()}:
            stack.enter_context(torch.autocast(device, enabled=False))
        token = USERS_STATE.set(defaults.of_user)
        stack.callback(USERS_STATE.reset, token)
        defaults.leave()
        stack.callback(defaults.enter)
        yield


class _Defaults:
    """The default dtype and device that the process has set, and whether they are in force."""

    def __init__(self) -> None:
        self._dtype = torch.get_default_dtype()
        self._cpu: AbstractContextManager[Any] | None = None

    def leave(self) -> None:
        """Put the initial defaults in the place of the user's."""
        self._dtype = torch.get_default_dtype()
        if self._dtype != _FLOAT:
            torch.set_default_dtype(_FLOAT)
        if torch.get_default_device() != _CPU:
            self._cpu = torch.device("cpu")
            self._cpu.__enter__()

    def enter(self) -> None:
        """Put the user's defaults in force again."""
        if self._cpu is not None:
            self._cpu.__exit__(None, None, None)
            self._cpu = None
        if self._dtype != torch.get_default_dtype():
            torch.set_default_dtype(self._dtype)

    def of_user(self) -> AbstractContextManager[object]:
        """Return the context in which the user's code runs."""
        return _UsersDefaults(self)


class _UsersDefaults:
    """A context with the user's defaults, which the user's code may set anew; a measurement inside begins afresh."""

    def __init__(self, defaults: _Defaults) -> None:
        self._defaults = defaults

    def __enter__(self) -> None:
        self._token = USERS_STATE.set(nullcontext)
        self._defaults.enter()

    def __exit__(self, *raised: object) -> None:
        self._defaults.leave()
        USERS_STATE.reset(self._token)


def _exact_products() -> Callable[[], None]:
    """Let products of float32 numbers be exact in float32; the function returned restores what the process has set.

    torch has older and newer names for this. Those of the process are used where they can be read, and what is still
    not exact then, or not as before afterwards, is set by the newer names.
    """
    backends: Any = torch.backends
    kinds = (backends.cudnn, "conv"), (backends.cudnn, "rnn"), (backends.cuda, "matmul"), (backends.mkldnn, "matmul")
    newer = [getattr(backend, name) for backend, name in kinds if hasattr(getattr(backend, name, None), NEWER_NAME)]
    before = [operation.fp32_precision for operation in newer]
    older = None
    with suppress(RuntimeError):  # where the process has used the newer names, torch refuses the older ones
        older = backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()

    def restore() -> None:
        if older is not None:
            with suppress(RuntimeError):
                _put(*older)
        for operation, precision in zip(newer, before, strict=True):
            if operation.fp32_precision != precision:
                operation.fp32_precision = precision

    if older is not None:
        _put(False, "highest")
    for operation in newer:
        if operation.fp32_precision not in EXACT:
            operation.fp32_precision = "ieee"
    return restore


def _put(allowed: bool, precision: str) -> None:
    """Set by the older names whether convolutions may be inexact, and how exact other products are."""
    if torch.backends.cudnn.allow_tf32 != allowed:
        torch.backends.cudnn.allow_tf32 = allowed
    if torch.get_float32_matmul_precision() != precision:
        torch.set_float32_matmul_precision(precision)


def _accelerator() -> str:
    """Return the kind of the accelerator of this machine; the CPU where there is none."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if found is None else found.type


def _random_states() -> Callable[[], None]:
    """Return a function that restores the global generators of Python, numpy and torch to their present states."""
    python, arrays, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002
        torch.set_rng_state(tensors)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)

    return restore
