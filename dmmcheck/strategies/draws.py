"""The strategies of Hypothesis: inputs, steps along and off a manifold, points of a manifold, codes, and subspaces.

Everything is drawn from Hypothesis's own choices, mostly whole numbers, so that examples shrink, are kept in the
database, and are the same wherever Hypothesis is derandomised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis import target
from torch import Tensor

from dmmcheck.data.inputs import inputs_of
from dmmcheck.errors import ConfigError, ManifoldError, SubjectError
from dmmcheck.manifolds.base import validate_manifold
from dmmcheck.manifolds.protected import MISSING, attribute
from dmmcheck.strategies.drawn import Augmented, Input, Latent, ManifoldPoint, NormalStep, Span, TangentStep
from dmmcheck.subject import Subject

LENGTHS = 100  # steps of the length between zero and the radius
STEEPEST, OTHER = 30, 9  # largest parts of the first and of each other vector in a direction
MOST_OTHERS = 4  # vectors of the basis, besides the first, that a step combines
ANGLES = 24  # steps of the angle between 0 and 360 degrees
MOST_ROTATIONS = 32
SEEDS = 2**32


def inputs(subject: Subject) -> st.SearchStrategy[Input]:
    """Draw real inputs of a subject; they shrink towards the first one.

    Args:
        subject: The subject.

    Raises:
        SubjectError: It is not a `dmmcheck.Subject`.

    Example:
        >>> import dmmcheck
        >>> from dmmcheck import strategies
        >>> from hypothesis import find
        >>> subject = dmmcheck.worlds.hyperplane(angle=60, samples=32, seed=0).subject
        >>> find(strategies.inputs(subject), lambda point: True)
        Input(subject, index=0)
    """
    return _indices(subject).map(lambda index: Input(subject, index=index))


def tangent_steps(subject: Subject, *, radius: float) -> st.SearchStrategy[TangentStep]:
    """Draw real inputs with a step in their tangent space; they shrink to the first input and a step of length 0.

    Args:
        subject: The subject.
        radius: Longest step, L2, in units of x.

    Raises:
        ConfigError: The radius is not a positive number.
        SubjectError: `subject` is not a `dmmcheck.Subject`.

    Example:
        >>> import dmmcheck
        >>> from dmmcheck import strategies
        >>> from hypothesis import find, settings
        >>> subject = dmmcheck.worlds.hyperplane(angle=60, samples=32, seed=0).subject
        >>> steps = strategies.tangent_steps(subject, radius=1.0)
        >>> find(steps, lambda step: step.length > 0.5, settings=settings(database=None, derandomize=True))
        TangentStep(subject, index=0, coordinates=(0.51,))
    """
    checked, dim = _checked_radius(radius), _dim(subject)

    def step(parts: _Parts) -> TangentStep:
        direction = [parts.first, *(parts.others.get(position, 0) for position in range(1, dim))]
        return TangentStep(subject, index=parts.index, coordinates=_scaled(direction, parts.length))

    return _parts(len(subject.x), checked, 1, dim - 1).map(step)


def normal_steps(subject: Subject, *, radius: float) -> st.SearchStrategy[NormalStep]:
    """Draw real inputs with a step in their normal space; they shrink to the first input and a step of length 0.

    Args:
        subject: The subject.
        radius: Longest step, L2, in units of x.

    Raises:
        ConfigError: The radius is not a positive number.
        SubjectError: `subject` is not a `dmmcheck.Subject`.
    """
    checked, ambient_dim = _checked_radius(radius), _checked(subject).x[0].numel()

    def step(parts: _Parts) -> NormalStep:
        others = {feature: part for feature, part in parts.others.items() if part}
        coordinates = _scaled([parts.first, *others.values()], parts.length)
        return NormalStep(subject, index=parts.index, coordinates=coordinates, features=tuple(others))

    return _parts(len(subject.x), checked, 0, ambient_dim - 1).map(step)


def augmented(subject: Subject) -> st.SearchStrategy[Augmented]:
    """Draw real inputs, changed by the subject's function `augment`; they shrink towards the first input, seed 0.

    Args:
        subject: The subject, with `augment`.

    Raises:
        SubjectError: It has no `augment`, or is not a `dmmcheck.Subject`.
    """
    if _checked(subject).augment is None:
        raise SubjectError("the subject has no function augment; give Subject(augment=...), or set the key augment")
    drawn = st.tuples(_indices(subject), st.integers(0, SEEDS - 1))
    return drawn.map(lambda pair: Augmented(subject, index=pair[0], seed=pair[1]))


def on_manifold(manifold: Any, *, near: Any = None, radius: float) -> st.SearchStrategy[ManifoldPoint]:
    """Draw points of a manifold near real points; they shrink towards the projection of the first real point.

    A point is projected until its projection leaves it in place. Where the dimension of a local PCA is below that of
    the data, its planes turn fast from place to place, and a few points are sent to and fro between two planes. Then
    the point nearest to its own projection is taken, and `ManifoldPoint.residual` says how near that is.

    Args:
        manifold: An object that satisfies `dmmcheck.manifolds.base.Manifold`.
        near: Real points ``(m, *shape)``, or a subject, whose inputs are taken; the points that the manifold was fitted
            on where None.
        radius: Longest tangent step from a real point, L2, in units of x, before the point is projected.

    Raises:
        ConfigError: The radius is not a positive number.
        ManifoldError: The manifold does not satisfy the protocol, or keeps no points and `near` is None.
        SubjectError: `near` holds no usable points.
    """
    checked, points = _checked_radius(radius), _near(manifold, near)
    validate_manifold(manifold, points[:2].reshape(len(points[:2]), -1))
    dim = int(manifold.dim)

    def point(drawn: tuple[int, float, list[int]]) -> ManifoldPoint:
        index, length, direction = drawn
        coordinates = _scaled(direction, length)
        return ManifoldPoint(manifold, points, index=index, coordinates=coordinates)

    index = st.integers(0, len(points) - 1)
    return st.tuples(index, _lengths(checked), _direction(dim)).map(point)


def latents(decoder: Any, *, near: Any = None, radius: float = 1.0) -> st.SearchStrategy[Latent]:
    """Draw codes of a decoder near the codes of real points; they shrink towards the first real point's code.

    Args:
        decoder: A manifold with codes: `dmmcheck.manifolds.Decoder`.
        near: Real points ``(m, *shape)``, or a subject; the points that the decoder was fitted on where None.
        radius: Longest change of a code, in standard deviations of the codes of the real points.

    Raises:
        ConfigError: The radius is not a positive number.
        ManifoldError: The manifold has no codes, or keeps no points and `near` is None.
        SubjectError: `near` holds no usable points.
    """
    if not (hasattr(decoder, "codes") and hasattr(decoder, "points")):
        raise ManifoldError(
            f"latents was given a {type(decoder).__name__}, which has no codes; pass a dmmcheck.manifolds.Decoder, or "
            "draw from on_manifold(manifold)"
        )
    checked, points = _checked_radius(radius), _near(decoder, near)
    flat_points = points.reshape(len(points), -1)
    dim = decoder.codes(flat_points[:1])[0].numel()

    def code(drawn: tuple[int, float, list[int]]) -> Latent:
        index, length, direction = drawn
        coordinates = _scaled(direction, length)
        return Latent(decoder, flat_points, index=index, coordinates=coordinates)

    index = st.integers(0, len(points) - 1)
    return st.tuples(index, _lengths(checked), _direction(dim)).map(code)


def subspaces(ambient_dim: int, dim: int) -> st.SearchStrategy[Span]:
    """Draw linear subspaces of a dimension; they shrink towards the span of the first axes.

    Args:
        ambient_dim: D.
        dim: k, at least 1 and below D.

    Raises:
        ConfigError: k is not in [1, D).

    Example:
        >>> from dmmcheck import strategies
        >>> from hypothesis import find, settings
        >>> find(strategies.subspaces(8, 2), lambda span: True, settings=settings(database=None))
        Span(ambient_dim=8, dim=2, rotations=())
    """
    if not 1 <= dim < ambient_dim:
        raise ConfigError(
            f"dim is {dim}, the ambient dimension is {ambient_dim}; choose dim of at least 1 and below it"
        )
    angle = st.integers(0, ANGLES - 1).map(lambda part: 360.0 * part / ANGLES)
    rotation = st.tuples(st.integers(0, dim - 1), st.integers(dim, ambient_dim - 1), angle)
    several = st.lists(rotation, max_size=MOST_ROTATIONS)
    return several.map(lambda turns: Span(ambient_dim, dim, tuple(turn for turn in turns if turn[2])))


def target_margin(point: Input) -> float:
    """Tell Hypothesis to look for points with a small margin, and return the margin; call it once in a test.

    Args:
        point: A drawn input or step.

    Returns:
        The logit margin at the point of the model's label of the real input; negative where the label has changed.

    Raises:
        ModelError: The model cannot be called at the point.
    """
    found = point.margin
    target(-found, label="margin of the label, negative")
    return found


@dataclass(frozen=True)
class _Parts:
    """What a step is made of.

    Attributes:
        index: Row of the real input.
        length: Length of the step, in units of x.
        first: Part of the steepest vector in the direction.
        others: Parts of other vectors, by position in the basis or by feature.
    """

    index: int
    length: float = 0.0
    first: int = 0
    others: Mapping[int, int] = field(default_factory=dict)


@st.composite
def _parts(draw: st.DrawFn, inputs: int, radius: float, low: int, high: int) -> _Parts:
    """Draw the parts of a step; other vectors than the first have positions in [low, high].

    Hypothesis makes the values that are drawn first smallest. So an example shrinks to a short step, then to a low
    input, then to a direction without other vectors. A step of length zero has no direction.
    """
    length = draw(st.integers(0, LENGTHS))
    index = draw(st.integers(0, inputs - 1))
    if not length:
        return _Parts(index)
    pair = st.tuples(st.integers(low, high), st.integers(-OTHER, OTHER))
    others = dict(draw(st.lists(pair, max_size=MOST_OTHERS))) if low <= high else {}
    return _Parts(index, radius * length / LENGTHS, draw(st.integers(-STEEPEST, STEEPEST)), others)


def _direction(dim: int) -> st.SearchStrategy[list[int]]:
    """Draw whole numbers (k,), the first of which is drawn last."""
    others = st.lists(st.tuples(st.integers(0, dim - 1), st.integers(-OTHER, OTHER)), max_size=MOST_OTHERS)

    def direction(drawn: tuple[list[tuple[int, int]], int]) -> list[int]:
        parts = [0] * dim
        for position, part in drawn[0]:
            parts[position] = part
        parts[0] += drawn[1]
        return parts

    return st.tuples(others, st.integers(-OTHER, OTHER)).map(direction)


def _lengths(radius: float) -> st.SearchStrategy[float]:
    return st.integers(0, LENGTHS).map(lambda part: radius * part / LENGTHS)


def _scaled(direction: Sequence[int], length: float) -> tuple[float, ...]:
    """Return the direction at a length, without the zeros at its end; () for no direction or no length."""
    size = math.sqrt(sum(part * part for part in direction))
    if not size or not length:
        return ()
    coordinates = [length * part / size for part in direction]
    while coordinates[-1] == 0:
        coordinates.pop()
    return tuple(coordinates)


def _indices(subject: Subject) -> st.SearchStrategy[int]:
    return st.integers(0, len(_checked(subject).x) - 1)


def _dim(subject: Subject) -> int:
    """Return the dimension k of a subject's manifold; some manifolds know it only once they have seen a point."""
    manifold = _checked(subject).manifold
    validate_manifold(manifold, subject.x[:2].reshape(2, -1))
    return int(manifold.dim)


def _checked(subject: Any) -> Subject:
    if not isinstance(subject, Subject):
        raise SubjectError(
            f"a strategy was given a {type(subject).__name__} as its subject; pass a dmmcheck.Subject, which holds "
            "model, inputs and manifold"
        )
    return subject


def _checked_radius(radius: Any) -> float:
    is_number = isinstance(radius, (int, float)) and not isinstance(radius, bool)
    if not (is_number and 0 < radius < math.inf):
        raise ConfigError(
            f"the radius is {radius!r}, but steps need a finite radius above 0; give one in units of the inputs, "
            "e.g. radius=0.5"
        )
    return float(radius)


def _near(manifold: Any, near: Any) -> Tensor:
    """Return the real points ``(m, *shape)`` to draw near."""
    if isinstance(near, Subject):
        near = near.x
    if near is None:
        near = attribute(manifold, "training_points")
    if near is MISSING or near is None:
        raise ManifoldError(
            f"the manifold, a {type(manifold).__name__}, keeps no points that it was fitted on; give near=x, real "
            "points to draw near"
        )
    if hasattr(near, "__len__") and not len(near):
        raise SubjectError("near holds 0 points, at least 1 is needed; pass real inputs, e.g. near=subject.x")
    return inputs_of(near, "near (the real points to draw near)")[0]
