"""Initial candidates that need no gradient: the first label changes on segments and on random rays.

Where the margin is flat around an input, its gradient does not show where the boundary is. The labels do: along the
segments to examples of other classes the label changes somewhere, and in a search space of few dimensions random rays
meet the boundary too. Only changes that are nearer than the crossings which HL-RF has found are looked for, so that a
search of a boundary which is near and well described by gradients spends few passes here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.effort import LabelReading
from dmmcheck.attacks.minimal_norm.ends import ENDS
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle
from dmmcheck.attacks.minimal_norm.projection import finite

RAYS = 5  # random directions, the same for all inputs; each is followed both ways
SCALES = (0.1, 0.2, 0.35, 0.6, 1.0, 1.6, 2.5, 4.0)  # lengths where labels are read, in distances to the nearest example
FIRST_ORDER_SCALES = (1.5, 3.0, 6.0, 12.0, 25.0, 50.0, 100.0, 200.0)  # the same in first-order ones, without examples
HALVINGS = 4  # of the interval in which the label changes


def label_starts(
    oracle: MarginOracle, rows: Tensor, candidates: Candidates, rays: Tensor, scale: Tensor, *, reading: LabelReading
) -> Candidates:
    """Return one candidate for each row on whose segments or rays the label changes before its shortest crossing.

    Args:
        oracle: The margin oracle.
        rows: (m,) the rows that have candidates.
        candidates: The candidates so far, whose crossings say how far it is worth looking.
        rays: Random directions (r, D), the same for all inputs; each is followed both ways.
        scale: First-order distances of all rows of the oracle, which give the lengths where there are no examples.
        reading: Along which segments and rays, and at which lengths, labels are read.

    Returns:
        The candidates, each at a label change that is known to 1/16 of the interval between two lengths.
    """
    limit = torch.full_like(scale, torch.inf).scatter_reduce(0, candidates.rows, candidates.length, "amin")[rows]
    lengths = _lengths(oracle, rows, scale)[:, reading.first :: reading.stride]
    worthwhile = (lengths[:, 0] < limit).nonzero().squeeze(1)
    rows, lengths, limit = rows[worthwhile], lengths[worthwhile], limit[worthwhile]
    best, margin = torch.zeros_like(oracle.at(rows).x), torch.full_like(limit, torch.inf)
    follows_rays = _follows_rays(oracle, rows, rays, reading.ray_dim)
    for mask, followed, segments in ((follows_rays, rays, ENDS), (~follows_rays, rays[:0], reading.segments)):
        some = mask.nonzero().squeeze(1)
        if len(some):
            directions = _directions(oracle, rows[some], followed, segments)
            best[some], margin[some] = _scanned(oracle, rows[some], directions, lengths[some], limit[some])
    changed = torch.isfinite(margin).nonzero().squeeze(1)
    found = Candidates(rows[changed], best[changed])
    found.update_best(found.delta, margin[changed])
    return found


def _follows_rays(oracle: MarginOracle, rows: Tensor, rays: Tensor, ray_dim: int) -> Tensor:
    """Return whether rays are followed in the search spaces of rows (m,).

    They are followed in spaces of at most ray_dim dimensions, and everywhere where there are no examples.

    The dimension of a search space is about D times the mean share of a random vector that lies inside.
    """
    if oracle.ends is None:
        return torch.ones_like(rows, dtype=torch.bool)
    shares = [
        oracle.project(ray.expand(len(rows), -1).clone(), rows).square().sum(1) / ray.square().sum() for ray in rays
    ]
    return rays.shape[1] * torch.stack(shares).mean(0) <= ray_dim


def _lengths(oracle: MarginOracle, rows: Tensor, scale: Tensor) -> Tensor:
    """Return the lengths (m, l) at which labels are read, in rising order."""
    by_gradient = scale[rows, None] * scale.new_tensor(FIRST_ORDER_SCALES)
    ends = oracle.ends
    if ends is None:
        return by_gradient
    inputs = rows % oracle.n
    apart = (ends.points[ends.index[inputs, 0]] - oracle.x[inputs]).norm(dim=1)
    is_known = ends.known[inputs, 0] & (apart > 0)
    return torch.where(is_known[:, None], apart[:, None] * apart.new_tensor(SCALES), by_gradient)


def _scanned(
    oracle: MarginOracle, rows: Tensor, directions: Tensor, lengths: Tensor, limit: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the nearest label change of each row (m,), over all directions, at one of the lengths below its limit.

    Its place between two lengths is then found by halving, for all rows at the same time.

    Args:
        oracle: The margin oracle.
        rows: (m,) the rows.
        directions: Unit vectors (d, m, D), see `_directions`.
        lengths: (m, l) where labels are read, in rising order.
        limit: (m,) lengths from which on no label is read.

    Returns:
        Perturbations (m, D) and margins (m,); the margin is inf where no label changed.
    """
    labels = _Labels(oracle, rows, directions)
    count, m = directions.shape[:2]
    first = m * torch.arange(count, device=limit.device)[:, None]
    near, far, before = torch.zeros_like(limit), torch.zeros_like(limit), torch.zeros_like(limit)
    for length in lengths.unbind(1):
        unchanged = torch.isinf(labels.margins).view(count, m).all(0)
        active = (unchanged & (length < limit)).nonzero().squeeze(1)
        if len(active):
            labels.changed(length, (first + active).flatten())
            near[active], far[active] = before[active], length[active]
        before = length
    winner, far = _halved(labels, near, far)
    found = (winner < count).nonzero().squeeze(1)
    delta, margin = torch.zeros_like(directions[0]), torch.full_like(far, torch.inf)
    if len(found):
        delta[found] = oracle.feasible(far[found, None] * directions[winner[found], found], rows[found])
        margin[found] = labels.margins[winner[found] * m + found]
    return delta, margin


class _Labels:
    """Reads labels along the directions (d, m, D) of rows (m,); a direction i of a row j has the number i m + j.

    Attributes:
        margins: (d m,) the margin at the shortest length where the label was seen to have changed; inf before.
    """

    def __init__(self, oracle: MarginOracle, rows: Tensor, directions: Tensor) -> None:
        self.count, self._oracle = len(directions), oracle
        self._rows, self._unit = rows.repeat(self.count), directions.flatten(0, 1)
        self.margins = torch.full_like(self._rows, torch.inf, dtype=directions.dtype)

    def changed(self, length: Tensor, at: Tensor) -> Tensor:
        """Return whether the label has changed at a length (m,) along each of the directions `at`; keep the margin."""
        delta, rows = length.repeat(self.count)[at, None] * self._unit[at], self._rows[at]
        margin = self._oracle.margin(self._oracle.feasible(delta, rows), rows)
        hit = margin < 0
        self.margins[at] = torch.where(hit, margin, self.margins[at])
        return hit


def _halved(labels: _Labels, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
    """Halve the interval in which the label of a row first changes, over all directions in which it has changed.

    Args:
        labels: The labels, of which those at `far` have been read.
        near: (m,) lengths up to which no label changed.
        far: (m,) lengths at which a label changed, where one did.

    Returns:
        For each row the first direction (m,) in which the label changes at the nearest length, or their number where it
        changes in none, and that length (m,).
    """
    m = len(far)
    left = torch.isfinite(labels.margins).nonzero().squeeze(1)
    for _ in range(HALVINGS if len(left) else 0):
        middle = (near + far) / 2
        hit = labels.changed(middle, left)
        is_nearer = torch.zeros_like(far, dtype=torch.bool)
        is_nearer[left[hit] % m] = True
        left = left[hit | ~is_nearer[left % m]]  # where one direction has changed already, the others are farther
        near, far = torch.where(is_nearer, near, middle), torch.where(is_nearer, middle, far)
    none = torch.full((m,), labels.count, device=far.device)
    return none.scatter_reduce(0, left % m, left // m, "amin"), far


def _directions(oracle: MarginOracle, rows: Tensor, rays: Tensor, segments: int) -> Tensor:
    """Return unit vectors (d, m, D) in the search spaces of rows (m,): rays both ways, then towards the examples.

    There are at most `segments` of the latter. A vector is zero where a row lacks the example.
    """
    groups = [sign * ray.expand(len(rows), -1) for ray in rays for sign in (1, -1)]
    ends = oracle.ends
    if ends is not None:
        inputs = rows % oracle.n
        near = slice(segments)
        for index, known in zip(ends.index[inputs, near].unbind(1), ends.known[inputs, near].unbind(1), strict=True):
            groups.append(torch.where(known[:, None], ends.points[index] - oracle.x[inputs], 0.0))
    inside = oracle.project(torch.cat(groups), rows.repeat(len(groups)))
    return finite(inside / inside.norm(dim=1, keepdim=True)).reshape(len(groups), len(rows), -1)
