"""Which part of a run's processor time goes into what, from a hundred looks a second at the stack of its functions."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import dmmcheck

PACKAGE = Path(dmmcheck.__file__).parent
INTERVAL = 0.01  # seconds between two looks
SEARCH, MODEL, ARITHMETIC, ORCHESTRATION = "search", "model passes elsewhere", "arithmetic", "orchestration"
PARTS = {
    SEARCH: "the boundary search and other attacks, with the model passes that they ask for",
    MODEL: "model passes of checks, gates and draws of controls",
    ARITHMETIC: "what checks, gates and controls compute without the model: tangent spaces, neighbours, graphs, tests",
    ORCHESTRATION: "all else: which measurement is made, read or kept, verdicts, and the report",
}
COMPUTES = (
    *("checks/", "data/", "geometry.py", "inference/chance.py", "inference/stats.py", "manifolds/", "soundness/"),
    *(f"measurement/{name}.py" for name in ("geodesic", "near", "nulls", "sample", "units")),
)
"""Files of the package, or folders of it, whose functions compute."""


def part_of(files: list[str]) -> str:
    """The part that a look belongs to, from the files of the functions that were running, the innermost first."""
    own = [file.removeprefix(f"{PACKAGE}/") for file in files if file.startswith(f"{PACKAGE}/")]
    if any(file.startswith("attacks/") for file in own):
        return SEARCH
    if own and own[0].startswith("models/"):
        return MODEL
    return ARITHMETIC if own and own[0].startswith(COMPUTES) else ORCHESTRATION


@contextmanager
def looks() -> Iterator[Counter[str]]:
    """Count the processor seconds of this context by part.

    Python calls the handler after the operation that was running when a signal came. The time since the last look is
    counted for the function that called this operation, so that long operations count in full.
    """
    seconds, last = Counter[str](), [time.process_time()]

    def look(number: int, frame: FrameType | None) -> None:
        del number
        files = []
        while frame is not None:
            files.append(frame.f_code.co_filename)
            frame = frame.f_back
        now = time.process_time()
        seconds[part_of(files)] += now - last[0]
        last[0] = now

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
    try:
        yield seconds
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def row(seconds: Counter[str]) -> dict[str, str]:
    """The shares of the parts, in percent."""
    whole = max(seconds.total(), 1e-9)
    return {part: f"{seconds[part] / whole:.1%}" for part in PARTS}
