"""The torchattacks library: which of its attacks can be used, and what it does to global state."""

from __future__ import annotations

import importlib
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch

from dmmcheck.errors import AttackError

_HOW = "pip install 'dmmcheck[attacks]'"


def names() -> tuple[str, ...]:
    """The library's attacks that can be used here: those that measure L2.

    Raises:
        AttackError: The library is missing.
    """
    library = _library()
    usable = set(library.__all__) - set(library.__wrapper__)
    return tuple(sorted(name for name in usable if "L2" in _measures(getattr(library, name))))


def _library() -> ModuleType:
    try:
        return importlib.import_module("torchattacks")
    except ImportError as error:
        raise AttackError(f"torchattacks cannot be imported ({error}); {_HOW}") from error


def constructor(name: str) -> tuple[str, Callable[..., Any]]:
    """The library's spelling of a name, and its class."""
    library = _library()
    spelling = {known.lower(): known for known in library.__all__}
    known = spelling.get(name.lower())
    if known is None or known in library.__wrapper__:
        raise AttackError(f"torchattacks {library.__version__} has no attack {name!r}; use one of {', '.join(names())}")
    make = getattr(library, known)
    measures = _measures(make)
    if "L2" not in measures:
        reason = f"measures {', '.join(measures)}" if measures else "looks for no nearest label change"
        raise AttackError(f"torchattacks' {known} {reason}, distances here are L2; use one of {', '.join(names())}")
    return known, make


def _measures(attack: Any) -> tuple[str, ...]:
    """Norms that an attack's docstring names."""
    line = re.search(r"Distance Measure\s*:(.*)", attack.__doc__ or "")
    return tuple(re.findall(r"L(?:inf|\d)", line.group(1))) if line else ()


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Seed the global generators that the library draws from, and put them back."""
    devices = range(torch.cuda.device_count())
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002  # saved to be restored
    with torch.random.fork_rng(devices=devices):
        try:
            torch.default_generator.manual_seed(seed)
            for index in devices:
                torch.cuda.default_generators[index].manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
