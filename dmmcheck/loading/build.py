"""Builds one validated `Subject` from the parts that settings and fixtures give: model, data, manifold and others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmmcheck.config.settings import Given
from dmmcheck.errors import ConfigError, user_code
from dmmcheck.loading.checkpoints import checkpoints_from
from dmmcheck.loading.datasets import inputs_and_labels, with_groups
from dmmcheck.loading.items import READ_LIMIT
from dmmcheck.loading.model_files import is_model_file, load_model_file
from dmmcheck.loading.references import UserCodeError, is_reference, load, resolve
from dmmcheck.loading.skops_file import SUFFIX, load_estimator
from dmmcheck.manifolds import builtin
from dmmcheck.manifolds.adapt import is_generator, is_points
from dmmcheck.subject import Subject

REQUIRED = ("model", "data", "manifold")
DEFAULT_MANIFOLD = "local-pca"  # where manifold-data is given and manifold is not
PICKLES = (".pkl", ".pickle", ".joblib")  # endings of files that are never loaded
_FUNCTIONS = {"factory", "trainer", "augment"}
_MAY_BE_FUNCTIONS = {"model", "reference", "robust", "pairs", "alternative", "baseline-model"}
_AS_GIVEN = {"bounds", "units", "normalize", "manifold-options", "robustly-trained"}
_FIELDS = (
    *("model", "reference", "robust", "pairs", "alternative", "robustly-trained"),
    *("factory", "trainer", "augment", "bounds", "units", "normalize", "baseline-model"),
)


def load_part(name: str, given: Given, *, root: Path) -> Any:
    """Return the object that the value of a key refers to; a built-in manifold's name or a file pattern as it is.

    Args:
        name: A key of `schema.SUBJECT`.
        given: Its value.
        root: The folder that references start from.

    Raises:
        ConfigError: The code cannot be found, or requires arguments where it must not.
        UserCodeError: The code raises.
    """
    value = given.value
    if name in _AS_GIVEN or (name in {"manifold", "checkpoints"} and not is_reference(value)):
        return value
    what = f"{name} = {value!r} ({given.origin})"
    if value.lower().endswith(PICKLES):
        raise ConfigError(
            f"{what} is a pickle, which can run any code while it is loaded; load it in a function of your own, and "
            "give that as pkg.mod:attr"
        )
    if value.endswith(SUFFIX) and name in _MAY_BE_FUNCTIONS:
        return load_estimator(root / value, what)
    if name in _MAY_BE_FUNCTIONS and is_model_file(value):
        return load_model_file(root / value, what)
    loaded = load(value, what, root=root)
    return loaded if name in _FUNCTIONS else resolve(loaded, what, may_be_function=name in _MAY_BE_FUNCTIONS)


def build_subject(parts: Mapping[str, Any], *, root: Path, subject: Subject | None = None, samples: int = 0) -> Subject:
    """Return a subject from its parts, or a copy of a subject with some parts replaced.

    Args:
        parts: Objects by key of ``[tool.dmmcheck]``; a text for a built-in manifold or a pattern of checkpoints.
        root: The folder that patterns, and references in manifold-options, start from.
        subject: The subject whose parts are replaced; None for a new one.
        samples: Inputs that the run may use; as many items of a data set are read where they exceed `items.READ_LIMIT`.

    Raises:
        ConfigError: Two parts contradict each other, or one needs another that is missing.
        DmmError: The subject cannot be used, see `Subject`.
    """
    fields = {name.replace("-", "_"): parts[name] for name in _FIELDS if name in parts}
    if "data" in parts:
        fields["x"], fields["y"], fields["groups"], said = with_groups(
            parts["data"], "data", limit=max(READ_LIMIT, samples)
        )
        fields["conversions"] = (said,) if said else ()
    if "groups" in parts:
        if fields.get("groups") is not None:
            raise ConfigError(
                "groups are given twice, as the key groups and as data = (x, y, groups); keep one of them"
            )
        fields["groups"] = parts["groups"]
    if "manifold-data" in parts:
        found = inputs_and_labels(parts["manifold-data"], "manifold-data")
        fields["x_train"], fields["y_train"] = found.inputs, found.labels
        before = fields.get("conversions", () if subject is None else subject.conversions)
        fields["conversions"] = (*before, found.said) if found.said else before
    points = fields.get("x_train", None if subject is None else subject.x_train)
    if "manifold" not in parts and "manifold-data" in parts and subject is None:
        parts = {**parts, "manifold": DEFAULT_MANIFOLD}
    if "manifold" in parts:
        labels = fields.get("y_train", None if subject is None else subject.y_train)
        fields["manifold"] = _manifold(parts["manifold"], parts.get("manifold-options"), (points, labels), root)
    elif "manifold-options" in parts:
        raise ConfigError("manifold-options are set, but no manifold; set a built-in one, e.g. manifold = 'local-pca'")
    if "checkpoints" in parts:
        factory = fields.get("factory", None if subject is None else subject.factory)
        fields["checkpoints"] = _checkpoints(parts["checkpoints"], factory, root)
    return Subject(**fields) if subject is None else replace(subject, **fields)


def _manifold(manifold: Any, options: Mapping[str, Any] | None, examples: tuple[Any, Any], root: Path) -> Any:
    if isinstance(manifold, str):
        return builtin.build(manifold, _loaded(options or {}, root), *examples)
    if is_points(manifold):
        return builtin.build(DEFAULT_MANIFOLD, options or {}, manifold)
    if options and is_generator(manifold):
        return builtin.build("generator", {"decode": manifold, **options})
    if options:
        raise ConfigError(
            f"manifold-options are set ({', '.join(options)}), but the manifold is an object of your own, "
            f"{type(manifold).__name__}; remove them, or set a built-in manifold ({', '.join(builtin.BUILTIN)})"
        )
    return manifold


def _loaded(options: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return the options, with references such as the decoder's encode and decode replaced by their code."""

    def loaded(name: str, value: Any) -> Any:
        if not isinstance(value, str) or not is_reference(value):
            return value
        what = f"{name} = {value!r} (manifold-options)"
        return resolve(load(value, what, root=root), what, may_be_function=True)

    return {name: loaded(name, value) for name, value in options.items()}


def _checkpoints(checkpoints: Any, factory: Any, root: Path) -> Any:
    if not isinstance(checkpoints, str):
        return checkpoints
    what = f"checkpoints = {checkpoints!r}"
    if factory is None:
        raise ConfigError(
            f"{what} are files of weights, which need an untrained model to be loaded into; set factory too"
        )

    def untrained() -> Any:
        with user_code("factory", "let it return a model", UserCodeError, where="when called with a seed"):
            return factory(0)

    return checkpoints_from(checkpoints, untrained, what, root=root)
