"""The names of the code are the field's: words that only version 0.1 used are gone, each in its old sense."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dmmcheck"
FILES = sorted(PACKAGE.rglob("*.py"))

EVERYWHERE = {
    *("Ways", "Rivals", "Problem", "Place", "starts", "approach", "reach_out", "_outwards", "draw_in", "along_ray"),
    *("refine", "settle", "PUSHES", "offer", "enough", "nearness", "guess", "slack", "Null", "Budget", "Rarity"),
    *("dealt", "grounds", "companions", "companion", "twin", "twins", "Examples", "blockwise", "once", "right"),
    "Ground",
    *("informs", "remarkable", "Stand", "Bound", "Ledger", "Entry", "Closing", "Teller", "teller", "ways", "rivals"),
    *("Arm", "Space", "intrinsic_distance"),
}
"""Old words that no class, function, module, attribute, argument or variable keeps."""

WITHIN = {
    "step": ("attacks/minimal_norm", "attacks/probe.py"),  # of a search; training has steps
    "null": ("checks",),  # what a draw costs
    "draws": ("inference/evidence.py",),  # replicates; the draws of a control are draws
    "margin": ("checks", "config", "inference"),  # of an effect; the margin of logits is one
    "reach": ("attacks", "measurement", "checks"),  # a radius
}
"""Old words that have another, ordinary sense elsewhere, and where the old one was."""

ALIASES = {("inference/evidence.py", "draws")}  # the argument of Evidence.of by its old name, which warns


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a module gives to something, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).rpartition(".")[2], node.lineno
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_name_keeps_an_old_word_in_its_old_sense(path: Path):
    place = path.relative_to(PACKAGE).as_posix()
    old = EVERYWHERE | {word for word, places in WITHIN.items() if place.startswith(places)}
    old -= {word for file, word in ALIASES if file == place}
    assert path.stem not in EVERYWHERE
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [f"{name} (line {line})" for name, line in names(tree) if name in old]
