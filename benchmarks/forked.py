"""Runs of pytest in forks of a process that has loaded torch, so that many short runs cost little; not on Windows."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

FORK = multiprocessing.get_context("fork")
PRELOADED = ("torch", "scipy.stats", "hypothesis", "sklearn.decomposition", "_pytest.pytester")
"""What takes long to import; none of it is part of the project, whose own modules each fork imports."""


def preload() -> None:
    """Import the heavy libraries, and let pytest load no plugin but that of the project."""
    os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    os.environ["PYTEST_PLUGINS"] = "dmmcheck.pytest_plugin"
    sys.dont_write_bytecode = True
    for library in PRELOADED:
        importlib.import_module(library)
    gc.freeze()  # so that a fork spends no time on what the libraries made


def silent_pytest(arguments: Sequence[str], plugins: Sequence[Any] = ()) -> int:
    """Run pytest in this process, which is a fork, without any output."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its commands in the background ignore it
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    return int(pytest.main(list(arguments), plugins=list(plugins)))


def started(arguments: Sequence[str], folder: Path) -> BaseProcess:
    """A fork that runs pytest in a folder and exits with its status."""

    def run() -> None:
        os.chdir(folder)
        os._exit(silent_pytest(arguments))

    process = FORK.Process(target=run)
    process.start()
    return process
