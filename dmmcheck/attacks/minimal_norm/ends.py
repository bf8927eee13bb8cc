"""Examples of other classes near each input, towards which a search without gradients looks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ENDS = 3  # nearest examples of other classes, towards which segments lead
ENOUGH_EXAMPLES = 4096  # of more examples, evenly spaced ones are used: as many, or fewer than twice as many
LEAST_SHARE = 0.5  # each class must have this part of its share of all examples among those that are used
FAR = 100.0  # inputs are far from the origin where the square of that distance is so many times their variance
INPUTS = 512  # whose distances to all examples are computed at a time


@dataclass(frozen=True, eq=False)
class Ends:
    """The points that segments lead to.

    Attributes:
        points: (m, D) examples.
        index: (n, e) for each input the examples towards which its segments lead, the nearest first.
        known: (n, e) whether there is such an example.
    """

    points: Tensor
    index: Tensor
    known: Tensor

    @classmethod
    def nearest(cls, x: Tensor, own: Tensor, points: Tensor, labels: Tensor, *, targeted: bool) -> Ends:
        """Return the nearest examples of other classes than the inputs' own; of the own class where it is a target.

        Args:
            x: Inputs (n, D).
            own: Their labels, or their target classes (n,).
            points: Examples (m, D).
            labels: Their labels (m,).
            targeted: Whether `own` holds target classes.
        """
        points, labels = _some_of(points, labels)
        centre = x.mean(0)
        is_far = bool(centre.square().sum() > FAR * (x - centre).square().sum(1).mean())
        inputs, others = (x - centre, points - centre) if is_far else (x, points)  # products lose accuracy far away
        squares = torch.linalg.vector_norm(others, dim=1).square()
        index, known = [], []
        for start in range(0, len(x), INPUTS):
            part = slice(start, start + INPUTS)
            unfit = (labels[None, :] == own[part, None]) ^ targeted
            apart = torch.addmm(squares, inputs[part], others.T, alpha=-2).masked_fill_(unfit, torch.inf)
            near = apart.topk(min(ENDS, len(points)), dim=1, largest=False)
            index.append(near.indices)
            known.append(torch.isfinite(near.values))
        return cls(points, torch.cat(index), torch.cat(known))

    def rows(self, inputs: slice) -> Ends:
        """Return the ends of some of the inputs."""
        return Ends(self.points, self.index[inputs], self.known[inputs])


def _some_of(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return evenly spaced examples and their labels: at least `ENOUGH_EXAMPLES`, where there are so many.

    Examples at a constant spacing are a view of all examples, and no copy is made. Where they hold too few of some
    class, because the classes take turns, other examples are copied whose spacing varies by one.
    """
    every = len(points) // ENOUGH_EXAMPLES
    if every <= 1:
        return points, labels
    numbers = labels - labels.min()
    whole, part = (torch.bincount(some, minlength=int(numbers.max()) + 1) for some in (numbers, numbers[::every]))
    if bool((part * len(labels) >= LEAST_SHARE * whole * len(labels[::every])).all()):
        return points[::every], labels[::every]
    chosen = torch.linspace(0, len(points) - 1, ENOUGH_EXAMPLES).round().long().to(points.device)
    return points[chosen], labels[chosen]
