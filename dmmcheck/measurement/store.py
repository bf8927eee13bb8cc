"""Measurements on disk, one checksummed file for each, which processes share and which later runs read."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock, Timeout

from dmmcheck.measurement.packing import pack, unpack

MAGIC = b"dmmcheck-store/1\n"
DIGEST = 32  # bytes of the checksum
LIMIT = 1 << 30  # most bytes of a store; the entries that were used least recently are removed first
FILL = 0.8  # share of the limit that is kept when entries are removed
ABANDONED = 3600.0  # seconds after which a file that was not finished belongs to a process that was killed

T = TypeVar("T")


class BusyError(Exception):
    """Another process is measuring what is at an address."""


class Store:
    """A folder of measurements by address; a file appears in it whole or not at all.

    Args:
        folder: Where entries lie; it is made when the first one is written.
        limit: Most bytes of all entries together.

    Attributes:
        read: How many measurements were read.
        written: How many were measured and written.
        error: Why the last measurement could not be written or read; "" where all could.
        unwritten: The last reason why a measurement could not be written; "" where all were.
        refused: Why measurements have no address, each reason once.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> store = Store(Path(tempfile.mkdtemp()))
        >>> [store.measured("ab12", lambda: (torch.ones(2), 7), torch.device("cpu"))[1] for _ in range(2)]
        [7, 0]
    """

    def __init__(self, folder: Path, *, limit: int = LIMIT) -> None:
        self.folder, self.limit = folder, limit
        self.read = self.written = 0
        self._damaged: set[str] = set()
        self.error = self.unwritten = ""
        self.refused: dict[str, None] = {}
        self._bytes: int | None = None

    def measured(
        self, address: str, compute: Callable[[], tuple[T, int]], device: torch.device, *, wait: bool = True
    ) -> tuple[T, int]:
        """Return a measurement, and how many gradients were evaluated for it: 0 where it is read from disk.

        Args:
            address: Hash of everything that the measurement depends on, in hexadecimal digits.
            compute: Measures.
            device: The device that tensors are moved to which lay on a device other than the CPU.
            wait: Whether this process waits where another one is measuring the same.

        Raises:
            BusyError: Another process is measuring the same, and this one shall not wait.
        """
        content = self._content(address)
        if content is None:
            with self._locked(address, wait=wait):
                content = self._content(address)
                if content is None:
                    result, evaluations = compute()
                    self._keep(address, result)
                    return result, evaluations
        self.read += 1
        return unpack(content, device), 0  # type: ignore[return-value]

    @property
    def damaged(self) -> int:
        """How many files had other bytes than were written; these are measured anew."""
        return len(self._damaged)

    def holds(self, address: str) -> bool:
        """Return whether there is an entry, without reading it."""
        return self._path(address).exists()

    def summary(self) -> str:
        """Return what was read and written, and what was not stored and why, in one line."""
        parts = [f"{self.read} measurements read from the store, {self.written} written"]
        parts += [f"{self.damaged} damaged and measured anew"] * (self.damaged > 0)
        parts += [f"not stored: {reason}" for reason in self.refused]
        parts += [f"the store cannot be used ({self.error})"] * bool(self.error)
        return "; ".join(parts)

    def copied(self, address: str) -> bytes:
        """Return the bytes of an entry, for the store of another process."""
        return self._path(address).read_bytes()

    def take(self, address: str, copy: bytes) -> None:
        """Add an entry from the store of another process; one that was damaged on its way is noticed when it is read.

        Args:
            address: Its address.
            copy: What `copied` returned there.
        """
        self._write(address, copy[len(MAGIC) + DIGEST :], checksum=copy[len(MAGIC) : len(MAGIC) + DIGEST])

    def entries(self) -> list[Path]:
        """Return the files of all entries."""
        return sorted(self.folder.glob("??/*.dmm"))

    def _path(self, address: str) -> Path:
        return self.folder / address[:2] / f"{address}.dmm"

    def _content(self, address: str) -> bytes | None:
        """Return the packed measurement; None where there is none, or its bytes have changed."""
        path = self._path(address)
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.error = str(error)
            return None
        start = len(MAGIC) + DIGEST
        if found[: len(MAGIC)] != MAGIC or found[len(MAGIC) : start] != _checksum(address, found[start:]):
            self._damaged.add(address)
            return None
        try:
            os.utime(path)
        except OSError as error:
            self.error = str(error)
        return found[start:]

    def _keep(self, address: str, result: object) -> None:
        """Write a result, unless it holds something that cannot be packed, which the summary then names."""
        try:
            content = pack(result)
        except TypeError as error:
            self.refused.setdefault(str(error))
        else:
            self._write(address, content)

    def _write(self, address: str, content: bytes, checksum: bytes = b"") -> None:
        """Write an entry; where that is impossible, the run goes on and its report says so."""
        path = self._path(address)
        unfinished = path.with_name(f"{address}.{uuid.uuid4().hex}.tmp")
        try:
            _make(self.folder)
            path.parent.mkdir(exist_ok=True)
            unfinished.write_bytes(MAGIC + (checksum or _checksum(address, content)) + content)
            os.replace(unfinished, path)
            self._evict(len(content))
        except OSError as error:
            self.error = str(error)
            self.unwritten = self.unwritten if os.path.exists(path) else self.error
            if unfinished.exists():
                unfinished.unlink()
            return
        self.written += 1

    @contextmanager
    def _locked(self, address: str, *, wait: bool) -> Iterator[None]:
        """Let one process at a time into a context for one address; a process that is killed leaves it."""
        path = self.folder / "locks" / address
        try:
            _make(self.folder)
            path.parent.mkdir(exist_ok=True)
            lock = FileLock(path)
            lock.acquire(blocking=wait)
        except Timeout as error:
            raise BusyError(address) from error
        except (OSError, NotImplementedError) as error:  # a folder that cannot be written, or without locks
            self.error = str(error)
            yield
            return
        try:
            yield
        finally:
            lock.release()
            path.unlink(missing_ok=True)

    def _evict(self, added: int) -> None:
        """Remove the entries that were used least recently, where the store is too large."""
        if self._bytes is not None and self._bytes + added <= self.limit:
            self._bytes += added
            return
        for path in self.folder.glob("??/*.tmp"):
            if (age := _status(path)) is not None and time.time() - age.st_mtime > ABANDONED:
                path.unlink(missing_ok=True)
        found = [(status, path) for path in self.entries() if (status := _status(path)) is not None]
        found.sort(key=lambda entry: entry[0].st_mtime)
        self._bytes = sum(status.st_size for status, _ in found)
        if self._bytes <= self.limit:
            return
        for status, path in found[:-1]:
            if self._bytes <= FILL * self.limit:
                break
            path.unlink(missing_ok=True)
            self._bytes -= status.st_size


def info(folder: Path) -> str:
    """Return how many measurements a store holds, and how large it is, in one sentence."""
    sizes = [status.st_size for path in Store(folder).entries() if (status := _status(path)) is not None]
    return f"{folder} holds {len(sizes)} measurements in {sum(sizes) / 1e6:.1f} MB (at most {LIMIT / 1e6:.0f} MB)"


def clear(folder: Path) -> int:
    """Remove all measurements of a store, and nothing else in its folder.

    Returns:
        How many there were.
    """
    entries = Store(folder).entries()
    for path in (*entries, *folder.glob("??/*.tmp")):
        path.unlink(missing_ok=True)
    return len(entries)


def _checksum(address: str, content: bytes) -> bytes:
    return hashlib.blake2b(address.encode() + content, digest_size=DIGEST).digest()


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a file; None where another process has removed it."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _make(folder: Path) -> None:
    """Make the folder of a store, which version control and backups leave out."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    (folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n", encoding="utf-8")
