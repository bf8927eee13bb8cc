"""What a library's attack is asked, and what is kept of its answers: label changes confirmed by the classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dmmcheck.attacks.margins import margin_gradient, margin_of
from dmmcheck.attacks.probe import bisect
from dmmcheck.attacks.torchattacks.coordinates import Space
from dmmcheck.models.torch import TorchClassifier

SCALE = 40.0  # S of the coordinates, in units of the range of the data
HALVINGS = 12  # of the final bisection along the ray


@dataclass(frozen=True, eq=False)
class Task:
    """Inputs (n, D) with labels (n,), where to search, and the unit of length."""

    classifier: TorchClassifier
    x: Tensor
    y: Tensor
    space: Space
    unit: Tensor

    def take(self, rows: Tensor) -> Task:
        """The same for some of the inputs."""
        return Task(self.classifier, self.x[rows], self.y[rows], self.space.rows(rows), self.unit)

    def labels(self, x: Tensor) -> Tensor:
        """What the classifier says of points (n, D)."""
        return self.classifier.logits(x).argmax(1)

    def radius(self) -> Tensor:
        """How far an attack looks at least, (n,): to the walls of the unit cube."""
        return torch.full_like(self.x[:, 0], SCALE / 2) * self.unit

    def flat_distance(self) -> Tensor:
        """Distance (n,) to the boundary if margins were linear; a guess, the unit where the gradient says nothing."""
        margin, gradient = margin_gradient(self.classifier, self.x, self.y)
        guess = margin / self.space.restrict(gradient).norm(dim=1)
        return torch.where(torch.isfinite(guess) & (guess > 0), guess, self.unit)


@dataclass(eq=False)
class Found:
    """The nearest confirmed points so far."""

    point: Tensor
    distance: Tensor
    found: Tensor
    looked: Tensor
    forwards: Tensor
    backwards: Tensor

    @classmethod
    def nothing(cls, task: Task) -> Found:
        """No crossing of any input, at no cost."""
        counts = torch.zeros_like(task.y)
        inf = torch.full_like(task.x[:, 0], torch.inf)
        nowhere = torch.zeros_like(inf)
        return cls(task.x.clone(), inf, torch.zeros_like(task.y, dtype=torch.bool), nowhere, counts, counts.clone())

    def put(self, rows: Tensor, other: Found) -> None:
        """Overwrite some rows."""
        for name in ("point", "distance", "found", "looked", "forwards", "backwards"):
            getattr(self, name)[rows] = getattr(other, name)

    def improve(self, task: Task, point: Tensor) -> Tensor:
        """Keep points (n, D) of another label, drawn back along the ray, where they are nearer; says which have one."""
        step = point - task.x
        hit: Tensor = (task.labels(point) != task.y) & (step.norm(dim=1) <= task.radius())

        def crosses(share: Tensor) -> Tensor:
            return torch.ne(task.labels(task.x + share[:, None] * step), task.y)

        near, far = torch.zeros_like(self.distance), torch.ones_like(self.distance)
        point = task.x + bisect(crosses, near, far, HALVINGS)[:, None] * step
        hit = hit & (task.labels(point) != task.y)
        length = (point - task.x).norm(dim=1)
        better = hit & (length < self.distance)
        self.point = torch.where(better[:, None], point, self.point)
        self.distance = torch.where(better, length, self.distance)
        self.found = self.found | better
        return hit

    def fields(self, task: Task, misclassified: Tensor) -> tuple[Tensor, ...]:
        """In the order of Crossing."""
        with torch.no_grad():
            margin = margin_of(task.classifier.logits(self.point), task.y)
        found = self.found | misclassified
        return (
            self.point,
            torch.where(misclassified, 0.0, self.distance),
            found,
            self.looked,
            self.forwards + 1,
            self.backwards,
            torch.where(found, margin, torch.nan),
            torch.where(self.found, self._kkt_cosine(task), torch.nan),
        )

    def _kkt_cosine(self, task: Task) -> Tensor:
        """Cosine between the step and minus the restricted margin gradient at the crossing, (n,)."""
        _, gradient = margin_gradient(task.classifier, self.point, task.y)
        self.backwards = self.backwards + 1
        return cosine_similarity(self.point - task.x, -task.space.restrict(gradient), dim=1, eps=1e-30)
