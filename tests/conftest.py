"""Shared by tests of several parts: the folder of `views` on the path, and fixtures that restore what they change."""

from __future__ import annotations

import ctypes
import os
import sys

import pytest

LAYOUT, OVERRIDES = 0x20080522, 0b110  # of Linux's capability sets; root's rights to pass over permissions of files


@pytest.fixture
def own_registries(monkeypatch):
    """Checks, controls, gates and report formats that a test adds are gone after it."""
    from dmmcheck import checks, soundness  # so that the built-in ones are there
    from dmmcheck.measurement import nulls
    from dmmcheck.registry import CHECKS, CONTROLS, GATES, REPORT_FORMATS
    from dmmcheck.report import write

    assert all((checks, soundness, nulls, write))
    for registry in (CHECKS, CONTROLS, GATES, REPORT_FORMATS):
        for name in ("_things", "_sources"):
            monkeypatch.setattr(registry, name, dict(getattr(registry, name)))


@pytest.fixture
def few_plants(monkeypatch):
    """The gate of planted boundaries plants few: each needs its search where inputs are close, as in small worlds.

    Tests of that gate plant as many as users do.
    """
    from dmmcheck.soundness import probes

    monkeypatch.setattr(probes, "PLANTED_INPUTS", 6)


@pytest.fixture
def read_only():
    """A function that makes a folder one that nobody can write to until the test ends, root neither."""
    changed, kept = [], (ctypes.c_uint32 * 6)()
    header = (ctypes.c_uint32 * 2)(LAYOUT, 0)
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if (is_root and sys.platform != "linux") or os.name == "nt":
        pytest.skip("no folder is read-only for this user")

    def make(folder):
        if is_root:
            libc = ctypes.CDLL(None)
            assert changed or libc.capget(header, kept) == 0
            without = (ctypes.c_uint32 * 6)(kept[0] & ~OVERRIDES, *kept[1:])
            assert libc.capset(header, without) == 0
        changed.append((folder, folder.stat().st_mode))
        folder.chmod(0o555)
        with pytest.raises(PermissionError):
            (folder / "probe").touch()

    yield make
    if changed and is_root:
        assert ctypes.CDLL(None).capset(header, kept) == 0
    for folder, mode in reversed(changed):
        folder.chmod(mode)
