"""dmmcheck tests the geometry of a classifier, not only its accuracy.

The map, in the order of the data:

- `Subject`: what is under test: model, inputs, labels, manifold estimate (`dmmcheck.manifolds`).
- `run`: the checks on a subject, as a `Report`; under pytest the same through ``pytest --dmm``.
- `boundary_search`: the nearest label change anywhere, in the tangent space, or in the normal space.
- `check`, `Evidence`: a check of your own.
- `parametrize`: checks as test functions in a test file.
- `dmmcheck.worlds`: subjects whose answers are known in closed form.

Importing the package imports nothing heavy: every name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmmcheck import manifolds as manifolds
    from dmmcheck import worlds as worlds
    from dmmcheck.attacks.base import Crossing as Crossing
    from dmmcheck.attacks.minimal_norm.search import boundary_search as boundary_search
    from dmmcheck.checks.base import Explanation as Explanation
    from dmmcheck.checks.base import check as check
    from dmmcheck.config.settings import Settings as Settings
    from dmmcheck.errors import DmmError as DmmError
    from dmmcheck.inference.evidence import Evidence as Evidence
    from dmmcheck.parametrize import parametrize as parametrize
    from dmmcheck.report.model import Finding as Finding
    from dmmcheck.report.model import Report as Report
    from dmmcheck.run import run as run
    from dmmcheck.subject import Subject as Subject

__version__ = "0.1.0"

_HOMES = {
    "Crossing": "dmmcheck.attacks.base",
    "DmmError": "dmmcheck.errors",
    "Evidence": "dmmcheck.inference.evidence",
    "Explanation": "dmmcheck.checks.base",
    "Finding": "dmmcheck.report.model",
    "Report": "dmmcheck.report.model",
    "Settings": "dmmcheck.config.settings",
    "Subject": "dmmcheck.subject",
    "boundary_search": "dmmcheck.attacks.minimal_norm.search",
    "check": "dmmcheck.checks.base",
    "parametrize": "dmmcheck.parametrize",
    "run": "dmmcheck.run",
}
_MODULES = ("manifolds", "worlds")

__all__ = ["__version__", *sorted(_HOMES), *_MODULES]  # noqa: PLE0604  # all are strings


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"dmmcheck.{name}")
    else:
        raise AttributeError(f"module 'dmmcheck' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps a name that is a function from being hidden by the module of the same name, once that is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
