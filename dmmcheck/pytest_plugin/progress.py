"""One line of progress on the terminal, for steps that take long."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import pytest

from dmmcheck.errors.text import harmless

PAUSE = 10.0  # seconds between two lines where the output is not a terminal, since lines there cannot be replaced
END = 48  # characters at the end of a line that are kept where it is cut: what is measured, how much, and the time left

PROGRESS_LINE = pytest.StashKey["ProgressLine"]()


class ProgressLine:
    """Writes lines between the letters of pytest's progress; on a terminal each replaces the one before it.

    A line after which pytest has written stays.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._silent = self._reporter is None or hasattr(config, "workerinput")
        self._writer = None if self._reporter is None else config.get_terminal_writer()
        self._last = -PAUSE
        self._open = False

    def __call__(self, line: str) -> None:
        """Show a line; a worker of pytest-xdist has no terminal and shows nothing."""
        now = time.monotonic()
        if self._silent or self._writer is None or not (self._writer.hasmarkup or now - self._last >= PAUSE):
            return
        self._last = now
        text = harmless(f"dmmcheck: {line}")
        if self._writer.hasmarkup:
            text = _cut(text, self._writer.fullwidth - 1)
        with self._capture.global_and_fixture_disabled() if self._capture else nullcontext():
            self._write(self._writer, text)

    def keep(self, line: str) -> None:
        """Show a line that no later line replaces or leaves out."""
        if self._silent or self._writer is None:
            return
        with self._capture.global_and_fixture_disabled() if self._capture else nullcontext():
            self._write(self._writer, harmless(f"dmmcheck: {line}"))
            self._writer.line()
        self._open, self._last = False, time.monotonic()

    def _write(self, writer: Any, line: str) -> None:
        self._reporter.ensure_newline()
        if not self._open and writer.width_of_current_line:  # a letter of a worker of pytest-xdist
            writer.line()
        if self._open and writer.hasmarkup:
            self._reporter.rewrite(line, erase=True)
        else:
            writer.write("\n" * self._open + line, flush=True)
        self._open = True

    def end(self) -> None:
        """Begin a line for pytest, whatever it writes there; it can also begin one itself."""
        if self._open and self._writer is not None:
            self._open = False
            self._writer.line()

    def close(self, nodeid: str) -> None:
        """Begin a line for pytest, which writes the letter of the test that has just ended."""
        if not self._open or self._writer is None:
            return
        self._open = False
        if self._reporter.showlongtestinfo:
            return  # pytest begins a new line itself
        if self._reporter.showfspath:
            self._reporter.write_fspath_result(nodeid, "")
        else:
            self._writer.line()


def _cut(line: str, width: int) -> str:
    """Return a line that fits a width, since no later line could replace a second row; it is cut before its end."""
    if len(line) <= width:
        return line
    end = min(END, 2 * width // 3)
    return f"{line[: max(0, width - end - 3)]}...{line[len(line) - end :]}"


def progress_line(config: pytest.Config) -> ProgressLine:
    """Return the progress line of this process."""
    if PROGRESS_LINE not in config.stash:
        config.stash[PROGRESS_LINE] = ProgressLine(config)
    return config.stash[PROGRESS_LINE]
