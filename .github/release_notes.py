"""Print the notes of a release, if everything is ready for it: `python .github/release_notes.py v0.2.0`.

The tag, `dmmcheck.__version__`, pyproject.toml and CITATION.cff must name one version, and CHANGELOG.md must have a
section for it, with the date that CITATION.cff gives. The section is printed. Needs Python 3.11 or newer and nothing
else: the package is not imported.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[1]


def main(tag: str) -> str:
    """The section of CHANGELOG.md that belongs to a tag.

    Raises:
        SystemExit: A version or a date differs, or the section is missing or empty. The message lists every difference.
    """
    version = tag.removeprefix("v")
    date, notes = changelog_section(version)
    stated = {
        "dmmcheck/__init__.py": package_version(),
        "pyproject.toml": project_version(),
        "CITATION.cff": citation("version"),
    }
    problems = [f"{file} has version {found}" for file, found in stated.items() if found != version]
    if tag == version:
        problems.append("the tag does not start with v")
    if not notes:
        problems.append(f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD` with text in it")
    elif citation("date-released") != date:
        problems.append(f"CITATION.cff has date-released {citation('date-released')}, CHANGELOG.md has {date}")
    if problems:
        sys.exit(f"{tag} cannot be released:\n" + "\n".join(f"- {problem}" for problem in problems))
    return notes


def package_version() -> str | None:
    """The string that `dmmcheck/__init__.py` assigns to `__version__`."""
    return _first(r'^__version__ = "([^"]+)"', "dmmcheck/__init__.py")


def project_version() -> str | None:
    """The version in pyproject.toml, or that of the package where pyproject.toml declares it dynamic."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return package_version() if "version" in project.get("dynamic", ()) else project.get("version")


def citation(key: str) -> str | None:
    """A top-level value of CITATION.cff, without its quotation marks."""
    return _first(rf"^{key}: [\"']?([^\"'\n]+)", "CITATION.cff")


def changelog_section(version: str) -> tuple[str | None, str]:
    """The date and the text of a version's section; None and "" where there is no such section."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d{{2}}-\d{{2}})$"
    found = re.search(rf"{heading}\n(.*?)(?=^## |^\[[^\]]+\]: |\Z)", text, re.MULTILINE | re.DOTALL)
    return (found[1], found[2].strip()) if found else (None, "")


def _first(pattern: str, file: str) -> str | None:
    """The first group of the first match in a file of the repository."""
    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].strip() if found else None


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python .github/release_notes.py TAG")
    print(main(sys.argv[1]))
