"""The files that release a version and keep the repository clean agree with the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dmmcheck

ROOT = Path(__file__).parents[1]
NOTES = """# Changelog

## [Unreleased]

## [9.8.7] - 2031-02-03

### Added

- A line of notes.

## [0.0.1] - 2030-01-01

- An older line.
"""

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="release_notes.py reads TOML with the standard library"
)


@pytest.fixture
def repository(tmp_path):
    """A copy of what release_notes.py reads, ready for version 9.8.7."""
    texts = {
        "dmmcheck/__init__.py": '__version__ = "9.8.7"\n',
        "pyproject.toml": '[project]\nname = "dmmcheck"\nversion = "9.8.7"\n',
        "CITATION.cff": 'cff-version: 1.2.0\nversion: 9.8.7\ndate-released: "2031-02-03"\n',
        "CHANGELOG.md": NOTES,
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / ".github").mkdir()
    shutil.copy(ROOT / ".github" / "release_notes.py", tmp_path / ".github")
    return tmp_path


def release_notes(repository: Path, tag: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ".github/release_notes.py", tag]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, encoding="utf-8", check=False)


def test_the_notes_of_a_tag_are_its_section_alone(repository):
    done = release_notes(repository, "v9.8.7")
    assert (done.returncode, done.stdout) == (0, "### Added\n\n- A line of notes.\n")


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("dmmcheck/__init__.py", "9.8.7", "9.8.6", "dmmcheck/__init__.py has version 9.8.6"),
        ("pyproject.toml", "9.8.7", "9.8.6", "pyproject.toml has version 9.8.6"),
        ("CITATION.cff", "9.8.7", "9.8.6", "CITATION.cff has version 9.8.6"),
        ("CITATION.cff", "02-03", "02-04", "CITATION.cff has date-released 2031-02-04, CHANGELOG.md has 2031-02-03"),
        ("CHANGELOG.md", "[9.8.7]", "[9.8.6]", "CHANGELOG.md has no section `## [9.8.7] - YYYY-MM-DD` with text in it"),
        ("CHANGELOG.md", "### Added\n\n- A line of notes.", "", "CHANGELOG.md has no section `## [9.8.7]"),
    ],
)
def test_a_difference_stops_the_release_and_is_named(repository, file, old, new, words):
    path = repository / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    done = release_notes(repository, "v9.8.7")
    assert done.returncode == 1
    assert "v9.8.7 cannot be released:" in done.stderr
    assert words in done.stderr


def test_a_tag_without_its_v_stops_the_release(repository):
    done = release_notes(repository, "9.8.7")
    assert done.returncode == 1
    assert "the tag does not start with v" in done.stderr


def test_the_citation_has_the_version_of_the_package():
    found = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == dmmcheck.__version__


def test_the_hook_and_the_environment_have_one_version_of_ruff():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    hook = re.search(r"ruff-pre-commit\n\s+rev: v(.+)", hooks)
    pin = re.search(r"^ruff==(.+)$", constraints, re.MULTILINE)
    assert hook is not None
    assert pin is not None
    assert hook[1] == pin[1]
