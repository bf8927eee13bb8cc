"""Texts of users without the characters that do harm where they are shown: control characters, marks of direction."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST = 2000  # characters of one text
WORKFLOW_COMMAND = re.compile(r"(^|\s)(::|##\[)")
"""What begins a command to a CI system at the beginning of a line."""


def harmless(text: str) -> str:
    r"""The text with control characters, marks of direction and undecodable bytes spelled out, on one short line.

    Example:
        >>> from dmmcheck.report.harmless import harmless
        >>> harmless("a" + chr(27) + "[31m"), harmless("::error::no")
        ('a\\x1b[31m', ': :error::no')
    """
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}… ({len(text)} characters)"
    if not text.isascii() or not text.isprintable():
        text = "".join(map(_spelled, text))
    return WORKFLOW_COMMAND.sub(lambda found: f"{found[1]}{found[2][0]} {found[2][1:]}", text)


def harmless_report(value: T) -> T:
    """The same report with harmless texts in all of its parts but the evidence per input."""
    found: T = _mapped(value)
    return found


def _mapped(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, dict):
        return {_mapped(key): _mapped(part) for key, part in value.items()}
    if isinstance(value, tuple) and value and not isinstance(value[0], (int, float)):
        return tuple(map(_mapped, value))
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: getattr(value, part.name) for part in fields(value) if part.name != "evidence"}
        return replace(value, **{name: _mapped(part) for name, part in parts.items()})
    return value


def _spelled(character: str) -> str:
    """The character; a space for one that breaks lines, and the escape in Python of one that is invisible."""
    if character.isspace():
        return " "
    if not unicodedata.category(character).startswith("C"):
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
