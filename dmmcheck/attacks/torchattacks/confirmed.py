"""The search that a library's attack is given, and the label changes it found, confirmed by the classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dmmcheck.attacks.margins import margin_gradient
from dmmcheck.attacks.probe import bisect
from dmmcheck.attacks.search_space import Everywhere, SearchSpace
from dmmcheck.models.base import Classifier, called
from dmmcheck.models.boxed import Box, BoxedClassifier, is_inside

SCALE = 40.0  # the length S of the coordinates, in ranges of the data
HALVINGS = 12  # of the interval on the ray that holds the label change


@dataclass(frozen=True, eq=False)
class Task:
    """A search to be done.

    Attributes:
        classifier: The model under test.
        x: Inputs (n, D).
        y: Labels (n,).
        space: The search spaces of the inputs.
        bounds: Box of the inputs, or None.
        unit: The unit of length: the range of the data, a tensor without dimensions.
    """

    classifier: Classifier
    x: Tensor
    y: Tensor
    space: SearchSpace
    bounds: Box | None
    unit: Tensor

    def take(self, rows: Tensor) -> Task:
        """Return the task for some of the inputs."""
        return Task(self.classifier, self.x[rows], self.y[rows], self.space.rows(rows), self.bounds, self.unit)

    @property
    def is_unrestricted(self) -> bool:
        """Whether the search space is the whole space."""
        return isinstance(self.space, Everywhere)

    @property
    def clip(self) -> Box | None:
        """The box that points are clipped to: none in a subspace, which a clipped point may lie outside of."""
        return self.bounds if self.is_unrestricted else None

    @property
    def boxed(self) -> Classifier:
        """The classifier, called inside the box only."""
        return self.classifier if self.bounds is None else BoxedClassifier(self.classifier, self.bounds)

    def labels(self, x: Tensor) -> Tensor:
        """Return the classes (n,) that the classifier gives to points (n, D)."""
        return called(self.boxed, x).argmax(1)

    def radius(self) -> Tensor:
        """Return the radius (n,) that every attack covers: the distance of the walls of the unit cube."""
        return torch.full_like(self.x[:, 0], SCALE / 2) * self.unit

    def linearized_distance(self) -> Tensor:
        """Return the distance (n,) of the boundary to first order; the unit of length where the gradient vanishes."""
        margin, gradient = margin_gradient(self.classifier, self.x, self.y)
        linear = margin / self.space.project(gradient).norm(dim=1)
        return torch.where(torch.isfinite(linear) & (linear > 0), linear, self.unit)


@dataclass(eq=False)
class Found:
    """The nearest confirmed points so far; attributes as in `Crossing`."""

    point: Tensor
    distance: Tensor
    found: Tensor
    radius: Tensor
    forwards: Tensor
    backwards: Tensor

    @classmethod
    def nothing(cls, task: Task) -> Found:
        """Return a `Found` in which nothing was found and nothing was spent."""
        counts = torch.zeros_like(task.y)
        inf = torch.full_like(task.x[:, 0], torch.inf)
        radius = torch.zeros_like(inf)
        return cls(task.x.clone(), inf, torch.zeros_like(task.y, dtype=torch.bool), radius, counts, counts.clone())

    def put(self, rows: Tensor, other: Found) -> None:
        """Overwrite some rows (m,) with the m rows of another `Found`."""
        for name in ("point", "distance", "found", "radius", "forwards", "backwards"):
            getattr(self, name)[rows] = getattr(other, name)

    def improve(self, task: Task, point: Tensor) -> Tensor:
        """Move points (n, D) of another label back along the ray to the boundary, and keep those that are nearer.

        Returns:
            Which points have another label within the radius (n,).
        """
        delta = point - task.x
        hit: Tensor = (task.labels(point) != task.y) & (delta.norm(dim=1) <= task.radius())
        hit = hit & is_inside(point, task.bounds)

        def crosses(share: Tensor) -> Tensor:
            return torch.ne(task.labels(task.x + share[:, None] * delta), task.y)

        near, far = torch.zeros_like(self.distance), torch.ones_like(self.distance)
        point = task.x + bisect(crosses, near, far, HALVINGS)[:, None] * delta
        hit = hit & (task.labels(point) != task.y)
        length = (point - task.x).norm(dim=1)
        better = hit & (length < self.distance)
        self.point = torch.where(better[:, None], point, self.point)
        self.distance = torch.where(better, length, self.distance)
        self.found = self.found | better
        return hit

    def fields(self, task: Task, misclassified: Tensor) -> tuple[Tensor, ...]:
        """Return the fields of a `Crossing`, in their order; inputs that are misclassified (n,) are at distance 0."""
        margin, gradient = margin_gradient(task.classifier, self.point, task.y)
        cosine = cosine_similarity(self.point - task.x, -task.space.project(gradient), dim=1, eps=1e-30)
        found = self.found | misclassified
        return (
            self.point,
            torch.where(misclassified, 0.0, self.distance),
            found,
            self.radius,
            self.forwards + 1,
            self.backwards + 1,
            torch.where(found, margin, torch.nan),
            torch.where(self.found, cosine, torch.nan),
        )
