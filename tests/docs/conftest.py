"""Pages are followed within this process where that is possible."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch

import dmmcheck
from dmmcheck.measurement import nulls
from dmmcheck.soundness import collect, probes

# An inner run takes away again what it was the first to import, and torch cannot be imported twice.
inner = [module.name for module in pkgutil.walk_packages(dmmcheck.__path__, "dmmcheck.")]
for name in (
    *inner,
    "scipy.sparse.csgraph",
    "sklearn.datasets",
    "sklearn.model_selection",
    "sklearn.neighbors",
    "torchattacks",
):
    importlib.import_module(name)
torch.optim.Adam([torch.zeros(1)])  # which imports more of torch, once


@pytest.fixture(autouse=True)
def small_runs(monkeypatch):
    """Few inputs of the soundness gates and few draws, also where a page's script runs with the settings of users."""
    monkeypatch.setitem(nulls.BUDGETS, "energy", nulls.DrawBudget(3, 99, 99))
    monkeypatch.setattr(collect, "SOUNDNESS_INPUTS", 16)
    monkeypatch.setattr(probes, "PLANTED_INPUTS", 6)


@pytest.fixture(autouse=True)
def registries(own_registries):
    """What a page declares is forgotten after the test."""


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
