"""Do the tests notice changed code? Mutants of the modules that decide, and how many of them the tests kill.

    python -m benchmarks.mutation                                # a sample of 50 mutants of each module; an hour
    python -m benchmarks.mutation inference/stats.py --most 100  # one module
    python -m benchmarks.mutation geometry.py --seed 1           # another sample

Each mutant has one change by cosmic-ray, such as `+` for `-`, in a copy of the project; the module's own tests run on
it. A mutant survives where they all pass. Three kinds are not drawn: those that differ in annotations alone, or in
which arguments are passed by name; those that Python or `ruff` refuses; and those that order words by the alphabet.
torch is imported once, and each mutant is tested in a fork of that process. The tests that killed most mutants run
first, and of the others the fast ones; what only a test of more than 8 s would kill survives. The share that is killed
has a Clopper-Pearson interval of 95 %. `benchmarks/MUTATION.md` keeps the outcome and explains the survivors.

Needs `pip install 'dmmcheck[mutation]'` and a system that can fork.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import itertools
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from tabulate import tabulate

from benchmarks.forked import FORK, preload, silent_pytest

ROOT = Path(__file__).parents[1]
COPIED = ("dmmcheck", "tests", "examples", "conftest.py", "pyproject.toml")
MOST_SECONDS = 120  # of a processor, for the tests of one mutant, which may never end
SLOWEST = 8.0  # seconds of a processor; a test that takes longer without a mutation is left out of the others
REFUSED_BY_RUFF = "E711,F632"  # `== None`, and `is` beside a literal
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider")
MODULES = {
    "geometry.py": ("tests/test_geometry.py",),
    "judge.py": ("tests/test_judge.py",),
    "inference/decide.py": ("tests/inference/test_decide.py", "tests/inference/test_inference_remedies.py"),
    **{
        f"inference/{name}.py": (f"tests/inference/test_{name}.py",)
        for name in ("chance", "evidence", "paired", "search_error", "stats", "types")
    },
}
"""The modules, and the tests of each."""


@dataclass
class Order:
    """A plugin of pytest that runs the tests first that killed most mutants, and of the others the fast ones.

    Attributes:
        kills: The number of mutants that each test killed.
        seconds: The processor time that each test took without a mutation.
        failed: The tests of this process that failed.
    """

    kills: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed: list[str] = field(default_factory=list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if self.seconds[item.nodeid] <= SLOWEST]
        items.sort(key=lambda item: (-self.kills[item.nodeid], self.seconds[item.nodeid]))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        start = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] += time.process_time() - start

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def mutants(module: Path, seed: int) -> tuple[int, Iterator[str]]:
    """How many changes of a module cosmic-ray knows, and the sources that can behave otherwise, in random order."""
    from cosmic_ray.commands import init  # noqa: PLC0415  # of the extra
    from cosmic_ray.mutating import mutate_code  # noqa: PLC0415
    from cosmic_ray.plugins import get_operator  # noqa: PLC0415
    from cosmic_ray.work_db import WorkDB, use_db  # noqa: PLC0415

    source = module.read_text(encoding="utf-8")
    with use_db("mutants.sqlite", WorkDB.Mode.create) as db:
        init([module], db, {})
        specs = [item.mutations[0] for item in db.work_items]
    random.Random(seed).shuffle(specs)

    def made() -> Iterator[str]:
        seen = {"", behaviour(source)}
        for one in specs:
            code = mutate_code(source, get_operator(one.operator_name)(), one.occurrence) or source
            does = behaviour(code)
            if does not in seen and not is_refused_by_ruff(code):
                seen.add(does)
                yield code

    return len(specs), made()


def behaviour(source: str) -> str:
    """A program as text, without annotations and without the marks of arguments that are passed by name.

    It is empty where Python cannot compile the program without a warning, or where it orders words by the alphabet.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(source, "mutant", "exec")
    except (SyntaxError, SyntaxWarning):
        return ""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and orders_words(node):
            return ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dataclass":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "kw_only"]
        if isinstance(node, ast.arguments):
            first = [*node.posonlyargs, *node.args]
            defaults = [*[None] * (len(first) - len(node.defaults)), *node.defaults, *node.kw_defaults]
            node.args, node.posonlyargs, node.kwonlyargs = [*first, *node.kwonlyargs], [], []
            node.defaults, node.kw_defaults = [one or ast.Constant("none") for one in defaults], []
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                setattr(node, name, ast.Constant(None))
    return ast.dump(tree)


def orders_words(node: ast.Compare) -> bool:
    """Whether a comparison asks which of two words comes first in the alphabet."""
    words = any(
        isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (node.left, *node.comparators)
    )
    return words and any(isinstance(op, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for op in node.ops)


def is_refused_by_ruff(source: str) -> bool:
    """Whether the project's linter refuses a comparison of the program."""
    command = ["ruff", "check", "--isolated", "--select", REFUSED_BY_RUFF, "--quiet", "-"]
    return bool(subprocess.run(command, input=source.encode(), stdout=subprocess.DEVNULL, check=False).returncode)


def _run(tests: Sequence[str], order: Order, end: Connection) -> None:
    """Run tests in this process, which is a fork, and send what came of it."""
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    sys.dont_write_bytecode = bool(order.seconds)  # the first run keeps that of the tests
    status = silent_pytest([*OPTIONS, *tests], [order])
    if not str(sys.modules["dmmcheck"].__file__).startswith(os.getcwd()):
        os._exit(1)
    end.send((status, order.failed[:1], dict(order.seconds)))
    os._exit(0)


def outcome(tests: Sequence[str], order: Order) -> tuple[int, Sequence[str], dict[str, float]]:
    """The exit status of tests in a fork, -1 where they never end; the first that failed; and their times."""
    here, there = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_run, args=(tests, order, there))
    process.start()
    there.close()
    try:
        return here.recv()  # type: ignore[no-any-return]
    except EOFError:
        return -1, (), {}  # the process was killed
    finally:
        process.kill()
        process.join()


def survivors(path: Path, drawn: Sequence[str], tests: Sequence[str]) -> int:
    """How many mutants of a module the tests let pass; each is printed."""
    source = path.read_text(encoding="utf-8")
    status, failed, seconds = outcome(tests, Order())
    if status:
        sys.exit(f"{', '.join(tests)}: without a mutation, the exit status is {status} ({failed}); mend it first")
    for cached in path.parent.glob(f"__pycache__/{path.stem}.*"):
        cached.unlink()
    kills: Counter[str] = Counter()
    alive = 0
    for number, code in enumerate(drawn):
        path.write_text(code, encoding="utf-8")
        status, failed, _ = outcome(tests, Order(kills, defaultdict(float, seconds)))
        kills.update(failed)
        alive += status == 0
        print(f"{path.name} {number + 1}/{len(drawn)}: {failed or status or 'survived'}", file=sys.stderr, flush=True)
        if status == 0:
            print(f"{path.name} survived\n{difference(source, code)}\n", flush=True)
    path.write_text(source, encoding="utf-8")
    return alive


def difference(source: str, code: str) -> str:
    """The changed lines of a mutant."""
    lines = difflib.unified_diff(source.splitlines(), code.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


def row(module: str, known: int, drawn: int, alive: int) -> list[Any]:
    """The counts of a module and the interval of the share that is killed."""
    ends = stats.binomtest(drawn - alive, drawn).proportion_ci(0.95, method="exact")
    return [module, known, drawn, drawn - alive, f"{1 - alive / drawn:.0%}", f"{ends.low:.0%} to {ends.high:.0%}"]


def copied(folder: Path) -> None:
    """Copy the project into a folder, and make it the one that is imported, with its heavy libraries loaded."""
    for part in COPIED:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, folder / part)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = sys.path[0] = str(folder)
    preload()  # and so without bytecode: a mutant of the same second and size would be taken for the one before


def main() -> None:
    """Mutate the modules in a copy of the project, and print the survivors and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}; all by default")
    parser.add_argument("--most", type=int, default=50, help="as many mutants of each module, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    options = parser.parse_args()
    if set(options.modules) - set(MODULES):
        parser.error(f"MODULE is one of {', '.join(MODULES)}")
    rows, start = [], time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copied(folder)
        for module in options.modules or MODULES:
            path = folder / "dmmcheck" / module
            known, made = mutants(path, options.seed)
            drawn = list(itertools.islice(made, options.most))
            alive = survivors(path, drawn, MODULES[module])
            rows.append(row(module, known, len(drawn), alive))
        os.chdir(ROOT)
    print(tabulate(rows, headers=["module", "changes", "drawn", "killed", "share", "interval"], tablefmt="github"))
    print(f"seed {options.seed}, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
