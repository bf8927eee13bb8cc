"""The blocks of the page on experiment trackers, executed with those trackers that are installed."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import blocks

import dmmcheck

PAGE = "docs/tracking.md"
PACKAGES = {"import mlflow": "mlflow", "import wandb": "wandb", "from torch.utils.tensorboard": "tensorboard"}
"""The package that a block needs, by its first line."""


@pytest.fixture(scope="module")
def report():
    subject = dmmcheck.worlds.hyperplane(angle=85, samples=32, seed=0).subject
    return dmmcheck.run(subject, checks=["gradient-off-manifold"], tiers=["stated"], samples=32, seed=0)


def block_of(first: str):
    (found,) = [block for block in blocks(PAGE) if block.text.startswith(first)]
    return found


def test_each_block_names_its_package():
    assert len(blocks(PAGE)) == len(list(map(block_of, PACKAGES)))


@pytest.mark.heavy
@pytest.mark.parametrize("first", PACKAGES)
def test_a_block_runs_and_leaves_a_record(first, request, tmp_path, monkeypatch):
    package = PACKAGES[first]
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed (pip install {package})")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    importlib.import_module(package)
    exec(block_of(first).text, {"report": request.getfixturevalue("report")})
    assert [path for path in Path(tmp_path).rglob("*") if path.is_file()]
