"""Examples of other classes near each input, towards which a search without gradients looks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ENDS = 3  # nearest examples of other classes, towards which segments lead
MOST_EXAMPLES = 4096  # of many examples, evenly spaced ones are used
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
        chosen = torch.linspace(0, len(points) - 1, min(MOST_EXAMPLES, len(points))).round().long().to(points.device)
        points, labels = points[chosen], labels[chosen]
        index, known = [], []
        for start in range(0, len(x), INPUTS):
            part = slice(start, start + INPUTS)
            unfit = (labels[None, :] == own[part, None]) ^ targeted
            apart = torch.cdist(x[part], points).masked_fill(unfit, torch.inf)
            near = apart.topk(min(ENDS, len(points)), dim=1, largest=False)
            index.append(near.indices)
            known.append(torch.isfinite(near.values))
        return cls(points, torch.cat(index), torch.cat(known))

    def rows(self, inputs: slice) -> Ends:
        """Return the ends of some of the inputs."""
        return Ends(self.points, self.index[inputs], self.known[inputs])
