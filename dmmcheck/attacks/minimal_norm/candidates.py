"""Ways to the boundary, several from each row: where each one is, and its shortest crossing so far."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

KNOWN = ("best", "length", "margin", "nearness", "guess")  # what is known of a way, besides where it is
TIE = 1e-6  # steps less than this share shorter are equally long


class Ways:
    """Ways to the boundary; a row may have several.

    Attributes:
        rows: (m,) of the problem, where each one starts.
        step: (m, D) where each one is.
        aims: (m,) class that it approaches; -1 for any.
        best: (m, D) its shortest crossing known.
        length: (m,) of that; inf where none is known.
        margin: (m,) there.
        nearness: (m,) of that crossing: to first order, the distance of the nearest point over its length; 0 where
            unknown.
        guess: (m,) distance of the boundary to first order.
    """

    def __init__(self, rows: Tensor, step: Tensor, aims: Tensor | None = None) -> None:
        self.rows, self.step = rows, step
        self.aims = torch.full_like(rows, -1) if aims is None else aims
        self.best = torch.zeros_like(step)
        self.length = torch.full_like(step[:, 0], torch.inf)
        self.margin = torch.zeros_like(step[:, 0])
        self.nearness = torch.zeros_like(step[:, 0])
        self.guess = torch.full_like(step[:, 0], torch.inf)

    def offer(
        self,
        step: Tensor,
        margin: Tensor,
        at: Tensor | None = None,
        *,
        length: Tensor | None = None,
        nearness: Tensor | None = None,
    ) -> Tensor:
        """Keep steps (m, D) that cross and are clearly shorter, so that rounding decides nothing; says which (m,).

        Args:
            step: Of all ways, or of those at the given places.
            margin: There (m,); negative where the step crosses.
            at: Places (m,) among the ways.
            length: Of the steps (m,), where it is known.
            nearness: Of the steps as crossings (m,), where it is known.
        """
        length = step.norm(dim=1) if length is None else length
        known = self.length if at is None else self.length[at]
        better: Tensor = (margin < 0) & (length < known * (1 - TIE))
        taken = better.nonzero().squeeze(1)
        if len(taken):
            to = taken if at is None else at[taken]
            self.best[to] = step[taken]
            self.length[to], self.margin[to] = length[taken], margin[taken]
            self.nearness[to] = 0.0 if nearness is None else nearness[taken]
        return better

    def nearest(self, count: int, slack: float) -> Ways:
        """Each row's nearest ways: the nearest always, up to `count` while they are at most `slack` times as long."""
        length = torch.where(torch.isfinite(self.length), self.length, self.guess)
        order, first = self._ranked(length)
        rank = torch.arange(len(order), device=order.device) - first
        near = length[order] <= slack * length[order][first]
        return self._part(order[(rank == 0) | (rank < count) & near])

    def unfinished(self, enough: float) -> Ways:
        """Ways of which no crossing is known that is so near to a nearest point."""
        return self._part((self.nearness < enough).nonzero().squeeze(1))

    def shortest(self) -> Ways:
        """The shortest crossing of each row; rows without one are left out."""
        order, first = self._ranked(self.length)
        winners = order[first == torch.arange(len(order), device=order.device)]
        return self._part(winners[torch.isfinite(self.length[winners])])

    def _ranked(self, length: Tensor) -> tuple[Tensor, Tensor]:
        """Ways by row, then by length (m,); and for each of them the place of its row's first (m,)."""
        order = length.argsort(stable=True)
        order = order[self.rows[order].argsort(stable=True)]
        rows = self.rows[order].contiguous()
        return order, torch.searchsorted(rows, rows)

    def _part(self, index: Tensor) -> Ways:
        part = Ways(self.rows[index], self.step[index], self.aims[index])
        for name in KNOWN:
            setattr(part, name, getattr(self, name)[index])
        return part


def joined(groups: Sequence[Ways]) -> Ways:
    """The ways of several groups, copied."""

    def column(name: str) -> Tensor:
        return torch.cat([getattr(group, name) for group in groups])

    every = Ways(column("rows"), column("step"), column("aims"))
    for name in KNOWN:
        setattr(every, name, column(name))
    return every
