"""What is under test, from options, settings and fixtures; nearer to the command line wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dmmcheck.config.schema import SUBJECT
from dmmcheck.config.settings import Config
from dmmcheck.errors import ConfigError, DmmError
from dmmcheck.loading.references import UserCodeError

if TYPE_CHECKING:
    from dmmcheck.subject import Subject

WHOLE = "dmm_subject"


def gather(request: pytest.FixtureRequest, config: Config) -> Subject:
    """The subject: each part from an option, else from the file of settings, else from a fixture.

    Raises:
        ConfigError: Something needed is given nowhere, or two fixtures say the same.
        DmmError: What was given cannot be used.
    """
    from dmmcheck.loading import build as assembly  # noqa: PLC0415  # loads torch

    fixtures = {name: key.fixture for name, key in SUBJECT.items() if _is_defined(request, key.fixture)}
    whole = _is_defined(request, WHOLE)
    if whole and fixtures:
        raise ConfigError(
            f"both the fixture {WHOLE} and {', '.join(fixtures.values())} are defined; "
            "keep the one subject, or its parts"
        )
    missing = [name for name in assembly.REQUIRED if name not in config.subject and name not in fixtures]
    if missing and not whole:
        raise ConfigError(_nowhere(missing, config))
    parts: dict[str, Any] = {}
    for name in SUBJECT:
        if name in config.subject:
            parts[name] = assembly.part(name, config.subject[name], root=config.root)
        elif name in fixtures:
            parts[name] = value_of(request, fixtures[name])
        if parts.get(name, ...) is None:
            del parts[name]  # a fixture says so that there is none
    if not whole:
        _refuse_none([fixtures[name] for name in assembly.REQUIRED if name not in parts])
    subject = as_subject(value_of(request, WHOLE), f"the fixture {WHOLE}") if whole else None
    return assembly.assemble(parts, root=config.root, subject=subject)


def as_subject(value: Any, what: str) -> Subject:
    """The value, if it is a Subject.

    Raises:
        ConfigError: It is something else.
    """
    from dmmcheck.subject import Subject  # noqa: PLC0415  # loads torch

    if not isinstance(value, Subject):
        raise ConfigError(f"{what} is a {type(value).__name__}, expected a dmmcheck.Subject")
    return value


def value_of(request: pytest.FixtureRequest, name: str) -> Any:
    """What a user's fixture returns.

    Raises:
        ConfigError: The fixture cannot be used as it is.
        UserCodeError: It raises.
    """
    try:
        return request.getfixturevalue(name)
    except (DmmError, pytest.UsageError):
        raise
    except pytest.FixtureLookupError as error:
        raise ConfigError(f"the fixture {name} asks for a fixture {error.argname!r}, which is not found") from None
    except pytest.fail.Exception as error:
        reason = str(error).partition(" Requesting")[0].strip()  # what follows are the frames of pytest and of ours
        raise ConfigError(f"the fixture {name} cannot be set up: {reason}") from None
    except Exception as error:
        raise UserCodeError(f"the fixture {name} raised {type(error).__name__}: {error}") from error


def _is_defined(request: pytest.FixtureRequest, name: str) -> bool:
    """Whether the checks see a fixture of this name, once its scope is found to be the session.

    Raises:
        ConfigError: Its scope is narrower.
    """
    found = request._fixturemanager.getfixturedefs(name, request._pyfuncitem)
    if not found:
        return False
    scope = found[-1].scope
    if scope != "session":
        raise ConfigError(
            f"the fixture {name} has the scope {scope!r}, all checks share one measurement; "
            f'write @pytest.fixture(scope="session")'
        )
    return True


def _refuse_none(empty: list[str]) -> None:
    if empty:
        raise ConfigError(f"the fixture {empty[0]} returned None; return what is under test")


def _nowhere(missing: list[str], config: Config) -> str:
    fixtures = ", ".join(SUBJECT[name].fixture for name in missing)
    options = ", ".join(SUBJECT[name].option for name in missing)
    file = "pyproject.toml" if config.file is None else config.file.name
    table = "" if file == "dmmcheck.toml" else "[tool.dmmcheck] of "
    return (
        f"nothing says what is under test, no {' and no '.join(missing)}: set {', '.join(missing)} in {table}{file}, "
        f"or give {options}, or define {fixtures} as session-scoped fixtures in the conftest.py in {config.root} "
        "(those of a folder below, such as tests/conftest.py, are not seen there)"
    )
