"""What is under test, from options, the file of settings, and fixtures; the one nearer to the command line wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dmmcheck.config.schema import OWN_FILE, PYPROJECT, SUBJECT, what_is_missing
from dmmcheck.config.settings import Config
from dmmcheck.errors import ConfigError, user_code
from dmmcheck.loading.references import UserCodeError

if TYPE_CHECKING:
    from dmmcheck.subject import Subject

SUBJECT_FIXTURE = "dmm_subject"


def gather_subject(request: pytest.FixtureRequest, config: Config) -> Subject:
    """Return the subject: each part from an option, else from the file of settings, else from a fixture.

    Raises:
        ConfigError: A required part is given nowhere, or both ``dmm_subject`` and fixtures of parts are defined.
        DmmError: A part cannot be used.
    """
    from dmmcheck.loading import build  # noqa: PLC0415  # loads torch

    fixtures = {name: key.fixture for name, key in SUBJECT.items() if _is_defined(request, key.fixture)}
    has_subject = _is_defined(request, SUBJECT_FIXTURE)
    if has_subject and fixtures:
        raise ConfigError(
            f"both the fixture {SUBJECT_FIXTURE} and {', '.join(fixtures.values())} are defined; "
            "keep the one subject, or its parts"
        )
    given = {*config.subject, *fixtures}
    if "manifold-data" in given:
        given.add("manifold")  # local PCA, fitted on these data
    missing = [name for name in build.REQUIRED if name not in given]
    if missing and not has_subject:
        raise ConfigError(_missing_message(missing, config))
    parts: dict[str, Any] = {}
    for name in SUBJECT:
        if name in config.subject:
            parts[name] = build.load_part(name, config.subject[name], root=config.root)
        elif name in fixtures:
            parts[name] = value_of(request, fixtures[name])
        if parts.get(name, ...) is None:
            del parts[name]  # a fixture that returns None gives no such part
    if not has_subject:
        _refuse_none([fixtures[name] for name in build.REQUIRED if name not in parts and name in fixtures])
        return build.build_subject(parts, root=config.root, samples=config.settings.samples)
    subject = as_subject(value_of(request, SUBJECT_FIXTURE), f"the fixture {SUBJECT_FIXTURE}")
    return build.build_subject(parts, root=config.root, subject=subject, samples=config.settings.samples)


def as_subject(value: Any, what: str) -> Subject:
    """Return the value, if it is a Subject.

    Args:
        value: The value.
        what: Its name in messages.

    Raises:
        ConfigError: It is something else.
    """
    from dmmcheck.subject import Subject  # noqa: PLC0415  # loads torch

    if not isinstance(value, Subject):
        raise ConfigError(f"{what} is a {type(value).__name__}, expected a dmmcheck.Subject")
    return value


def value_of(request: pytest.FixtureRequest, name: str) -> Any:
    """Return the value that a user's fixture returns.

    Raises:
        ConfigError: pytest cannot set the fixture up.
        UserCodeError: The fixture raises.
    """
    with user_code(f"the fixture {name}", "let it return what is under test", UserCodeError):
        try:
            return request.getfixturevalue(name)
        except pytest.UsageError as error:
            raise ConfigError(str(error)) from error
        except pytest.FixtureLookupError as error:
            raise ConfigError(_not_found(name, str(error.argname), request)) from None
        except pytest.fail.Exception as error:
            reason = str(error).partition(" Requesting")[0].strip()  # frames of pytest and of this plugin follow
            remedy = "; let it use session-scoped fixtures only" if "ScopeMismatch" in reason else ""
            raise ConfigError(f"the fixture {name} cannot be set up: {reason}{remedy}") from None


def _not_found(name: str, missing: str, request: pytest.FixtureRequest) -> str:
    """Return the message where pytest does not find the fixture itself, or one that it asks for."""
    place = f"define it in the conftest.py in {request.config.rootpath}"
    if missing == name:
        return f"the fixture {name} is not found; {place}"
    return f"the fixture {name} asks for a fixture {missing!r}, which is not found; {place}"


def _is_defined(request: pytest.FixtureRequest, name: str) -> bool:
    """Return whether the checks see a fixture of this name.

    Raises:
        ConfigError: They do, and its scope is narrower than the session.
    """
    found = request._fixturemanager.getfixturedefs(name, request._pyfuncitem)
    if not found:
        return False
    scope = found[-1].scope
    if scope != "session":
        raise ConfigError(
            f"the fixture {name} has the scope {scope!r}, but all checks share one measurement; "
            f'write @pytest.fixture(scope="session")'
        )
    return True


def _refuse_none(empty: list[str]) -> None:
    if empty:
        raise ConfigError(f"the fixture {empty[0]} returned None; return what is under test")


def _missing_message(missing: list[str], config: Config) -> str:
    fixtures = ", ".join(SUBJECT[name].fixture for name in missing)
    options = ", ".join(SUBJECT[name].option for name in missing)
    file = PYPROJECT if config.file is None else config.file.name
    table = "" if file == OWN_FILE else "[tool.dmmcheck] of "
    return (
        f"{what_is_missing(missing, table + file)}, or give {options}, or define {fixtures} as session-scoped fixtures "
        f"in the conftest.py in {config.root} (fixtures in a folder below, such as tests/conftest.py, are not seen by "
        "the checks)"
    )
