"""Planted boundaries: does a search find a label change that is known to be there?

Around each input x, the space in front of the model is sheared:

    x'  ->  x' + (u . (x' - x) / r) w,    w = p - x - r u

The point x + r u, at a chosen distance r along a chosen unit vector u, is then passed to the model as p, a point that
the model is known to put into another class. Every point still passes through the model, so that whatever masks its
gradients hides the planted boundary too.

Source: after Zimmermann et al. 2022, Increasing Confidence in Adversarial Robustness Evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.search_space import SearchSpace
from dmmcheck.models.base import Classifier, called, evaluating, is_differentiable
from dmmcheck.models.boxed import Box, box_at, box_of, is_inside
from dmmcheck.models.differences import StepLengths, step_lengths_of

FOUND_WITHIN = 1.02  # a planted boundary counts as found when the search comes within 2 % of its distance
SEPARATION = 4.0  # inputs that share a model call are this many radii apart, so that a point is near one of them only

Search = Callable[[Classifier, Tensor], Crossing]


@dataclass(frozen=True, eq=False)
class Plants:
    """One planted boundary for each input.

    Attributes:
        x: Inputs (n, D).
        direction: (n, D) unit vectors u.
        radius: (n,) distances r.
        end: (n, D) points p that the model puts into another class than the input.
    """

    x: Tensor
    direction: Tensor
    radius: Tensor
    end: Tensor

    def sheared(self, x: Tensor) -> Tensor:
        """Return the points (m, D) that the classifier gets in place of points x (m, D)."""
        row = self._nearest(x)
        share = ((x - self.x[row]) * self.direction[row]).sum(1) / self.radius[row]
        return x + share[:, None] * self._shear(row)

    def sheared_directions(self, x: Tensor, directions: Tensor) -> Tensor:
        """Return the directions (m, D, d) of `sheared` for directions (D, d) or (m, D, d) of the points x (m, D)."""
        row = self._nearest(x)
        share = (self.direction[row][:, :, None] * directions).sum(1) / self.radius[row, None]
        return directions + self._shear(row)[:, :, None] * share[:, None]

    def _nearest(self, x: Tensor) -> Tensor:
        """Return the number (m,) of the input that each point belongs to, the nearest one."""
        return torch.cdist(x.detach(), self.x).argmin(1)

    def _shear(self, row: Tensor) -> Tensor:
        """Return the vectors w (m, D) of some inputs."""
        return self.end[row] - self.x[row] - self.radius[row, None] * self.direction[row]


class PlantedClassifier(Classifier):
    """A classifier with boundaries planted in front of it.

    Args:
        classifier: The classifier.
        plants: The planted boundaries, on its device and in its dtype.
    """

    def __init__(self, classifier: Classifier, plants: Plants) -> None:
        self._classifier, self._plants = classifier, plants

    @property
    def name(self) -> str:
        """See `Classifier.name`."""
        return self._classifier.name

    @property
    def classes(self) -> int:
        """See `Classifier.classes`."""
        return self._classifier.classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """See `Classifier.input_shape`."""
        return self._classifier.input_shape

    @property
    def device(self) -> torch.device:
        """See `Classifier.device`."""
        return self._classifier.device

    @property
    def dtype(self) -> torch.dtype:
        """See `Classifier.dtype`."""
        return self._classifier.dtype

    @property
    def differentiable(self) -> bool:
        """Whether the classifier has gradients, see `is_differentiable`."""
        return is_differentiable(self._classifier)

    @property
    def search_box(self) -> Box | None:
        """The box of the classifier, see `box_of`."""
        return box_of(self._classifier)

    @property
    def difference_lengths(self) -> StepLengths | None:
        """The lengths of the classifier along the sheared directions, see `step_lengths_of`.

        They are at most those along the directions themselves, since the shear may take a direction to zero.
        """
        inner = step_lengths_of(self._classifier)
        if inner is None:
            return None

        def lengths(x: Tensor, directions: Tensor) -> Tensor:
            sheared = inner(self._plants.sheared(x), self._plants.sheared_directions(x, directions))
            return torch.minimum(sheared, inner(x, directions))

        return lengths

    takes_copies = True

    def logits(self, x: Tensor) -> Tensor:
        """See `Classifier.logits`."""
        return called(self._classifier, self._plants.sheared(x))

    def evaluation(self) -> AbstractContextManager[Any]:
        """See `Classifier.evaluation`."""
        return self._classifier.evaluation()


def planted(
    classifier: Classifier,
    x: Tensor,
    *,
    radius: Tensor,
    end: Tensor,
    space: SearchSpace,
    search: Search,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Plant a boundary near each input, and search for all of them.

    Args:
        classifier: The model under test.
        x: Inputs (n, D), all different.
        radius: Distances (n,) of the planted boundaries, below the distance of the nearest known one.
        end: (n, D) points that the model puts into another class than x.
        space: The search spaces to plant and search in.
        search: Called with a classifier and the row numbers (m,) of the inputs to search from; searches `space`.
        generator: Source of the direction: one for all inputs, projected onto the search space of each.

    Returns:
        How many times as far as the planted boundary the crossing lies that the search found, (n,): at most 1.02 where
        it found the planted one, and inf where it found none. And for which inputs a boundary could be planted, (n,)
        bool: not where the classifier has a box that the boundary would lie outside of, both ways.
    """
    ray = torch.randn(x.shape[1], generator=generator, dtype=torch.float64).to(x)
    direction = space.project(ray.expand_as(x))
    direction = direction / direction.norm(dim=1, keepdim=True)
    box, step = box_at(classifier, x), FOUND_WITHIN * radius[:, None]
    forwards, backwards = (is_inside(x + sign * step * direction, box) for sign in (1, -1))
    direction = torch.where(forwards[:, None], direction, -direction)
    times = torch.full_like(radius, torch.inf)
    has_room = forwards | backwards
    able = torch.nonzero(has_room).reshape(-1)
    with evaluating(classifier):
        for group in _groups(x[able], radius[able]):
            rows = able[group]
            plants = Plants(x[rows], direction[rows], radius[rows], end[rows])
            crossing = search(PlantedClassifier(classifier, plants), rows)
            times[rows] = torch.where(crossing.found, crossing.distance.to(radius) / radius[rows], torch.inf)
    return times, has_room


def _groups(x: Tensor, radius: Tensor) -> Iterator[Tensor]:
    """Yield the row numbers of inputs (n, D) in groups whose members are at least `SEPARATION` radii apart."""
    near = (torch.cdist(x, x) < SEPARATION * torch.maximum(radius[:, None], radius[None, :])).tolist()
    group: list[int] = []
    for i in range(len(x)):
        taken = {group[j] for j in range(i) if near[i][j]}
        group.append(next(g for g in count() if g not in taken))
    membership = torch.tensor(group, device=x.device)
    for g in range(max(group, default=-1) + 1):
        yield torch.nonzero(membership == g).reshape(-1)
