"""The run of a process that measures shards for the run of another process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from dmmcheck.inference.cost import Cost
from dmmcheck.measurement.store import Store
from dmmcheck.measurement.workers import Done, use_threads
from dmmcheck.registry import Registry

SESSION_LIMIT = 1 << 40  # bytes of what processes share in a run, of which nothing may be removed before its end


class MeasuresShards(Protocol):
    """A run that measures parts of its work by name."""

    def measure_shard(self, shard: str) -> Mapping[str, Cost]:
        """Measure one shard, and return the cost by part of the work."""


class MakesRun(Protocol):
    """Makes the run of a process from its stores."""

    def __call__(self, *, store: Store | None, session: Store) -> MeasuresShards:
        """Return the run, which keeps its measurements in `session` and, for later runs, in `store`."""


@dataclass(eq=False)
class ShardWorker:
    """The worker of a process: a run whose measurements the process that asked for them reads."""

    run: MeasuresShards
    session: Store
    is_apart: bool
    _folder: object = None
    _sent: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        make_run: MakesRun,
        *,
        store: Path | None,
        session: Path,
        name: str,
        threads: int,
        added: Sequence[tuple[Registry[Any], Mapping[str, Any]]],
    ) -> ShardWorker:
        """Make the worker of this process, which measures shards for the run of another process.

        Args:
            make_run: Makes the run, from where its measurements lie.
            store: Folder of the measurements that are kept; None where none are.
            session: Folder of the measurements that the processes share.
            name: Name of the session: that of a file in its folder, which another machine may not see.
            threads: How many threads a process uses.
            added: Checks, controls and gates from outside the package.
        """
        for registry, things in added:
            for id, thing in things.items():
                registry.put(id, thing)
        use_threads(threads)
        is_apart = not (session / name).exists()
        own = TemporaryDirectory(prefix="dmmcheck-") if is_apart else None
        shared = Store(session if own is None else Path(own.name), limit=SESSION_LIMIT)
        kept = None if store is None or is_apart else Store(store)
        return cls(make_run(store=kept, session=shared), shared, is_apart, own)

    def measure(self, shard: str) -> Done:
        """Measure a shard; new entries are returned where the process that asked cannot see them in the store."""
        spent = self.run.measure_shard(shard)
        new = {path.stem for path in self.session.entries()} - self._sent if self.is_apart else set()
        self._sent |= new
        return Done(shard, spent=spent, entries={address: self.session.copied(address) for address in new})
