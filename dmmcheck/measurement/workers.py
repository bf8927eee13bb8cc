"""Measure in several processes: each fills the store of the session, from which the one that asked reads afterwards.

A shard is a part of the work by name. It can be measured by any process and more than once, since what it gives lies in
the store by its content. What no process has measured, for whatever reason, is measured by the one that reads.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from dmmcheck.errors import ConfigError
from dmmcheck.errors.text import told
from dmmcheck.inference.cost import Cost
from dmmcheck.report.wording import duration

ATTEMPTS = 3  # how often shards that were lost with their process are handed out
PACKAGES = {"dask": "distributed", "ray": "ray"}


class Worker(Protocol):
    """The object that a process makes once, of the work that is sent to it, to measure one shard after the other."""

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


_LOCK = threading.Lock()
_WORKERS: dict[str, Worker] = {}
"""The worker of the session that this process works for."""


def threads_of(jobs: int | str) -> int:
    """Return the number of threads of each process, so that all use no more than this one; 1 on a cluster."""
    return max(1, torch.get_num_threads() // jobs) if isinstance(jobs, int) else 1


def use_threads(count: int) -> None:
    """Compute with this many threads in this process."""
    torch.set_num_threads(count)


def packed(make: Callable[[], Worker]) -> np.ndarray[Any, Any]:
    """Pack a function that makes a worker into an array of bytes, which is sent to each process once.

    Raises:
        ConfigError: It holds something that cannot be sent.
    """
    import cloudpickle  # noqa: PLC0415  # only where there are several processes

    try:
        content = cloudpickle.dumps(make)
    except Exception as error:  # whatever the code of the user's objects raises
        raise ConfigError(
            f"jobs asks for several processes, and the subject cannot be sent to another one "
            f"({told(error)}); give models and functions that can be pickled, or set jobs = 1"
        ) from error
    return np.frombuffer(content, dtype=np.uint8)


def measure_shard(session: str, make: np.ndarray[Any, Any], shard: str) -> Done:
    """Measure one shard in this process; the worker is made with the first shard of a session.

    Args:
        session: Name of the session.
        make: What `packed` returned.
        shard: Name of the shard.
    """
    import cloudpickle  # noqa: PLC0415

    with _LOCK:  # some clusters ask one process for several shards at once
        try:
            if session not in _WORKERS:
                _WORKERS.clear()
                _WORKERS[session] = cloudpickle.loads(make.tobytes())()
            return _WORKERS[session].measure(shard)
        except Exception as error:  # the process that asked measures the shard, and meets the error if it stays
            return Done(shard, error=told(error))


def measure_in_processes(
    session: str,
    make: Callable[[], Worker],
    shards: Sequence[str],
    *,
    jobs: int | str,
    progress: Callable[[str], None],
    take: Callable[[Done], None],
) -> str:
    """Measure shards in several processes.

    Args:
        session: Name of the session.
        make: Makes the worker of a process.
        shards: Names of the shards, those that take longest first.
        jobs: Number of processes on this machine, or a cluster, as the setting `jobs` has it.
        progress: Called with a line of text whenever a shard is done.
        take: Called with what each shard took.

    Returns:
        What the processes did, and what they could not do, in one line.

    Raises:
        ConfigError: The work cannot be sent, or the package of the cluster is not installed.
    """
    content, start = packed(make), time.monotonic()
    done, lost = dict[str, Done](), ""
    with _cluster(jobs, progress):
        for _ in range(ATTEMPTS):
            left = [shard for shard in shards if shard not in done]
            for one in _results(session, content, left) if left else ():
                if not one.shard:
                    lost = one.error
                    break
                done[one.shard] = one
                take(one)
                rest = (time.monotonic() - start) * (len(shards) / len(done) - 1)
                progress(f"{len(done)} of {len(shards)} parts measured, about {duration(rest)} left")
    errors = [one.error for one in done.values() if one.error] + [lost] * (len(done) < len(shards))
    measured = sum(not one.error for one in done.values())
    note = f"{measured} of {len(shards)} parts measured by {_in_words(jobs)}"
    return f"{note}; the others by this one ({errors[0]})" if errors else note


def _results(session: str, content: np.ndarray[Any, Any], shards: Sequence[str]) -> Iterator[Done]:
    """Yield what each shard took, as the shards end; the last has no name where a process was lost."""
    import joblib  # noqa: PLC0415

    calls = (joblib.delayed(measure_shard)(session, content, shard) for shard in shards)
    backend, _ = joblib.parallel.get_active_backend()
    shown = "generator_unordered" if getattr(backend, "supports_return_generator", False) else "list"
    try:
        yield from joblib.Parallel(batch_size=1, pre_dispatch="all", return_as=shown)(calls)
    except Exception as error:  # each backend has its own: a process was killed, or a cluster went away
        yield Done("", error=told(error).partition("\n")[0])


def _in_words(jobs: int | str) -> str:
    """Return the processes in words."""
    return f"{jobs} processes" if isinstance(jobs, int) else f"the cluster {jobs}"


@contextmanager
def _cluster(jobs: int | str, progress: Callable[[str], None]) -> Iterator[None]:
    """Let joblib use processes of this machine, or of a cluster, in this context."""
    import joblib  # noqa: PLC0415

    if isinstance(jobs, int):
        with joblib.parallel_config("loky", n_jobs=jobs):
            yield
        return
    kind, _, where = jobs.partition(":")
    try:
        package = importlib.import_module(PACKAGES[kind])
    except ImportError as error:
        raise ConfigError(
            f"jobs is {jobs!r}, but {PACKAGES[kind]} is not installed; pip install 'dmmcheck[{kind}]', or set a number"
        ) from error
    try:
        close = (_join_dask if kind == "dask" else _join_ray)(package, where)
    except Exception as error:  # the errors of networks, addresses and versions, which each package has of its own
        raise ConfigError(
            f"jobs is {jobs!r}, and this cluster cannot be used ({told(error)}); correct the address, or set a number"
        ) from error
    try:
        with joblib.parallel_config(kind):
            yield
    finally:
        try:
            close()
        except Exception as error:  # the results are there already
            progress(f"the cluster {jobs} could not be left ({told(error)}); see whether it still runs")


def _join_dask(distributed: Any, where: str) -> Callable[[], None]:
    """Join a cluster of Dask, or make one on this machine; returns the function that leaves it."""
    local = {"n_workers": int(where), "threads_per_worker": 1, "dashboard_address": None} if where.isdigit() else {}
    client = distributed.Client(**local) if local else distributed.Client(where)
    leave: Callable[[], None] = client.close
    return leave


def _join_ray(ray: Any, where: str) -> Callable[[], None]:
    """Join a cluster of Ray, or make one on this machine; returns the function that leaves it."""
    ray.init(**({"num_cpus": int(where), "include_dashboard": False} if where.isdigit() else {"address": where}))
    importlib.import_module("ray.util.joblib").register_ray()
    leave: Callable[[], None] = ray.shutdown
    return leave
