"""Independent streams of random numbers from one seed, by name: draws from one stream never change another."""

from __future__ import annotations

import hashlib

import torch


def seeded(seed: int, *names: object) -> torch.Generator:
    """Return a generator on the CPU for one purpose.

    The same seed and names give the same stream on every machine and in every process.

    Args:
        seed: The seed of the run.
        *names: The name of the stream; other names give an independent stream.

    Example:
        >>> import torch
        >>> from dmmcheck.seeding import seeded
        >>> once, again, other = (torch.rand(2, generator=seeded(0, name)) for name in ("a", "a", "b"))
        >>> torch.equal(once, again), torch.equal(once, other)
        (True, False)
    """
    digest = hashlib.blake2b(repr((seed, *names)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
