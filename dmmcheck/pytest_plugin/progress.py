"""What is going on, in one line on the terminal, where something takes long."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import pytest

PAUSE = 10.0  # seconds between lines where the output is no terminal, and each line stays

TELLER = pytest.StashKey["Teller"]()


class Teller:
    """Writes between the letters of pytest's own progress: in place on a terminal, sparingly elsewhere."""

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._writer = config.get_terminal_writer()
        self._silent = self._reporter is None or hasattr(config, "workerinput")
        self._last = -PAUSE
        self._open = False

    def __call__(self, line: str) -> None:
        """Say what is going on; nothing in a worker, which has no terminal."""
        now = time.monotonic()
        if self._silent or not (self._writer.hasmarkup or now - self._last >= PAUSE):
            return
        self._last = now
        with self._capture.global_and_fixture_disabled() if self._capture else nullcontext():
            self._write(f"dmmcheck: {line}")

    def _write(self, line: str) -> None:
        self._reporter.ensure_newline()
        if self._open and self._writer.hasmarkup:
            self._reporter.rewrite(line, erase=True)
        else:
            self._writer.write("\n" * self._open + line, flush=True)
        self._open = True

    def close(self, nodeid: str) -> None:
        """Go back to where pytest writes the letter of the test that has just ended."""
        if not self._open:
            return
        self._open = False
        if self._reporter.showlongtestinfo:
            return  # pytest starts a line of its own
        if self._reporter.showfspath:
            self._reporter.write_fspath_result(nodeid, "")
        else:
            self._writer.line()


def teller(config: pytest.Config) -> Teller:
    """The one of this process."""
    if TELLER not in config.stash:
        config.stash[TELLER] = Teller(config)
    return config.stash[TELLER]
