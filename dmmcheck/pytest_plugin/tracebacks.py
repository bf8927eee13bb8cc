"""What is shown of an exception: the message where it is ours, the frames of the user's own code where it is theirs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pluggy
import pytest

import dmmcheck

_OURS = tuple(
    str(Path(str(module.__file__)).parent) for module in (dmmcheck, pytest, sys.modules["_pytest"], pluggy, importlib)
)


def shown(error: BaseException, text: str, path: Path, style: Any) -> Any:
    """A representation that pytest prints and that crosses to the controlling process.

    Args:
        error: An error of ours.
        text: What to say of it.
        path: The file to name as the place of it, since our own source says nothing.
        style: How frames are drawn, an option of ``--tb``.
    """
    cause = error.__cause__
    if cause is not None and any(map(_is_theirs, pytest.ExceptionInfo.from_exception(cause).traceback)):
        info = pytest.ExceptionInfo.from_exception(cause)
        theirs = info.getrepr(style=style, tbfilter=lambda info: info.traceback.filter(_is_theirs), chain=True)
        theirs.addsection("dmmcheck", text)
        return theirs
    told = Exception(text).with_traceback(error.__traceback__)
    message = pytest.ExceptionInfo.from_exception(told).getrepr(style="value", chain=False)
    if message.reprcrash is not None:
        message.reprcrash.path, message.reprcrash.lineno, message.reprcrash.message = str(path), 1, text
    return message


def _is_theirs(entry: Any) -> bool:
    path = str(entry.path)
    return not path.startswith("<") and not any(path.startswith(folder) for folder in _OURS)
