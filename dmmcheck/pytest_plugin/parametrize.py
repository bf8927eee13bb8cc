"""Test functions under `dmmcheck.parametrize`: one test for each claim, by the fixture ``dmm_check``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dmmcheck.checks.plan import Planned, plan, select
from dmmcheck.config.settings import Settings
from dmmcheck.errors import ConfigError, user_code
from dmmcheck.loading.references import UserCodeError
from dmmcheck.pytest_plugin import fixtures
from dmmcheck.pytest_plugin.distances import DistanceTest, distance_tests
from dmmcheck.pytest_plugin.items import item_info
from dmmcheck.pytest_plugin.options import ARGUMENT, MARK
from dmmcheck.pytest_plugin.progress import progress_line
from dmmcheck.pytest_plugin.selection import BASELINE_PATH, in_this_process, loaded_config, usage_errors
from dmmcheck.pytest_plugin.session import SubjectSession, cache_folder, start_session, workers_of
from dmmcheck.report.model import Finding

SESSIONS = pytest.StashKey[list[tuple[Any, Settings, SubjectSession]]]()
"""The runs of this process: each with the subject as it was given, and its settings."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundTest:
    """One planned test of one subject, before the subject is made.

    Attributes:
        planned: The planned test, or that of a distance beside the baseline.
        position: Its position in the report.
        subject: A Subject, a function without arguments that returns one, or the name of a fixture that does.
        settings: How to judge.
    """

    planned: Planned | DistanceTest
    position: int
    subject: Any
    settings: Settings


def generate(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test function that `dmmcheck.parametrize` marks.

    Raises:
        UsageError: It names an unknown check, tier or setting.
    """
    mark = next((mark for mark in metafunc.definition.iter_markers(MARK) if "subject" in mark.kwargs), None)
    if mark is None:
        return
    with usage_errors():
        settings = mark.kwargs["settings"] or loaded_config(metafunc.config).settings
        chosen = in_this_process(metafunc.config, settings.but(**mark.kwargs["overrides"]))
        selection = {name: mark.kwargs[name] for name in ("checks", "exclude", "tiers")}
        selected = select(plan(chosen), **selection)
    distances = () if BASELINE_PATH in metafunc.config.stash else distance_tests(chosen)
    tests: list[Planned | DistanceTest] = [*selected, *distances]
    bounds = [
        BoundTest(planned=planned, position=position, subject=mark.kwargs["subject"], settings=chosen)
        for position, planned in enumerate(tests)
    ]
    metafunc.parametrize(ARGUMENT, bounds, ids=[bound.planned.id for bound in bounds], indirect=True)


def resolve(request: pytest.FixtureRequest) -> Callable[[], Finding | None]:
    """Return the value of the fixture ``dmm_check``: a function that tests one claim and returns the finding.

    Raises:
        ConfigError: The test function is not under `dmmcheck.parametrize`.
        DmmError: The subject cannot be used.
    """
    bound, info = getattr(request, "param", None), item_info(request.node)
    if not isinstance(bound, BoundTest) or info is None:
        raise ConfigError(
            f"{request.node.name} asks for {ARGUMENT} without @dmmcheck.parametrize(subject, checks=...); "
            "add the decorator above it"
        )
    planned, session = bound.planned, _session(request, bound)
    info.session = session

    def dmm_check() -> Finding | None:
        __tracebackhide__ = True
        session.conclude(planned)
        return session.finding(planned) if isinstance(planned, Planned) else None

    return dmm_check


def concluded_distance(item: pytest.Function) -> bool | None:
    """Test a distance beside the baseline without the body of the test function, which expects a finding.

    Returns:
        True where that was done; None where the test is another one, whose body is to be called.

    Raises:
        ConfigError: Another fixture than the plugin's gives ``dmm_check``, so that there is no run to take it from.
    """
    __tracebackhide__ = True
    info = item_info(item)
    if info is None or not isinstance(info.planned, DistanceTest) or ARGUMENT not in item.fixturenames:
        return None
    if info.session is None:  # it is made when the fixture of the plugin is set up
        raise ConfigError(f"the fixture {ARGUMENT} of {item.name} is not that of dmmcheck; give yours another name")
    info.session.conclude(info.planned)
    return True


def _session(request: pytest.FixtureRequest, bound: BoundTest) -> SubjectSession:
    """Return the run of the subject, shared by all tests of the same subject with the same settings."""
    known = request.config.stash.setdefault(SESSIONS, [])
    given = bound.subject
    if isinstance(given, str):
        given = fixtures.value_of(request, given)
    for other, settings, session in known:
        if other is given and settings == bound.settings:
            return session
    what = f"the subject of {request.node.name.partition('[')[0]}"
    subject = fixtures.as_subject(_called(given, what), what)
    root = loaded_config(request.config).root
    progress, cache = progress_line(request.config), cache_folder(request.config)
    asked = [item.callspec.params.get(ARGUMENT) for item in request.session.items if hasattr(item, "callspec")]
    same = [other for other in asked if isinstance(other, BoundTest) and other.settings == bound.settings]
    claims = [other.planned for other in same if other.subject is bound.subject]
    ids = [planned.id for planned in claims if isinstance(planned, Planned)]
    session = start_session(
        subject,
        bound.settings,
        progress,
        root=root,
        cache=cache,
        ids=ids,
        keep=progress.keep,
        workers=workers_of(request.config),
    )
    known.append((given, bound.settings, session))
    return session


def _called(given: Any, what: str) -> Any:
    """Return the subject: what a function returns, or the value itself."""
    with user_code(what, "let it return a dmmcheck.Subject", UserCodeError, where="when called"):
        return given() if callable(given) else given
