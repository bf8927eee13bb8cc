"""The README's quick start, word for word, from an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^`(?P<name>[\w.]+)`[^\n]*:\n\n```\w+\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path):
    """An empty folder, with the files of the quick start as the README gives them."""
    section = README.read_text(encoding="utf-8").partition("## Quick start")[2].partition("\n## ")[0]
    blocks = {match["name"]: match["text"] for match in BLOCK.finditer(section)}
    assert set(blocks) == {"pyproject.toml", "model.py"}
    assert len(blocks["pyproject.toml"].strip().splitlines()) == 5
    for name, text in blocks.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_five_lines_and_a_model_give_a_table(folder):
    # --dmm-samples only makes it shorter, as does leaving out the plugin of Hypothesis, which a reader does not have.
    command = [sys.executable, "-m", "pytest", "--dmm", "--dmm-samples", "32", "--dmm-tier", "stated"]
    command += ["-p", "no:hypothesispytest"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}, done.stdout + done.stderr
    assert re.search(r"^claim +estimate .*beside chance .*verdict$", done.stdout, re.MULTILINE)
    assert re.search(r"^subject +Sequential, D = 64 ", done.stdout, re.MULTILINE)
    assert re.search(r"^manifold +local-pca", done.stdout, re.MULTILINE)
    assert re.search(r"^\d+ of 9 stated claims holds?", done.stdout, re.MULTILINE)
    assert "no gating check reached a verdict" not in done.stdout
