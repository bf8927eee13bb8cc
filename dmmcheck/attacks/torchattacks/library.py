"""The torchattacks library: which of its attacks can be used, and the global random state that it changes."""

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

_INSTALL = "pip install 'dmmcheck[attacks]'"


def names() -> tuple[str, ...]:
    """Return the library's attacks that can be used here: those that minimise or bound the L2 distance.

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
        raise AttackError(f"torchattacks cannot be imported ({error}); install it: {_INSTALL}") from error


def constructor(name: str) -> tuple[str, Callable[..., Any]]:
    """Return the library's spelling of an attack's name (in upper or lower case), and the class of the attack.

    Raises:
        AttackError: The library is missing, has no such attack, or the attack's distance is not L2.
    """
    library = _library()
    spelling = {known.lower(): known for known in library.__all__}
    known = spelling.get(name.lower())
    if known is None or known in library.__wrapper__:
        raise AttackError(f"torchattacks {library.__version__} has no attack {name!r}; use one of {', '.join(names())}")
    make = getattr(library, known)
    measures = _measures(make)
    if "L2" not in measures:
        reason = "does not look for the nearest label change"
        if measures:
            reason = f"measures {', '.join(measures)}, but distances here are L2"
        raise AttackError(f"torchattacks' {known} {reason}; use one of {', '.join(names())}")
    return known, make


def _measures(attack: Any) -> tuple[str, ...]:
    """Return the norms that an attack's docstring names."""
    line = re.search(r"Distance Measure\s*:(.*)", attack.__doc__ or "")
    return tuple(re.findall(r"L(?:inf|\d)", line.group(1))) if line else ()


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Seed the global generators that the library draws from, and restore them afterwards."""
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
