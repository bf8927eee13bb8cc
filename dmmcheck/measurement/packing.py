"""A measurement as bytes and back, without pickles: arrays in NumPy's format, and their arrangement as JSON."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.report.model import Soundness

RECORDS: dict[str, type[Any]] = {"Crossing": Crossing, "Soundness": Soundness}
"""The classes whose objects are packed, by name."""


def pack(value: object) -> bytes:
    """Return the bytes of a value of numbers, texts, tensors, arrays, records, and tuples, lists and dicts of these.

    Raises:
        TypeError: It contains something else.

    Example:
        >>> import torch
        >>> unpack(pack({"free": (torch.ones(2), None)}), torch.device("cpu"))
        {'free': (tensor([1., 1.]), None)}
    """
    arrays: list[np.ndarray[Any, Any]] = []
    outline = json.dumps(_outlined(value, arrays))
    buffer = io.BytesIO()
    np.savez(buffer, outline=np.frombuffer(outline.encode(), np.uint8), **{str(i): a for i, a in enumerate(arrays)})  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack(content: bytes, device: torch.device) -> object:
    """Return the value that was packed; tensors that lay on another device than the CPU are moved to the given one."""
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        return _restored(json.loads(found["outline"].tobytes()), found, device)


def _outlined(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """Return the arrangement of a value as JSON, where arrays stand by their number."""
    name = type(value).__name__
    if isinstance(value, (Tensor, np.ndarray)):
        return _outlined_array(value, arrays)
    if isinstance(value, (list, tuple)):
        return {name: [_outlined(part, arrays) for part in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _outlined(part, arrays) for key, part in value.items()}}
    if RECORDS.get(name) is type(value):
        of = {part.name: _outlined(getattr(value, part.name), arrays) for part in fields(value)}
        return {"record": name, "of": of}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"float": value.hex()} if isinstance(value, float) else value
    raise TypeError(f"a {name} cannot be stored")


def _outlined_array(value: Any, arrays: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        arrays.append(plain.reshape(-1).view(torch.uint8).numpy())
        dtype, on_cpu = str(plain.dtype).removeprefix("torch."), value.device.type == "cpu"
        return {"tensor": len(arrays) - 1, "dtype": dtype, "shape": list(plain.shape), "cpu": on_cpu}
    if value.dtype.hasobject:
        raise TypeError("an array of objects cannot be stored")
    arrays.append(value)
    return {"array": len(arrays) - 1}


def _restored(outline: Any, found: Any, device: torch.device) -> Any:
    """Return the value of an arrangement."""
    if not isinstance(outline, dict):
        return outline
    if "tensor" in outline:
        return _restored_tensor(outline, found[str(outline["tensor"])], device)
    if "float" in outline or "array" in outline:
        return float.fromhex(outline["float"]) if "float" in outline else found[str(outline["array"])]
    ((kind, parts),) = ((kind, parts) for kind, parts in outline.items() if kind != "record")
    if kind in {"dict", "of"}:
        whole = {key: _restored(part, found, device) for key, part in parts.items()}
        return whole if kind == "dict" else RECORDS[outline["record"]](**whole)
    return (tuple if kind == "tuple" else list)(_restored(part, found, device) for part in parts)


def _restored_tensor(outline: dict[str, Any], data: np.ndarray[Any, Any], device: torch.device) -> Tensor:
    plain = torch.from_numpy(data.copy()).view(getattr(torch, outline["dtype"])).reshape(outline["shape"])
    return plain if outline["cpu"] else plain.to(device)
