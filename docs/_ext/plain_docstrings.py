"""Read docstrings as the plain text that they are.

They use Google sections, backticks and literal blocks, but no other markup of reStructuredText. Signs that mean
something there (``|x|``, ``*shape``, ``d_``) are escaped before Sphinx reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

BEFORE_NAPOLEON = 400  # napoleon, which reads the sections, has the priority 500

_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_SIGN = re.compile(r"[*|]|(?<=\w)_(?!\w)")


def escaped(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a docstring, with signs of markup escaped outside code."""
    literal: int | None = None  # indentation of the line that announced a literal block
    example = False  # inside a doctest
    for line in lines:
        indentation = len(line) - len(line.lstrip())
        if not line.strip():
            example = False
            yield line
            continue
        if literal is not None and indentation <= literal:
            literal = None
        example = example or line.lstrip().startswith(">>>")
        if literal is not None or example:
            yield line
            continue
        if line.rstrip().endswith("::"):
            literal = indentation
        yield _outside_code(line)


def _outside_code(line: str) -> str:
    parts = _CODE.split(line)
    parts[::2] = [_SIGN.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def _on_docstring(*event: Any) -> None:
    """Change the lines in place; they are the last thing that Sphinx passes."""
    lines: list[str] = event[-1]
    lines[:] = escaped(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _on_docstring, priority=BEFORE_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
