"""Planted boundaries: does a search find a label change that is known to be there?

After Zimmermann et al. 2022, "Increasing Confidence in Adversarial Robustness Evaluations". Around each input the
space in front of the model is sheared,

    x'  ->  x' + (u . (x' - x) / r) w,    w = p - x - r u,

so that the point x + r u, at a chosen distance r along a chosen direction u, is shown to the model as p, a point that
it is known to call something else. Everything still passes through the model: what masks its gradients masks the plant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.torchattacks.coordinates import Space
from dmmcheck.models.torch import TorchClassifier

SLACK = 1.02  # a plant is found when the search comes within 2 % of its distance

APART = 4.0  # inputs planted at once are as many radii apart, so that a point is near one of them only

Search = Callable[[TorchClassifier, Tensor], Crossing]


@dataclass(frozen=True, eq=False)
class Plants:
    """One planted boundary an input.

    Attributes:
        x: Inputs (n, D).
        direction: (n, D) unit vectors u.
        radius: (n,) distances r.
        end: (n, D) points p that the model calls something else than the input.
    """

    x: Tensor
    direction: Tensor
    radius: Tensor
    end: Tensor

    def in_front_of(self, classifier: TorchClassifier) -> TorchClassifier:
        """The classifier with the boundaries planted; call it while the classifier is in evaluation mode."""
        shape = classifier.input_shape

        def forward(x: Tensor) -> object:
            return classifier.forward(self._sheared(x.flatten(1)).reshape(-1, *shape))

        return replace(classifier, forward=forward)

    def _sheared(self, x: Tensor) -> Tensor:
        row = torch.cdist(x.detach(), self.x).argmin(1)  # which input a point belongs to: the nearest one
        share = ((x - self.x[row]) * self.direction[row]).sum(1) / self.radius[row]
        shear = self.end[row] - self.x[row] - self.radius[row, None] * self.direction[row]
        return x + share[:, None] * shear


def planted(
    classifier: TorchClassifier,
    x: Tensor,
    *,
    radius: Tensor,
    end: Tensor,
    space: Space,
    search: Search,
    generator: torch.Generator,
) -> Tensor:
    """Which planted boundaries a search finds, (n,) bool.

    Args:
        classifier: The model under test.
        x: Inputs (n, D), all different.
        radius: Where to plant (n,), below the distance known so far.
        end: (n, D) points that the model calls something else than x.
        space: The subspace to plant and search in.
        search: Called with a classifier and the rows of x to search from; must search `space`.
        generator: Of the direction, one for all inputs, projected onto each subspace.
    """
    ray = torch.randn(x.shape[1], generator=generator, dtype=torch.float64).to(x)
    direction = space.restrict(ray.expand_as(x))
    direction = direction / direction.norm(dim=1, keepdim=True)
    found = torch.zeros_like(radius, dtype=torch.bool)
    with classifier.evaluation():
        for rows in _groups(x, radius):
            plants = Plants(x[rows], direction[rows], radius[rows], end[rows])
            crossing = search(plants.in_front_of(classifier), rows)
            found[rows] = crossing.found & (crossing.distance.to(radius) <= SLACK * radius[rows])
    return found


def _groups(x: Tensor, radius: Tensor) -> Iterator[Tensor]:
    """Rows of inputs (n, D) in groups whose members are well apart; one group where dimensions are many."""
    near = (torch.cdist(x, x) < APART * torch.maximum(radius[:, None], radius[None, :])).tolist()
    group: list[int] = []
    for i in range(len(x)):
        taken = {group[j] for j in range(i) if near[i][j]}
        group.append(next(g for g in count() if g not in taken))
    membership = torch.tensor(group, device=x.device)
    for g in range(max(group) + 1):
        yield torch.nonzero(membership == g).reshape(-1)
