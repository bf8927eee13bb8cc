"""Without --dmm nothing heavy is imported; each case runs in a new process, where nothing is loaded yet."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "sklearn", "scipy", "hypothesis"}


def imported(pytester) -> set[str]:
    """Every module that a collection imports, listed by the interpreter; -s, since pytest would capture the list."""
    pytester.makepyfile(test_mine="def test_mine():\n    pass\n")
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "pytest",
        "--collect-only",
        "-p",
        "no:hypothesispytest",
        "-s",
    ]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert "1 test collected" in done.stdout, done.stdout
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_collecting_without_dmm_imports_nothing_heavy(pytester):
    modules = imported(pytester)
    assert "dmmcheck.pytest_plugin.options" in modules
    assert {name.partition(".")[0] for name in modules} & HEAVY == set()


def test_the_list_has_a_heavy_module_where_one_is_imported(pytester):
    pytester.makeconftest("import numpy")
    assert "numpy" in imported(pytester)


@pytest.mark.parametrize(
    "statement", ["import dmmcheck", "import dmmcheck.pytest_plugin", "from dmmcheck import Settings"]
)
def test_importing_the_package_imports_nothing_heavy(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in done.stdout.split()} & HEAVY == set()
