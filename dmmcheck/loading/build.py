"""From the parts that were given, wherever they were, to one validated Subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmmcheck.config.settings import Given
from dmmcheck.errors import ConfigError
from dmmcheck.loading.checkpoints import checkpoints_from
from dmmcheck.loading.datasets import inputs_and_labels, labelled
from dmmcheck.loading.references import UserCodeError, is_reference, load, settle
from dmmcheck.manifolds import builtin
from dmmcheck.subject import Subject

REQUIRED = ("model", "data", "manifold")
_FUNCTIONS = {"factory", "trainer"}
_MAY_BE_FUNCTIONS = {"model", "reference", "robust"}
_AS_GIVEN = {"bounds", "manifold-options"}


def part(name: str, given: Given, *, root: Path) -> Any:
    """What a key refers to: loaded code, or the text where it is none (a built-in manifold, a glob of checkpoints).

    Raises:
        ConfigError: The code cannot be found, or takes arguments.
        UserCodeError: It raises.
    """
    value = given.value
    if name in _AS_GIVEN or (name in {"manifold", "checkpoints"} and not is_reference(value)):
        return value
    what = f"{name} = {value!r} ({given.origin})"
    loaded = load(value, what, root=root)
    return loaded if name in _FUNCTIONS else settle(loaded, what, may_be_function=name in _MAY_BE_FUNCTIONS)


def assemble(parts: Mapping[str, Any], *, root: Path, subject: Subject | None = None) -> Subject:
    """A subject from its parts, or another one with these parts replaced.

    Args:
        parts: By key of ``[tool.dmmcheck]``: objects; a text for a built-in manifold or a glob of checkpoints.
        root: Where globs and references in manifold-options start from.
        subject: What the parts are put into; a new one where None.

    Raises:
        ConfigError: Parts that do not go together.
        DmmError: The subject cannot be used, see `Subject`.
    """
    fields = {
        name: parts[name] for name in ("model", "reference", "robust", "factory", "trainer", "bounds") if name in parts
    }
    if "data" in parts:
        fields["x"], fields["y"] = labelled(parts["data"], "data")
    if "manifold-data" in parts:
        fields["x_train"], fields["y_train"] = inputs_and_labels(parts["manifold-data"], "manifold-data")
    points = fields.get("x_train", None if subject is None else subject.x_train)
    if "manifold" in parts:
        fields["manifold"] = _manifold(parts["manifold"], parts.get("manifold-options"), points, root)
    elif "manifold-options" in parts:
        raise ConfigError(
            "manifold-options are set and no manifold is; name a built-in one, e.g. manifold = 'local-pca'"
        )
    if "checkpoints" in parts:
        factory = fields.get("factory", None if subject is None else subject.factory)
        fields["checkpoints"] = _checkpoints(parts["checkpoints"], factory, root)
    return Subject(**fields) if subject is None else replace(subject, **fields)


def _manifold(manifold: Any, options: Mapping[str, Any] | None, points: Any, root: Path) -> Any:
    if isinstance(manifold, str):
        return builtin.build(manifold, _loaded(options or {}, root), points)
    if options:
        raise ConfigError(
            f"manifold-options are set ({', '.join(options)}), but the manifold is an object of your own, "
            f"{type(manifold).__name__}; they are for the built-in ones ({', '.join(builtin.BUILTIN)})"
        )
    return manifold


def _loaded(options: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Options with what they refer to, such as the decoder's encode and decode."""

    def loaded(name: str, value: Any) -> Any:
        if not isinstance(value, str) or not is_reference(value):
            return value
        what = f"{name} = {value!r} (manifold-options)"
        return settle(load(value, what, root=root), what, may_be_function=True)

    return {name: loaded(name, value) for name, value in options.items()}


def _checkpoints(checkpoints: Any, factory: Any, root: Path) -> Any:
    if not isinstance(checkpoints, str):
        return checkpoints
    what = f"checkpoints = {checkpoints!r}"
    if factory is None:
        raise ConfigError(f"{what} are files of weights, which need an untrained model to go into; set factory too")

    def untrained() -> Any:
        try:
            return factory(0)
        except Exception as error:
            raise UserCodeError(f"factory raised {type(error).__name__} when called with a seed: {error}") from error

    return checkpoints_from(checkpoints, untrained, what, root=root)
