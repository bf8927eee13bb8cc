"""The bases in which steps are written; their first vector is the direction in which the margin falls fastest.

So the simplest counterexample, a step along the first vector alone, is also a short one. A basis depends on the subject
and the input alone, and can be rebuilt from what a message says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.attacks.margins import margin_gradient
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.base import checked_basis, checked_spaces
from dmmcheck.measurement.sample import predict
from dmmcheck.models.base import evaluating, flat
from dmmcheck.subject import Subject

SMALLEST = 1e-6  # a vector shorter than this share of a unit vector has no direction of its own
KEPT_BYTES = 1 << 28  # most memory for the kept geometry of one subject


class LocalGeometry:
    """Flat inputs of a subject with their labels, tangent bases and steepest directions, computed in batches and kept.

    Args:
        subject: The subject.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._kept: dict[int, tuple[int, Tensor, Tensor]] = {}

    def prepare(self, indices: Sequence[int]) -> None:
        """Compute in one batch what is missing for these inputs."""
        missing = sorted({index for index in indices if index not in self._kept})
        if not missing:
            return
        subject = self._subject
        x = flat(subject.classifier, subject.x[missing])
        label = predict(subject.classifier, x)
        with evaluating(subject.classifier):
            gradient = margin_gradient(subject.classifier, x, label)[1]
        basis = basis_of_steps(subject.manifold, x).to(x)
        each = basis.expand(len(x), -1, -1) if basis.ndim == 2 else basis
        for row, index in enumerate(missing):
            self._kept[index] = int(label[row]), -gradient[row], each[row]
        most = max(len(missing), KEPT_BYTES // (each[0].numel() * each.element_size()))
        for index in list(self._kept)[: max(0, len(self._kept) - most)]:
            del self._kept[index]

    def label(self, index: int) -> int:
        """Return the model's label of an input."""
        return self._of(index)[0]

    def tangent_basis(self, index: int) -> Tensor:
        """See `tangent_basis`."""
        _, steepest, basis = self._of(index)
        return led_by(basis, steepest)

    def normal_basis(self, index: int, features: Sequence[int]) -> Tensor:
        """See `normal_basis`."""
        _, steepest, basis = self._of(index)
        columns = [_normalised(steepest - basis @ (basis.T @ steepest), float(steepest.norm()))]
        for feature in features:
            axis = torch.zeros_like(steepest)
            axis[feature] = 1.0
            axis = axis - basis @ (basis.T @ axis)
            for column in columns:
                axis = axis - (column @ axis) * column
            columns.append(_normalised(axis, 1.0))
        return torch.stack(columns, 1)

    def _of(self, index: int) -> tuple[int, Tensor, Tensor]:
        self.prepare([index])
        return self._kept[index]


def basis_of_steps(manifold: Any, x: Tensor) -> Tensor:
    """Return the tangent bases of a manifold at points x (n, D), (n, D, k) or (D, k), in which steps are written.

    Raises:
        ManifoldError: The manifold has no bases of its tangent spaces, or they cannot be used.
    """
    if checked_spaces(manifold, x) is not None:
        raise ManifoldError(
            "the manifold projects vectors onto its tangent spaces and has no bases of them, in which steps could "
            "be written; leave the tier search out of tiers (--dmm-tier), or take a manifold of a smaller dimension"
        )
    return checked_basis(manifold, x)


_GEOMETRY: WeakKeyDictionary[Subject, LocalGeometry] = WeakKeyDictionary()


def local_geometry(subject: Subject) -> LocalGeometry:
    """Return the kept geometry of a subject."""
    return _GEOMETRY.setdefault(subject, LocalGeometry(subject))


def tangent_basis(subject: Subject, index: int) -> Tensor:
    """Return the orthonormal basis (D, k) of the tangent space at an input in which tangent steps are written.

    The first column points where the margin of the model's label falls fastest within the tangent space. The others are
    those of the manifold's basis, reflected so that all are orthogonal.

    Args:
        subject: The subject.
        index: The row of the input in ``subject.x``.

    Raises:
        ManifoldError: The tangent basis of the manifold cannot be used.
        ModelError: The model cannot be called.
    """
    return local_geometry(subject).tangent_basis(index)


def normal_basis(subject: Subject, index: int, features: Sequence[int] = ()) -> Tensor:
    """Return the orthonormal basis (D, 1 + m) of a part of the normal space in which normal steps are written.

    The first column points where the margin of the model's label falls fastest within the normal space. Each other
    column is the axis of one feature without its tangent part, made orthogonal to the columns before it. A column is
    zero where nothing is left of it.

    Args:
        subject: The subject.
        index: The row of the input in ``subject.x``.
        features: m positions in the flat input.

    Raises:
        ManifoldError: The tangent basis of the manifold cannot be used.
        ModelError: The model cannot be called.
    """
    return local_geometry(subject).normal_basis(index, features)


def combined(basis: Tensor, coordinates: Sequence[float]) -> Tensor:
    """Return the vector (D,) with these coordinates in a basis (D, k); coordinates that are left out are zero.

    Raises:
        ManifoldError: There are more coordinates than columns.
    """
    if len(coordinates) > basis.shape[1]:
        raise ManifoldError(
            f"{len(coordinates)} coordinates are given for a basis of {basis.shape[1]} vectors; give at most as many"
        )
    vector: Tensor = basis[:, : len(coordinates)] @ torch.tensor(coordinates, dtype=basis.dtype, device=basis.device)
    return vector


def led_by(basis: Tensor, direction: Tensor) -> Tensor:
    """Return a basis (D, k) of the same space, by a reflection, whose first column is the part of a direction in it.

    The basis itself is returned where the direction has no part in the space.

    Source: Householder 1958, Unitary triangularization of a nonsymmetric matrix.
    """
    inside = basis.T @ direction
    if not float(inside.norm()) > SMALLEST * float(direction.norm()):
        return basis
    mirror = inside / inside.norm()
    mirror[0] -= 1.0
    if not float(mirror.norm()) > SMALLEST:
        return basis
    mirror = mirror / mirror.norm()
    return geometry.combine(torch.eye(len(mirror)).to(basis) - 2 * torch.outer(mirror, mirror), basis).T


def _normalised(vector: Tensor, size: float) -> Tensor:
    """Return the vector at unit length; zero where it is short beside `size`."""
    length = float(vector.norm())
    return vector / length if length > SMALLEST * size else torch.zeros_like(vector)
