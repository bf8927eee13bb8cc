"""The built-in manifolds by the names that a configuration uses; reading the list needs the standard library alone.

``BUILTIN[name](**options).fit(points)`` is the manifold. `build` does the same, and its errors name the wrong setting.
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
SEED = "a whole number of at least 0"
DIM = "a whole number of at least 1, or 'estimate'"


@dataclass(frozen=True)
class Builtin:
    """One built-in manifold.

    Attributes:
        home: The module that defines it.
        attribute: Its name in that module.
        options: The names of its options, and the kind of value that each takes.
        required: The names of the options without a default.
        needs_points: Whether it must be fitted on points.
        needs_labels: Whether it must be fitted on their labels too.
    """

    home: str
    attribute: str
    options: Mapping[str, str]
    required: tuple[str, ...] = ()
    needs_points: bool = True
    needs_labels: bool = False

    def __call__(self, **options: Any) -> Any:
        """Return the estimator with these options, which is not fitted yet; loads torch."""
        return getattr(importlib.import_module(self.home), self.attribute)(**options)


BUILTIN: Mapping[str, Builtin] = {
    "pca": Builtin("dmmcheck.manifolds.affine", "PCA", {"dim": DIM}),
    "local-pca": Builtin("dmmcheck.manifolds.local_pca", "LocalPCA", {"dim": DIM, "neighbours": WHOLE}),
    "class-pca": Builtin("dmmcheck.manifolds.class_pca", "ClassPCA", {"dim": DIM}, needs_labels=True),
    "kernel-pca": Builtin("dmmcheck.manifolds.kernel_pca", "KernelPCA", {"dim": DIM}),
    "autoencoder": Builtin("dmmcheck.manifolds.autoencoder", "Autoencoder", {"dim": DIM, "steps": WHOLE, "seed": SEED}),
    "decoder": Builtin(
        "dmmcheck.manifolds.decoder",
        "Decoder",
        {"encode": FUNCTION, "decode": FUNCTION, "dim": WHOLE, "input_shape": SHAPE},
        required=("encode", "decode"),
        needs_points=False,
    ),
    "generator": Builtin(
        "dmmcheck.manifolds.generator",
        "Generator",
        {"decode": FUNCTION, "dim": WHOLE, "seed": SEED},
        required=("decode",),
        needs_points=False,
    ),
}
"""The built-in manifolds by name."""


def build(name: str, options: Mapping[str, Any], points: Any = None, labels: Any = None) -> Manifold:
    """Return a built-in manifold with options, fitted on points.

    Args:
        name: A key of `BUILTIN`.
        options: Its options; their names may have dashes in place of underscores.
        points: Training inputs ``(m, *input_shape)`` to fit the manifold on, or None.
        labels: Their labels (m,), or None.

    Raises:
        ManifoldError: The name or an option is unknown, an option has a wrong value or is missing, or no manifold of
            this dimension can be fitted on the points.
    """
    builtin = check(name, options)
    if points is None and builtin.needs_points:
        raise ManifoldError(
            f"the manifold {name!r} is fitted on training inputs, and none were given; set manifold-data to the "
            "training split, which must not contain the inputs under test"
        )
    if labels is None and builtin.needs_labels:
        raise ManifoldError(
            f"the manifold {name!r} is fitted on training inputs with labels, and no labels were given; give "
            "manifold-data as (x, y), or set manifold = 'local-pca'"
        )
    estimator = builtin(**_with_underscores(options))
    if builtin.needs_labels:
        return estimator.fit(points, labels)  # type: ignore[no-any-return]
    manifold: Manifold = estimator if points is None else estimator.fit(points)
    return manifold


def check(name: str, options: Mapping[str, Any]) -> Builtin:
    """Return the built-in manifold of a name, after a check of the options for it; loads no other module.

    Raises:
        ManifoldError: The name or an option is unknown, or an option has a wrong value or is missing.
    """
    if name not in BUILTIN:
        raise ManifoldError(
            f"manifold {name!r} is not built in; choose {_listed(sorted(BUILTIN))}, or give your own as pkg.mod:attr"
        )
    builtin = BUILTIN[name]
    given = _with_underscores(options)
    for option, value in given.items():
        if option not in builtin.options:
            raise ManifoldError(
                f"the manifold {name!r} has no option {option!r}; its options are {_listed(sorted(builtin.options))}"
            )
        if not _fits(value, builtin.options[option]):
            raise ManifoldError(
                f"option {option!r} of the manifold {name!r} is {value!r}; give {builtin.options[option]}"
            )
    missing = [option for option in builtin.required if option not in given]
    if missing:
        raise ManifoldError(
            f"the manifold {name!r} needs {_listed(missing, 'and')}; set them in manifold-options, each {FUNCTION}"
            + ", or set manifold = 'generator', which needs decode alone" * ("encode" in missing)
        )
    return builtin


def _with_underscores(options: Mapping[str, Any]) -> dict[str, Any]:
    return {option.replace("-", "_"): value for option, value in options.items()}


def _fits(value: Any, kind: str) -> bool:
    if kind == FUNCTION:
        return callable(value)
    if kind == SHAPE:
        return isinstance(value, (list, tuple)) and len(value) > 0 and all(_fits(size, WHOLE) for size in value)
    if kind == DIM and value == "estimate":
        return True
    return isinstance(value, int) and not isinstance(value, bool) and value >= (0 if kind == SEED else 1)


def _listed(names: list[str], conjunction: str = "or") -> str:
    return f" {conjunction} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
