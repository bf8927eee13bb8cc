"""Measure shards in this process and in others of this machine at the same time.

This process begins at once, while the others load torch and the subject. Each process takes the next shard as soon as
it has measured one.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from dmmcheck.errors.text import told
from dmmcheck.measurement.workers import ATTEMPTS, Done, measure_shard


def measure_beside(
    session: str, work: Path, shards: Sequence[str], *, others: int, own: Callable[[str], Done]
) -> Iterator[Done]:
    """Measure shards in this process and in others, and yield what each shard took, as the shards end.

    A shard that is lost with its process is handed out again.

    Args:
        session: Name of the session.
        work: File with what `workers.packed` returned.
        shards: Names of the shards, those that take longest first; this process takes the first one.
        others: Number of other processes.
        own: Measures one shard in this process.
    """
    pool = _Pool(partial(measure_shard, session, work), shards[1:], others)
    try:
        pool.begin()
        shard: str | None = shards[0]
        while shard is not None or pool.in_hand:
            if shard is not None:
                yield own(shard)
            yield from pool.ended(wait=shard is None)
            shard = pool.next_shard()
    except BaseException:
        pool.stop(kill=True)
        raise
    pool.stop()


def _executor(others: int) -> Any:
    """Start so many other processes.

    They are not the ones that joblib keeps for all calls of `joblib.Parallel`, which would fail after this run.
    """
    from joblib.externals.loky import ProcessPoolExecutor  # noqa: PLC0415  # only where there are several

    return ProcessPoolExecutor(max_workers=others, initializer=_keep_memory)


def _keep_memory() -> None:
    """Let this process keep what it has measured.

    Where psutil is installed, loky replaces a process whose memory has grown by 300 MB by a new one, which would load
    and measure everything again.
    """
    from joblib.externals.loky import process_executor  # noqa: PLC0415

    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize


class _Pool:
    """Other processes, each of which is handed the next shard when it has measured one.

    Shards are handed out by the thread that the executor calls when a shard ends, so that no process waits for this
    one.

    Args:
        measure: From the name of a shard to what measuring it took.
        shards: Names of the shards.
        size: Number of processes.
    """

    def __init__(self, measure: Callable[[str], Done], shards: Sequence[str], size: int) -> None:
        self._measure, self._size = measure, size
        self._open = deque(shards)
        self._handed_out: list[str] = []  # a list, and not a number, since two threads add to it
        self._ended = SimpleQueue[tuple[str, "Done | BaseException"]]()
        self._collected = 0
        self._lost = Counter[str]()
        self._processes: Any = None
        self._lock = threading.Lock()

    @property
    def in_hand(self) -> int:
        """Number of shards that other processes were handed, and that have not been collected."""
        return len(self._handed_out) - self._collected

    def begin(self) -> None:
        """Hand each process its first shard."""
        for _ in range(self._size):
            self._hand_out()

    def next_shard(self) -> str | None:
        """Return a shard that no process was handed; None where there is none."""
        try:
            return self._open.popleft()
        except IndexError:
            return None

    def ended(self, *, wait: bool) -> Iterator[Done]:
        """Yield what other processes have measured.

        Args:
            wait: Wait until one shard at least has ended.
        """
        while self.in_hand and (wait or not self._ended.empty()):
            shard, result = self._ended.get()
            self._collected += 1
            wait = False
            if isinstance(result, Done):
                yield result
                continue
            self._lost[shard] += 1
            if self._lost[shard] >= ATTEMPTS:
                yield Done(shard, error=told(result).partition("\n")[0])
            else:
                self._open.append(shard)
                self._hand_out()

    def stop(self, *, kill: bool = False) -> None:
        """End the processes.

        Args:
            kill: End them at once, with what they are measuring.
        """
        self._open.clear()
        if self._processes is not None:
            self._processes.shutdown(wait=False, kill_workers=kill)

    def _hand_out(self) -> None:
        """Hand the next shard to a process; do nothing where no shard is left."""
        shard = self.next_shard()
        if shard is None:
            return
        self._handed_out.append(shard)
        try:
            future = self._submitted(shard)
        except Exception as error:  # no process can be started
            self._ended.put((shard, error))
        else:
            future.add_done_callback(partial(self._end, shard))

    def _submitted(self, shard: str) -> Future[Done]:
        """Hand a shard to the processes; to new ones where one of them was lost, since the others end with it."""
        with self._lock:
            try:
                self._processes = self._processes or _executor(self._size)
                return self._processes.submit(self._measure, shard)  # type: ignore[no-any-return]
            except BrokenExecutor:
                self._processes = _executor(self._size)
                return self._processes.submit(self._measure, shard)  # type: ignore[no-any-return]

    def _end(self, shard: str, future: Future[Done]) -> None:
        """Take the result of a shard. The next one is handed out before, so that `in_hand` is never too small."""
        error = future.exception()
        if error is None:
            self._hand_out()
        self._ended.put((shard, future.result() if error is None else error))
