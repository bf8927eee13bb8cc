"""What the strategies draw: values whose `repr` is the expression that rebuilds them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dmmcheck.attacks.margins import logit_margin
from dmmcheck.errors import ManifoldError, ModelError, SubjectError, user_code
from dmmcheck.models.base import called, evaluating, flat
from dmmcheck.models.memory import out_of_memory
from dmmcheck.strategies.bases import basis_of_steps, combined, local_geometry
from dmmcheck.subject import Subject


@dataclass(frozen=True, eq=False, repr=False)
class Input:
    """A real input of a subject; the strategy `inputs` draws it.

    Attributes:
        subject: The subject.
        index: The row of the input in ``subject.x``.

    Example:
        >>> import dmmcheck
        >>> from dmmcheck.strategies import Input
        >>> subject = dmmcheck.worlds.hyperplane(angle=60, samples=32, seed=0).subject
        >>> point = Input(subject, index=3)
        >>> point, tuple(point.x.shape), point.length, point.is_steady
        (Input(subject, index=3), (50,), 0.0, True)
    """

    subject: Subject
    index: int

    @property
    def base(self) -> Tensor:
        """The real input, ``(*input_shape)``."""
        given: Tensor = self.subject.x[self.index]
        return given

    @cached_property
    def step(self) -> Tensor:
        """The step (D,) away from the real input, in the dtype and on the device of the model."""
        return torch.zeros_like(flat(self.subject.classifier, self.base[None])[0])

    @cached_property
    def x(self) -> Tensor:
        """The point, ``(*input_shape)``, in the dtype and on the device of the model."""
        at = flat(self.subject.classifier, self.base[None])[0] + self.step
        return at.reshape(self.subject.input_shape)

    @property
    def batch(self) -> Tensor:
        """The point as a batch of one, ``(1, *input_shape)``."""
        return self.x[None]

    @property
    def y(self) -> int:
        """The true label of the real input."""
        return int(self.subject.y[self.index])

    @property
    def length(self) -> float:
        """L2 length of the step, in units of x."""
        return float(self.step.norm())

    @cached_property
    def logits(self) -> Tensor:
        """The model's logits (C,) at the point.

        Raises:
            ModelError: The model raises, or its logits are NaN or infinite; the message names the point.
        """
        return logits_of([self])[0]

    @property
    def label(self) -> int:
        """The model's label of the point."""
        return int(self.logits.argmax())

    @property
    def label_before(self) -> int:
        """The model's label of the real input."""
        return local_geometry(self.subject).label(self.index)

    @property
    def margin(self) -> float:
        """The logit margin of `label_before` at the point: negative where the label has changed."""
        return float(logit_margin(self.logits[None], self._labels_before([self]))[0])

    @property
    def is_steady(self) -> bool:
        """Whether the model gives the point the label of the real input."""
        return self.margin >= 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(subject, {self._said()})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # Hypothesis would print the fields

    def _said(self) -> str:
        """Return the arguments that follow the subject in the expression that rebuilds the value."""
        return f"index={self.index}"

    @staticmethod
    def _labels_before(points: list[Any]) -> Tensor:
        return torch.tensor([point.label_before for point in points], device=points[0].subject.classifier.device)


@dataclass(frozen=True, eq=False, repr=False)
class TangentStep(Input):
    """A real input and a step in its tangent space.

    Attributes:
        coordinates: Coordinates in `dmmcheck.strategies.tangent_basis`, in units of x; those left out are 0.

    Example:
        >>> import dmmcheck
        >>> from dmmcheck.strategies import TangentStep
        >>> subject = dmmcheck.worlds.hyperplane(angle=60, samples=32, seed=0).subject
        >>> round(TangentStep(subject, index=3, coordinates=(0.25,)).length, 6)
        0.25
    """

    coordinates: tuple[float, ...] = ()

    @cached_property
    def step(self) -> Tensor:
        """See `Input.step`."""
        return combined(local_geometry(self.subject).tangent_basis(self.index), self.coordinates)

    def _said(self) -> str:
        return f"index={self.index}, coordinates={_shown(self.coordinates)}"


@dataclass(frozen=True, eq=False, repr=False)
class NormalStep(Input):
    """A real input and a step in its normal space.

    Attributes:
        coordinates: Coordinates in `dmmcheck.strategies.normal_basis`, in units of x; those left out are 0.
        features: The features whose axes are the second and further vectors of that basis.
    """

    coordinates: tuple[float, ...] = ()
    features: tuple[int, ...] = ()

    @cached_property
    def step(self) -> Tensor:
        """See `Input.step`."""
        return combined(local_geometry(self.subject).normal_basis(self.index, self.features), self.coordinates)

    def _said(self) -> str:
        features = f", features={self.features}" if self.features else ""
        return f"index={self.index}, coordinates={_shown(self.coordinates)}{features}"


@dataclass(frozen=True, eq=False, repr=False)
class Augmented(Input):
    """A real input as the subject's function `augment` changes it.

    Attributes:
        seed: The seed that the function was called with.
    """

    seed: int = 0

    @cached_property
    def step(self) -> Tensor:
        """The change (D,) of the input; see `Input.step`.

        Raises:
            SubjectError: The function raises, or returns something other than one finite input of the same shape.
        """
        before = flat(self.subject.classifier, self.base[None])
        return (flat(self.subject.classifier, self._augmented()) - before)[0]

    def _augmented(self) -> Tensor:
        augment, given = self.subject.augment, self.base[None].clone()
        where = f"on input {self.index} with the seed {self.seed}"
        if augment is None:
            raise SubjectError("the subject has no function augment; give Subject(augment=...), or set the key augment")
        remedy = f"let it take inputs of shape {tuple(given.shape)} and a seed, and return a tensor"
        with user_code("augment", remedy, SubjectError, where=where):
            changed = torch.as_tensor(augment(given, self.seed))
        if changed.shape != given.shape or not bool(torch.isfinite(changed).all()):
            raise SubjectError(
                f"augment returned shape {tuple(changed.shape)} {where}, expected finite inputs of shape "
                f"{tuple(given.shape)}; return a batch of the shape that it gets"
            )
        return changed

    def _said(self) -> str:
        return f"index={self.index}, seed={self.seed}"


@dataclass(frozen=True, eq=False, repr=False)
class ManifoldPoint:
    """A point of a manifold: a real point, a tangent step from it, and the projection of both.

    Attributes:
        manifold: The manifold.
        near: Real points ``(m, *shape)``.
        index: The row of the real point in `near`.
        coordinates: Coordinates of the step in the manifold's tangent basis at that point, in units of x; those left
            out are 0.
    """

    manifold: Any
    near: Tensor
    index: int
    coordinates: tuple[float, ...] = ()

    @cached_property
    def x(self) -> Tensor:
        """The point, of the shape of the real points.

        Raises:
            ManifoldError: The projection is not finite.
        """
        at = self.near[self.index].reshape(1, -1)
        basis = basis_of_steps(self.manifold, at)
        start = at + combined(basis if basis.ndim == 2 else basis[0], self.coordinates).to(at)
        return projected(self.manifold, start, repr(self)).reshape(self.near.shape[1:])

    @property
    def residual(self) -> float:
        """L2 distance between the point and its own projection, in units of x."""
        at = self.x.reshape(1, -1)
        return float((self.manifold.project_point(at) - at).norm())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(manifold, near, index={self.index}, coordinates={_shown(self.coordinates)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(frozen=True, eq=False, repr=False)
class Latent:
    """A code of a decoder near the code of a real point.

    Attributes:
        decoder: The manifold, `dmmcheck.manifolds.Decoder`.
        near: Real points (m, D).
        index: The row of the real point in `near`.
        coordinates: Change of the flat code, in standard deviations of the codes of `near`; those left out are 0.
    """

    decoder: Any
    near: Tensor
    index: int
    coordinates: tuple[float, ...] = ()

    @cached_property
    def z(self) -> Tensor:
        """The code, of the shape that the decoder takes."""
        codes = self.decoder.codes(self.near)
        scale = codes.reshape(len(codes), -1).std(0, correction=0)
        change = torch.zeros_like(scale)
        change[: len(self.coordinates)] = torch.tensor(self.coordinates).to(scale)
        code: Tensor = codes[self.index] + (change * scale).reshape(codes.shape[1:])
        return code

    @cached_property
    def x(self) -> Tensor:
        """The decoded point (D,)."""
        points: Tensor = self.decoder.points(self.z[None], self.near[0].numel())
        return points[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(decoder, near, index={self.index}, coordinates={_shown(self.coordinates)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(frozen=True, repr=False)
class Span:
    """A linear subspace: the span of the first k axes after rotations, each in the plane of two axes.

    Attributes:
        ambient_dim: D.
        dim: k.
        rotations: Triples (i, j, angle): each turns axis i towards axis j by an angle in degrees.

    Example:
        >>> from dmmcheck.strategies import Span
        >>> Span(ambient_dim=3, dim=1, rotations=((0, 2, 90.0),)).basis.abs().round(decimals=6)
        tensor([[0.],
                [0.],
                [1.]], dtype=torch.float64)
    """

    ambient_dim: int
    dim: int
    rotations: tuple[tuple[int, int, float], ...] = ()

    @property
    def basis(self) -> Tensor:
        """Orthonormal basis (D, k), float64."""
        basis = torch.eye(self.ambient_dim, self.dim, dtype=torch.float64)
        for i, j, angle in self.rotations:
            cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            first, second = basis[i].clone(), basis[j].clone()
            basis[i], basis[j] = cosine * first - sine * second, sine * first + cosine * second
        return basis

    def __repr__(self) -> str:
        return f"Span(ambient_dim={self.ambient_dim}, dim={self.dim}, rotations={self.rotations})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


MOST_PROJECTIONS = 50
MOST_STALLED = 3  # projections in a row that bring a point no nearer to its own projection
SETTLED = 1e-4  # of the norm of a point: a projection that moves it by less has settled


def projected(manifold: Any, start: Tensor, name: str) -> Tensor:
    """Return a point (1, D) that the manifold projects onto itself.

    Where there is none, it is the point that moves least in 50 projections in a row.

    Some estimates, such as an encoder and a decoder, move a point of their own when they project it again.

    Args:
        manifold: The manifold.
        start: The point (1, D) that is projected first.
        name: What messages call the point.

    Raises:
        ManifoldError: A projection is not finite.
    """
    at: Tensor = manifold.project_point(start).to(start)
    best, least, stalled = at, math.inf, 0
    for _ in range(MOST_PROJECTIONS):
        after = manifold.project_point(at).to(start)
        if not bool(torch.isfinite(after).all()):
            raise ManifoldError(
                f"project_point returned NaN or infinite values at {name}; return finite points, or draw nearer to the "
                "data with a smaller radius"
            )
        moved = float((after - at).norm())
        stalled = 0 if moved < least else stalled + 1
        if moved < least:
            best, least = at, moved
        if moved <= SETTLED * float(at.norm()) or stalled == MOST_STALLED:
            break
        at = after
    return best


def logits_of(points: list[Any]) -> Tensor:
    """Return the model's logits (n, C) at drawn points of one subject, in one batch.

    Raises:
        ModelError: The model raises, or its logits are NaN or infinite; the message names one such point.
    """
    classifier = points[0].subject.classifier
    local_geometry(points[0].subject).prepare([point.index for point in points])
    x = flat(classifier, torch.stack([point.x for point in points]))
    try:
        with evaluating(classifier), torch.no_grad():
            logits = called(classifier, x)
    except ModelError as error:
        if len(points) > 1:
            for point in points:
                logits_of([point])
        raise ModelError(f"{error}; the point is {points[0]!r}") from error
    except RuntimeError as error:
        if out_of_memory(error) and len(points) > 1:
            return torch.cat([logits_of([point]) for point in points])
        raise
    is_bad = ~torch.isfinite(logits).all(1)
    if bool(is_bad.any()):
        first = points[int(is_bad.nonzero()[0])]
        raise ModelError(
            f"the logits of the {classifier.role} are NaN or infinite at {first!r}; check its weights and what it does "
            "with inputs outside its training data"
        )
    return logits


def margins_of(points: list[Any]) -> Tensor:
    """Return the logit margins (n,) of the labels before the steps, at drawn points of one subject, in one batch.

    Raises:
        ModelError: See `logits_of`.
    """
    margins: Tensor = logit_margin(logits_of(points), points[0]._labels_before(points))
    return margins


def _shown(coordinates: tuple[float, ...]) -> str:
    """Return the coordinates without the zeros at their end."""
    kept = list(coordinates)
    while kept and kept[-1] == 0:
        kept.pop()
    return repr(tuple(kept))
