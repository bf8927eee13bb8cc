"""Do the tests notice changed code? Mutants of one module, made by cosmic-ray, and how many the tests kill.

Each mutant has one change, such as `+` for `-`, in a copy of the project; the module's own tests run on it. A mutant
survives where they all pass. Name one module of `dmmcheck/inference`, `dmmcheck/geometry.py` or `dmmcheck/judge.py`, by
its path in `MODULES`; each takes minutes to hours, so that none of this is part of CI.
Needs `pip install 'dmmcheck[mutation]'`.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

ROOT = Path(__file__).parents[1]
COPIED = ("dmmcheck", "tests", "examples", "conftest.py", "pyproject.toml")
TIMEOUT = 120.0  # seconds for the tests of one mutant, which may never end
MODULES = {
    "geometry.py": "tests/test_geometry.py",
    "judge.py": "tests/test_judge.py",
    **{
        f"inference/{name}.py": f"tests/inference/test_{name}.py"
        for name in ("chance", "decide", "evidence", "paired", "search_error", "stats", "types")
    },
}
"""The modules, and the fast tests of each."""


def mutants(module: str) -> list[Any]:
    """All mutations of a module, a path below `dmmcheck`."""
    from cosmic_ray.commands import init  # noqa: PLC0415  # of the extra
    from cosmic_ray.work_db import WorkDB, use_db  # noqa: PLC0415

    with use_db("mutants.sqlite", WorkDB.Mode.create) as db:
        init([Path("dmmcheck") / module], db, {})
        return [item.mutations for item in db.work_items]


def outcome(mutations: Sequence[Any], command: str) -> tuple[str, str]:
    """Whether a mutant is killed, survives or cannot be made; and the difference that it makes."""
    from cosmic_ray.mutating import mutate_and_test  # noqa: PLC0415  # of the extra

    result = mutate_and_test(mutations, command, TIMEOUT)
    word = result.test_outcome.value if result.test_outcome is not None else result.worker_outcome.value
    return str(word), str(result.diff or "")


def main() -> None:
    """Mutate a module in a copy of the project, and print the counts and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", choices=sorted(MODULES))
    parser.add_argument("--most", type=int, default=None, help="as many mutants, drawn at random; all by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for part in COPIED:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, Path(name) / part)
        os.chdir(name)
        os.environ["PYTHONPATH"] = name
        command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider {MODULES[options.module]}"
        if subprocess.run(shlex.split(command), check=False, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"{MODULES[options.module]} fails without a mutation; mend it first")
        known = mutants(options.module)
        chosen = known
        if options.most is not None and options.most < len(known):
            chosen = random.Random(0).sample(known, options.most)
        start = time.monotonic()
        ends = [outcome(one, command) for one in chosen]
        os.chdir(ROOT)
    counts = Counter(word for word, _ in ends)
    print(tabulate(sorted(counts.items()), headers=[options.module, f"of {len(known)} mutants"]))
    print(f"{time.monotonic() - start:.0f} s")
    for word, diff in ends:
        if word == "survived":
            print(diff)


if __name__ == "__main__":
    main()
