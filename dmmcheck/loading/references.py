"""From a reference ``pkg.mod:attr`` or ``path.py:attr`` to an object: the value, or what a function returns."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dmmcheck.config.schema import colon_hint, did_you_mean
from dmmcheck.errors import ConfigError, user_code, users_state
from dmmcheck.errors.text import described

_REFERENCE = re.compile(r"(?P<where>.+):(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")


class UserCodeError(ConfigError):
    """The user's code raised an exception, which is the ``__cause__`` of this error."""


def is_reference(text: str) -> bool:
    """Return whether a text has the form ``pkg.mod:attr`` or ``path.py:attr``.

    Example:
        >>> is_reference("shop.model:load"), is_reference("local-pca")
        (True, False)
    """
    return _REFERENCE.fullmatch(text) is not None


def load(reference: str, what: str, *, root: Path) -> Any:
    """Return the object that a reference names.

    Args:
        reference: ``pkg.mod:attr`` or ``path.py:attr``; attr may have dots.
        what: Its name in messages, e.g. ``model = 'shop.model:load'``.
        root: The folder that paths start from. It is put on ``sys.path`` and stays there.

    Raises:
        ConfigError: The reference is malformed, or there is no such module, file or attribute.
        UserCodeError: The module raises while it is imported.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ConfigError(
            f"{what} is not of the form pkg.mod:attr or path.py:attr{colon_hint(reference)}; "
            "write the module or file, a colon, and the name of the value or function in it"
        )
    where, names = match["where"], match["attribute"].split(".")
    value: Any = _module(where, what, root)
    for number, name in enumerate(names):
        if not hasattr(value, name):
            owner = f"{'.'.join(names[:number])!r} in " if number else ""
            kind = "file" if where.endswith(".py") else "module"
            near = did_you_mean(name, [other for other in dir(value) if not other.startswith("_")])
            raise ConfigError(
                f"{what}: {owner}the {kind} {where!r} has no attribute {name!r}{near}; name an attribute that it has"
            )
        value = getattr(value, name)
    return value


def resolve(value: Any, what: str, *, may_be_function: bool) -> Any:
    """Return the result of a function or class that can be called without arguments; any other value as it is.

    Objects that are neither function nor class are values even if they can be called: a ``torch.nn.Module`` is the
    model itself.

    Args:
        value: What was loaded.
        what: Its name in messages.
        may_be_function: Whether a function that requires arguments is a valid value, as it is for a model.

    Raises:
        ConfigError: The value is a class that requires arguments, or a function that does where `may_be_function` is
            false; or the result is None.
        UserCodeError: The function or class raises when it is called.
    """
    if inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, functools.partial):
        needed = _required(value)
        if not needed:
            value = _called(value, what)
        elif inspect.isclass(value) or not may_be_function:
            raise ConfigError(
                f"{what} takes arguments ({', '.join(needed)}) and is called without them; "
                "name a value, or a function without required arguments that returns it"
            )
    if value is None:
        raise ConfigError(f"{what} is None; return or assign the object")
    return value


def _required(function: Any) -> list[str]:
    """Return the names of the required arguments; none where Python cannot tell them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [part.name for part in parameters if part.default is part.empty and part.kind not in variable]


def _called(function: Any, what: str) -> Any:
    """Return what the user's function returns."""
    with user_code(what, "let it return the object", UserCodeError, where="when called"):
        return function()


def _module(where: str, what: str, root: Path) -> ModuleType:
    """Return the module of a dotted name, or of a path that ends with ``.py``."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        with users_state():
            return _from_file(root / where, what, root) if where.endswith(".py") else importlib.import_module(where)
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        if where.endswith(".py") or not f"{where}.".startswith(f"{error.name}."):
            raise _raised_in_import(error, what) from error
        near = did_you_mean(where, [path.stem for path in root.glob("*.py")])
        raise ConfigError(
            f"{what}: there is no module {error.name!r}{near} (looked in {root} and in Python's search path); "
            "correct the name, or install its package"
        ) from None
    except (Exception, SystemExit) as error:
        raise _raised_in_import(error, what) from error


def _raised_in_import(error: BaseException, what: str) -> UserCodeError:
    return UserCodeError(f"{what} raised {type(error).__name__} while it was imported: {described(error)}")


def _from_file(path: Path, what: str, root: Path) -> ModuleType:
    """Return the module of a file.

    Where ``import`` would find this file, it is the module that ``import`` returns, so that the file runs once.
    """
    if not path.is_file():
        near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.py")])
        raise ConfigError(f"{what}: there is no file {path}{near}; give a path relative to {root}")
    dotted = _dotted(path, root)
    if dotted:
        spec = importlib.util.find_spec(dotted)
        if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path.resolve():
            return importlib.import_module(dotted)
    return _executed(f"dmmcheck_file_{abs(hash(path.resolve()))}", path)


def _dotted(path: Path, root: Path) -> str:
    """Return the name under which ``import`` may find a file in `root`; "" for any other file."""
    if not path.resolve().is_relative_to(root.resolve()):
        return ""
    parts = path.resolve().relative_to(root.resolve()).with_suffix("").parts
    top_only = len(parts) == 1  # importing a.b would run a/__init__.py, which a path does not ask for
    return parts[0] if top_only and parts[0].isidentifier() else ""


def _executed(name: str, path: Path) -> ModuleType:
    """Return the module of a file under a name that ``import`` does not use; executed once."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded as Python code")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
