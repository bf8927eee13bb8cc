"""What dmmcheck costs a run of pytest that does not ask for it: without ``--dmm``, beside runs where it is missing.

    python -m benchmarks.idle            # about five minutes; the bound is 1.08
    python -m benchmarks.idle --smoke    # some seconds: the same runs a few times, without the bound

Python finds packages in one of two folders alone: one holds pytest and what pytest needs, the other one also dmmcheck
as pip would install it, with its entry point and its list of files, which pytest reads. Other plugins are in neither.
The modules are compiled before anything is measured. Runs of the two kinds take turns; a run costs the time that it
keeps a processor busy, for the user and for the system, which other programs disturb less than the time on the clock.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median

from packaging.requirements import Requirement
from tabulate import tabulate

import dmmcheck

MOST = 1.08  # times the run without dmmcheck
RUNS, FEW_RUNS = 40, 3
PROJECTS = {"no test": 0, "1 test": 1, "300 tests": 300}
IN_A_FILE = 30
TEST = "def test_{number}():\n    assert {number} == {number}\n"
NO_TESTS_COLLECTED = 5
ENTRY_POINT = "[pytest11]\ndmmcheck = dmmcheck.pytest_plugin\n"
METADATA = f"Metadata-Version: 2.1\nName: dmmcheck\nVersion: {dmmcheck.__version__}\n"


@dataclass(frozen=True)
class Spent:
    """Processor seconds of runs of one project.

    Attributes:
        without: Those of the runs without dmmcheck.
        installed: Those of the runs with it, each made beside the one at the same place in `without`.
    """

    without: tuple[float, ...]
    installed: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as long a run with dmmcheck takes: the median over pairs of runs that were made in turn."""
        return median(one / other for one, other in zip(self.installed, self.without, strict=True))


def required(name: str) -> set[str]:
    """Return the names of a distribution and of all distributions that it requires here."""
    found, asked = set[str](), [name]
    while asked:
        one = asked.pop()
        if one not in found:
            found.add(one)
            needs = map(Requirement, distribution(one).requires or ())
            asked += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def link_installed(names: Iterable[str], folder: Path) -> None:
    """Make a folder in which Python finds these distributions and no others."""
    folder.mkdir()
    for name in names:
        files = distribution(name).files
        if files is None:
            raise PackageNotFoundError(name)
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))


def install_dmmcheck(folder: Path) -> None:
    """Add this dmmcheck to a folder, with the metadata that pip would write."""
    package = Path(dmmcheck.__file__).parent
    (folder / package.name).symlink_to(package)
    sources = [path.relative_to(package.parent) for path in sorted(package.rglob("*")) if path.suffix != ".pyc"]
    compiled = [
        path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        for path in sources
        if path.suffix == ".py"
    ]
    info = folder / f"dmmcheck-{dmmcheck.__version__}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINT, encoding="utf-8")
    rows = [f"{path.as_posix()},," for path in (*sources, *compiled)]
    (info / "RECORD").write_text("\n".join(rows), encoding="utf-8")


def write_project(folder: Path, tests: int) -> None:
    """Write a project with a number of tests, 30 in each file."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for start in range(0, tests, IN_A_FILE):
        numbers = range(start, min(tests, start + IN_A_FILE))
        text = "\n\n".join(TEST.format(number=number) for number in numbers)
        (folder / f"test_{start}.py").write_text(text, encoding="utf-8")


def started(project: Path, packages: Path, *options: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Return a run of pytest that finds the packages of one folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    environment |= {"PYTHONPATH": str(packages), "PYTHONPYCACHEPREFIX": str(packages.with_name("compiled"))}
    command = [sys.executable, "-S", "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.Popen(command, cwd=project, env=environment, stdout=output, text=True)


def has_options(packages: Path) -> bool:
    """Return whether pytest knows the options of dmmcheck where it finds the packages of this folder."""
    with started(packages.parent, packages, "--help", output=subprocess.PIPE) as run:
        return "--dmm-only" in run.communicate()[0]


def seconds(project: Path, packages: Path) -> float:
    """Return the processor time of one run of pytest, in seconds."""
    run = started(project, packages)
    _, status, used = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode not in (0, NO_TESTS_COLLECTED):
        sys.exit(f"pytest ended with the exit status {run.returncode}")
    return used.ru_utime + used.ru_stime


def measured(runs: int, folder: Path) -> dict[str, Spent]:
    """Return what runs of each project cost."""
    without, installed = folder / "without", folder / "installed"
    link_installed(required("pytest"), without)
    link_installed(required("pytest"), installed)
    install_dmmcheck(installed)
    if has_options(without) or not has_options(installed):
        sys.exit("pytest must find dmmcheck in the one folder and not in the other one")
    spent = {}
    for name, tests in PROJECTS.items():
        project = folder / name.replace(" ", "-")
        write_project(project, tests)
        times: dict[Path, list[float]] = {without: [], installed: []}
        for turn in range(runs + 1):
            for packages in (without, installed) if turn % 2 else (installed, without):
                times[packages].append(seconds(project, packages))
        spent[name] = Spent(*(tuple(of[1:]) for of in times.values()))  # the first run compiles the modules
    return spent


def main() -> None:
    """Print the table, and exit with an error where a run with dmmcheck takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few runs, without the bound")
    parser.add_argument("--runs", type=int, default=RUNS, help="pairs of runs of each project")
    options = parser.parse_args()
    is_short, runs = options.smoke, FEW_RUNS if options.smoke else options.runs
    with tempfile.TemporaryDirectory() as folder:
        spent = measured(runs, Path(folder))
    rows = [
        [name, *(1000 * median(times) for times in (of.without, of.installed)), of.ratio] for name, of in spent.items()
    ]
    headers = ["project", "without dmmcheck, ms", "with it, ms", f"ratio (at most {MOST})"]
    print(f"medians over {runs} pairs of runs\n\n{tabulate(rows, headers=headers, floatfmt=('', '.0f', '.0f', '.3f'))}")
    wrong = [name for name, of in spent.items() if of.ratio > MOST]
    if wrong and not is_short:
        sys.exit(f"runs with dmmcheck take more than {MOST} times as long: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
