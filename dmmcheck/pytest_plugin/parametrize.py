"""Test functions under `dmmcheck.parametrize`: one test of a subject each, by the fixture ``dmm_check``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dmmcheck.checks.plan import Planned, plan, select
from dmmcheck.config.settings import Settings
from dmmcheck.errors import ConfigError
from dmmcheck.loading.references import UserCodeError
from dmmcheck.pytest_plugin import fixtures
from dmmcheck.pytest_plugin.items import ARGUMENT, MARK, stand_of
from dmmcheck.pytest_plugin.progress import teller
from dmmcheck.pytest_plugin.selection import configured, usage_errors
from dmmcheck.pytest_plugin.session import Suite, start
from dmmcheck.report.model import Finding

SUITES = pytest.StashKey[dict[Any, tuple[Any, Suite]]]()


@dataclass(frozen=True, kw_only=True, eq=False)
class Bound:
    """One test of one subject, before the subject exists.

    Attributes:
        planned: The test.
        place: Its place in the report.
        subject: A Subject, a function without arguments that returns one, or the name of a fixture that does.
        settings: How to judge.
    """

    planned: Planned
    place: int
    subject: Any
    settings: Settings


def generate(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test function that `dmmcheck.parametrize` marks.

    Raises:
        UsageError: It names a check, tier or setting that there is not.
    """
    mark = next((mark for mark in metafunc.definition.iter_markers(MARK) if "subject" in mark.kwargs), None)
    if mark is None:
        return
    with usage_errors():
        settings = mark.kwargs["settings"] or configured(metafunc.config).settings
        chosen = settings.but(**mark.kwargs["overrides"])
        selection = {name: mark.kwargs[name] for name in ("checks", "exclude", "tiers")}
        selected = select(plan(chosen), **selection)
    bounds = [
        Bound(planned=planned, place=place, subject=mark.kwargs["subject"], settings=chosen)
        for place, planned in enumerate(selected)
    ]
    metafunc.parametrize(ARGUMENT, bounds, ids=[bound.planned.id for bound in bounds], indirect=True)


def resolve(request: pytest.FixtureRequest) -> Callable[[], Finding]:
    """The function behind the fixture ``dmm_check``: called, it tests one claim and returns the finding.

    Raises:
        ConfigError: The test function is not under `dmmcheck.parametrize`.
        DmmError: The subject cannot be used.
    """
    bound, stand = getattr(request, "param", None), stand_of(request.node)
    if not isinstance(bound, Bound) or stand is None:
        raise ConfigError(
            f"{request.node.name} asks for {ARGUMENT} without @dmmcheck.parametrize(subject, checks=...); add it above"
        )
    suite = stand.suite = _suite(request, bound)

    def dmm_check() -> Finding:
        __tracebackhide__ = True
        suite.conclude(bound.planned)
        return suite.finding(bound.planned)

    return dmm_check


def _suite(request: pytest.FixtureRequest, bound: Bound) -> Suite:
    """The run of the subject, shared by all tests of the same one under the same settings."""
    known = request.config.stash.setdefault(SUITES, {})
    given = bound.subject
    if isinstance(given, str):
        given = fixtures.value_of(request, given)
    key = (id(given), repr(bound.settings))
    if key not in known:
        what = f"the subject of {request.node.name.partition('[')[0]}"
        made = _made(given, what)
        known[key] = (given, start(fixtures.as_subject(made, what), bound.settings, teller(request.config)))
    return known[key][1]


def _made(given: Any, what: str) -> Any:
    try:
        return given() if callable(given) else given
    except Exception as error:
        raise UserCodeError(f"{what} raised {type(error).__name__} when called: {error}") from error
