"""The panel on several versions of torchattacks, each in an environment of its own.

    python -m benchmarks.torchattacks_versions [3.3.0 3.5.1 ...]

The package supports one line of torchattacks; this shows what another one would give. Each version is installed
without its dependencies into a folder of its own under ``build/`` (the pins of 3.5.1 on `requests` clash with nearly
everything), which a fresh interpreter puts before the installed packages. There the adapter's tests run, and the
panel on digits in three arms. Prints a Markdown table; fails where a test does, or where versions are more than
1 % apart.
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
TESTS = "tests/attacks/test_torchattacks.py"
INPUTS, DIM = 64, 8
APART = 0.01


def installed(version: str) -> Path:
    """A folder with one version of the library and nothing else."""
    folder = ROOT / "build" / f"torchattacks-{version}"
    if not (folder / "torchattacks").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, f"torchattacks=={version}"], check=True)
    return folder


def in_environment(version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that sees this version first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed(version)), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, check=False
    )


def measured() -> dict[str, dict[str, float]]:
    """What the panel finds on digits under the version that this interpreter sees."""
    # imported here: the interpreter that compares the versions needs none of it
    import torch  # noqa: PLC0415
    import torchattacks  # noqa: PLC0415

    from dmmcheck.attacks.torchattacks.attack import panel  # noqa: PLC0415
    from examples.digits import data, training  # noqa: PLC0415

    split = data.load()
    network = training.fit(split.train.x, split.train.y, 0, recipe=training.Recipe(epochs=8))
    right = network(split.test.x).argmax(1) == split.test.y
    x, y = split.test.x[right][:INPUTS], split.test.y[right][:INPUTS]
    centred = split.train.x.flatten(1) - split.train.x.flatten(1).mean(0)
    basis = torch.linalg.svd(centred, full_matrices=False).Vh[:DIM].T
    rows: dict[str, dict[str, float]] = {}
    for name, attack in panel().items():
        for arm, subspace in (("free", None), ("tangent", basis), ("normal", basis)):
            start = time.perf_counter()
            generator = torch.Generator().manual_seed(0)
            found = attack(network, x, y, subspace=subspace, normal=arm == "normal", generator=generator)
            rows[f"{name} {arm}"] = {
                "found": float(found.found.double().mean()),
                "median": float(found.distance.median()),
                "seconds": time.perf_counter() - start,
            }
    rows["version"] = {torchattacks.__version__: 1.0}
    return rows


def main() -> None:
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps(measured()))
        return
    failures: list[str] = []
    reference: dict[str, float] = {}
    print("| torchattacks | attack and arm | found | median distance | seconds |\n|---|---|---|---|---|")
    for version in sys.argv[1:] or VERSIONS:
        rows = json.loads(in_environment(version, "-m", "benchmarks.torchattacks_versions", "--measure").stdout)
        if list(rows.pop("version")) != [version]:
            sys.exit(f"the interpreter does not see torchattacks {version}; empty build/torchattacks-{version}")
        for name, row in rows.items():
            print(f"| {version} | {name} | {row['found']:.0%} | {row['median']:.4f} | {row['seconds']:.1f} |")
            if abs(row["median"] / reference.setdefault(name, row["median"]) - 1) > APART:
                failures.append(f"{name} on {version} is more than {APART:.0%} from {reference[name]:.4f}")
        tests = in_environment(version, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS)
        print(f"\n{version}, {TESTS}: {tests.stdout.strip().splitlines()[-1]}\n")
        if tests.returncode:
            failures.append(f"tests fail on {version}:\n{tests.stdout}")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
