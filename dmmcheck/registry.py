"""Registries: checks, controls, gates and report formats, which any module can add without changing the package."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from dmmcheck.errors import RegistryError
from dmmcheck.errors.text import shown

T = TypeVar("T")
LONGEST_NAME = 100  # characters, since names are parts of file names and node ids


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name, in the order of registration.

    Args:
        kind: What messages call one thing of this kind.
        builtin: Names that the package itself adds; known before `home` is imported.
        home: Module that adds the built-in things; imported when a thing is first looked up.
    """

    def __init__(self, kind: str, *, builtin: tuple[str, ...] = (), home: str = "") -> None:
        self._kind, self._builtin, self._home = kind, builtin, home
        self._things: dict[str, T] = {}
        self._sources: dict[str, str] = {}

    def add(self, name: str, thing: T, *, function: Callable[..., Any]) -> None:
        """Add a thing under a name; the same function may add it again, as in a module that is imported twice.

        Args:
            name: Its name.
            thing: What is added.
            function: The function that defines it.

        Raises:
            RegistryError: Another source has added a thing of this name.
        """
        source = source_of(function)
        other = self._sources.get(name, source)
        taken = name in self._builtin and not module_of(function).startswith("dmmcheck.")
        if other != source or taken:
            where = "dmmcheck" if taken else other
            raise RegistryError(f"the {self._kind} {name!r} exists already (in {where}); choose another name")
        self._things[name] = thing
        self._sources[name] = source

    def put(self, name: str, thing: T) -> None:
        """Add a thing, or replace the thing of that name."""
        self._things[name] = thing

    def get_added(self, name: str) -> T | None:
        """Return the thing of this name, if it was added already, else None; imports nothing."""
        return self._things.get(name)

    def added(self) -> dict[str, T]:
        """Return the things that were added from outside the package, by name."""
        own = ("dmmcheck.", str(Path(__file__).parent))
        return {name: thing for name, thing in self.items() if not self._sources.get(name, own[0]).startswith(own)}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all things, those of the package first; no module is imported for them."""
        return tuple(dict.fromkeys([*self._builtin, *self._things]))

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def _load(self) -> None:
        if self._home:
            importlib.import_module(self._home)


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function inside a ``functools.partial``; every other function itself."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, or of the class of an object that can be called.

    Example:
        >>> name_of(functools.partial(print, end=""))
        'print'
    """
    function = unwrapped(function)
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def module_of(function: Callable[..., Any]) -> str:
    """Return the name of the module that defines a function; "" where the module is not known."""
    return str(getattr(unwrapped(function), "__module__", None) or "")


def source_of(function: Callable[..., Any]) -> str:
    """Return the file and qualified name of a function, which are the same however its module is imported.

    A ``functools.partial`` is defined where its function is; with other arguments it is another one.
    """
    inner, name = unwrapped(function), name_of(function)
    code = getattr(inner, "__code__", None)
    place = f"{module_of(inner)}.{name}" if code is None else f"{code.co_filename}:{name}"
    arguments = [shown(part) for part in (getattr(function, "args", ()), getattr(function, "keywords", {})) if part]
    return " ".join([place, *arguments]) if isinstance(function, functools.partial) else place


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a thing: lower-case words joined by hyphens."""
    return len(text) <= LONGEST_NAME and re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", text) is not None


def wrong_call(function: Callable[..., Any], *args: Any, **keywords: Any) -> str:
    """Return why a call would fail, in Python's words; "" where it would not, or where Python cannot tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*args, **keywords)
    except TypeError as error:
        return str(error)
    return ""


FIELD_CONTROLS = ("rotation", "spectrum", "covariance", "same-class", "other-class")
"""The built-in controls of tangent spaces."""

CHECKS: Registry[Any] = Registry("check", home="dmmcheck.checks")
CONTROLS: Registry[Any] = Registry("control", builtin=(*FIELD_CONTROLS, "order"), home="dmmcheck.measurement.nulls")
GATES: Registry[Any] = Registry("gate", home="dmmcheck.soundness")
REPORT_FORMATS: Registry[Any] = Registry(
    "report format", builtin=(".json", ".md", ".html", ".csv"), home="dmmcheck.report.write"
)
