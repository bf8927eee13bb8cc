"""One base class for all errors, whose messages give value, limit and remedy; and the guard around the user's code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from dmmcheck.errors.text import described, harmless


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


class LackOfMemoryError(ModelError, MemoryError):
    """Memory ran out in a model, also for as few inputs as a measurement can be made with."""


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
    """Return whether an error is an `OutOfTimeError`, or was raised from one.

    Example:
        >>> is_out_of_time(OutOfTimeError("the time is over")), is_out_of_time(CheckError("another error"))
        (True, False)
    """
    while error is not None:
        if isinstance(error, OutOfTimeError):
            return True
        error = error.__cause__
    return False


USERS_STATE: ContextVar[Callable[[], AbstractContextManager[object]]] = ContextVar("USERS_STATE", default=nullcontext)
"""Gives the context in which the user's code runs; `models.process_state` sets it while dmmcheck measures."""


@contextmanager
def user_code(
    what: str,
    remedy: str | Callable[[BaseException], str],
    error: type[DmmError],
    *,
    where: str = "",
    of: object = None,
) -> Iterator[None]:
    """Turn whatever the user's code raises in this context into one error.

    An error of dmmcheck passes, since it is clear already, and so do ``KeyboardInterrupt`` and outcomes of pytest.

    Args:
        what: The object, e.g. ``"the model"``; the message begins with it.
        remedy: What to do, or a function from the exception to that.
        error: The class of the error.
        where: The call, e.g. ``"in forward"``; the message has it after the kind of the exception.
        of: The object that is called, which may be one of dmmcheck, see `users_state`.

    Raises:
        DmmError: The code raised an exception or exited; of the class `error`.

    Example:
        >>> from dmmcheck.errors import ModelError, user_code
        >>> with user_code("the model", "return logits", ModelError):
        ...     raise SystemExit(3)
        Traceback (most recent call last):
        dmmcheck.errors.ModelError: the model raised SystemExit: 3; return logits
    """
    with one_error(what, remedy, error, where=where), users_state(of):
        yield


def users_state(of: object = None) -> AbstractContextManager[object]:
    """Return the context in which the user's code runs; an object of a class of dmmcheck needs no such context."""
    is_own = str(getattr(of, "__module__", "")).startswith("dmmcheck.")
    return nullcontext() if is_own else USERS_STATE.get()()


@contextmanager
def one_error(
    what: str, remedy: str | Callable[[BaseException], str], error: type[DmmError], *, where: str = ""
) -> Iterator[None]:
    """Turn an exception in this context into one error, as `user_code` does, for code that uses dmmcheck's objects.

    A check is such code, since it uses its view.

    Such code keeps the state of the process that dmmcheck measures in; `user_code` gives the user's own state.
    """
    try:
        yield
    except DmmError:
        raise
    except (Exception, SystemExit) as raised:
        way_on = remedy if isinstance(remedy, str) else remedy(raised)
        kind = f"{type(raised).__name__} {where}".strip()
        text = f"{what} raised {kind}: {described(raised)}"
        raise error(f"{text}; {way_on}" if way_on else text) from raised
