"""The built-in manifolds by name, as a configuration names them; the standard library suffices to read the list.

``BUILTIN[name](**options).fit(points)`` is the manifold; `build` does the same and says what is wrong.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dmmcheck.errors import ManifoldError

if TYPE_CHECKING:
    from dmmcheck.manifolds.base import Manifold

WHOLE, SHAPE, FUNCTION = "a whole number of at least 1", "a list of whole numbers", "a function or torch module"


@dataclass(frozen=True)
class Builtin:
    """One built-in manifold.

    Attributes:
        home: The module that has it.
        attribute: Its name there.
        options: What it may be told, and of what kind that is.
        required: The options without a default.
        needs_points: Whether there is no manifold without points to fit it on.
    """

    home: str
    attribute: str
    options: Mapping[str, str]
    required: tuple[str, ...] = ()
    needs_points: bool = True

    def __call__(self, **options: Any) -> Any:
        """The estimator with these options; loads torch."""
        return getattr(importlib.import_module(self.home), self.attribute)(**options)


BUILTIN: Mapping[str, Builtin] = {
    "pca": Builtin("dmmcheck.manifolds.affine", "PCA", {"dim": WHOLE}),
    "local-pca": Builtin("dmmcheck.manifolds.local_pca", "LocalPCA", {"dim": WHOLE, "neighbours": WHOLE}),
    "decoder": Builtin(
        "dmmcheck.manifolds.decoder",
        "Decoder",
        {"encode": FUNCTION, "decode": FUNCTION, "dim": WHOLE, "input_shape": SHAPE},
        required=("encode", "decode"),
        needs_points=False,
    ),
}
"""Every built-in manifold by its name in a configuration."""


def build(name: str, options: Mapping[str, Any], points: Any = None) -> Manifold:
    """The built-in manifold of a name, made with options and fitted.

    Args:
        name: A key of `BUILTIN`.
        options: Keyword arguments of it; dashes and underscores in their names are the same.
        points: Training inputs ``(m, *input_shape)`` to fit it on; None where there are none.

    Raises:
        ManifoldError: An unknown name or option, an option of the wrong kind, a missing one, no points, or points that
            do not bear a manifold of that dimension.
    """
    builtin = check(name, options)
    if points is None and builtin.needs_points:
        raise ManifoldError(
            f"the manifold {name!r} is fitted on training inputs, and none were given; set manifold-data to the "
            "training split, apart from the inputs under test"
        )
    made = builtin(**_spelt(options))
    manifold: Manifold = made if points is None else made.fit(points)
    return manifold


def check(name: str, options: Mapping[str, Any]) -> Builtin:
    """What is built in under a name, after holding options to it; loads nothing.

    Raises:
        ManifoldError: An unknown name or option, an option of the wrong kind, or a missing one.
    """
    if name not in BUILTIN:
        raise ManifoldError(
            f"manifold {name!r} is not built in; choose {_listed(sorted(BUILTIN))}, or give your own as pkg.mod:attr"
        )
    builtin = BUILTIN[name]
    given = _spelt(options)
    for option, value in given.items():
        if option not in builtin.options:
            raise ManifoldError(
                f"the manifold {name!r} has no option {option!r}; its options are {_listed(sorted(builtin.options))}"
            )
        if not _fits(value, builtin.options[option]):
            raise ManifoldError(
                f"option {option!r} of the manifold {name!r} is {value!r}, expected {builtin.options[option]}"
            )
    missing = [option for option in builtin.required if option not in given]
    if missing:
        raise ManifoldError(
            f"the manifold {name!r} needs {_listed(missing, 'and')}; set them in manifold-options, each {FUNCTION}"
        )
    return builtin


def _spelt(options: Mapping[str, Any]) -> dict[str, Any]:
    return {option.replace("-", "_"): value for option, value in options.items()}


def _fits(value: Any, kind: str) -> bool:
    if kind == FUNCTION:
        return callable(value)
    if kind == SHAPE:
        return isinstance(value, (list, tuple)) and len(value) > 0 and all(_fits(size, WHOLE) for size in value)
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _listed(names: list[str], conjunction: str = "or") -> str:
    return f" {conjunction} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
