"""How soundness gates are registered, and how all of them are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from numbers import Real
from typing import TypeVar

from dmmcheck.checks.declaration import FAMILIES
from dmmcheck.errors import CheckError, DmmError, RegistryError
from dmmcheck.errors.text import shown, told
from dmmcheck.models.base import evaluating
from dmmcheck.registry import GATES, module_of, name_of, wrong_call
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import SoundnessContext

Question = Callable[[SoundnessContext], "Soundness | Iterable[Soundness]"]
Q = TypeVar("Q", bound=Question)


@dataclass(frozen=True)
class Gate:
    """A gate: the function, and the family that its items belong to."""

    family: str
    ask: Question


def gate(family: str) -> Callable[[Q], Q]:
    """Register a soundness gate: a function from a `SoundnessContext` to one item or several.

    A check that requires the family ends inconclusive where an item of it fails. Make items with
    `dmmcheck.soundness.bounded`, `judged` or `info`.

    Args:
        family: What the items are about: ``model``, ``attack`` or ``manifold``.

    Raises:
        RegistryError: The family is unknown, or a gate of this name exists.

    Example:
        >>> import dmmcheck
        >>> from dmmcheck.soundness import bounded
        >>> @dmmcheck.gate("model")
        ... def enough_classes(context):
        ...     '''The model tells more than one class apart.'''
        ...     classes = context.classifier.classes
        ...     return bounded("enough-classes", classes, least=2, finding=f"{classes} classes", remedy="add classes")
    """
    if family not in FAMILIES:
        raise RegistryError(f"the family of a gate is {shown(family)}; valid: {', '.join(FAMILIES)}")

    def register(ask: Q) -> Q:
        wrong = "it is no function" if not callable(ask) else wrong_call(ask, None)
        if wrong:
            raise RegistryError(f"the gate {shown(ask)} cannot be called with one argument, the context: {wrong}")
        GATES.add(name_of(ask).rpartition(".")[2].replace("_", "-"), Gate(family, ask), function=ask)
        return ask

    return register


def assess(context: SoundnessContext, gates: Iterable[str] | None = None) -> tuple[Soundness, ...]:
    """Return the items of every gate, or of the named gates, the built-in gates first.

    Each item depends on the context alone: its random directions are drawn from a stream of its name, and all inputs
    share them.

    Raises:
        CheckError: A gate's own code raised, or returned something other than items.
    """
    with evaluating(context.classifier):
        return tuple(item for name in gates or GATES for item in _items(name, GATES[name], context))


def _items(name: str, gate: Gate, context: SoundnessContext) -> Iterable[Soundness]:
    try:
        found = gate.ask(context)
        items = list(found) if isinstance(found, Iterable) else [found]
    except DmmError:
        raise
    except Exception as error:
        if module_of(gate.ask).startswith("dmmcheck."):
            raise
        raise CheckError(f"the gate {name!r} raised {told(error)}") from error
    for item in items:
        if not isinstance(item, Soundness):
            raise CheckError(
                f"the gate {name!r} returned a {type(item).__name__}, expected a Soundness item; "
                "return dmmcheck.soundness.bounded(...), judged(...) or info(...)"
            )
        _refuse_junk(name, item)
    return [replace(item, family=gate.family) for item in items]


def _refuse_junk(name: str, item: Soundness) -> None:
    """Refuse an item with a field that no report can show.

    Raises:
        CheckError: There is one.
    """
    for field, value, is_right, expected in (
        ("name", item.name, isinstance(item.name, str) and bool(item.name), "a text that is not empty"),
        ("ok", item.ok, item.ok is None or isinstance(item.ok, bool), "True, False or None"),
        ("value", item.value, _is_number(item.value), "a number or None"),
        ("limit", item.limit, _is_number(item.limit), "a number or None"),
        ("message", item.message, isinstance(item.message, str), "a text"),
    ):
        if not is_right:
            raise CheckError(f"the gate {name!r} returned an item whose {field} is {shown(value)}, expected {expected}")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))
