"""The store of measurements on the command line: ``python -m dmmcheck.cache info|clear [folder]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

DEFAULT = Path(".pytest_cache/d/dmmcheck")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a store holds, or remove it.

    Args:
        arguments: ``info`` or ``clear``, and a folder; those of the process where None.
    """
    from dmmcheck.measurement.store import clear, info  # noqa: PLC0415  # loads torch

    parser = argparse.ArgumentParser(prog="python -m dmmcheck.cache", description="measurements kept for later runs")
    parser.add_argument("action", choices=("info", "clear"))
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT, help=f"where they lie ({DEFAULT})")
    given = parser.parse_args(arguments)
    if given.action == "info":
        print(info(given.folder))
    else:
        print(f"{given.folder}: {clear(given.folder)} measurements removed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
