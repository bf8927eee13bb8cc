"""Report files; the suffix selects the format."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dmmcheck.errors import RegistryError, ReportError
from dmmcheck.errors.text import shown, told
from dmmcheck.registry import REPORT_FORMATS, module_of, name_of, wrong_call
from dmmcheck.report import csv, html, json, markdown
from dmmcheck.report.model import Report

Render = Callable[[Report], str]
ABANDONED = 3600.0  # seconds after which a part of a report belongs to a process that was killed


def report_format(suffix: str) -> Callable[[Render], Render]:
    """Register a report format: a function from a report to the text of a file with this suffix.

    Args:
        suffix: The suffix with its dot, in lower case, e.g. ``.txt``.

    Raises:
        RegistryError: The suffix is malformed, or has a format already.

    Example:
        >>> import dmmcheck
        >>> @dmmcheck.report_format(".counts")
        ... def counts(report):
        ...     return f"{report.summary.supported} of {report.summary.planned} claims are supported"
    """
    if not isinstance(suffix, str) or not re.fullmatch(r"\.[a-z0-9]+", suffix):
        raise RegistryError(
            f"the suffix of a report format is {shown(suffix)}; use a dot and lower-case letters or digits, e.g. '.txt'"
        )

    def register(render: Render) -> Render:
        wrong = "it is no function" if not callable(render) else wrong_call(render, None)
        if wrong:
            raise RegistryError(f"the report format {suffix!r} cannot be called with a report: {wrong}")
        REPORT_FORMATS.add(suffix, render, function=render)
        return render

    return register


report_format(".json")(json.render)
report_format(".md")(markdown.render)
report_format(".html")(html.render)
report_format(".csv")(csv.render)


def write(report: Report, path: str | os.PathLike[str], *, evidence: bool = False) -> None:
    """Write the report to a file; its folder is created. An old file stays unless the new one is complete.

    Args:
        report: The report.
        path: The file; its suffix selects the format.
        evidence: Whether a JSON report holds the values per input; a baseline does.

    Raises:
        ReportError: The suffix is unknown, the format raises or returns no text, or the file cannot be written.
    """
    target = check_path(path)
    suffix = target.suffix.lower()
    if suffix == ".json" and not evidence:
        report = replace(report, evidence=None)
    text = _rendered(report, suffix)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, text)
    except OSError as error:
        raise ReportError(
            f"the report cannot be written to {target} ({error.strerror or error}); choose another path"
        ) from error


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return the path, if a report can be written there.

    The path is checked before a run, so that no result is lost after the run.

    Raises:
        ReportError: The suffix is unknown, the path is a folder, or the folder that contains it is a file or not
            writable.
    """
    target = Path(path)
    if target.suffix.lower() not in REPORT_FORMATS:
        raise ReportError(
            f"no report format has the suffix {shown(target.suffix)} of {shown(str(path))}; "
            f"use one of {', '.join(REPORT_FORMATS)}"
        )
    if target.suffix.lower() == ".html":
        html.require_jinja()
    _refuse_name(target)
    if target.is_dir():
        raise ReportError(f"the report's path {target} is a folder; name a file in it, e.g. {target / 'report.json'}")
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise ReportError(f"the report cannot be written to {target}: {folder} is a file; choose another path")
    try:
        tempfile.TemporaryFile(dir=folder).close()  # some folders that look writable are not, such as /proc
    except OSError as error:
        raise ReportError(
            f"the report cannot be written to {target}: no file can be made in {folder} ({error.strerror}); "
            "choose another path"
        ) from error
    return target


def _refuse_name(target: Path) -> None:
    """Refuse a path that no file can have.

    Raises:
        ReportError: It is too long, or has control characters.
    """
    try:
        target.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # there is no such file yet, or its folder is refused below
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", "") or error  # the text of an OSError repeats the path
        raise ReportError(
            f"the report's path {shown(str(target))} cannot be used ({why}); choose another path"
        ) from None
    if not str(target).isprintable() and any(ord(character) < ord(" ") for character in str(target)):
        raise ReportError(f"the report's path {shown(str(target))} has control characters; choose another path")


def set_aside(path: str | os.PathLike[str], *, kept: Path | None = None) -> Path | None:
    """Rename the report of an earlier run before a new one is made, so that a killed run leaves none.

    Args:
        path: The file that the new report is to be written to.
        kept: The baseline of the new run, which is read later and stays.

    Returns:
        The file that the old report is now, in the same folder, which a killed run may have left there; None where
        there is no old one, or where it stays.

    Raises:
        ReportError: The file cannot be renamed.
    """
    target = Path(path)
    if kept is not None and target.exists() and kept.exists() and target.samefile(kept):
        return None
    aside = target.with_name(f".dmmcheck-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.old")
    try:
        target.replace(aside)
    except FileNotFoundError:
        return aside if aside.exists() else None
    except OSError as error:
        raise ReportError(
            f"the old report {target} cannot be replaced ({error.strerror or error}); choose another path"
        ) from error
    return aside


def _rendered(report: Report, suffix: str) -> str:
    """Return the text of a report in the format of a suffix, which may be the user's own."""
    render: Render = REPORT_FORMATS[suffix]
    what = f"the report format {suffix!r} ({module_of(render)}.{name_of(render)})"
    try:
        text = render(report)
    except ReportError:
        raise
    except Exception as error:
        raise ReportError(f"{what} raised {told(error)}; correct that function") from error
    if not isinstance(text, str):
        raise ReportError(f"{what} returned a {type(text).__name__}, expected a text; return a str")
    return text


def _replace(target: Path, text: str) -> None:
    """Write a file beside the target and rename it, so that no reader sees half a report."""
    _remove_abandoned(target.parent)
    part = target.with_name(f".dmmcheck-{uuid.uuid4().hex}.tmp")  # short, and no other run's
    try:
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove parts of reports whose run was killed while it wrote them."""
    for part in folder.glob(".dmmcheck-*.tmp"):
        with suppress(OSError):  # another run may have removed it, and another user's may not be removed
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()
