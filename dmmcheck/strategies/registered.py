"""Types that Hypothesis draws from a manifold: ``st.from_type`` and ``@given`` infer them once they are registered."""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import strategies as st

from dmmcheck.errors import ConfigError, SubjectError
from dmmcheck.strategies.drawn import Augmented, Input, Latent, ManifoldPoint, NormalStep, TangentStep
from dmmcheck.strategies.draws import augmented, inputs, latents, normal_steps, on_manifold, tangent_steps
from dmmcheck.subject import Subject

T = TypeVar("T")
KINDS = (TangentStep, NormalStep, Augmented, ManifoldPoint, Latent, Input)  # subclasses before their bases


def register_manifold_type(kind: type[T], subject: Subject, *, radius: float | None = None) -> None:
    """Let ``st.from_type`` and ``@given`` draw a type from a subject and its manifold.

    Args:
        kind: One of the types of `dmmcheck.strategies` (`Input`, `TangentStep`, `NormalStep`, `Augmented`,
            `ManifoldPoint`, `Latent`), or a subclass of one. A subclass for each subject keeps several subjects apart.
        subject: Where they are drawn from.
        radius: Longest step or change; see the strategies. Needed for all but `Input`, `Augmented` and `Latent`.

    Raises:
        ConfigError: The type is no such type, or the radius is missing or not a positive number.
        SubjectError: `subject` is not a `dmmcheck.Subject`, or lacks what the type needs.
        ManifoldError: The manifold of the subject cannot be used.

    Example:
        >>> import dmmcheck
        >>> from dmmcheck import strategies
        >>> from hypothesis import find, strategies as st
        >>> class SmallStep(strategies.TangentStep):
        ...     '''A small step along the manifold.'''
        >>> subject = dmmcheck.worlds.hyperplane(angle=60, samples=32, seed=0).subject
        >>> dmmcheck.register_manifold_type(SmallStep, subject, radius=0.1)
        >>> find(st.from_type(SmallStep), lambda step: True)
        SmallStep(subject, index=0, coordinates=())
    """
    base = next((known for known in KINDS if isinstance(kind, type) and issubclass(kind, known)), None)
    if base is None:
        raise ConfigError(
            f"{kind!r} is no type of a drawn value; give {', '.join(known.__name__ for known in KINDS)} of "
            "dmmcheck.strategies, or a subclass of one"
        )
    if not isinstance(subject, Subject):
        raise SubjectError(f"the subject is a {type(subject).__name__}; pass a dmmcheck.Subject")
    drawn = _strategy(base, subject, radius)
    st.register_type_strategy(kind, drawn if kind is base else drawn.map(lambda value: _as(kind, value)))


def _strategy(base: type, subject: Subject, radius: float | None) -> st.SearchStrategy[Any]:
    """Return the strategy that draws a type of `KINDS`."""
    if base is Input:
        return inputs(subject)
    if base is Augmented:
        return augmented(subject)
    if base is Latent:
        return latents(subject.manifold, near=subject, radius=1.0 if radius is None else radius)
    if base is ManifoldPoint:
        return on_manifold(subject.manifold, near=subject, radius=radius)  # type: ignore[arg-type]  # refused there
    steps = tangent_steps if base is TangentStep else normal_steps
    return steps(subject, radius=radius)  # type: ignore[arg-type]  # a missing radius is refused there


def _as(kind: type[T], value: Any) -> T:
    """Return the value as an instance of a subclass of its type."""
    fields = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    return kind(**fields)
