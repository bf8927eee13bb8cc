"""Share the measurements of a run among processes.

Each process fills the store of the session, from which the one that asked reads afterwards. What no process has
measured, for whatever reason, is measured by the one that reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dmmcheck.measurement.clusters import measure_on_cluster
from dmmcheck.measurement.processes import measure_beside
from dmmcheck.measurement.workers import Done, Worker, packed, sharing_threads
from dmmcheck.report.wording import duration

WORK = "work.bin"  # file in the folder of a session with what its processes make their workers of


def measure_in_processes(
    session: str,
    make: Callable[[], Worker],
    shards: Sequence[str],
    *,
    jobs: int | str,
    folder: Path,
    own: Callable[[str], Done],
    progress: Callable[[str], None],
    take: Callable[[Done], None],
) -> str:
    """Measure shards in several processes: this one and others of this machine, or those of a cluster.

    Args:
        session: Name of the session.
        make: Makes the worker of another process.
        shards: Names of the shards, those that take longest first.
        jobs: Number of processes on this machine, or a cluster, as the setting `jobs` has it.
        folder: A folder that the processes of this machine share.
        own: Measures one shard in this process, with an error in place of an exception.
        progress: Called with a line of text whenever a shard is done.
        take: Called with what each shard took.

    Returns:
        What the processes did, and what they could not do, in one line.

    Raises:
        ConfigError: The work cannot be sent, or the cluster cannot be used.
    """
    content, start, errors = packed(make), time.monotonic(), list[str]()

    def measured() -> Iterator[Done]:
        if isinstance(jobs, str):
            yield from measure_on_cluster(session, content, shards, cluster=jobs, progress=progress)
            return
        work = folder / WORK
        work.write_bytes(content.tobytes())
        with sharing_threads(jobs):
            yield from measure_beside(session, work, shards, others=jobs - 1, own=own)

    for count, done in enumerate(measured(), 1):
        take(done)
        errors += [done.error] if done.error else []
        rest = (time.monotonic() - start) * (len(shards) / count - 1)
        progress(f"{count} of {len(shards)} parts measured, about {duration(rest)} left")
    by = f"{jobs} processes" if isinstance(jobs, int) else f"the cluster {jobs}"
    note = f"{len(shards) - len(errors)} of {len(shards)} parts measured by {by}"
    return f"{note}; the others by this one ({errors[0]})" if errors else note
