"""The decorator `parametrize`: the checks of a subject as tests in a test file."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from dmmcheck.config.settings import Settings, refuse_settings
from dmmcheck.errors import ConfigError


def parametrize(
    subject: Any,
    *,
    checks: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    tiers: Iterable[str] | None = None,
    settings: Settings | None = None,
    **overrides: Any,
) -> pytest.MarkDecorator:
    """Make one test for each claim from a test function with the argument ``dmm_check``.

    ::

        @dmmcheck.parametrize(make_subject, checks=["off-manifold-energy"])
        def test_geometry(dmm_check):
            dmm_check()

    Calling ``dmm_check()`` tests the claim. It returns the `Finding` if the claim is supported, and fails the test if a
    gating claim is refuted. With any other verdict the test ends as the same check does under ``pytest --dmm``. The
    findings appear in the table and in the reports. The option ``--dmm`` is not needed.

    Args:
        subject: A `Subject`, a function without arguments that returns one, or the name of a fixture that does. The
            subject is made when the first of the tests runs.
        checks: Ids to run; all where None.
        exclude: Ids to leave out.
        tiers: Tiers to run; all where None.
        settings: How to judge; the settings of the command line and ``[tool.dmmcheck]`` where None.
        **overrides: Single settings by name, e.g. ``seed=0``.

    Raises:
        ConfigError: It decorates a test function without parentheses, or an argument has a value that it cannot have.
    """
    refuse_settings(settings)
    (settings or Settings()).but(**overrides)
    if inspect.isfunction(subject) and subject.__name__.startswith("test"):
        raise ConfigError(
            f"@dmmcheck.parametrize is above {subject.__name__} without a subject; write "
            "@dmmcheck.parametrize(subject, checks=[...])"
        )
    return pytest.mark.dmm(
        subject=subject,
        checks=None if checks is None else _listed(checks),
        exclude=_listed(exclude),
        tiers=None if tiers is None else _listed(tiers),
        settings=settings,
        overrides=overrides,
    )


def _listed(names: Any) -> Any:
    """Return the names as a list, which several tests can read; collection refuses what is no list."""
    if isinstance(names, str):
        return [names]
    return list(names) if isinstance(names, Iterable) and not isinstance(names, Mapping) else names
