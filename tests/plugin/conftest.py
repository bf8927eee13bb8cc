"""Small projects that the plugin is run in, within this process where that is possible."""

from __future__ import annotations

import importlib
import pkgutil
import runpy
from types import SimpleNamespace

import pytest
from projects import SETTINGS, WORLD

import dmmcheck
from dmmcheck.checks import base

# An inner run takes away again what it was the first to import, and torch cannot be imported twice.
for module in pkgutil.walk_packages(dmmcheck.__path__, "dmmcheck."):
    importlib.import_module(module.name)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Checks that an inner run declares end with it."""
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def empty(pytester):
    """A folder with code to be tested, and nothing that says so."""
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
