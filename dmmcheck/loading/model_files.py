"""A model in a file that holds its computation: TorchScript, an exported program, or ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dmmcheck.errors import ConfigError
from dmmcheck.models.onnx_session import OnnxModel

WEIGHTS = (".ckpt", ".pth", ".safetensors")  # endings of files that hold weights without the computation
OWN_FUNCTION = (
    "write a function that makes the module, loads the weights into it and returns it, e.g. def load(): net = Net(); "
    "net.load_state_dict(torch.load(path, weights_only=True)); return net; and give that as pkg.mod:load"
)


def is_model_file(name: str) -> bool:
    """Return whether a text ends like the name of a file that may hold a model.

    Example:
        >>> is_model_file("net.onnx"), is_model_file("shop.model:load")
        (True, False)
    """
    return Path(name).suffix.lower() in {*LOADERS, *WEIGHTS}


def load_model_file(file: Path, what: str) -> Any:
    """Return the model in a file: a module, or a function over numpy arrays.

    Args:
        file: A file of TorchScript (``.pt``), an exported program (``.pt2``) or an ONNX graph (``.onnx``).
        what: Its name in messages, e.g. ``model = 'net.onnx'``.

    Raises:
        ConfigError: There is no such file, it cannot be read, or it holds weights alone.
    """
    if not file.is_file():
        raise ConfigError(f"{what}: there is no file {file}; give a path relative to the folder of the settings")
    suffix = file.suffix.lower()
    if suffix in WEIGHTS:
        raise ConfigError(f"{what} holds weights without the network that they belong to; {OWN_FUNCTION}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is deprecated, and still in use
            return LOADERS[suffix](file)
    except ImportError as error:
        raise ConfigError(f"{what} needs onnxruntime, which is not installed; pip install 'dmmcheck[onnx]'") from error
    except Exception as error:
        if suffix == ".pt" and _holds_weights(file):
            raise ConfigError(
                f"{what} holds weights without the network that they belong to; {OWN_FUNCTION}"
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"{what} cannot be read as {KINDS[suffix]} ({reason}); write the file again, or give a function that "
            "returns the model, as pkg.mod:attr"
        ) from error


def _torchscript(file: Path) -> Any:
    return torch.jit.load(str(file), map_location="cpu").eval()  # type: ignore[no-untyped-call]


def _exported(file: Path) -> Any:
    return torch.export.load(str(file)).module()


def _onnx(file: Path) -> Any:
    import onnxruntime  # noqa: PLC0415  # optional

    return OnnxModel(onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]), file.stem)


def _holds_weights(file: Path) -> bool:
    """Return whether a file holds a dict of tensors, without executing anything in the file."""
    try:
        return isinstance(torch.load(file, map_location="cpu", weights_only=True), dict)
    except Exception:  # whatever else the file is, it holds no weights that can be told
        return False


LOADERS: dict[str, Callable[[Path], Any]] = {".pt": _torchscript, ".pt2": _exported, ".onnx": _onnx}
KINDS = {".pt": "TorchScript", ".pt2": "an exported program", ".onnx": "an ONNX graph"}
