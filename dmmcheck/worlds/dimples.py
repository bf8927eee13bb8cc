"""A dimpled sheet of known depth over a flat manifold, as in the paper; pairs of models and trainings made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from dmmcheck import geometry
from dmmcheck.manifolds import Subspace
from dmmcheck.seeding import seeded
from dmmcheck.subject import Subject
from dmmcheck.worlds.base import Exact, World, answers, distance_answers
from dmmcheck.worlds.flat import frame, labelled
from dmmcheck.worlds.parameters import LEAST, check_choice, check_counts, check_numbers, check_sizes

Profile = Literal["pleats", "smooth"]

CELLS = 4  # dimples along each of two axes
ROUNDS, POINTS, SHRINK = 14, 21, 0.25  # of the numerical minimum: the last grid has SHRINK^ROUNDS of a cell's width
CLEAR = 2.0  # depths that differ by this factor, or more, differ in nearly every pair
PHASE = 1.05  # a fall or rise of less than 5 % does not count, as in the check

PAIR_CLAIMS = (
    "adversarial-training-deepens-mechanism-depth",
    "adversarial-training-deepens-mechanism-main-effect",
    "robust-turns-tangential-mechanism-builtin",
)
TWO_PHASES = (1.0, 0.5, 0.2, 0.1, 0.12, 0.16, 0.2, 0.25, 0.3)
FALLING = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1)
RISING = FALLING[::-1]
REVERSED = TWO_PHASES[::-1]
CONSTANT = (0.2,) * 9
"""Depths along training: the paper's two phases, and trajectories that have one phase or none."""


class Dimples(nn.Module):
    """Two classes above and below a dimpled sheet: logits (0, n x - h(a x, b x)), h as in `dimpled`."""

    axes: Tensor  # (D, 2): a, b
    across: Tensor  # (D,): n

    def __init__(self, axes: Tensor, across: Tensor, depth: float, profile: Profile) -> None:
        super().__init__()
        self.register_buffer("axes", axes)
        self.register_buffer("across", across)
        self.depth = depth
        self.profile = profile

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 2)."""
        above = x @ self.across - height(x @ self.axes, self.depth, self.profile)
        return torch.stack([torch.zeros_like(above), above], 1)


@dataclass(frozen=True, eq=False)
class _Sheet:
    """A flat manifold and points in its cells, which models of any depth give the same labels."""

    basis: Tensor  # (D, k)
    across: Tensor  # (D,)
    x: Tensor
    x_train: Tensor
    profile: Profile = "pleats"

    def model(self, depth: float) -> Dimples:
        return Dimples(self.basis[:, :2].float(), self.across.float(), depth, self.profile)

    def subject(self, model: Dimples) -> Subject:
        return labelled(model, self.x, self.x_train, Subspace(self.basis.float(), name="linear"))

    def exact(self, depth: float) -> Exact:
        return _exact(self.x @ self.basis[:, :2], depth, self.profile)


def dimpled(
    *,
    ambient_dim: int = 50,
    dim: int = 8,
    depth: float = 0.1,
    profile: Profile = "pleats",
    jitter: float = 0.2,
    samples: int = 256,
    noise: float = 0.0,
    seed: int,
) -> World:
    """Return a boundary that clings to a flat manifold and leaves it in dimples of a known depth.

    The manifold is a linear subspace T. The boundary is the graph n x = h(a x, b x) over it, n in N and a, b in T. Its
    dimples go up and down by turns, one direction for each class. Inputs lie on T around the middle of a dimple. At the
    position (s, t),

        ``"pleats"``: |h| = 2 depth e, a zigzag in s alone; e is the distance from s to the nearest integer.
            d_on = e,    d_off = 2 depth e,    d_free = d_off / sqrt(1 + 4 depth^2),    rho_N = 1 / (1 + 4 depth^2).
        ``"smooth"``: h = depth sin(pi s) sin(pi t), a checkerboard; e is the distance to the edge of the unit cell.
            d_on = e,    d_off = |h|,    d_free = min over the cell of sqrt((s' - s)^2 + (t' - t)^2 + h(s', t')^2),
            found to 1e-7 by refined grids in double precision; its minimiser gives rho_N.

    Shallow dimples (0.1) make the stated claims true; deep ones (2) do not cling. In the middle of a smooth dimple
    the gradient is normal to T and does not show where the edge is. That is a hard case for searches within T, in which
    soundness gates may fail.

    Args:
        ambient_dim: D.
        dim: k, at least 2.
        depth: Of the dimples in their middle, in units of the cells' width.
        profile: ``"pleats"`` or ``"smooth"``.
        jitter: Largest distance of inputs from the middle of their cell, along each axis, below 0.5.
        samples: Number of inputs, and of examples for neighbours.
        noise: Standard deviation of the inputs off the manifold, at a right angle to n, where it changes no distance.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_numbers(depth=(depth, LEAST, math.inf))
    check_choice("profile", profile, get_args(Profile))
    sheet = _sheet(ambient_dim, dim, jitter=jitter, samples=samples, noise=noise, seed=seed, profile=profile)
    subject, exact = sheet.subject(sheet.model(depth)), sheet.exact(depth)
    truth = distance_answers(subject, exact)
    return World(f"{profile} dimples of depth {depth:g}", subject, exact.distance, truth)


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
    """Return a pair of models: a standard one with shallow dimples and a robust one with deeper ones, or reversed.

    The edges of the pleats are the same in both, so that d_on is the same, d_off is proportional to the depth, and the
    smallest perturbations turn towards the manifold as the dimples deepen. Equal depths give a pair of a model with
    itself.

    Args:
        standard: Depth of the standard model's dimples.
        robust: Depth of the robust model's dimples.
        ambient_dim: D.
        dim: k, at least 2.
        jitter: Largest distance of inputs from the middle of their cell.
        samples: Number of inputs, and of examples for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_numbers(standard=(standard, LEAST, math.inf), robust=(robust, LEAST, math.inf))
    sheet = _sheet(ambient_dim, dim, jitter=jitter, samples=samples, noise=0.0, seed=seed)
    model = sheet.model(standard)
    other = model if robust == standard else sheet.model(robust)
    subject = replace(sheet.subject(model), robust=other)
    before, after = sheet.exact(standard), sheet.exact(robust)
    deeper = after.normal / before.normal
    truth = distance_answers(subject, before) | answers(
        {
            PAIR_CLAIMS[0]: deeper,
            PAIR_CLAIMS[1]: deeper * before.tangent / after.tangent,
            PAIR_CLAIMS[2]: before.share - after.share,
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
    """Return checkpoints at steps 0, 100, 200, ... whose dimples have given depths.

    Untrained networks are like the first checkpoint.

    d_off at a checkpoint is proportional to its depth, so that the trajectory of d_off is that of the depths. There are
    two phases where the depths have their lowest point in the first half of training, more than 5 % below the first and
    the last. At an input, the gradient's part along n is 1 and that along T is proportional to the depth, and so is the
    spread of the margin: relative to it the normal part grows as the depth falls, and the tangent part stays the same.

    The depths of untrained networks lie less than 0.2 % above that of the first checkpoint and below it by turns.

    Args:
        depths: Depths of the dimples, checkpoint after checkpoint; the last one is that of the model under test.
        ambient_dim: D.
        dim: k, at least 2.
        jitter: Largest distance of inputs from the middle of their cell.
        samples: Number of inputs, and of examples for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_counts(depths=(len(depths), 1))
    check_numbers(**{f"depths[{number}]": (depth, LEAST, math.inf) for number, depth in enumerate(depths)})
    sheet = _sheet(ambient_dim, dim, jitter=jitter, samples=samples, noise=0.0, seed=seed)
    models = [sheet.model(depth) for depth in depths]
    checkpoints = [(100 * number, model) for number, model in enumerate(models)]

    def factory(seed: int) -> Any:
        return sheet.model(depths[0] * (1 + (-1) ** seed * 1e-3 * (1 + seed % 89 / 100)))

    subject = replace(sheet.subject(models[-1]), checkpoints=checkpoints, factory=factory)
    before, after = sheet.exact(depths[0]), sheet.exact(depths[-1])
    growth = torch.full_like(after.normal, depths[0] / depths[-1])
    truth = distance_answers(subject, after) | answers(
        {
            "boundary-clings-mechanism-builtin": after.normal / before.normal,
            "normal-gradient-growth-mechanism-builtin": growth,
            "normal-gradient-growth-mechanism-against-tangent": growth,
        }
    )
    if len(depths) >= 5:  # the check needs five checkpoints to show two phases
        truth["two-phases-mechanism-builtin"] = has_two_phases(depths)
    return World(f"depths {', '.join(f'{depth:g}' for depth in depths)}", subject, after.distance, truth)


def trainings(
    *,
    standard: float = 0.1,
    robust: float = 0.3,
    alternative: float | None = None,
    spread: float = 0.15,
    count: int | None = None,
    ambient_dim: int = 50,
    dim: int = 8,
    jitter: float = 0.2,
    samples: int = 256,
    seed: int,
) -> World:
    """Return pairs of trainings, where the depth of each network's dimples is drawn independently.

    A depth is that of its kind of training times exp(spread e), e exponentially distributed. The edges of the pleats
    are the same in all networks, so that d_on is the same and d_off is proportional to the depth. Where both kinds have
    the same depths, which network of a pair is deeper is a matter of chance, and the claims about adversarial training
    are at their limits. So they are where the alternative training deepens as much as the adversarial one. Where the
    depths of two kinds differ twofold or more, this answers the claims.

    Args:
        standard: Least depth of the standard networks' dimples.
        robust: Least depth of the robust networks' dimples.
        alternative: Least depth of the dimples of networks of a control training; None for no such training.
        spread: How much depths differ among networks of a kind.
        count: Number of pairs, as a list; None for a function that gives as many as are asked for.
        ambient_dim: D.
        dim: k, at least 2.
        jitter: Largest distance of inputs from the middle of their cell.
        samples: Number of inputs, and of examples for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_counts(count=(1 if count is None else count, 1))
    least = {"standard": standard, "robust": robust, "alternative": standard if alternative is None else alternative}
    check_numbers(spread=(spread, 0, math.inf), **{name: (depth, LEAST, math.inf) for name, depth in least.items()})
    sheet = _sheet(ambient_dim, dim, jitter=jitter, samples=samples, noise=0.0, seed=seed)

    def network(kind: str, least: float, number: int) -> Dimples:
        uniform = torch.rand((), generator=seeded(seed, "training", kind, number), dtype=torch.float64)
        return sheet.model(least * math.exp(-spread * math.log1p(-float(uniform))))

    def pair(number: int) -> tuple[Dimples, Dimples]:
        return network("standard", standard, number), network("robust", robust, number)

    def control(number: int) -> Dimples:
        return network("alternative", alternative or standard, number)

    given = pair if count is None else [pair(number) for number in range(count)]
    other = None if alternative is None else control if count is None else [control(n) for n in range(count)]
    subject = replace(sheet.subject(network("under test", standard, 0)), pairs=given, alternative=other)
    deeper = min(robust / standard, robust / (alternative or standard))
    name = f"trainings to depths {standard:g} and {robust:g}" + (f", or {alternative:g}" if alternative else "")
    if deeper < 1 or deeper >= CLEAR:
        return World(name, subject, truth=dict.fromkeys(PAIR_CLAIMS, deeper > 1))
    if deeper > 1 or standard == robust == alternative:  # the smaller of two numbers that are each at its limit
        return World(name, subject, truth={} if deeper > 1 else dict.fromkeys(PAIR_CLAIMS, False))
    return World(name, subject, at_limit=frozenset(PAIR_CLAIMS))


def has_two_phases(depths: Sequence[float]) -> bool:
    """Return whether the lowest of evenly spaced depths lies in the first half, and 5 % below both ends."""
    low = min(depths)
    early = depths.index(low) <= (len(depths) - 1) / 2
    return early and min(depths[0], depths[-1]) > PHASE * low


def height(position: Tensor, depth: float, profile: Profile) -> Tensor:
    """Return the height (...) of the boundary over positions (..., 2) on the sheet, see `dimpled`."""
    if profile == "smooth":
        return depth * torch.sin(math.pi * position).prod(-1)
    cell = position[..., 0].detach().floor()
    within = position[..., 0] - cell
    return 2 * depth * (1 - 2 * (cell % 2)) * torch.minimum(within, 1 - within)


def _sheet(
    ambient_dim: int, dim: int, *, jitter: float, samples: int, noise: float, seed: int, profile: Profile = "pleats"
) -> _Sheet:
    check_sizes(samples=samples, dim=dim, ambient_dim=ambient_dim, least_dim=2)
    check_numbers(jitter=(jitter, 0, 0.5), noise=(noise, 0, math.inf))
    generator = seeded(seed, "dimpled")
    basis, _, across = frame(ambient_dim, dim, generator)
    x, x_train = (_in_cells(basis, across, samples, jitter=jitter, noise=noise, generator=generator) for _ in range(2))
    return _Sheet(basis, across, x, x_train, profile)


def _in_cells(
    basis: Tensor, across: Tensor, samples: int, *, jitter: float, noise: float, generator: torch.Generator
) -> Tensor:
    """Return the points (n, D) around the middle of cells, with normal coordinates along the other tangent axes."""
    ambient_dim, dim = basis.shape
    cell = torch.randint(-CELLS // 2, CELLS // 2, (samples, 2), generator=generator)
    offset = jitter * (2 * torch.rand(samples, 2, generator=generator, dtype=torch.float64) - 1)
    rest = torch.randn(samples, dim - 2, generator=generator, dtype=torch.float64)
    x = torch.cat([cell + 0.5 + offset, rest], 1) @ basis.T
    off = noise * torch.randn(samples, ambient_dim, generator=generator, dtype=torch.float64)
    off = off - geometry.project_tangent(off, basis)
    return x + off - (off @ across)[:, None] * across


def _exact(position: Tensor, depth: float, profile: Profile) -> Exact:
    """Return the distances from positions (n, 2) on the sheet to the dimpled boundary over it."""
    within = position - position.floor()
    edges = torch.minimum(within, 1 - within)
    normal = height(within, depth, profile).abs()
    if profile == "pleats":
        length = math.sqrt(1 + 4 * depth**2)  # of a slope over its horizontal part
        return Exact(normal / length, edges[:, 0], normal, torch.full_like(normal, length**-2))
    nearest = _nearest(within, depth)
    free = torch.sqrt((nearest - within).square().sum(1) + height(nearest, depth, profile) ** 2)
    return Exact(free, edges.amin(1), normal, (height(nearest, depth, profile) / free) ** 2)


def _nearest(within: Tensor, depth: float) -> Tensor:
    """Return the positions (n, 2) in the cell at which a smooth boundary is nearest.

    They are found by ever finer grids around the best point.
    """
    ticks = torch.linspace(-0.5, 0.5, POINTS, dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks)  # (P, 2)
    best, width = torch.full_like(within, 0.5), 1.0
    for _ in range(ROUNDS):
        candidates = (best[:, None] + width * grid).clamp(0, 1)  # (n, P, 2)
        squared = (candidates - within[:, None]).square().sum(-1) + height(candidates, depth, "smooth") ** 2
        best = candidates[torch.arange(len(best)), squared.argmin(1)]
        width *= SHRINK
    return best
