"""The address of a measurement: a hash of the content of everything that it depends on."""

from __future__ import annotations

import functools
import hashlib
import inspect
import platform
import sys
import types
from collections.abc import Container
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmmcheck.errors.text import told
from dmmcheck.registry import CONTROLS

LIBRARIES = {"builtins", "collections", "dmmcheck", "functools", "numpy", "scipy", "sklearn", "torch"}
"""Packages whose code is known by the versions in every address, so that names suffice."""
STORED = {
    *("search", "attack", "targeted", "boundary-gradient", "input-gradient", "crossing", "distance", "distances"),
    *("adversarial", "projected", "towards", "geodesic", "margins", "soundness", "null"),
}
"""First words of the keys of measurements that depend on nothing but their model, inputs, manifold and settings."""
SHARED = STORED | {"null of other models", "span", "class-gradients"}
"""First words of the keys of measurements that the processes of one run share, whatever they depend on.

The gradients at the inputs are not stored for later runs, which read them only where a search is left to be made.
"""
WITHOUT_NUMBERS = {"config", "loading", "pytest_plugin", "report"}  # packages that no measurement depends on


class UnaddressableError(Exception):
    """Something has content that cannot be hashed; the text says what and why."""


@functools.cache
def code_version() -> str:
    """Return a hash of the sources that measurements depend on, and of the versions of the libraries."""
    root = Path(__file__).parents[1]
    hasher = hashlib.blake2b(digest_size=16)
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in WITHOUT_NUMBERS:
            hasher.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    for name in ("torch", "numpy", "scipy", "scikit-learn"):
        hasher.update(metadata.version(name).encode())
    hasher.update(f"{platform.python_version()} {platform.machine()}".encode())
    return hasher.hexdigest()


def address_of(*parts: object) -> str:
    """Return a hash of the parts and of the code.

    Raises:
        UnaddressableError: Something among the parts has content that cannot be hashed.

    Example:
        >>> import torch
        >>> layers = [torch.nn.Linear(2, 2) for _ in range(2)]
        >>> address_of(layers[0]) == address_of(layers[0]), address_of(layers[0]) == address_of(layers[1])
        (True, False)
    """
    hasher = _Hasher()
    hasher.add((code_version(), parts))
    return hasher.digest()


def is_stored(key: tuple[object, ...], attacks: Container[str] = ()) -> bool:
    """Return whether the measurement under a key depends on nothing but its model, inputs, manifold and settings.

    Those through an attack of the settings, or in draws of a control that is not built in, depend on other code.

    Args:
        key: The key.
        attacks: Names of the attacks of the settings.

    Example:
        >>> is_stored(("search",)), is_stored(("attack", "mine", "free"), {"mine"}), is_stored(("my-check",))
        (True, False, False)
    """
    names = [part[0] for part in key if isinstance(part, tuple) and part and part[0] != "dimension"]
    names += [str(part) for part in key[2:3] if key[0] == "null"]
    controls = [CONTROLS.get_added(str(name)) for name in names]
    builtin = all(null is not None and str(null.draw.__module__).startswith("dmmcheck.") for null in controls)
    return key[0] in STORED and builtin and not any(isinstance(part, str) and part in attacks for part in key)


class _Hasher:
    """Hashes content part by part; objects that refer to each other are visited once."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=20)
        self._seen: dict[int, tuple[int, object]] = {}

    def digest(self) -> str:
        """Return the hash in hexadecimal digits."""
        return self._hash.hexdigest()

    def add(self, value: Any) -> None:
        """Add the content of a value."""
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.Size, Path)):
            self._put(type(value).__name__, repr(value).encode())
        elif isinstance(value, torch.device):
            self._put("device", value.type.encode())
        elif isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            self._put(f"{plain.dtype} {tuple(plain.shape)}", plain.reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, (np.ndarray, np.generic)):
            self._add_array(np.asarray(value))
        elif id(value) in self._seen:
            self._put("again", str(self._seen[id(value)][0]).encode())
        else:
            self._seen[id(value)] = len(self._seen), value
            self._add_compound(value)

    def _put(self, kind: str, content: bytes | memoryview) -> None:
        self._hash.update(f"{kind} {len(content)} ".encode())
        self._hash.update(content)

    def _add_array(self, value: np.ndarray[Any, Any]) -> None:
        if value.dtype.hasobject:
            self.add(value.tolist())
        else:
            is_number = value.dtype.kind in "biufc"
            content = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data if is_number else value.tobytes()
            self._put(f"{value.dtype} {value.shape}", content)

    def _add_compound(self, value: Any) -> None:
        if isinstance(value, (list, tuple)):
            self._put(type(value).__name__, str(len(value)).encode())
            for part in value:
                self.add(part)
        elif isinstance(value, dict):
            self._put("dict", str(len(value)).encode())
            for name, part in value.items():
                self.add(name)
                self.add(part)
        elif isinstance(value, (set, frozenset)):
            self.add(sorted(value, key=repr))
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, functools.partial):
            self.add((value.func, value.args, value.keywords))
        elif isinstance(value, types.MethodType):
            self.add((value.__self__, value.__name__))
        elif callable(value) and hasattr(value, "__qualname__"):
            self._add_function(value)
        elif isinstance(value, torch.jit.ScriptModule):
            self.add((str(value.inlined_graph), dict(value.state_dict())))
        elif isinstance(value, torch.fx.GraphModule):
            self.add((value.code, dict(value.state_dict())))
        else:
            self._add_object(value)

    def _add_class(self, value: type) -> None:
        """Add a class: its name, and its file where the class is not one of a known library."""
        module = _module_name(value)
        library = module.partition(".")[0]
        self._put("class", f"{module}.{value.__qualname__}".encode())
        if library in LIBRARIES:
            return
        try:
            file = inspect.getsourcefile(value) if _is_in_its_module(value) else None
        except TypeError:
            file = None
        if file is None or not Path(file).is_file():
            raise UnaddressableError(f"the source of the class {value.__qualname__} is not known")
        self._put("source", Path(file).read_bytes())
        self._put("version", str(getattr(sys.modules.get(library), "__version__", "")).encode())

    def _add_function(self, value: Any) -> None:
        """Add a function of a known library; a function of the user is refused, since it can depend on anything."""
        name = f"{value.__module__}.{value.__qualname__}"
        known = str(value.__module__).partition(".")[0].lstrip("_") in LIBRARIES
        if not known or "<locals>" in name or "<lambda>" in name:
            raise UnaddressableError(f"{value.__qualname__} is a function, which can depend on anything")
        self._put("function", name.encode())

    def _add_object(self, value: Any) -> None:
        """Add an object of any class: the class, and the object's attributes."""
        self._add_class(type(value))
        if isinstance(value, nn.Module):
            self.add({name: part for name, part in value.__dict__.items() if name != "training"})
        elif _pickles_itself(value) or _has_slots(value) or not hasattr(value, "__dict__"):
            self.add(_reduced(value))
        else:
            self.add(value.__dict__)


def _pickles_itself(value: Any) -> bool:
    """Return whether a value's class defines how it is pickled, as classes with data outside of Python do."""
    own = {"__getstate__", "__reduce__", "__reduce_ex__"}
    return any(own & set(vars(base)) for base in type(value).__mro__[:-1])


def _has_slots(value: Any) -> bool:
    """Return whether a class of the value keeps attributes outside of the dictionary of attributes."""
    return any(vars(base).get("__slots__") for base in type(value).__mro__)


def _reduced(value: Any) -> list[Any]:
    """Return the content of an object as it is pickled, without the functions that make it anew.

    Raises:
        UnaddressableError: It cannot be pickled, or has no content of its own.
    """
    try:
        parts = value.__reduce_ex__(4)
    except Exception as error:  # whatever the object's code raises
        raise UnaddressableError(f"the content of a {type(value).__name__} is not known ({told(error)})") from error
    if isinstance(parts, str):
        return [parts]
    return [parts[1], *parts[2:3], *(list(items) for items in parts[3:5] if items is not None)]


def _module_name(value: type) -> str:
    """Return the name that the module of a class is imported by.

    A compiled module may tell its classes only the last part of its name, as ``sklearn._loss._loss`` of older versions
    of scikit-learn does.
    """
    own = value.__module__
    if own.partition(".")[0] in LIBRARIES:
        return own
    modules = list(sys.modules.items())
    holders = [name for name, one in modules if name.endswith(own) and vars(one).get(value.__name__) is value]
    return max(holders, key=len, default=own)


def _is_in_its_module(value: type) -> bool:
    """Return whether a class is the one that its module defines, which is not so where its code was sent by value."""
    if "<locals>" in value.__qualname__:
        return value.__module__ != "__main__" and value.__module__ in sys.modules
    found: Any = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value
