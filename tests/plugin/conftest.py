"""Small projects that the plugin is run in, within this process where that is possible."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import runpy
from types import SimpleNamespace

import pytest
from projects import FEWER_GATES, SETTINGS, WORLD

import dmmcheck
from dmmcheck.registry import CHECKS, CONTROLS, GATES, REPORT_FORMATS

# An inner run removes the modules that it was the first to import, and torch cannot be imported twice.
# Its pytest plugin imports hypothesis at the end of each run, which takes seconds.
inner = [module.name for module in pkgutil.walk_packages(dmmcheck.__path__, "dmmcheck.")]
for name in (*inner, "hypothesis", "scipy.sparse.csgraph", "sklearn.neighbors", "torchattacks"):
    importlib.import_module(name)
gc.freeze()  # each inner run collects garbage several times, and need not search the modules imported so far


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """What an inner run registers is forgotten after the test."""
    for registry in (CHECKS, CONTROLS, GATES, REPORT_FORMATS):
        monkeypatch.setattr(registry, "_things", dict(registry))
        monkeypatch.setattr(registry, "_sources", dict(registry._sources))


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def empty(pytester, registries):
    """A folder with code to be tested, and nothing that says so; runs in this process leave out gates that search."""
    exec(FEWER_GATES, {})
    pytester.makepyfile(world=WORLD)
    return pytester


@pytest.fixture
def project(empty):
    """A folder whose pyproject.toml says what is under test."""
    empty.makefile(".toml", pyproject=SETTINGS)
    return empty


@pytest.fixture
def world(empty):
    """The names in the project's world.py."""
    return SimpleNamespace(**runpy.run_path(str(empty.path / "world.py")))
