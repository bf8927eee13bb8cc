"""Fill `checks.md` while the site is built: a table of all checks, then each check in full.

The text comes from the registry of the program, so that this page, `pytest --dmm-list` and `pytest --dmm-explain` say
the same. Nothing is written to disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dmmcheck.checks.base import registry
from dmmcheck.checks.explain import reference

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from dmmcheck.checks.base import Check

PAGE = "checks"
MARKER = "<!-- check reference -->"
TOP_LEVEL = 2  # heading level of a check; the page's title has level 1

_HEADING = re.compile(r"^(#+)(?= )", re.MULTILINE)
_FENCED = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def filled(text: str) -> str:
    """The page with the reference in place of the marker.

    Raises:
        ValueError: The page has no marker.
    """
    if MARKER not in text:
        raise ValueError(f"{PAGE}.md has no line {MARKER!r}; add it where the checks belong")
    checks = list(registry().values())
    return text.replace(MARKER, f"{overview(checks)}\n\n{with_levels_from(TOP_LEVEL, reference(checks))}")


def overview(checks: Iterable[Check]) -> str:
    """One row a check, each linked to its section."""
    rows = [
        f"| [`{check.id}`](#{check.id}) | {', '.join(check.tiers)} | {check.statement} | {', '.join(check.needs)} |"
        for check in checks
    ]
    return "\n".join(["| check | tiers | statement | needs |", "|---|---|---|---|", *rows])


def with_levels_from(top: int, text: str) -> str:
    """Markdown with its headings renumbered: the highest has level `top`, and no level is left out."""
    parts = _FENCED.split(text)  # every other part is a fenced block, in which # starts a comment
    levels = sorted({len(mark) for part in parts[::2] for mark in _HEADING.findall(part)})
    renumbered = {level: "#" * (top + place) for place, level in enumerate(levels)}
    parts[::2] = [_HEADING.sub(lambda match: renumbered[len(match[1])], part) for part in parts[::2]]
    return "".join(parts)


def _on_read(app: Sphinx, docname: str, source: list[str]) -> None:
    del app
    if docname == PAGE:
        source[0] = filled(source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", _on_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
