"""Shorter crossings from a first one: the boundary's normal from labels alone, steps along it, removal of directions.

At a crossing r v the boundary is a graph over the directions of the search space: at an offset d along a direction w it
lies at r v + d w + t v. Bisection on the label finds t, and the projected normal g with g . v = 1 has the component
g . w = -t / d. This is the estimate of HopSkipJump (Chen et al. 2020) with the sign of a random step replaced by a
bisected height: some five model calls a direction give a component to a few per cent. As in SurFree (Maho et al. 2021),
a step turns the ray towards the normal by the largest of several angles that shortens the crossing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.decision_based.first_crossings import Rays, halved
from dmmcheck.attacks.decision_based.frame import Frame
from dmmcheck.attacks.decision_based.labels import LabelOracle

BITS = 5  # bisections of a height
OFFSETS = (0.1, 0.05, 0.03)  # offsets d of consecutive steps, in lengths of the crossing; the last one stays
STEEPEST, FLATTEST = 3.0, 0.03  # most and least deviation of a component from what is known, within which it is sought
WIDER = 3.0  # times the last deviations (root mean square) is where the next ones are sought
TURNS = (1.0, 0.6, 0.3, 0.1)  # shares of the way from the ray to the normal
SHORTER = 0.999  # a turn counts where the label changes at this share of the length
HALVINGS = 6  # of the interval of a turned ray, and again for the best one
ALIKE = 0.95  # cosine of two rays that lead to the same place
STEP_QUERIES = len(TURNS) * (2 + HALVINGS) + HALVINGS + 2
MOST_VALUES = 1 << 23  # most values of the points of one step


class Refinement:
    """The rays of a search while they get shorter.

    Args:
        oracle: Answers for all inputs.
        frame: Directions that span the search spaces.
        rays: Crossings to start from, several for an input.
        order: (count,) the order in which directions are taken.
    """

    def __init__(self, oracle: LabelOracle, frame: Frame, rays: Rays, order: Tensor) -> None:
        self.oracle, self.frame, self.rays, self.order = oracle, frame, rays, order
        self.normal = frame.coefficients(rays.unit, rays.inputs).clone()  # components g . w, at first those of the ray
        self.width = torch.full_like(rays.length, STEEPEST)
        self._at = 0

    def block(self, most: int) -> Tensor:
        """Return the numbers of the next directions, at most `most`, which start again at the first after the last."""
        values = max(1, len(self.rays.inputs) * self.rays.unit.shape[1])
        size = max(1, min(self.frame.count, most, MOST_VALUES // values))
        numbers = self.order.roll(-self._at)[:size]
        self._at = (self._at + size) % self.frame.count
        return numbers

    def beyond(self, kept: int) -> Tensor:
        """Return which of the rays are not among the `kept` shortest ones of their input, (m,) bool.

        A ray that nearly coincides with a shorter one is beyond too, since it would lead to the same place.
        """
        same = self.rays.inputs[:, None] == self.rays.inputs[None]
        number = torch.arange(len(same), device=same.device)
        length = self.rays.length
        tied = (length[None] == length[:, None]) & (number[None] < number[:, None])
        shorter = (length[None] < length[:, None]) | tied
        ahead = same & shorter
        copies = (ahead & (self.rays.unit @ self.rays.unit.T > ALIKE)).any(1)
        return copies | ((ahead & ~copies[None]).sum(1) >= kept)

    def step(self, rows: Tensor, numbers: Tensor, offset: float) -> None:
        """Measure the components of the normal along some directions, and turn the rays (m,) towards it."""
        rays = self.rays.of(rows)
        self._measure(rows, rays, numbers, offset)
        g = self.frame.vector(self.normal[rows], rays.inputs)
        g = g + (1 - (g * rays.unit).sum(1, keepdim=True)) * rays.unit
        turned = self._turned(rays, g)
        closer = turned.length < rays.length
        self._put(rows[closer], turned.of(closer))

    def remove(self, rows: Tensor, numbers: Tensor) -> None:
        """Remove directions that the label change does not need from the perturbations; trees need few directions.

        Each direction is tried alone. Of those that are not needed, the largest components are removed together, as
        many as bisection shows.
        """
        rays = self.rays.of(rows)
        delta = rays.length[:, None] * rays.unit
        w = self.frame.directions(numbers, rays.inputs)
        square = w.square().sum(2).clamp_min(torch.finfo(w.dtype).tiny)
        parts = ((w @ delta[:, :, None]).squeeze(2) / square)[..., None] * w
        free = self.oracle.crosses(delta[:, None] - parts, rays.inputs)
        energy = parts.square().sum(2) * free
        parts = parts.gather(1, energy.argsort(dim=1, descending=True, stable=True)[..., None].expand_as(parts))
        count = (energy > 0).sum(1)
        number = torch.arange(parts.shape[1], device=count.device)
        low, high, best = torch.zeros_like(count), count, delta
        for _ in range(max(1, parts.shape[1].bit_length())):
            tried = (low + high + 1) // 2
            left = delta - (parts * (number[None] < tried[:, None])[..., None]).sum(1)
            hit = self.oracle.crosses(left[:, None], rays.inputs).squeeze(1) & (left.norm(dim=1) < best.norm(dim=1))
            best = torch.where(hit[:, None], left, best)
            low, high = torch.where(hit, tried, low), torch.where(hit, high, (tried - 1).clamp_min(0))
            high = torch.maximum(low, high)
        length = best.norm(dim=1)
        shorter = (length < rays.length) & (length > 0)
        unit = best / length.clamp_min(torch.finfo(length.dtype).tiny)[:, None]
        kept = Rays(rays.inputs, unit, length).of(shorter)
        kept.length = halved(self.oracle, kept, torch.zeros_like(kept.length), kept.length, 2 * HALVINGS)
        self._put(rows[shorter], kept)

    def sharpen(self, rows: Tensor) -> None:
        """Bisect the last two per cent of the rays (m,) for the label change."""
        rays = self.rays.of(rows)
        self.rays.length[rows] = halved(self.oracle, rays, 0.98 * rays.length, rays.length, HALVINGS)

    def _put(self, rows: Tensor, rays: Rays) -> None:
        """Replace rays, and scale their normals so that g . v = 1 again."""
        self.rays.unit[rows], self.rays.length[rows] = rays.unit, rays.length
        along = (self.frame.vector(self.normal[rows], rays.inputs) * rays.unit).sum(1)
        known = along > 0.1
        fresh = self.frame.coefficients(rays.unit, rays.inputs)
        scaled = self.normal[rows] / along.where(known, 1.0)[:, None]
        self.normal[rows] = torch.where(known[:, None], scaled, fresh)

    def _measure(self, rows: Tensor, rays: Rays, numbers: Tensor, offset: float) -> None:
        """Measure the components of the normals along some directions, by bisection around the known components."""
        w = self.frame.directions(numbers, rays.inputs)
        shift = offset * rays.length
        base = rays.length[:, None, None] * rays.unit[:, None] + shift[:, None, None] * w
        known = self.normal[rows][:, numbers]
        width = self.width[rows][:, None].expand_as(known)
        low, high = known - width, known + width
        for _ in range(BITS):
            middle = (low + high) / 2
            height = (-middle * shift[:, None])[..., None] * rays.unit[:, None]
            hit = self.oracle.crosses(base + height, rays.inputs)  # crossed already: the boundary is lower
            low, high = torch.where(hit, middle, low), torch.where(hit, high, middle)
        measured = (low + high) / 2
        moved = (measured - known).square().mean(1).sqrt()
        self.width[rows] = (WIDER * moved).clamp(FLATTEST, STEEPEST)
        updated = self.normal[rows]
        updated[:, numbers] = measured
        self.normal[rows] = updated

    def _turned(self, rays: Rays, g: Tensor) -> Rays:
        """Return the shortest of the rays that are turned towards the normals g (m, D) by several angles.

        The length is inf where no turned ray is shorter.
        """
        unit_g = g / g.norm(dim=1, keepdim=True)
        turns = [rays.unit + share * (unit_g - rays.unit) for share in TURNS]
        unit = torch.cat([v / v.norm(dim=1, keepdim=True) for v in turns])
        count = len(TURNS)
        tried = Rays(rays.inputs.repeat(count), unit, SHORTER * rays.length.repeat(count))
        hit = self.oracle.crosses((tried.length[:, None] * unit)[:, None], tried.inputs).squeeze(1)
        ahead = (g.repeat(count, 1) * unit).sum(1).clamp_min(1)
        expected = (0.9 * rays.length.repeat(count) / ahead).minimum(0.9 * tried.length)
        already = self.oracle.crosses((expected[:, None] * unit)[:, None], tried.inputs).squeeze(1)
        low = torch.where(already, torch.zeros_like(expected), expected)
        high = torch.where(already, expected, tried.length)
        lengths = torch.where(hit | already, halved(self.oracle, tried, low, high, HALVINGS), torch.inf)
        best = lengths.reshape(count, -1).argmin(0) * len(rays.inputs) + torch.arange(len(rays.inputs), device=g.device)
        found = Rays(rays.inputs, unit[best], lengths[best])
        finite = torch.isfinite(found.length)
        some = found.of(finite)
        found.length[finite] = halved(self.oracle, some, 0.97 * some.length, some.length, HALVINGS)
        return found
