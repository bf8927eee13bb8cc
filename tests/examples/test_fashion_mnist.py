"""The Fashion-MNIST example on IDX files made here, with images that a network can classify."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"


@pytest.fixture
def files(tmp_path):
    """A folder with the four files: the images are noise with a bright square, whose position is the class."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 1200), ("t10k", 300)):
        y = rng.integers(0, 10, n).astype(np.uint8)
        x = rng.integers(0, 60, (n, 28, 28)).astype(np.uint8)
        for image, label in zip(x, y, strict=True):
            row, column = divmod(int(label), 5)
            image[14 * row + 2 : 14 * row + 10, 5 * column + 1 : 5 * column + 5] += 150
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + x.tobytes(), 1))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + y.tobytes(), 1))
    return tmp_path


FEWER_GATES = """
from dmmcheck.registry import GATES

for name, gate in list(GATES.items()):
    if gate.ask.__module__ == "dmmcheck.soundness.probes" or name in {"effort", "dimensions"}:
        del GATES._things[name]
"""
"""A conftest.py that leaves out the gates that search, since they would take most of the time."""


def run(folder: Path, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`pytest --dmm` in a folder, as the docstring of the example says."""
    command = [sys.executable, "-m", "pytest", "--dmm", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    environment = {**os.environ, "FASHION_MNIST": str(data)}
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


@pytest.mark.heavy
def test_a_copy_of_the_folder_works_without_the_repository(tmp_path, files):
    copy = tmp_path / "copy"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "conftest.py").write_text(FEWER_GATES)
    chosen = ("--dmm-checks", "off-manifold-energy", "--dmm-samples", "32", "--dmm-effort", "quick")
    ended = run(copy, files, *chosen, "--dmm-report", "report.json")
    assert ended.returncode in {0, 1}, ended.stdout + ended.stderr
    report = json.loads((copy / "report.json").read_text())
    assert report["subject"]["input_shape"] == [1, 28, 28]
    assert report["subject"]["accuracy"] > 0.9
    assert report["subject"]["manifold"]["dim"] == 32
    verdicts = {(finding["tier"], finding["variant"]): finding["verdict"] for finding in report["findings"]}
    assert verdicts["stated", "builtin"] != "not-run"
    assert verdicts["controlled", "spectrum"] != "not-run"  # these inputs are images


def test_the_folder_is_the_root_directory_and_missing_files_are_named_with_the_remedy(tmp_path):
    ended = run(EXAMPLE, tmp_path / "nowhere")
    assert ended.returncode == 4
    assert f"rootdir: {EXAMPLE}\n" in ended.stdout
    assert "apt-get install dataset-fashion-mnist" in ended.stdout + ended.stderr
    assert "INTERNALERROR" not in ended.stdout + ended.stderr
