"""Without --dmm nothing heavy is imported; each case runs in a new process, where nothing is loaded yet."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "sklearn", "scipy", "hypothesis"}


PER_TEST = ("pytest_runtest_", "pytest_pyfunc_call", "pytest_report_teststatus", "pytest_fixture_")
"""How the names of the hooks begin that pytest calls for each test."""
OURS = {
    *("pytest_runtest_setup", "pytest_runtest_call", "pytest_runtest_makereport", "pytest_runtest_logreport"),
    *("pytest_pyfunc_call", "pytest_report_teststatus"),
}
"""The hooks of each test that dmmcheck implements where a test is a check."""
HOOKS = f"""
def test_hooks(pytestconfig):
    hooks = {{name: hook for name, hook in vars(pytestconfig.hook).items() if name.startswith({PER_TEST})}}
    assert hooks.keys() >= {OURS}
    sources = {{impl.function.__module__ for hook in hooks.values() for impl in hook.get_hookimpls()}}
    assert "_pytest.runner" in sources
    assert not [source for source in sources if source.startswith("dmmcheck")]
"""


def imported(pytester, *options: str) -> set[str]:
    """Every module that a run imports, listed by the interpreter; -s, since pytest would capture the list."""
    pytester.makepyfile(test_mine="def test_mine():\n    pass\n")
    command = [sys.executable, "-X", "importtime", "-m", "pytest", "-p", "no:hypothesispytest", "-s", *options]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_a_run_without_dmm_imports_nothing_but_light_modules_of_dmmcheck(pytester):
    modules = imported(pytester)
    assert "dmmcheck.pytest_plugin.options" in modules
    added = {name.partition(".")[0] for name in modules - imported(pytester, "-p", "no:dmmcheck")}
    assert added - sys.stdlib_module_names == {"dmmcheck"}
    assert {name.partition(".")[0] for name in modules} & HEAVY == set()


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "worker"])
def test_without_checks_pytest_calls_no_hook_of_dmmcheck_for_a_test(pytester, options):
    pytester.makepyfile(HOOKS)
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)


def test_the_hooks_stay_where_a_test_is_a_check(pytester):
    pytester.makepyfile(f"import pytest\n{HOOKS}\n@pytest.mark.dmm\ndef test_marked():\n    pass\n")
    pytester.runpytest_inprocess().assert_outcomes(passed=1, failed=1)


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
