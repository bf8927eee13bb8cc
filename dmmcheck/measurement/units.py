"""A subject in standard units: each feature by its standard deviation, while the model gets its own units."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.operators import ColumnSpaces
from dmmcheck.manifolds.principal import mean_and_variance
from dmmcheck.manifolds.protected import attribute, protected
from dmmcheck.measurement.training_sets import manifold_points
from dmmcheck.measurement.wrapping import wrapped_models
from dmmcheck.models.base import Classifier, called, flat, is_differentiable
from dmmcheck.models.boxed import box_of
from dmmcheck.models.differences import step_lengths_of
from dmmcheck.subject import Subject

CONSTANT = 1e-6  # a feature is constant where its standard deviation is a smaller share of its largest value


@dataclass(frozen=True, eq=False)
class Scale:
    """The affine map between own units and standard units.

    Attributes:
        centre: (D,) mean of each feature, in float64 on the CPU.
        size: (D,) its standard deviation; 1 for a constant feature.
    """

    centre: Tensor
    size: Tensor

    def standard(self, x: Tensor) -> Tensor:
        """Return the points ``(n, *shape)``, given in their own units, in standard units."""
        points = x.detach().reshape(len(x), -1).cpu().double()
        standard: Tensor = ((points - self.centre) / self.size).reshape(x.shape)
        return standard.to(x)

    def own(self, x: Tensor) -> Tensor:
        """Return the points ``(n, *shape)``, given in standard units, in their own units; differentiable."""
        points = x.reshape(len(x), -1) * self.size.to(x) + self.centre.to(x)
        return points.reshape(x.shape)


class StandardClassifier:
    """A classifier of inputs in standard units, which another classifier gets in its own.

    Args:
        inner: The other classifier.
        scale: The map between the units.
    """

    def __init__(self, inner: Classifier, scale: Scale) -> None:
        self.inner, self.scale = inner, scale
        self.name, self.classes, self.input_shape = inner.name, inner.classes, inner.input_shape
        self.device, self.dtype = inner.device, inner.dtype
        self.forward = getattr(inner, "forward", None)
        self.form = getattr(inner, "form", "logits")
        self.differentiable = is_differentiable(inner)
        self.difference_lengths = None if step_lengths_of(inner) is None else self._difference_lengths
        box = box_of(inner)
        self.search_box = (
            None
            if box is None
            else tuple(scale.standard(scale.size.new_full((1, len(scale.size)), end))[0] for end in box)
        )

    @property
    def role(self) -> str:
        """See `Classifier.role`."""
        return self.inner.role

    takes_copies = True

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (n, C) of flat inputs (n, D) in standard units."""
        return called(self.inner, self.scale.own(x))

    def _difference_lengths(self, x: Tensor, directions: Tensor) -> Tensor:
        """See `step_lengths_of`: the lengths of the inner classifier along the same directions in its own units."""
        inner = step_lengths_of(self.inner)
        assert inner is not None
        return inner(self.scale.own(x), directions * self.scale.size.to(x)[:, None])

    def evaluation(self) -> AbstractContextManager[Any]:
        """See `Classifier.evaluation`."""
        return self.inner.evaluation()


class StandardManifold:
    """A manifold of own units, as a manifold of standard units: its image under the map between them.

    Args:
        inner: The manifold of own units.
        scale: The map between the units.
    """

    def __init__(self, inner: Any, scale: Scale) -> None:
        self._inner, self._scale = inner, scale
        self.name = protected(inner).name
        points = attribute(inner, "training_points")
        if isinstance(points, Tensor) and points[0].numel() == len(scale.size):
            self.training_points = scale.standard(points)
        if callable(attribute(inner, "refit")):
            self.refit = lambda dim: StandardManifold(inner.refit(dim), scale)

    @property
    def dim(self) -> int:
        """See `Manifold.dim`."""
        return self._inner.dim  # type: ignore[no-any-return]

    @property
    def note(self) -> str:
        """How the manifold was made, in a few words."""
        return getattr(self._inner, "note", "")

    def project_point(self, x: Tensor) -> Tensor:
        """Return the points (n, D) that the manifold projects x (n, D) to in its own units."""
        projected: Tensor = self._inner.project_point(self._scale.own(x)).detach()
        return self._scale.standard(projected).to(x)

    def tangent_spaces(self, x: Tensor) -> ColumnSpaces | None:
        """Return the images of the tangent spaces of a decoder that has them without bases; None for other manifolds.

        Raises:
            ManifoldError: Another manifold knows its tangent spaces by their projection alone, which cannot be mapped.
        """
        spaces = protected(self._inner).tangent_spaces(self._scale.own(x))
        if spaces is None:
            return None
        if not isinstance(spaces.inner, ColumnSpaces):
            raise ManifoldError(
                "the manifold knows its tangent spaces by their projection alone, which cannot be mapped to "
                'units = "standard"; set units = "input", or give it a tangent_basis in place of tangent_spaces'
            )
        return spaces.inner.scaled(self._scale.size)

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return the orthonormal bases of the images of the tangent spaces, (n, D, k) or (D, k)."""
        basis: Tensor = self._inner.tangent_basis(self._scale.own(x)).detach().cpu().double()
        standard: Tensor = torch.linalg.qr(basis / self._scale.size[:, None]).Q
        return standard.to(x)


def in_units(subject: Subject) -> Subject:
    """Return the subject in the units that its field `units` asks for.

    In standard units, each feature is centred and divided by its standard deviation over x_train, over the points that
    the manifold was fitted on, or over x, whichever of these is known first. Models get inputs in their own units. A
    built-in manifold is fitted again in standard units; any other is mapped there. Bounds, which hold in own units,
    are dropped; a boxed model keeps its box.

    Raises:
        ManifoldError: The built-in manifold cannot be fitted in standard units.
        ModelError: A reference model cannot be used.
    """
    if subject.units != "standard":
        return subject
    scale = scale_of(subject)

    return replace(
        subject,
        **wrapped_models(subject, lambda classifier: StandardClassifier(classifier, scale), own_inputs=scale.own),
        x=scale.standard(subject.x),
        x_train=None if subject.x_train is None else scale.standard(subject.x_train),
        manifold=_manifold(subject.manifold, scale),
        bounds=None,
        augment=_augment(subject, scale),
    )


def scale_of(subject: Subject) -> Scale:
    """Return the mean and standard deviation of each feature over the data that a subject gives for it."""
    points = subject.x_train if subject.x_train is not None else manifold_points(subject)
    rows = flat(subject.classifier, subject.x if points is None else points).cpu()
    mean, variance = mean_and_variance(rows)
    return Scale(mean, torch.where(_are_constant(rows, variance), 1.0, variance.sqrt()))


def constant_features(points: Tensor) -> Tensor:
    """Return which features of points (m, D) are constant up to rounding, (D,) bool."""
    return _are_constant(points, mean_and_variance(points)[1])


def _are_constant(points: Tensor, variance: Tensor) -> Tensor:
    largest = torch.maximum(points.amax(0), -points.amin(0)).cpu().double()
    return variance.sqrt() <= CONSTANT * largest


def _manifold(manifold: Any, scale: Scale) -> Any:
    if hasattr(manifold, "refit_on"):
        return manifold.refit_on(scale.standard(manifold.training_points))
    return StandardManifold(manifold, scale)


def _augment(subject: Subject, scale: Scale) -> Callable[..., Any] | None:
    """Return the function that changes inputs, which gets them in their own units."""
    change = subject.augment
    if change is None:
        return None
    return lambda x, seed: scale.standard(torch.as_tensor(change(scale.own(x), seed)))
