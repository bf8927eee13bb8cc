"""How an exception is shown: its message alone, or the frames of the user's own code if that code raised it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pluggy
import pytest

import dmmcheck

_LIBRARIES = tuple(
    str(Path(str(module.__file__)).parent) for module in (dmmcheck, pytest, sys.modules["_pytest"], pluggy, importlib)
)


def representation(error: BaseException, text: str, path: Path, style: Any) -> Any:
    """Return a representation that pytest can print, and pytest-xdist can send to the controlling process.

    Args:
        error: An error of dmmcheck. Where its cause was raised by the user's code, the frames of that code are shown.
        text: The message.
        path: The file that is shown as the location, since lines of this package tell the user nothing.
        style: How frames are drawn, a value of ``--tb``.
    """
    cause = error.__cause__
    if cause is not None and any(map(_is_user_code, pytest.ExceptionInfo.from_exception(cause).traceback)):
        info = pytest.ExceptionInfo.from_exception(cause)
        frames = info.getrepr(style=style, tbfilter=lambda info: info.traceback.filter(_is_user_code), chain=True)
        frames.addsection("dmmcheck", text)
        return frames
    replacement = Exception(text).with_traceback(error.__traceback__)
    message = pytest.ExceptionInfo.from_exception(replacement).getrepr(style="value", chain=False)
    if message.reprcrash is not None:
        message.reprcrash.path, message.reprcrash.lineno, message.reprcrash.message = str(path), 1, text
    return message


def _is_user_code(frame: Any) -> bool:
    path = str(frame.path)
    return not path.startswith("<") and not any(path.startswith(folder) for folder in _LIBRARIES)
