"""Share the measurements of a run among processes.

Each process fills the store of the session, from which the one that asked reads afterwards. What no process has
measured, for whatever reason, is measured by the one that reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dmmcheck.measurement.clusters import measure_on_cluster
from dmmcheck.measurement.processes import measure_beside
from dmmcheck.measurement.workers import Done, Worker, packed, sharing_threads
from dmmcheck.report.wording import duration

WORK = "work.bin"  # file in the folder of a session with what its processes make their workers of


def measure_in_processes(
    session: str,
    make: Callable[[], Worker],
    shards: Mapping[str, float],
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
        shards: From the name of each shard to how long it is expected to take, in any unit; the longest first.
        jobs: Number of processes on this machine, or a cluster, as the setting `jobs` has it.
        folder: A folder that the processes of this machine share.
        own: Measures one shard in this process, with an error in place of an exception.
        progress: Called with a line of text whenever a shard has ended.
        take: Called with what each shard took.

    Returns:
        What the processes did, and what they could not do, in one line.

    Raises:
        ConfigError: The work cannot be sent, or the cluster cannot be used.
    """
    content, errors, ended = packed(make), list[str](), _Ended(shards, progress)

    def measured() -> Iterator[Done]:
        if isinstance(jobs, str):
            yield from measure_on_cluster(
                session, content, list(shards), cluster=jobs, progress=progress, count=ended.count
            )
            return
        work = folder / WORK
        work.write_bytes(content.data)
        with sharing_threads(jobs):
            yield from measure_beside(session, work, list(shards), others=jobs - 1, own=own)

    for done in measured():
        take(done)
        errors += [done.error] if done.error else []
        ended.add(done.shard)
    by = f"{jobs} processes" if isinstance(jobs, int) else f"the cluster {jobs}"
    note = f"{len(shards) - len(errors)} of {len(shards)} parts measured by {by}"
    return f"{note}; the others by this one ({errors[0]})" if errors else note


class _Ended:
    """Shows how many shards have ended, and how long the others take by what they are expected to take."""

    def __init__(self, shards: Mapping[str, float], progress: Callable[[str], None]) -> None:
        self._left, self._whole, self._progress = dict(shards), sum(shards.values()), progress
        self._count, self._of, self._start = 0, len(shards), time.monotonic()

    def add(self, shard: str) -> None:
        """Count a shard that has ended, and show how many have, unless `count` has shown it."""
        self._left.pop(shard, None)
        self._show(self._of - len(self._left))

    def count(self, ended: int) -> None:
        """Show that so many shards have ended, where it is not known which: those that were handed out first."""
        for shard in list(self._left)[: max(0, ended - self._of + len(self._left))]:
            del self._left[shard]
        self._show(ended)

    def _show(self, ended: int) -> None:
        if ended <= self._count:
            return
        self._count, left = ended, sum(self._left.values())
        rest = (time.monotonic() - self._start) * left / max(self._whole - left, 1e-9 * self._whole)
        self._progress(f"{ended} of {self._of} parts measured, about {duration(rest)} left")
