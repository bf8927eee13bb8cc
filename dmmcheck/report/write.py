"""Reports in files, the format by suffix."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from dmmcheck.errors import ReportError
from dmmcheck.report import json, markdown
from dmmcheck.report.model import Report

FORMATS: Mapping[str, Callable[[Report], str]] = {".json": json.render, ".md": markdown.render}
"""Renderers by suffix; a new format is one more entry."""


def write(report: Report, path: str | os.PathLike[str]) -> None:
    """Put the report into a file, whole or not at all, creating the folder.

    Raises:
        ReportError: The suffix is unknown, or the file cannot be written.
    """
    target = check_path(path)
    text = FORMATS[target.suffix.lower()](report)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, text)
    except OSError as error:
        raise ReportError(
            f"the report cannot be written to {target} ({error.strerror or error}); choose another path"
        ) from error


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path, if a report could be written there; a run should not end in finding out that none can.

    Raises:
        ReportError: The suffix is unknown, the path is a folder, or its folder is a file or not writable.
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise ReportError(
            f"the report's format is unknown from its suffix {target.suffix!r} in {str(path)!r}; "
            f"use one of {', '.join(FORMATS)}"
        )
    if target.is_dir():
        raise ReportError(f"the report's path {target} is a folder; name a file in it, e.g. {target / 'report.json'}")
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise ReportError(f"the report cannot be written to {target}: {folder} is a file; choose another path")
    if not os.access(folder, os.W_OK):
        raise ReportError(f"the report cannot be written to {target}: {folder} is not writable; choose another path")
    return target


def _replace(target: Path, text: str) -> None:
    """Write beside the target, then rename over it, so that no reader ever sees half a report."""
    part = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
