"""What the model and the manifold were fitted on, as far as a subject tells."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.manifolds.protected import attribute
from dmmcheck.models.base import ambient_dim, flat
from dmmcheck.subject import Subject


def training_sets(subject: Subject) -> list[Tensor]:
    """Return the points that the manifold was fitted on and the training data, each (m, D), as far as they are known.

    Two sets of the same points are given once.
    """
    sets: list[Tensor] = []
    for points in (manifold_points(subject), subject.x_train):
        if points is None:
            continue
        rows = flat(subject.classifier, points)
        if not any(torch.equal(rows, known) for known in sets):
            sets.append(rows)
    return sets


def manifold_points(subject: Subject) -> Tensor | None:
    """Return the attribute ``training_points`` of the manifold, where it holds points of the input space; else None."""
    points = attribute(subject.manifold, "training_points")
    if not isinstance(points, Tensor) or not len(points):
        return None
    return points if points[0].numel() == ambient_dim(subject.classifier) else None
