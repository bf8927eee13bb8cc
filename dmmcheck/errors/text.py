"""Texts of users without what does harm where it is shown: every message, table and report uses these functions."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

LONGEST = 2000  # characters of one text
LONGEST_VALUE = 80  # characters of a value in a message
LONGEST_MESSAGE = 600  # characters of the message of an exception of the user's code
WORKFLOW_COMMAND = re.compile(r"(^|\s)(::|##\[)")
"""What begins a command to a CI system at the beginning of a line."""
_CUT = re.compile(r"… \(\d+ characters\)$")


def harmless(text: str) -> str:
    r"""The text with control characters, marks of direction and undecodable bytes spelled out, on one short line.

    Example:
        >>> from dmmcheck.errors.text import harmless
        >>> harmless("a" + chr(27) + "[31m"), harmless("::error::no")
        ('a\\x1b[31m', ': :error::no')
    """
    if not text.isascii() or not text.isprintable():
        text = "".join(map(_spelled, _cut(text)))
    return WORKFLOW_COMMAND.sub(lambda found: f"{found[1]}{found[2][0]} {found[2][1:]}", _cut(text))


def harmless_lines(text: str) -> str:
    """A text of several lines, each of them harmless."""
    return "\n".join(map(harmless, text.split("\n")))


def shown(value: Any) -> str:
    """The value as Python writes it, on one short line, in the words of a message; also where it cannot be written.

    Example:
        >>> from dmmcheck.errors.text import shown
        >>> shown("a"), shown(10**100)
        ("'a'", '100000000000000000000000000000… (101 characters)')
    """
    try:
        text = repr(value)
    except Exception as error:  # the code of a user, or a number with more digits than Python writes
        return f"a {type(value).__name__}, which cannot be shown ({type(error).__name__})"
    return harmless(text if len(text) <= LONGEST_VALUE else _shortened(text, 30))


def told(error: BaseException) -> str:
    """The type and the message of an exception, also where its message cannot be made.

    Example:
        >>> from dmmcheck.errors.text import told
        >>> told(KeyError("a"))
        "KeyError: 'a'"
    """
    return f"{type(error).__name__}: {described(error)}"


def described(error: BaseException) -> str:
    """The message of an exception, whose own conversion to text may raise; a long one is cut.

    Example:
        >>> from dmmcheck.errors.text import described
        >>> described(ValueError("no such class")), described(ValueError())
        ('no such class', '(without a message)')
    """
    try:
        text = str(error).strip()
    except Exception as other:  # the code of a user
        return f"(its message cannot be shown, as that raises {type(other).__name__})"
    return (text if len(text) <= LONGEST_MESSAGE else _shortened(text, LONGEST_MESSAGE)) or "(without a message)"


def _cut(text: str) -> str:
    """The text, or its beginning and its length if it is too long; a text that is cut already stays as it is."""
    if len(text) <= LONGEST or (len(text) <= LONGEST + 30 and _CUT.search(text)):
        return text
    return _shortened(text, LONGEST)


def _shortened(text: str, kept: int) -> str:
    return f"{text[:kept]}… ({len(text)} characters)"


def _spelled(character: str) -> str:
    """The character; a space for one that breaks lines, and the escape in Python of one that is invisible."""
    if character.isspace():
        return " "
    if not unicodedata.category(character).startswith("C"):
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
