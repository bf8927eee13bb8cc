"""What the projects of these tests hold, and how their output is read."""

from __future__ import annotations

import json
from pathlib import Path

WORLD = (Path(__file__).parent / "world.py").read_text(encoding="utf-8")
SETTINGS = """
[tool.dmmcheck]
model = "world:off"
data = "world:data"
manifold = "world:Plane"
samples = 24
"""
SUFFICES = "off-manifold-suffices"
ID = f"{SUFFICES}-stated-builtin"
ONE = ("--dmm-only", "--dmm-checks", SUFFICES)


def configure(pytester, more: str, settings: str = SETTINGS) -> None:
    """Add lines to the settings."""
    pytester.makefile(".toml", pyproject=f"{settings}{more}\n")


def said(result) -> str:
    """Everything a run printed, on one line, so that a sentence is found wherever it was broken."""
    return " ".join(" ".join([*result.outlines, *result.errlines]).split())


def findings_in(path: Path) -> list[dict]:
    """The findings of a JSON report, without what they took."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [{key: value for key, value in finding.items() if key != "cost"} for finding in content["findings"]]
