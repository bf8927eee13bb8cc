"""Worlds in which claims lie exactly at their limits, so that every verdict on them is false."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dmmcheck.checks.parts import STRETCH
from dmmcheck.manifolds import Subspace
from dmmcheck.seeding import seeded
from dmmcheck.worlds.base import Exact, World, declared, distance_answers
from dmmcheck.worlds.flat import frame, labelled
from dmmcheck.worlds.parameters import check_numbers, check_sizes

LEVEL = math.degrees(math.asin(math.sqrt(0.5)))  # 45: rho_N = 0.5 and d_on = d_off
SUFFICES = math.degrees(math.asin(0.8))  # 53.1: d_off = 1.25 d_free
RESTORES = math.degrees(math.acos(STRETCH**-0.5))  # 35.3: 1.5 of a step's on-manifold part just reaches the boundary

BY_ANGLE = {
    LEVEL: (
        "off-manifold-energy-stated-builtin",
        "boundary-parallel-stated-builtin",
        "on-manifold-distance-stated-builtin",
    ),
    SUFFICES: ("off-manifold-suffices-stated-builtin",),
    RESTORES: ("projection-restores-stated-builtin",),
}
"""The angles of the boundary to the manifold at which claims lie at their limits."""
NEAR, CLINGS, SHALLOW = (
    f"{name}-stated-builtin" for name in ("every-class-near", "boundary-clings", "dimples-shallow")
)

OFF = 0.5  # d_off of every input
CELL = 7.0  # width of a cell; all boundaries of its input are nearer than half of it
TURN = 12.0  # angles differ from their median by at most so many degrees
FACTORS = (0.6, 1.5)  # the ends of the random factors whose median is 1
OWN = (-0.9, -2.0)  # where examples of an input's own class lie, in units of the distance to the other class


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What is random about each cell."""

    angle: Tensor  # (cells,) radians
    near: Tensor  # (cells,) d_free
    far: Tensor  # (cells,) distance to the third class
    apart: Tensor  # (cells,) distance to the nearest example of the other class
    label: Tensor  # (cells,)


class Patches(nn.Module):
    """Each cell of a grid over the manifold has a boundary of its own: three classes, see `at_limits`."""

    grid: Tensor  # (D, 2)
    near: Tensor  # (cells, D)
    far: Tensor  # (D,)
    offset: Tensor  # (cells, 2)
    label: Tensor  # (cells,)

    def __init__(self, basis: Tensor, across: Tensor, far: Tensor, drawn: _Drawn) -> None:
        super().__init__()
        near = drawn.angle.cos()[:, None] * basis[:, 2] + drawn.angle.sin()[:, None] * across
        self.register_buffer("grid", basis[:, :2].float())
        self.register_buffer("near", near.float())
        self.register_buffer("far", far.float())
        self.register_buffer("offset", torch.stack([drawn.near, drawn.far], 1).float())
        self.register_buffer("label", drawn.label)
        self.side = _side(len(near))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 3)."""
        row, column = (x.detach() @ self.grid / CELL).round().long().clamp(0, self.side - 1).unbind(1)
        cell = (row * self.side + column).clamp_max(len(self.label) - 1)
        over = (x * self.near[cell]).sum(1) - self.offset[cell, 0]
        beyond = x @ self.far - self.offset[cell, 1]
        is_first = self.label[cell] == 0
        other = torch.where(is_first, over, -over)
        third = torch.where(is_first, beyond, beyond - over)
        return torch.stack([torch.zeros_like(over), other, third], 1)


def at_limits(
    *,
    angle: float = LEVEL,
    ambient_dim: int = 50,
    dim: int = 8,
    samples: int = 256,
    copies: int = 1,
    noise: float = 0.02,
    declared_groups: bool = False,
    seed: int,
) -> World:
    """Return independently drawn inputs with statistics whose median is exactly the limit of a claim.

    Each input has a cell of the manifold to itself, and there a boundary of its own. It is a hyperplane whose normal
    makes a random angle with the manifold; the third class begins at another plane, farther off, with its normal in N:

        d_free = 0.5 sin(angle),    d_on = d_free / cos(angle),    d_off = 0.5,    rho_N = sin(angle)^2.

    The statistics have skewed distributions. With the median angle `LEVEL`, `SUFFICES` or `RESTORES` the claims that
    `BY_ANGLE` names for it lie at their limits, in median or in rate. At every angle, so do three others: the distance
    to the third class is 5 d_free, and that to the nearest example of the other class is 4 d_off, each times a random
    factor whose median is 1. The answer to all of these claims is neither true nor false (`World.at_limit`).

    With copies, each input is there several times, with noise along the manifold that changes no distance to the
    boundary: so many inputs are independent as there are cells.

    Args:
        angle: Median angle in degrees.
        ambient_dim: D, at least k + 2.
        dim: k, at least 3.
        samples: Number of inputs.
        copies: Number of inputs in each cell.
        noise: Standard deviation of copies along each axis of the manifold but that of the boundary's normal.
        declared_groups: Whether the subject says which inputs are copies of each other (`Subject.groups`).
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_sizes(samples=samples, dim=dim, ambient_dim=ambient_dim, least_dim=3, normal_dim=2, copies=(copies, 1))
    check_numbers(angle=(angle, 0, 90), noise=(noise, 0, math.inf))
    generator = seeded(seed, "at limits")
    basis, _, across = frame(ambient_dim, dim, generator)
    far = _across_both(basis, across, generator)
    cells = math.ceil(samples / copies)
    drawn = _drawn(cells, angle, generator)
    model = Patches(basis, across, far, drawn)
    where = torch.stack([torch.arange(cells) // model.side, torch.arange(cells) % model.side], 1)
    rest = torch.randn(cells, dim - 3, generator=generator, dtype=torch.float64)
    middle = torch.cat([CELL * where, torch.zeros(cells, 1), rest], 1) @ basis.T
    examples = torch.cat([middle + share * drawn.apart[:, None] * basis[:, 2] for share in (1.0, *OWN)])
    own = torch.arange(samples) % cells
    x = middle[own] + (_along(basis, samples, generator) * noise if copies > 1 else 0.0)
    subject = labelled(model, x, examples, Subspace(basis.float(), name="linear"))
    if declared_groups:
        groups: Any = {"groups": own}
        subject = replace(subject, **groups)
    tangent = drawn.near / drawn.angle.cos()
    exact = Exact(drawn.near[own], tangent[own], torch.full_like(tangent, OFF)[own], drawn.angle.sin()[own] ** 2)
    claims = (*BY_ANGLE.get(angle, ()), NEAR, *(() if copies > 1 else (CLINGS, SHALLOW)))
    unknown = (*claims, "dimples-shallow-controlled-training-points")  # examples lie elsewhere in the cells than inputs
    truth = {id: known for id, known in distance_answers(subject, exact).items() if id not in unknown}
    name = f"boundaries at {angle:.3g} degrees in the median" + (f", {copies} copies" if copies > 1 else "")
    return World(name, subject, exact.distance, truth, at_limit=frozenset(claims))


def _side(cells: int) -> int:
    """Return the number of cells on a side of the grid."""
    return math.ceil(math.sqrt(cells))


def _drawn(cells: int, angle: float, generator: torch.Generator) -> _Drawn:
    """Draw what is random about each cell; angles above the median lie nearer to it than angles below it."""
    uniform = torch.rand(cells, generator=generator, dtype=torch.float64) * 2 - 1
    angles = torch.deg2rad(angle + TURN * torch.where(uniform > 0, uniform**2, uniform))
    near = OFF * angles.sin()
    distant, closeness = (_factor(cells, generator) for _ in range(2))
    far = declared(NEAR).claim.threshold * near * distant
    apart = OFF / (declared(SHALLOW).claim.threshold * closeness)
    return _Drawn(angles, near, far, apart, torch.randint(0, 2, (cells,), generator=generator))


def _factor(cells: int, generator: torch.Generator) -> Tensor:
    """Draw log-normal factors (cells,) with the median 1, cut off at `FACTORS`."""
    return (0.4 * torch.randn(cells, generator=generator, dtype=torch.float64)).exp().clamp(*FACTORS)


def _along(basis: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Return the normal steps (n, D) along all axes of the manifold but the third, which the boundaries cross."""
    step = torch.randn(samples, basis.shape[1], generator=generator, dtype=torch.float64)
    step[:, 2] = 0.0
    return step @ basis.T


def _across_both(basis: Tensor, across: Tensor, generator: torch.Generator) -> Tensor:
    """Return a unit vector (D,) in N at a right angle to a given one."""
    known = torch.cat([basis, across[:, None]], 1)
    other = torch.randn(len(across), generator=generator, dtype=torch.float64)
    for _ in range(2):
        other = other - known @ (known.T @ other)
    unit: Tensor = other / other.norm()
    return unit
