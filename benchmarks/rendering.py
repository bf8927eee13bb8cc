"""How long the HTML page of a run of 10,000 inputs takes, imports included, and how large it is.

    python -m benchmarks.rendering            # five new processes
    python -m benchmarks.rendering --smoke    # one, over 500 inputs

The page is that of a run with the stated checks on a plane, whose values per input are replaced by random ones. Each
claim with values stands in it twice, since half of the checks need further models. A new process imports the renderer
and renders the page: what a user waits for after the last claim is decided, with the imports that only the page needs.
Aims: 2 s, 3 MB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1]))  # also run as a file

from dmmcheck import worlds
from dmmcheck.checks.plan import select
from dmmcheck.config.settings import Settings
from dmmcheck.report.model import Report
from dmmcheck.report.write import write
from dmmcheck.run import Run

FULL, SMOKE = (10_000, 5), (500, 1)
"""Inputs, and processes."""
MOST_SECONDS, MOST_BYTES = 2.0, 3_000_000
RENDER = """
import sys, time
from dmmcheck.report import json
report = json.read(sys.argv[1])
before, own = time.perf_counter(), time.process_time()
from dmmcheck.report import html
page = html.render(report)
print(time.perf_counter() - before, time.process_time() - own, len(page.encode()))
"""


def large_report(inputs: int) -> Report:
    """A report of all stated checks, with random values for this many inputs."""
    run = Run(worlds.hyperplane(angle=85, samples=64, seed=0).subject, Settings(fast=True, evidence=True, cache=False))
    run.soundness = ()  # the gates take most of the time of so small a run
    report = run.whole_report(select(run.planned, tiers=["stated"]))
    rng = np.random.default_rng(0)

    def values() -> tuple[float, ...]:
        return tuple(rng.lognormal(size=inputs).tolist())

    assert report.evidence is not None
    evidence = replace(
        report.evidence,
        inputs=tuple(f"{number:016x}" for number in range(inputs)),
        distances={name: values() for name in report.evidence.distances},
        residuals=values(),
        tangent_shares=values(),
    )
    decided = [finding for finding in report.findings if finding.n]
    both = (*decided, *(replace(finding, check=f"{finding.check}-again") for finding in decided))
    findings = tuple(replace(finding, values=values()) for finding in both)
    return replace(report, evidence=evidence, findings=findings)


def rendered(path: Path) -> tuple[float, float, int]:
    """Seconds, seconds of the processor, and bytes of the page of a report, in a new process."""
    done = subprocess.run([sys.executable, "-c", RENDER, str(path)], capture_output=True, text=True, check=True)
    seconds, own, size = done.stdout.split()
    return float(seconds), float(own), int(size)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 where the page is too large, since that alone does not depend on the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one process, few inputs")
    inputs, processes = SMOKE if parser.parse_args(arguments).smoke else FULL
    report = large_report(inputs)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        write(report, path, evidence=True)
        rows = [rendered(path) for _ in range(processes)]
    claims = sum(bool(finding.values) for finding in report.findings)
    print(f"{inputs:,} inputs, {claims} claims with values; aims: {MOST_SECONDS} s, {MOST_BYTES / 1e6:.0f} MB")
    named = [
        (name, *(f"{pick(row[place] for row in rows) / unit:.2f}" for pick in (min, max)))
        for place, (name, unit) in enumerate((("seconds", 1), ("seconds of one core", 1), ("MB", 1e6)))
    ]
    print(tabulate(named, headers=("", "least", "most"), disable_numparse=True))
    return int(max(size for _, _, size in rows) > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
