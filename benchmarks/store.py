"""Is what a run keeps right, after kills, changed bytes and runs at once, and how much time does it save?

    python -m benchmarks.store            # about half an hour
    python -m benchmarks.store --smoke    # some kills and changed bytes, and no demo
    python -m benchmarks.store --demo     # the demo of the README alone, twice

A run is killed, with all its processes, at a time that is drawn at random between its first and its last measurement in
the store, as an undisturbed run has them. The next run must give an equal report, which differs in times and costs
alone. It must also leave every measurement that it finds as it is, and measure only what is missing: so nothing but the
block under way is done twice. The time of the second run is that of measuring, without the start of Python or the
training of networks. Not for Windows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from benchmarks.forked import preload, started
from dmmcheck.measurement.store import Store

MOST = 0.1  # of the time of the first run
CONFTEST = """
import dmmcheck
import pytest


@pytest.fixture(scope="session")
def dmm_subject():
    return dmmcheck.worlds.hyperplane(angle=85.0, samples=24, seed=0).subject
"""
SETTINGS = '[tool.dmmcheck]\nsamples = 16\neffort = "quick"\n'
CHECKS = "off-manifold-energy,on-manifold-distance"
REPORT = "report.json"
COUNTS = {"read": r"(\d+) measurements read", "written": r"(\d+) written", "damaged": r"(\d+) damaged"}
ROOT = Path(__file__).parents[1]


@dataclass
class Project:
    """A folder with a small subject, the store of its runs, and what an undisturbed run leaves.

    Attributes:
        folder: The project.
        whole: The report of an undisturbed run, without times.
        names: The measurements that it leaves in the store.
        longest: Seconds between its first and its last measurement, by number of workers (0 without pytest-xdist).
    """

    folder: Path
    whole: Mapping[str, Any] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    longest: dict[int, float] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The store, as a process finds it that opens it now."""
        return Store(self.folder / "kept")

    def begin(self, workers: int = 0, report: str = REPORT) -> BaseProcess:
        """Start a run."""
        spread = ("-p", "xdist.plugin", "-n", str(workers)) if workers else ()
        kept = ("--dmm-cache", "kept", "--dmm-report", report)
        return started(("--dmm-only", "--dmm-checks", CHECKS, *kept, *spread), self.folder)

    def until_first_write(self, run: BaseProcess) -> None:
        """Wait for the first measurement in the store."""
        while run.is_alive() and not self.store.entries():
            time.sleep(0.005)

    def time_to_last_write(self, run: BaseProcess) -> float:
        """Wait for the end of a run, and return the seconds until its last measurement in the store."""
        start = last = time.monotonic()
        count = len(self.store.entries())
        while run.is_alive():
            if len(self.store.entries()) != count:
                count, last = len(self.store.entries()), time.monotonic()
            time.sleep(0.005)
        return last - start

    def empty(self) -> None:
        """Remove the store."""
        shutil.rmtree(self.folder / "kept", ignore_errors=True)

    def ended(self, run: BaseProcess, report: str = REPORT) -> dict[str, Any]:
        """Return the report of a run that was started, when it has ended."""
        run.join()
        if run.exitcode != 0:
            sys.exit(f"a run ended with the exit status {run.exitcode}")
        found: dict[str, Any] = json.loads((self.folder / report).read_text(encoding="utf-8"))
        return found


def compile_once(folder: Path) -> None:
    """Let all processes keep the compiled modules in a folder."""
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def counted(report: Mapping[str, Any], what: str) -> int:
    """Return how many measurements all processes of a run read, wrote, or found damaged."""
    return sum(map(int, re.findall(COUNTS[what], report["cost"]["store"])))


def without_times(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a report that are the same in equal reports."""
    kept = {name: part for name, part in report.items() if name not in {"created", "run", "cost"}}
    findings = [{name: part for name, part in one.items() if name != "cost"} for one in report["findings"]]
    return {**kept, "findings": findings}


def undisturbed(folder: Path, workers: tuple[int, ...]) -> Project:
    """Return a project after undisturbed runs, which leave the same with each number of workers."""
    project = Project(folder)
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
    for count in (0, *workers):  # the first run compiles the modules
        project.empty()
        run = project.begin(count)
        project.until_first_write(run)
        project.longest[count] = project.time_to_last_write(run)
        report = project.ended(run)
        if not project.whole:
            project.whole = without_times(report)
            project.names = frozenset(path.name for path in project.store.entries())
        wrong = list(differences(project, report, len(project.names)))
        if wrong:
            sys.exit(f"{count} workers: {'; '.join(wrong)}")
    return project


def differences(project: Project, report: Mapping[str, Any], written: int) -> Iterator[str]:
    """Yield what is wrong with the report and the store of a run that had to write this number of measurements."""
    if without_times(report) != project.whole:
        yield "another report"
    if frozenset(path.name for path in project.store.entries()) != project.names:
        yield "other measurements in the store"
    if counted(report, "written") != written:
        yield f"{counted(report, 'written')} measurements written where {written} were missing"


def after_a_kill(project: Project, workers: int, share: float) -> list[str]:
    """Kill a run after a share of its time, run again, and say what is wrong."""
    project.empty()
    run = project.begin(workers)
    project.until_first_write(run)
    run.join(share * project.longest[workers])
    was_alive = run.is_alive()
    if was_alive:
        os.killpg(int(run.pid or 0), signal.SIGKILL)
    run.join()
    left = {path: path.stat().st_ino for path in project.store.entries()}
    report = project.ended(project.begin())
    wrong = list(differences(project, report, len(project.names) - len(left)))
    if any(not path.exists() or path.stat().st_ino != number for path, number in left.items()):
        wrong.append("a measurement was made again")
    if counted(report, "damaged"):
        wrong.append("a damaged measurement")
    end = f"with {len(left)} of {len(project.names)} measurements" if was_alive else "was over"
    print(f"killed after {share:.0%}, {workers} workers: {end} {wrong or ''}", file=sys.stderr, flush=True)
    return wrong


def change_a_byte(path: Path, generator: random.Random) -> bytes:
    """Change one byte of a file, and return what it held."""
    before = path.read_bytes()
    at = generator.randrange(len(before))
    other = before[at] ^ generator.randrange(1, 256)
    path.write_bytes(before[:at] + bytes([other]) + before[at + 1 :])
    return before


def unnoticed(project: Project, trials: int) -> int:
    """Change one byte of one measurement in each trial, and return how many changes the store does not notice."""
    generator, missed = random.Random(1), 0
    entries = project.store.entries()
    for _ in range(trials):
        path = generator.choice(entries)
        before, store = change_a_byte(path, generator), project.store
        made, _ = store.measured(path.stem, lambda: ("anew", 0), torch.device("cpu"))
        again, _ = project.store.measured(path.stem, lambda: ("never", 0), torch.device("cpu"))
        missed += (made, store.damaged > 0, again) != ("anew", True, "anew")
        path.write_bytes(before)
    return missed


def all_damaged(project: Project) -> list[str]:
    """Change a byte of every measurement, run, and say what is wrong."""
    generator = random.Random(2)
    for path in project.store.entries():
        change_a_byte(path, generator)
    report = project.ended(project.begin())
    return [*differences(project, report, len(project.names)), *["none is noticed"] * (not counted(report, "damaged"))]


def at_once(project: Project) -> list[str]:
    """Start two runs at once, and say what is wrong: together they measure what one alone does."""
    project.empty()
    names = ("one.json", "two.json")
    runs = [project.begin(report=name) for name in names]
    first, second = (project.ended(run, name) for run, name in zip(runs, names, strict=True))
    return [
        *differences(project, first, len(project.names) - counted(second, "written")),
        *differences(project, second, len(project.names) - counted(first, "written")),
    ]


def shared_by(project: Project, workers: int) -> list[str]:
    """Run with workers that share an empty store, and say what is wrong."""
    project.empty()
    return list(differences(project, project.ended(project.begin(workers)), len(project.names)))


def second_run(runs: list[dict[str, Any]]) -> tuple[str, bool]:
    """Return the measuring times in words, and whether the second run was fast enough and its report equal."""
    first, second = (run["cost"]["total"]["seconds"] for run in runs)
    is_equal = without_times(runs[0]) == without_times(runs[1])
    said = f"{first:.2f} s, then {second:.2f} s ({second / first:.1%}, at most {MOST:.0%})"
    return f"{said}, {'equal' if is_equal else 'other'} reports", is_equal and second <= MOST * first


def demo(folder: Path) -> list[dict[str, Any]]:
    """Return the reports of two runs of `make demo` with one store that is empty at first."""
    path = folder / "demo.json"
    options = (f"--dmm-cache={folder / 'demo'}", f"--dmm-report={path}")  # joined by =, or pytest takes paths for tests
    runs = []
    for _ in range(2):
        path.unlink(missing_ok=True)
        run = started(("--dmm-only", *options), ROOT)
        run.join()
        if run.exitcode not in (0, 1):  # 1 where a claim is refuted
            sys.exit(f"the demo ended with the exit status {run.exitcode}")
        runs.append(json.loads(path.read_text(encoding="utf-8")))
    return runs


def print_results(project: Project, kills: int, spread_kills: int, trials: int) -> bool:
    """Print what was found on the small subject; whether all is well."""
    generator, wrong = random.Random(0), list[str]()
    for workers, count in ((0, kills), (2, spread_kills)):
        found = [after_a_kill(project, workers, generator.random()) for _ in range(count)]
        bad = sum(map(bool, found))
        print(f"{count} runs killed, {workers} workers: {bad} with something wrong after them", flush=True)
        wrong += [line for lines in found for line in lines]
    missed = unnoticed(project, trials)
    print(f"{trials} changed bytes: {missed} not noticed")
    for name, lines in (
        ("a byte of every measurement changed", all_damaged(project)),
        ("two runs at once", at_once(project)),
        ("4 workers", shared_by(project, 4)),
    ):
        print(f"{name}: {'; '.join(lines) or 'as undisturbed'}")
        wrong += lines
    return not wrong and not missed


def main() -> None:
    """Disturb runs, print the counts, and exit with an error where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="of runs without workers")
    parser.add_argument("--spread-kills", type=int, default=30, help="of runs with two workers of pytest-xdist")
    parser.add_argument("--bytes", type=int, default=500)
    parser.add_argument("--smoke", action="store_true", help="3 kills, 1 of them with workers, 30 bytes, no demo")
    parser.add_argument("--demo", action="store_true", help="the demo alone")
    options = parser.parse_args()
    kills, spread_kills, trials = (2, 1, 30) if options.smoke else (options.kills, options.spread_kills, options.bytes)
    with tempfile.TemporaryDirectory() as name:
        preload()
        compile_once(Path(name) / "compiled")
        is_well = True
        if not options.demo:
            project = undisturbed(Path(name), (0, 2))
            is_well = print_results(project, kills, spread_kills, trials)
            project.empty()
            said, _ = second_run([project.ended(project.begin()) for _ in range(2)])
            print(f"the small subject twice: {said}")
        if not options.smoke:
            said, is_fast = second_run(demo(Path(name)))
            print(f"the demo twice: {said}")
            is_well = is_well and is_fast
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
