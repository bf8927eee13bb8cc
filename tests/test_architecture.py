"""The data go one way: a room imports only rooms above it, and no files import each other in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dmmcheck"
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [path for path in FILES if path.name != "__init__.py"]

ROOMS = (
    *(
        "errors",
        "seeding",
        "registry",
        "inference",
        "geometry",
        "config",
        "report",
        "data",
        "models",
        "manifolds",
        "attacks",
    ),
    *("subject", "measurement", "strategies", "checks", "soundness", "judge", "loading", "run", "worlds"),
    *("pytest_plugin", "cli"),
)
MOST_ROOMS = 22
LONG, MOST_LONG = 40, 9  # lines of a function, and how many functions may be longer
ARRAYS, TORCH = {"numpy", "scipy", "sklearn", "hypothesis"}, {"torch", "torchattacks"}
WITHOUT = dict.fromkeys(("errors", "registry", "config", "report", "pytest_plugin", "cli"), ARRAYS | TORCH)
WITHOUT |= {"inference": TORCH, "judge": TORCH, "run": TORCH}
RENDERERS_NEED = {"errors", "registry", "inference", "report"}


def dotted(path: Path) -> str:
    """The name that a file has as a module."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in FILES}


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything a module imports, wherever in it, but for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def module_of(name: str) -> str | None:
    """The module of the package that an imported name is, or is in."""
    while name.startswith("dmmcheck."):
        if name in NAMES:
            return name
        name = name.rpartition(".")[0]
    return None


def room_of(name: str) -> str:
    """The room of a module: the folder or file at the top of the package."""
    room = name.split(".")[1]
    assert room in ROOMS, f"{name} is in no known room; give it its place in ROOMS"
    return room


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_above_it(path: Path):
    room, names = room_of(dotted(path)), set(imports(path))
    used = {room_of(name) for name in map(module_of, names) if name is not None}
    assert not {other for other in used if ROOMS.index(other) > ROOMS.index(room)}
    assert not {name.partition(".")[0] for name in names} & WITHOUT.get(room, set())
    assert room != "report" or used <= RENDERERS_NEED


def test_no_files_import_each_other_in_a_circle():
    graph = {dotted(path): {name for name in map(module_of, imports(path)) if name} - {dotted(path)} for path in FILES}
    graph.pop("dmmcheck")  # the package itself loads its names when they are first used
    left = dict(graph)
    while True:
        leaves = [name for name, used in left.items() if not used & left.keys()]
        if not leaves:
            break
        for name in leaves:
            del left[name]
    assert not left, f"these import each other: {sorted(left)}"


def test_the_house_has_few_rooms():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    assert rooms == set(ROOMS)
    assert len(rooms) <= MOST_ROOMS


def test_functions_fit_a_screen():
    long = {
        f"{dotted(path)}.{node.name}": length
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (length := _lines_of_code(node)) > LONG
    }
    assert len(long) <= MOST_LONG, long


def _lines_of_code(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the def to the last line, its docstring left out."""
    documented = ast.get_docstring(node) is not None
    docstring = node.body[0] if documented else None
    lines = 0 if docstring is None else (docstring.end_lineno or 0) - docstring.lineno + 1
    return (node.end_lineno or 0) - node.lineno + 1 - lines
