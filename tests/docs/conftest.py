"""Pages are followed within this process where that is possible."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch

import dmmcheck

# An inner run takes away again what it was the first to import, and torch cannot be imported twice.
inner = [module.name for module in pkgutil.walk_packages(dmmcheck.__path__, "dmmcheck.")]
for name in (*inner, "sklearn.datasets", "sklearn.model_selection"):
    importlib.import_module(name)
torch.optim.Adam([torch.zeros(1)])  # which imports more of torch, once


@pytest.fixture(autouse=True)
def outside_ci(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
