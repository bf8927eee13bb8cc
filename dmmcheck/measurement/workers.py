"""What a process does that measures shards for another one.

A shard is a part of the work by name. It can be measured by any process and more than once, since what it gives lies in
the store by its content.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dmmcheck.errors import ConfigError
from dmmcheck.errors.text import told
from dmmcheck.inference.cost import Cost

ATTEMPTS = 3  # how often shards that were lost with their process are handed out


class Worker(Protocol):
    """Measures shards in a process, which makes it once from the work that it was sent."""

    def measure(self, shard: str) -> Done:
        """Measure one shard, and return the cost and the new entries."""


@dataclass(frozen=True)
class Done:
    """What measuring a shard took.

    Attributes:
        shard: Its name.
        spent: What each part of the work spent, as `Meter.parts` has it.
        entries: New entries of the store by address, where the process has a folder of its own.
        error: Why the shard was not measured; "" where it was.
    """

    shard: str
    spent: Mapping[str, Cost] = field(default_factory=dict)
    entries: Mapping[str, bytes] = field(default_factory=dict)
    error: str = ""


_LARGE = 1 << 20  # bytes of a storage from which on its tensors are sent as arrays
_ARRAYS = (torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8)  # that arrays of numpy have, too
_LOCK = threading.Lock()
_WORKERS: dict[str, Worker] = {}
"""The worker of the session that this process works for."""


def threads_of(jobs: int | str) -> int:
    """Return the number of threads of each process, so that all use no more than this one; 1 on a cluster."""
    return max(1, torch.get_num_threads() // jobs) if isinstance(jobs, int) else 1


def use_threads(count: int) -> None:
    """Compute with this many threads in this process."""
    torch.set_num_threads(count)


@contextmanager
def sharing_threads(jobs: int) -> Iterator[None]:
    """Compute with this process's part of the threads in this context, and with as many as before after it."""
    before = torch.get_num_threads()
    use_threads(threads_of(jobs))
    try:
        yield
    finally:
        use_threads(before)


def packed(make: Callable[[], Worker]) -> np.ndarray[Any, Any]:
    """Pack a function that makes a worker into an array of bytes, which is sent to each process once.

    Raises:
        ConfigError: It holds something that cannot be sent.
    """
    try:
        content = _pickled(make)
    except Exception as error:  # whatever the code of the user's objects raises
        raise ConfigError(
            f"jobs asks for several processes, and the subject cannot be sent to another one "
            f"({told(error)}); give models and functions that can be pickled, or set jobs = 1"
        ) from error
    return np.frombuffer(content, dtype=np.uint8)


def _pickled(value: object) -> bytes:
    """Pickle a value. A large tensor is written once, and without the rest of its storage, which torch would write."""
    import cloudpickle  # noqa: PLC0415  # only where there are several processes

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        """Takes large tensors as arrays, the same array for tensors with the same memory."""

        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is Tensor and _is_large(obj):
                key = (obj.data_ptr(), obj.numel(), obj.dtype)
                return _tensor, (arrays.setdefault(key, obj.numpy().reshape(-1)), obj.shape)
            return super().reducer_override(obj)

    arrays: dict[tuple[object, ...], np.ndarray[Any, Any]] = {}
    with io.BytesIO() as file:
        Pickler(file).dump(value)
        return file.getvalue()


def _tensor(values: np.ndarray[Any, Any], shape: Sequence[int]) -> Tensor:
    """Return a tensor of a shape with the memory of an array."""
    return torch.from_numpy(values).view(shape)


def _is_large(tensor: Tensor) -> bool:
    """Return whether a tensor is numbers one after the other in memory, and they or their storage take 1 MiB."""
    is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.requires_grad
    is_array = is_plain and tensor.dtype in _ARRAYS and tensor.is_contiguous()
    return is_array and tensor.untyped_storage().nbytes() >= _LARGE


def measure_shard(session: str, make: np.ndarray[Any, Any] | Path, shard: str) -> Done:
    """Measure one shard in this process; the worker is made with the first shard of a session.

    Args:
        session: Name of the session.
        make: What `packed` returned, or a file with it.
        shard: Name of the shard.
    """
    import cloudpickle  # noqa: PLC0415

    with _LOCK:  # some clusters ask one process for several shards at once
        try:
            if session not in _WORKERS:
                _WORKERS.clear()
                content = make.read_bytes() if isinstance(make, Path) else make.tobytes()
                _WORKERS[session] = cloudpickle.loads(content)()
            return _WORKERS[session].measure(shard)
        except Exception as error:  # the process that asked measures the shard, and meets the error if it stays
            return Done(shard, error=told(error))
