"""Shared by tests of several parts: the folder of `views` on the path, and fixtures that restore what they change."""

from __future__ import annotations

import pytest


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
