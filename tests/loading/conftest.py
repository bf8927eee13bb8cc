"""Code and files of weights in a folder, and imports that end with the test."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def fresh_imports(monkeypatch, tmp_path):
    """What a test imports from its folder is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def weights(tmp_path):
    """A folder with the weights of three steps; each weight is the step."""
    for step in (0, 2, 10):
        model = nn.Linear(6, 2)
        nn.init.constant_(model.weight, step)
        torch.save(model.state_dict(), tmp_path / f"v1-step{step}.pt")
    return tmp_path
