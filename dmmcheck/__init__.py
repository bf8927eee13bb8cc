"""dmmcheck tests the geometry of a classifier, not only its accuracy.

The public names, in the order in which data pass through them:

- `Subject`: the model, inputs, labels and manifold estimate (`dmmcheck.manifolds`) under test.
- `run`: runs the checks on a subject and returns a `Report`; ``pytest --dmm`` does the same under pytest.
- `boundary_search`: the nearest label change anywhere, in the tangent space, or in the normal space.
- `check`, `Evidence`, `View`: for a check of your own. `control`, `gate`, `report_format`, `Attack`, `Classifier`: for
  the other parts that you can add.
- `parametrize`: checks as test functions in a test file.
- `dmmcheck.strategies`: strategies of Hypothesis over a manifold, and `register_manifold_type` for ``st.from_type``.
- `dmmcheck.worlds`: subjects whose answers are known in closed form.

Importing the package imports nothing heavy: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmmcheck import manifolds as manifolds
    from dmmcheck import soundness as soundness
    from dmmcheck import strategies as strategies
    from dmmcheck import worlds as worlds
    from dmmcheck.attacks.base import Attack as Attack
    from dmmcheck.attacks.base import Crossing as Crossing
    from dmmcheck.attacks.search import boundary_search as boundary_search
    from dmmcheck.checks.base import check as check
    from dmmcheck.checks.explanation import Explanation as Explanation
    from dmmcheck.config.settings import Settings as Settings
    from dmmcheck.errors import DmmError as DmmError
    from dmmcheck.inference.evidence import Evidence as Evidence
    from dmmcheck.measurement.nulls import control as control
    from dmmcheck.measurement.view import View as View
    from dmmcheck.models.base import Classifier as Classifier
    from dmmcheck.pytest_plugin.decorator import parametrize as parametrize
    from dmmcheck.report.model import Finding as Finding
    from dmmcheck.report.model import Report as Report
    from dmmcheck.report.write import report_format as report_format
    from dmmcheck.run import run as run
    from dmmcheck.soundness.registry import gate as gate
    from dmmcheck.strategies.registered import register_manifold_type as register_manifold_type
    from dmmcheck.subject import Subject as Subject

__version__ = "0.1.0"

_HOMES = {
    "Attack": "dmmcheck.attacks.base",
    "Classifier": "dmmcheck.models.base",
    "Crossing": "dmmcheck.attacks.base",
    "DmmError": "dmmcheck.errors",
    "Evidence": "dmmcheck.inference.evidence",
    "Explanation": "dmmcheck.checks.explanation",
    "Finding": "dmmcheck.report.model",
    "Report": "dmmcheck.report.model",
    "Settings": "dmmcheck.config.settings",
    "Subject": "dmmcheck.subject",
    "View": "dmmcheck.measurement.view",
    "boundary_search": "dmmcheck.attacks.search",
    "check": "dmmcheck.checks.base",
    "control": "dmmcheck.measurement.nulls",
    "gate": "dmmcheck.soundness.registry",
    "parametrize": "dmmcheck.pytest_plugin.decorator",
    "register_manifold_type": "dmmcheck.strategies.registered",
    "report_format": "dmmcheck.report.write",
    "run": "dmmcheck.run",
}
_MODULES = ("manifolds", "soundness", "strategies", "worlds")

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
    """A package that keeps ``dmmcheck.run`` the function after the module ``dmmcheck.run`` is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
