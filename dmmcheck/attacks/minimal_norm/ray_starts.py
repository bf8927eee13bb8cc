"""Initial candidates behind flat stretches of a search space that the examples say nothing of.

Where the data lie on the manifold, segments to examples of other classes have no part in a normal space. A boundary
there that no gradient shows, such as a fold of the sheet of a dimpled manifold, is met by random rays alone. In a space
of d dimensions a ray crosses a plane at distance r after about r sqrt(d), which is behind the nearest crossing that is
known. So rays are read far beyond it, and a label change counts only where the nearest crossing does not explain it: a
plane through that crossing, across it, would change the label there, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle
from dmmcheck.attacks.minimal_norm.projection import finite

EXAMPLE_SHARE = 0.1  # largest part of the way to the nearest example that lies in a space of which examples say nothing
REACH = 1.5  # where labels are read: so many times the nearest crossing and the square root of the dimension
HALVINGS = 8  # of the interval in which the label changes: folds are narrow beside it


def ray_starts(oracle: MarginOracle, candidates: Candidates, rays: Tensor, *, ray_dim: int) -> Candidates:
    """Return one candidate for each row on whose rays the label changes for another reason than its nearest crossing.

    Left out are rows without examples, rows whose way to the nearest example has a part in their space, and spaces of
    at most ray_dim dimensions, in which `label_starts` follows rays.

    Args:
        oracle: The margin oracle.
        candidates: The candidates so far, of which the shortest crossing of each row counts.
        rays: Random directions (r, D), the same for all inputs; each is read both ways.
        ray_dim: As `LabelReading` has it.
    """
    near = candidates.nearest(1, 1.0)
    near = near.part((_example_share(oracle, near.rows) < EXAMPLE_SHARE).nonzero().squeeze(1))
    if not len(near.rows):
        return near
    has_crossed = torch.isfinite(near.length)
    length = torch.where(has_crossed, near.length, near.linearized_distance)
    way = torch.where(has_crossed[:, None], near.best, near.delta)
    inside = torch.stack([oracle.project(ray.expand(len(near.rows), -1).clone(), near.rows) for ray in rays])
    dim = rays.shape[1] * (inside.square().sum(2) / rays.square().sum(1)[:, None]).mean(0)
    some = ((length > 0) & torch.isfinite(length) & (dim > ray_dim)).nonzero().squeeze(1)
    inside, dim, length = inside[:, some], dim[some], length[some]
    unit = finite(inside / inside.norm(dim=2, keepdim=True))
    across = finite(way[some] / way[some].norm(dim=1, keepdim=True))
    if not len(some):
        return near.part(some)
    far = REACH * length * dim.sqrt()
    return _changes(oracle, near.rows[some], torch.cat([unit, -unit]), length=length, across=across, far=far)


def _example_share(oracle: MarginOracle, rows: Tensor) -> Tensor:
    """Return the part (m,) of the way to the nearest example that lies in the spaces of rows; 1 where none is known."""
    ends = oracle.ends
    if ends is None:
        return torch.ones(len(rows), device=rows.device)
    inputs = rows % oracle.n
    way = ends.points[ends.index[inputs, 0]] - oracle.x[inputs]
    share = finite(oracle.project(way, rows).norm(dim=1) / way.norm(dim=1))
    return torch.where(ends.known[inputs, 0], share, 1.0)


def _changes(
    oracle: MarginOracle, rows: Tensor, directions: Tensor, *, length: Tensor, across: Tensor, far: Tensor
) -> Candidates:
    """Return the label changes on one direction of each row that its nearest crossing does not explain.

    Args:
        oracle: The margin oracle.
        rows: (m,) the rows.
        directions: Unit vectors (d, m, D) in the search spaces of the rows.
        length: (m,) the distances of their nearest crossings.
        across: Unit vectors (m, D) towards these.
        far: (m,) lengths at which labels are read.
    """
    margin = _margins(oracle, rows, directions, far)
    cosine = (directions * across).sum(2)
    unexplained = (margin < 0) & (far * cosine < length)
    some = unexplained.any(0).nonzero().squeeze(1)
    chosen = cosine.abs().where(unexplained, torch.inf).argmin(0)[some]  # the known crossing matters least there
    at, rows, direction = margin[chosen, some], rows[some], directions[chosen, some][None]
    low, high = torch.zeros_like(far[some]), far[some]
    for _ in range(HALVINGS if len(rows) else 0):
        middle = (low + high) / 2
        inner = _margins(oracle, rows, direction, middle)[0]
        low, high = torch.where(inner < 0, low, middle), torch.where(inner < 0, middle, high)
        at = torch.where(inner < 0, inner, at)
    found = Candidates(rows, oracle.feasible(high[:, None] * direction[0], rows))
    found.update_best(found.delta, at)
    return found


def _margins(oracle: MarginOracle, rows: Tensor, directions: Tensor, length: Tensor) -> Tensor:
    """Return the margins (d, m) at a length (m,) along each direction (d, m, D) of rows (m,)."""
    every = rows.repeat(len(directions))
    delta = (length[:, None] * directions).flatten(0, 1)
    return oracle.margin(oracle.feasible(delta, every), every).view(len(directions), -1)
