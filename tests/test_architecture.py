"""The data go one way: a room imports only rooms above it. Imports inside functions count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dmmcheck"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")

ROOMS = (
    *("errors", "seeding", "inference", "config", "report", "geometry", "models", "manifolds", "attacks", "subject"),
    *("measurement", "checks", "soundness", "run", "worlds", "loading", "parametrize", "pytest_plugin"),
)
ARRAYS, TORCH = {"numpy", "scipy", "sklearn", "hypothesis"}, {"torch", "torchattacks"}
WITHOUT = dict.fromkeys(("errors", "config", "report", "pytest_plugin"), ARRAYS | TORCH)
WITHOUT |= dict.fromkeys(("inference",), TORCH)
RENDERERS_NEED = {"errors", "inference", "report"}


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def room_of(dotted: str) -> str:
    """The room of a name inside the package: the longest entry of ROOMS that it starts with."""
    fitting = [room for room in ROOMS if f"{dotted}.".startswith(f"dmmcheck.{room}.")]
    assert fitting, f"{dotted} is in no room; give it its place in ROOMS"
    return max(fitting, key=len)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_above_it(path: Path):
    room = room_of(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    names = set(imports(path))
    used = {room_of(name) for name in names if name.startswith("dmmcheck.") and name != "dmmcheck.checks"}
    assert not {other for other in used if ROOMS.index(other) > ROOMS.index(room)}
    assert not {name.partition(".")[0] for name in names} & WITHOUT.get(room, set())
    assert room != "report" or used <= RENDERERS_NEED
