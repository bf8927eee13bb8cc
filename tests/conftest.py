"""Shared by tests of several parts: the folder of `views` on the path, and fixtures that restore what they change."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import pytest

LAYOUT, OVERRIDES = 0x20080522, 0b110  # of Linux's capability sets; root's rights to pass over permissions of files
LONGEST = (
    "test_known_answers.py",
    "soundness/test_soundness_registry.py",
    "checks/test_trainings.py",
    "plugin/test_plugin_neighbours.py",
    "docs/test_docs_blocks.py",
    "checks/test_error_control.py",
    "soundness/test_soundness_attack.py",
    "soundness/test_soundness_remedies.py",
    "test_run.py",
    "plugin/test_xdist.py",
    "measurement/test_store.py",
    "plugin/test_handed_over.py",
    "plugin/test_quick_start.py",
    "examples/test_digits.py",
    "plugin/test_search_tier.py",
    "plugin/test_baseline.py",
)
"""The files that take longest. They run first, so that at the end no process works on one of them while others wait."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first."""
    first = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    assert all(path.exists() for path in first), "a file of LONGEST does not exist"
    items.sort(key=lambda item: first.get(item.path, len(first)))


@pytest.fixture
def hypothesis_as_in_a_new_process(tmp_path, monkeypatch):
    """An inner run in this process has Hypothesis's default profile, no seed and an empty database, and leaves none."""
    from hypothesis import configuration, core, settings

    before = settings.get_current_profile_name()
    monkeypatch.setattr(core, "global_force_seed", None)
    settings.load_profile("default")
    configuration.set_hypothesis_home_dir(tmp_path / "hypothesis")
    yield
    settings.load_profile(before)
    configuration.set_hypothesis_home_dir(None)  # found anew where it is needed


@pytest.fixture
def pytester(hypothesis_as_in_a_new_process, pytester):
    """A run of pytest within a test changes nothing in Hypothesis for the tests after it."""
    return pytester


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
def fewer_gates(own_registries):
    """The gates that search, which take most of the time of a small run, are left out."""
    from dmmcheck.registry import GATES

    for name, gate in list(GATES.items()):
        if gate.ask.__module__ == "dmmcheck.soundness.probes" or name == "effort":
            del GATES._things[name]


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
