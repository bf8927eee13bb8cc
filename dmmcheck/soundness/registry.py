"""How soundness gates are registered, and how all of them are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from dmmcheck.checks.base import FAMILIES
from dmmcheck.errors import CheckError, DmmError, RegistryError
from dmmcheck.models.base import evaluating
from dmmcheck.registry import GATES
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
        raise RegistryError(f"the family of a gate is {family!r}; valid: {', '.join(FAMILIES)}")

    def register(ask: Q) -> Q:
        GATES.add(ask.__name__.replace("_", "-"), Gate(family, ask), function=ask)
        return ask

    return register


def assess(context: SoundnessContext, gates: Iterable[str] | None = None) -> tuple[Soundness, ...]:
    """The items of every gate, the built-in gates first; of those named where there are names.

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
        if gate.ask.__module__.startswith("dmmcheck."):
            raise
        raise CheckError(f"the gate {name!r} raised {type(error).__name__}: {error}") from error
    for item in items:
        if not isinstance(item, Soundness):
            raise CheckError(
                f"the gate {name!r} returned a {type(item).__name__}, expected a Soundness item; "
                "return dmmcheck.soundness.bounded(...), judged(...) or info(...)"
            )
    return [replace(item, family=gate.family) for item in items]
