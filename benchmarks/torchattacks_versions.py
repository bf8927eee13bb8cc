"""The two default attacks of torchattacks on several versions of the library.

    python -m benchmarks.torchattacks_versions [3.3.0 3.5.1 ...]
    python -m benchmarks.torchattacks_versions --smoke      # the installed version on a few inputs, no tests

The package supports one minor version of torchattacks; this compares others with it. Each version is installed without
its dependencies into a folder under ``build/`` (version 3.5.1 pins `requests` to a version that few packages allow),
which a new interpreter searches before the installed packages. There the tests of the adapter run, and the attacks
search digits in three search spaces. Prints a Markdown table; fails if a test fails, or if the median distances of two
versions differ by more than 1 %.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.3.0", "3.5.1")
TESTS = "tests/attacks/torchattacks"
INPUTS, SMOKE_INPUTS, DIM = 64, 8, 8
TOLERANCE = 0.01  # relative difference of median distances
HEAD = "| torchattacks | attack and arm | found | median distance | seconds |\n|---|---|---|---|---|"


def installed(version: str) -> Path:
    """A folder that holds one version of the library."""
    folder = ROOT / "build" / f"torchattacks-{version}"
    if not (folder / "torchattacks").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, f"torchattacks=={version}"], check=True)
    return folder


def in_environment(version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The result of a new interpreter, which imports this version."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed(version)), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, check=False
    )


def measured(inputs: int) -> dict[str, dict[str, float]]:
    """Distances that the attacks find on digits, with the version that this interpreter imports."""
    # imported here: the interpreter that compares the versions needs none of it
    import torch  # noqa: PLC0415
    import torchattacks  # noqa: PLC0415

    from dmmcheck.attacks.search_space import Everywhere, spanned  # noqa: PLC0415
    from dmmcheck.attacks.torchattacks.attack import panel  # noqa: PLC0415
    from examples.digits import data, training  # noqa: PLC0415

    split = data.load()
    network = training.fit(split.train.x, split.train.y, 0, recipe=training.Recipe(epochs=8))
    correct = network(split.test.x).argmax(1) == split.test.y
    x, y = split.test.x[correct][:inputs], split.test.y[correct][:inputs]
    centred = split.train.x.flatten(1) - split.train.x.flatten(1).mean(0)
    basis = torch.linalg.svd(centred, full_matrices=False).Vh[:DIM].T
    spaces = {"free": Everywhere(), "tangent": spanned(basis), "normal": spanned(basis, normal=True)}
    rows: dict[str, dict[str, float]] = {}
    for name, attack in panel().items():
        for arm, space in spaces.items():
            start = time.perf_counter()
            found = attack(network, x, y, space=space, generator=torch.Generator().manual_seed(0))
            rows[f"{name} {arm}"] = {
                "found": float(found.found.double().mean()),
                "median": float(found.distance.median()),
                "seconds": time.perf_counter() - start,
            }
    rows["version"] = {torchattacks.__version__: 1.0}
    return rows


def smoke() -> None:
    """Few inputs with the installed version; fails if an attack does not find a label change for each of them."""
    rows = measured(SMOKE_INPUTS)
    (version,) = rows.pop("version")
    print(HEAD)
    for name, row in rows.items():
        print(line(version, name, row))
    missed = [name for name, row in rows.items() if row["found"] < 1]
    if missed:
        sys.exit(f"no label change was found for some inputs by {', '.join(missed)}")


def line(version: str, name: str, row: dict[str, float]) -> str:
    return f"| {version} | {name} | {row['found']:.0%} | {row['median']:.4f} | {row['seconds']:.1f} |"


def main() -> None:
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps(measured(INPUTS)))
        return
    if sys.argv[1:] == ["--smoke"]:
        smoke()
        return
    failures: list[str] = []
    reference: dict[str, float] = {}
    print(HEAD)
    for version in sys.argv[1:] or VERSIONS:
        rows = json.loads(in_environment(version, "-m", "benchmarks.torchattacks_versions", "--measure").stdout)
        if list(rows.pop("version")) != [version]:
            sys.exit(f"the interpreter does not import torchattacks {version}; remove build/torchattacks-{version}")
        for name, row in rows.items():
            print(line(version, name, row))
            if abs(row["median"] / reference.setdefault(name, row["median"]) - 1) > TOLERANCE:
                failures.append(f"{name} on {version} differs by more than {TOLERANCE:.0%} from {reference[name]:.4f}")
        tests = in_environment(version, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS)
        print(f"\n{version}, {TESTS}: {tests.stdout.strip().splitlines()[-1]}\n")
        if tests.returncode:
            failures.append(f"tests fail on {version}:\n{tests.stdout}")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
