"""Measure shards on a cluster of Dask or Ray, through the backends of joblib."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from dmmcheck.errors import ConfigError
from dmmcheck.errors.text import told
from dmmcheck.measurement.workers import ATTEMPTS, Done, measure_shard

PACKAGES = {"dask": "distributed", "ray": "ray"}


def measure_on_cluster(
    session: str,
    work: np.ndarray[Any, Any],
    shards: Sequence[str],
    *,
    cluster: str,
    progress: Callable[[str], None],
    count: Callable[[int], None],
) -> Iterator[Done]:
    """Measure shards on a cluster, and yield what each took, as the shards end.

    Shards that are lost with a process are handed out again.

    Args:
        session: Name of the session.
        work: What `workers.packed` returned.
        shards: Names of the shards, those that take longest first.
        cluster: The cluster, as the setting `jobs` has it.
        progress: Called with a line of text where the cluster cannot be left.
        count: Called with the number of shards that have ended, where the cluster yields their results at the end.

    Raises:
        ConfigError: The package of the cluster is not installed, or the cluster cannot be used.
    """
    left, lost = dict.fromkeys(shards), ""
    with _joined(cluster, progress):
        for _ in range(ATTEMPTS):
            for one in _results(session, work, list(left), count) if left else ():
                if not one.shard:
                    lost = one.error
                    break
                del left[one.shard]
                yield one
    yield from (Done(shard, error=lost) for shard in left)


def _results(
    session: str, content: np.ndarray[Any, Any], shards: Sequence[str], count: Callable[[int], None]
) -> Iterator[Done]:
    """Yield what each shard took, as the shards end; the last has no name where a process was lost.

    A backend that returns a list has its shards counted as they end.
    """
    import joblib  # noqa: PLC0415

    class Counting(joblib.Parallel):  # type: ignore[misc]  # joblib has no types
        """Calls `count` whenever a call has ended."""

        def print_progress(self) -> None:
            count(self.n_completed_tasks)

    calls = (joblib.delayed(measure_shard)(session, content, shard) for shard in shards)
    backend, _ = joblib.parallel.get_active_backend()
    yields = getattr(backend, "supports_return_generator", False)
    parallel, shown = (joblib.Parallel, "generator_unordered") if yields else (Counting, "list")
    try:
        yield from parallel(batch_size=1, pre_dispatch="all", return_as=shown)(calls)
    except Exception as error:  # each backend has its own: a process was killed, or a cluster went away
        yield Done("", error=told(error).partition("\n")[0])


@contextmanager
def _joined(cluster: str, progress: Callable[[str], None]) -> Iterator[None]:
    """Let joblib use the processes of a cluster in this context."""
    import joblib  # noqa: PLC0415

    kind, _, where = cluster.partition(":")
    try:
        package = importlib.import_module(PACKAGES[kind])
    except ImportError as error:
        raise ConfigError(
            f"jobs is {cluster!r}, but {PACKAGES[kind]} is not installed; "
            f"pip install 'dmmcheck[{kind}]', or set a number"
        ) from error
    try:
        close = (_join_dask if kind == "dask" else _join_ray)(package, where)
    except Exception as error:  # the errors of networks, addresses and versions, which each package has of its own
        raise ConfigError(
            f"jobs is {cluster!r}, and this cluster cannot be used ({told(error)}); "
            "correct the address, or set a number"
        ) from None  # the tracebacks of these packages are hundreds of lines about their own connections
    try:
        with joblib.parallel_config(kind):
            yield
    finally:
        try:
            close()
        except Exception as error:  # the results are there already
            progress(f"the cluster {cluster} could not be left ({told(error)}); see whether it still runs")


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
