"""Candidates for the smallest perturbation, several for each row, each with its shortest crossing so far."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dmmcheck.attacks.waiting import waits

STATE = ("best", "length", "margin", "optimality", "linearized_distance")  # what a candidate keeps beside its position
TIE = 1e-6  # perturbations whose lengths differ by less than this share count as equally long


class Candidates:
    """Candidate perturbations, several for each row of the oracle.

    Attributes:
        rows: (m,) the oracle's row of each candidate.
        delta: (m, D) its present perturbation.
        target: (m,) the class whose boundary it approaches; -1 for the nearest boundary of any class.
        best: (m, D) its shortest crossing so far.
        length: (m,) L2 norm of `best`; inf where no crossing is known.
        margin: (m,) logit margin at `best`.
        optimality: (m,) the distance of the boundary to first order, taken at `best`, over `length`: 1 where `best` is
            a nearest point of the boundary, 0 where unknown.
        linearized_distance: (m,) the distance of the boundary to first order, taken in the last HL-RF step.
    """

    def __init__(self, rows: Tensor, delta: Tensor, target: Tensor | None = None) -> None:
        self.rows, self.delta = rows, delta
        self.target = torch.full_like(rows, -1) if target is None else target
        self.best = torch.zeros_like(delta)
        self.length = torch.full_like(delta[:, 0], torch.inf)
        self.margin = torch.zeros_like(delta[:, 0])
        self.optimality = torch.zeros_like(delta[:, 0])
        self.linearized_distance = torch.full_like(delta[:, 0], torch.inf)

    def update_best(
        self,
        delta: Tensor,
        margin: Tensor,
        at: Tensor | None = None,
        *,
        length: Tensor | None = None,
        optimality: Tensor | None = None,
    ) -> Tensor:
        """Keep perturbations that cross the boundary and are shorter than the best crossing.

        Args:
            delta: Perturbations (m, D) of all candidates, or of the candidates at the given positions.
            margin: Logit margins (m,) of the perturbations; negative where they cross the boundary.
            at: Positions (m,) of the candidates; all candidates where None.
            length: Norms (m,) of the perturbations, if they are known already.
            optimality: Optimality (m,) of the perturbations, if it is known.

        Returns:
            Which perturbations were kept (m,).
        """
        length = delta.norm(dim=1) if length is None else length
        known = self.length if at is None else self.length[at]
        better: Tensor = (margin < 0) & (length < known * (1 - TIE))
        new = {
            "best": delta,
            "length": length,
            "margin": margin,
            "optimality": torch.zeros_like(length) if optimality is None else optimality,
        }
        if waits(better):
            self._replace_where(better, new, at)
        else:
            self._replace_at(better.nonzero().squeeze(1), new, at)
        return better

    def _replace_at(self, kept: Tensor, new: dict[str, Tensor], at: Tensor | None) -> None:
        """Write the new values of the kept rows; only the number of these rows is read from the device."""
        if len(kept):
            to = kept if at is None else at[kept]
            for name, values in new.items():
                getattr(self, name)[to] = values[kept]

    def _replace_where(self, better: Tensor, new: dict[str, Tensor], at: Tensor | None) -> None:
        """Replace the better values by a mask, for which all values are copied and none is read."""
        for name, values in new.items():
            column = getattr(self, name)
            mask = better[:, None] if column.ndim == 2 else better
            merged = torch.where(mask, values, column if at is None else column[at])
            setattr(self, name, merged if at is None else column.index_copy(0, at, merged))

    def nearest(self, count: int, max_ratio: float) -> Candidates:
        """Return the `count` shortest candidates of each row within `max_ratio` times the length of the shortest.

        The length of a candidate is that of its best crossing; of one without a crossing, its linearized distance. The
        shortest candidate of each row is always among them.
        """
        length = torch.where(torch.isfinite(self.length), self.length, self.linearized_distance)
        order, first = self._ranked(length)
        rank = torch.arange(len(order), device=order.device) - first
        near = length[order] <= max_ratio * length[order][first]
        return self.part(order[(rank == 0) | (rank < count) & near])

    def unfinished(self, optimality_tol: float) -> Candidates:
        """Return the candidates whose best crossing is not yet optimal to this tolerance."""
        return self.part((self.optimality < optimality_tol).nonzero().squeeze(1))

    def shortest(self) -> Candidates:
        """Return the candidate with the shortest crossing in each row; rows without a crossing are left out."""
        order, first = self._ranked(self.length)
        winners = order[first == torch.arange(len(order), device=order.device)]
        return self.part(winners[torch.isfinite(self.length[winners])])

    def _ranked(self, length: Tensor) -> tuple[Tensor, Tensor]:
        """Return the order of the candidates by row, then by length (m,), and the position of each row's first (m,)."""
        order = length.argsort(stable=True)
        order = order[self.rows[order].argsort(stable=True)]
        rows = self.rows[order].contiguous()
        return order, torch.searchsorted(rows, rows)

    def part(self, index: Tensor) -> Candidates:
        """Return copies of the candidates at some positions (m,)."""
        part = Candidates(self.rows[index], self.delta[index], self.target[index])
        for name in STATE:
            setattr(part, name, getattr(self, name)[index])
        return part


def joined(groups: Sequence[Candidates]) -> Candidates:
    """Return one group that holds copies of the candidates of several groups."""

    def column(name: str) -> Tensor:
        return torch.cat([getattr(group, name) for group in groups])

    whole = Candidates(column("rows"), column("delta"), column("target"))
    for name in STATE:
        setattr(whole, name, column(name))
    return whole
