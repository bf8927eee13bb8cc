"""What a run leaves behind when it is killed or interrupted: no report, a whole one, or half of one?

Each run begins with a whole report of an earlier run in its place, and ends by a signal after a time that is drawn at
random, up to the time that an undisturbed run takes; torch is imported before all of them. The table counts what then
lies there. A report of an earlier run is left only where the signal came before pytest had read its options. "set
aside": how often a hidden file lies beside it, which is the earlier report or a part of the new one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tabulate import tabulate

from benchmarks.forked import preload, started

SUBJECT = """
import torch

D, N = 8, 40
generator = torch.Generator().manual_seed(0)
side = torch.arange(N) % 2 * 2 - 1.0
x = 0.02 * torch.randn(N, D, generator=generator)
x[:, 0] += side
x[:, 1] += torch.randn(N, generator=generator)
weights = torch.tensor([0.3, 0.0, 1.0, 0.5, 0.0, 0.2, 0.0, 0.1])
test = x, (side > 0).long()


def model(x):
    score = x @ weights.to(x)
    return torch.stack([-score, score], dim=1)
"""
SETTINGS = """
[tool.dmmcheck]
model = "subject:model"
data = "subject:test"
manifold = "pca"
manifold-data = "subject:test"
manifold-options = { dim = 2 }
samples = 24
"""
REPORT = "report.json"
ARGUMENTS = ("--dmm-only", "--dmm-checks", "off-manifold-suffices", "-q", "--dmm-report", REPORT)
OUTCOMES = ("whole", "partial, and says so", "none", "of an earlier run", "half-written")


def left_behind(path: Path, earlier: str) -> str:
    """What lies at the path of the report, one of `OUTCOMES`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["run"] == earlier:
            return "of an earlier run"
        return "whole" if content["complete"] else "partial, and says so"
    except FileNotFoundError:
        return "none"
    except (ValueError, KeyError):
        return "half-written"


def disturbed(folder: Path, by: signal.Signals, after: float, whole: bytes) -> tuple[str, int, bool]:
    """Put an earlier report in place, start a run, and send it a signal.

    Returns:
        What is left behind, the exit status, and whether a hidden file lies beside it.
    """
    path = folder / REPORT
    path.write_bytes(whole)
    run = started(ARGUMENTS, folder)
    run.join(after)
    if run.exitcode is None:
        os.kill(int(run.pid or 0), by)
        run.join()
    beside = list(folder.glob(".dmmcheck-*"))
    for file in beside:
        file.unlink()
    what = left_behind(path, json.loads(whole)["run"])
    print(f"{by.name} after {after:.1f} s: {what}", file=sys.stderr, flush=True)
    return what, int(run.exitcode or 0), bool(beside)


def main() -> None:
    """Disturb runs and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--interrupts", type=int, default=30)
    parser.add_argument("--terminations", type=int, default=10)
    parser.add_argument("--smoke", action="store_true", help="two kills, one interrupt and one termination")
    options = parser.parse_args()
    kills, interrupts, terminations = options.kills, options.interrupts, options.terminations
    if options.smoke:
        kills, interrupts, terminations = 2, 1, 1
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "subject.py").write_text(SUBJECT, encoding="utf-8")
        (folder / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
        preload()
        start = time.monotonic()
        started(ARGUMENTS, folder).join()
        longest, whole = time.monotonic() - start, (folder / REPORT).read_bytes()
        rows = []
        for by, count in ((signal.SIGKILL, kills), (signal.SIGINT, interrupts), (signal.SIGTERM, terminations)):
            ends = [disturbed(folder, by, generator.uniform(0, longest), whole) for _ in range(count)]
            found, statuses = Counter(what for what, _, _ in ends), Counter(status for _, status, _ in ends)
            said = ", ".join(f"{status}: {statuses[status]}" for status in sorted(statuses))
            rows.append([by.name, count, *(found[outcome] for outcome in OUTCOMES), sum(b for *_, b in ends), said])
    print(f"an undisturbed run takes {longest:.1f} s")
    print(tabulate(rows, headers=["signal", "runs", *OUTCOMES, "set aside", "exit statuses"]))
    if any(row[-3] for row in rows):
        sys.exit("a report is half-written")


if __name__ == "__main__":
    main()
