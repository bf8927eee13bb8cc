"""Beside other plugins and under other modes of Python: the same verdicts, and a usage error keeps its exit status.

Plugins that are not installed are skipped. ``.ci/run`` puts them into a folder of their own, since some of them change
how every test runs, and names it in NEIGHBOURS.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from projects import FEWER_GATES, ONE, SETTINGS, WORLD

pytestmark = pytest.mark.heavy
FOLDER = os.environ.get("NEIGHBOURS", "")
REPORT = ("--dmm-report", "r.json")


@dataclass(frozen=True)
class Neighbour:
    """Another plugin, or another way to call pytest.

    Attributes:
        options: Options of pytest.
        python: Options of Python.
        module: The module of the plugin, loaded by hand; "" where there is none.
    """

    options: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    module: str = ""


MODES = {
    "no cache": Neighbour(("-p", "no:cacheprovider")),
    "no terminal": Neighbour(("-p", "no:terminal")),
    "importlib": Neighbour(("--import-mode", "importlib")),
    "stop at the first failure, last failed": Neighbour(("-x", "--lf")),
    "keyword": Neighbour(("-k", "off-manifold-suffices")),
    "warnings are errors": Neighbour(("-W", "error")),
    "optimised": Neighbour(python=("-OO",)),
    "development mode": Neighbour(python=("-X", "dev")),
}
PLUGINS = {
    "randomly": Neighbour(module="pytest_randomly"),
    "random-order": Neighbour(("--random-order",), module="random_order.plugin"),
    "rerunfailures": Neighbour(("--reruns", "1"), module="pytest_rerunfailures"),
    "timeout": Neighbour(("--timeout", "300"), module="pytest_timeout"),
    "cov": Neighbour(("--cov", "world"), module="pytest_cov.plugin"),
    "html": Neighbour(("--html", "r.html"), module="pytest_html.plugin"),
    "json-report": Neighbour(("--json-report",), module="pytest_jsonreport.plugin"),
    "sugar": Neighbour(module="pytest_sugar"),
    "split": Neighbour(("--splits", "1", "--group", "1"), module="pytest_split.plugin"),
    "asyncio": Neighbour(("--asyncio-mode", "auto"), module="pytest_asyncio.plugin"),
    "syrupy": Neighbour(module="syrupy"),
    "xdist": Neighbour(("-n", "2"), module="xdist.plugin"),
    "hypothesis": Neighbour(module="_hypothesis_pytestplugin"),
}
BESIDE = {"html": ("pytest_metadata.plugin",)}  # plugins that a plugin needs


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project whose settings name a subject, and whose conftest leaves out the gates that search."""
    folder = tmp_path_factory.mktemp("neighbours")
    for name, text in {"world.py": WORLD, "pyproject.toml": SETTINGS, "conftest.py": FEWER_GATES}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def call(folder: Path, neighbour: Neighbour, *options: str, name: str = "") -> subprocess.CompletedProcess[str]:
    """Call pytest with no plugin but dmmcheck and the neighbour."""
    paths = filter(None, (FOLDER, os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": os.pathsep.join(paths)}
    modules = ["dmmcheck.pytest_plugin", *filter(None, (neighbour.module,)), *BESIDE.get(name, ())]
    loaded = [word for module in modules for word in ("-p", module)]
    chosen = () if "--dmm-checks" in options else ONE[1:]
    words = (*loaded, "--dmm-only", *chosen, *neighbour.options, *options)
    command = [sys.executable, *neighbour.python, "-m", "pytest", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def verdicts(folder: Path) -> list[tuple[str, float]]:
    content = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    assert content["complete"] is True
    return [(finding["verdict"], finding["estimate"]) for finding in content["findings"]]


@pytest.fixture(scope="module")
def alone(project) -> list[tuple[str, float]]:
    """The verdicts without a neighbour."""
    done = call(project, Neighbour(), *REPORT)
    assert done.returncode == 0, done.stdout + done.stderr
    return verdicts(project)


def is_there(module: str) -> bool:
    sys.path.insert(0, FOLDER)
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    finally:
        sys.path.remove(FOLDER)


@pytest.mark.parametrize("name", {**MODES, **PLUGINS})
def test_the_verdicts_are_the_same_and_a_usage_error_stays_one(project, alone, name):
    neighbour = {**MODES, **PLUGINS}[name]
    if not is_there(neighbour.module or "pytest"):
        pytest.skip(f"{neighbour.module} is not installed; .ci/run installs it and names its folder in NEIGHBOURS")
    done = call(project, neighbour, *REPORT, name=name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert verdicts(project) == alone


@pytest.mark.parametrize("name", ["no terminal", "warnings are errors", "rerunfailures", "sugar", "syrupy", "xdist"])
def test_an_error_of_the_subject_keeps_its_exit_status(project, name):
    """Syrupy combines exit statuses by bits, which made 5 (no tests) of 4 (usage error)."""
    neighbour = {**MODES, **PLUGINS}[name]
    if not is_there(neighbour.module or "pytest"):
        pytest.skip(f"{neighbour.module} is not installed; .ci/run installs it and names its folder in NEIGHBOURS")
    done = call(project, neighbour, "--dmm-model", "world:none", name=name)
    assert done.returncode == 4, done.stdout + done.stderr


@pytest.mark.parametrize("group", ["1", "2"])
def test_a_shard_of_inconclusive_checks_does_not_fail_where_the_whole_run_passes(project, group):
    if not is_there("pytest_split"):
        pytest.skip("pytest_split is not installed; .ci/run installs it and names its folder in NEIGHBOURS")
    choice = ("--dmm-checks", "off-manifold-suffices,boundary-clings", "--dmm-tier", "stated")
    options = (*choice, "--splits", "2", "--group", group)
    settings = f"{SETTINGS}\n[tool.dmmcheck.checks.boundary-clings]\nthreshold = 0.272\n"
    (project / "pyproject.toml").write_text(settings, encoding="utf-8")
    try:
        done = call(project, Neighbour(module="pytest_split.plugin"), *options)
    finally:
        (project / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
