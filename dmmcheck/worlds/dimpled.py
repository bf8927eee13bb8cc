"""A dimpled sheet over a flat manifold: the paper's picture, of known depth; pairs and trainings made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dmmcheck import geometry
from dmmcheck.manifolds import Subspace
from dmmcheck.seeding import seeded
from dmmcheck.subject import Subject
from dmmcheck.worlds.base import Exact, World, answers, distance_answers
from dmmcheck.worlds.flat import frame, labelled

CELLS = 4  # dimples along each of two axes
ROUNDS, POINTS, SHRINK = 14, 21, 0.25  # of the numerical minimum: the last grid is SHRINK^ROUNDS of a cell wide
PHASE = 1.05  # a fall or rise below 5 % is none, as in the check

TWO_PHASES = (1.0, 0.5, 0.2, 0.1, 0.12, 0.16, 0.2, 0.25, 0.3)
FALLING = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1)
RISING = FALLING[::-1]
REVERSED = TWO_PHASES[::-1]
CONSTANT = (0.2,) * 9
"""Depths along training: the paper's two phases, and what has one of them or none."""


class Dimples(nn.Module):
    """Two classes above and below an egg-crate: logits (0, n x - depth sin(pi a x) sin(pi b x))."""

    axes: Tensor  # (D, 2): a, b
    across: Tensor  # (D,): n

    def __init__(self, axes: Tensor, across: Tensor, depth: float) -> None:
        super().__init__()
        self.register_buffer("axes", axes)
        self.register_buffer("across", across)
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 2)."""
        score = x @ self.across - self.depth * torch.sin(math.pi * (x @ self.axes)).prod(1)
        return torch.stack([torch.zeros_like(score), score], 1)


@dataclass(frozen=True, eq=False)
class _Sheet:
    """A flat manifold and points in the cells over it; models of any depth give them the same labels."""

    basis: Tensor  # (D, k)
    across: Tensor  # (D,)
    x: Tensor
    x_train: Tensor

    def model(self, depth: float) -> Dimples:
        return Dimples(self.basis[:, :2].float(), self.across.float(), depth)

    def subject(self, model: Dimples) -> Subject:
        return labelled(model, self.x, self.x_train, Subspace(self.basis.float(), name="linear"))

    def exact(self, depth: float) -> Exact:
        return _exact(self.x @ self.basis[:, :2], depth)


def dimpled(
    *,
    ambient_dim: int = 50,
    dim: int = 8,
    depth: float = 0.1,
    jitter: float = 0.2,
    samples: int = 256,
    noise: float = 0.0,
    seed: int,
) -> World:
    """A boundary that clings to a flat manifold and leaves it in dimples of a known depth.

    The manifold is a linear subspace T, the boundary the graph n x = h(a x, b x) over it, h(s, t) = depth sin(pi s)
    sin(pi t), n in N and a, b in T: a checkerboard of cells of width 1, dimples up in one colour and down in the
    other, which are the two classes. Inputs lie on T around the middle of a cell. With (s, t) their place

        d_off = |h(s, t)| (the depth, in the middle of a cell),
        d_on  = distance of (s, t) to the edge of its cell,
        d_free = min over the cell of sqrt((s' - s)^2 + (t' - t)^2 + h(s', t')^2).

    The last is found to 1e-8 by refined grids in double precision; its minimiser gives rho_N. Shallow dimples (0.1)
    make the stated claims true; deep ones (2) cling no more.

    Args:
        ambient_dim: D.
        dim: k, at least 2.
        depth: Of the dimples, in units of the cells' width.
        jitter: Largest distance of inputs from the middle of their cell, along each axis, below 0.5.
        samples: Inputs, and as many examples for neighbours.
        noise: Standard deviation of the inputs off the manifold, at a right angle to n: it changes no distance.
        seed: Of everything random.
    """
    sheet = _sheet(ambient_dim, dim, jitter=jitter, samples=samples, noise=noise, seed=seed)
    subject, exact = sheet.subject(sheet.model(depth)), sheet.exact(depth)
    truth = distance_answers(subject, exact) | {"shared-sheet-controlled-builtin": True}
    return World(f"dimples of depth {depth:g}", subject, exact.distance, truth)


def pair(
    *,
    standard: float = 0.1,
    robust: float = 0.3,
    ambient_dim: int = 50,
    dim: int = 8,
    jitter: float = 0.2,
    samples: int = 256,
    seed: int,
) -> World:
    """A standard model with shallow dimples and its robust twin with deeper ones, or the other way round.

    The edges of the cells stay where they are: d_on is the same in both, d_off grows as the depths do, and the smallest
    perturbations turn towards the manifold as the dimples deepen. Equal depths give a model with itself.

    Args:
        standard: Depth of the standard model's dimples.
        robust: Depth of the robust model's dimples.
        ambient_dim: D.
        dim: k, at least 2.
        jitter: Largest distance of inputs from the middle of their cell.
        samples: Inputs, and as many examples for neighbours.
        seed: Of everything random.
    """
    sheet = _sheet(ambient_dim, dim, jitter=jitter, samples=samples, noise=0.0, seed=seed)
    model = sheet.model(standard)
    twin = model if robust == standard else sheet.model(robust)
    subject = replace(sheet.subject(model), robust=twin)
    before, after = sheet.exact(standard), sheet.exact(robust)
    deeper = after.normal / before.normal
    truth = distance_answers(subject, before) | answers(
        {
            "adversarial-training-deepens-mechanism-depth": deeper,
            "adversarial-training-deepens-mechanism-main-effect": deeper * before.tangent / after.tangent,
            "robust-turns-tangential-mechanism-builtin": before.share - after.share,
        }
    )
    return World(f"dimples of depth {standard:g}, then {robust:g}", subject, before.distance, truth)


def training(
    *,
    depths: Sequence[float] = TWO_PHASES,
    ambient_dim: int = 50,
    dim: int = 8,
    jitter: float = 0.2,
    samples: int = 256,
    seed: int,
) -> World:
    """Checkpoints at steps 0, 100, 200, ... whose dimples have given depths; the first is also the untrained twin.

    d_off at a checkpoint is its depth times |sin(pi s) sin(pi t)|, so that the trajectory of d_off is that of the
    depths. Two phases are there where the depths have their lowest point in the first half of training, more than 5 %
    below the first and the last. At an input, the gradient's part along n is 1 and that along T is proportional to
    the depth, and so is the spread of the margin: relative to it the normal part grows as the depth falls, the
    tangent part stays.

    Args:
        depths: Of the dimples, checkpoint after checkpoint; the last one's are those of the model under test.
        ambient_dim: D.
        dim: k, at least 2.
        jitter: Largest distance of inputs from the middle of their cell.
        samples: Inputs, and as many examples for neighbours.
        seed: Of everything random.
    """
    sheet = _sheet(ambient_dim, dim, jitter=jitter, samples=samples, noise=0.0, seed=seed)
    models = [sheet.model(depth) for depth in depths]
    checkpoints = [(100 * number, model) for number, model in enumerate(models)]
    subject = replace(sheet.subject(models[-1]), checkpoints=checkpoints, factory=lambda seed: sheet.model(depths[0]))
    before, after = sheet.exact(depths[0]), sheet.exact(depths[-1])
    growth = torch.full_like(after.normal, depths[0] / depths[-1])
    truth = distance_answers(subject, after) | answers(
        {
            "boundary-clings-mechanism-builtin": after.normal / before.normal,
            "normal-gradient-growth-mechanism-builtin": growth,
            "normal-gradient-growth-mechanism-against-tangent": growth,
        }
    )
    if len(depths) >= 5:  # fewer cannot show two phases, whatever they are
        truth["two-phases-mechanism-builtin"] = has_two_phases(depths)
    return World(f"depths {', '.join(f'{depth:g}' for depth in depths)}", subject, after.distance, truth)


def has_two_phases(depths: Sequence[float]) -> bool:
    """Whether the lowest of evenly spaced depths lies in the first half, 5 % below both ends."""
    low = min(depths)
    early = depths.index(low) <= (len(depths) - 1) / 2
    return early and min(depths[0], depths[-1]) > PHASE * low


def _sheet(ambient_dim: int, dim: int, *, jitter: float, samples: int, noise: float, seed: int) -> _Sheet:
    generator = seeded(seed, "dimpled")
    basis, _, across = frame(ambient_dim, dim, generator)
    x, x_train = (_in_cells(basis, across, samples, jitter=jitter, noise=noise, generator=generator) for _ in range(2))
    return _Sheet(basis, across, x, x_train)


def _in_cells(
    basis: Tensor, across: Tensor, samples: int, *, jitter: float, noise: float, generator: torch.Generator
) -> Tensor:
    """Points (n, D) around the middle of cells, normal along the other tangent axes."""
    ambient_dim, dim = basis.shape
    cell = torch.randint(-CELLS // 2, CELLS // 2, (samples, 2), generator=generator)
    offset = jitter * (2 * torch.rand(samples, 2, generator=generator, dtype=torch.float64) - 1)
    rest = torch.randn(samples, dim - 2, generator=generator, dtype=torch.float64)
    x = torch.cat([cell + 0.5 + offset, rest], 1) @ basis.T
    off = noise * torch.randn(samples, ambient_dim, generator=generator, dtype=torch.float64)
    off = off - geometry.project_tangent(off, basis)
    return x + off - (off @ across)[:, None] * across


def _exact(place: Tensor, depth: float) -> Exact:
    """Distances from places (n, 2) on the sheet to the dimpled boundary over it."""
    within = place - place.floor()
    nearest = _nearest(within, depth)
    free = torch.sqrt((nearest - within).square().sum(1) + _height(nearest, depth) ** 2)
    return Exact(
        free=free,
        tangent=torch.minimum(within, 1 - within).min(1).values,
        normal=_height(within, depth).abs(),
        share=(_height(nearest, depth) / free) ** 2,
    )


def _height(place: Tensor, depth: float) -> Tensor:
    return depth * torch.sin(math.pi * place).prod(-1)


def _nearest(within: Tensor, depth: float) -> Tensor:
    """Where over its cell (n, 2) the boundary comes nearest: grids around the best point, each a quarter as wide."""
    ticks = torch.linspace(-0.5, 0.5, POINTS, dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks)  # (P, 2)
    best, width = torch.full_like(within, 0.5), 1.0
    for _ in range(ROUNDS):
        candidates = (best[:, None] + width * grid).clamp(0, 1)  # (n, P, 2)
        squared = (candidates - within[:, None]).square().sum(-1) + _height(candidates, depth) ** 2
        best = candidates[torch.arange(len(best)), squared.argmin(1)]
        width *= SHRINK
    return best
