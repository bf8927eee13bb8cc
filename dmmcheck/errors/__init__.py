"""One base class for all errors; every message gives the value, the limit and the remedy."""

from __future__ import annotations

from dmmcheck.errors.text import harmless


class DmmError(Exception):
    """Base class of all errors that dmmcheck raises itself."""

    def __init__(self, message: str) -> None:
        super().__init__(harmless(message))  # parts of it come from users and their code


class ConfigError(DmmError):
    """An option, a key of ``[tool.dmmcheck]`` or a reference to user code is wrong."""


class SubjectError(DmmError):
    """The data under test (inputs, labels, bounds) cannot be used as given."""


class ModelError(DmmError):
    """The classifier cannot be used as given."""


class ManifoldError(DmmError):
    """The manifold estimate cannot be used as given."""


class AttackError(DmmError):
    """An attack cannot do what was asked of it."""


class CheckError(DmmError):
    """A check is unknown, declared twice, or returned something other than evidence."""


class RegistryError(DmmError):
    """A control, a gate or a report format cannot be registered."""


class ReportError(DmmError):
    """A report cannot be written or read."""


class BaselineError(DmmError):
    """A report cannot be compared with another one."""


class OutOfTimeError(DmmError):
    """The time of the setting ``max-time`` was over before a measurement began."""


def is_out_of_time(error: BaseException | None) -> bool:
    """Whether an error is an `OutOfTimeError`, or was raised from one.

    Example:
        >>> is_out_of_time(OutOfTimeError("the time is over")), is_out_of_time(CheckError("another error"))
        (True, False)
    """
    while error is not None:
        if isinstance(error, OutOfTimeError):
            return True
        error = error.__cause__
    return False
