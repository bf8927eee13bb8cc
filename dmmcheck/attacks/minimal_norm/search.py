"""The built-in search for the nearest label change, anywhere or inside a subspace, with or without a box.

Several ways from each input, walked side by side in the same batches; all decisions are taken way by way, so that an
answer depends neither on the batch nor on the order of inputs:

1. approach: half way to the boundaries of the nearest classes, to first order, along the gradient at the input, or the
   mean of that and one further ahead, then HL-RF steps, as in structural reliability, where it is the same problem
   (Hasofer & Lind 1974; Rackwitz & Fiessler 1978): to the point of the linearised boundary nearest to the input;
2. refinement of the nearest ways, fewer and fewer, while their crossing is not a nearest point yet: annealed turns of
   the direction, as in DDN and FMN, and Newton steps for the radius; rows that no way has taken across are reached out
   for;
3. of the shortest one: a search along its ray, HL-RF again, a last search along its ray, and as small a step beyond the
   boundary as the rounding of the logits asks for, which confirms the label change and gives the gradient there.

Ways differ in the class that is approached, then in a random direction shared by all inputs. Nothing in here has a
unit: lengths are relative to the way's own, so that scaling inputs or logits scales the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.minimal_norm.candidates import Ways, joined
from dmmcheck.attacks.minimal_norm.ddn import polish, refine, settle
from dmmcheck.attacks.minimal_norm.hlrf import approach, reach_out, starts
from dmmcheck.attacks.minimal_norm.line_search import along_ray, draw_in
from dmmcheck.attacks.minimal_norm.oracle import Arm, Problem
from dmmcheck.errors import AttackError
from dmmcheck.models.memory import out_of_memory
from dmmcheck.models.torch import adapt

__all__ = ["EFFORTS", "Arm", "Effort", "boundary_search", "search_arms"]

EffortName = Literal["quick", "default", "thorough"]

REACH = 1e4  # of the search, in first-order distances to the boundary
ROWS = 512  # rows in one model call
VALUES = 1 << 22  # values of x in one model call
POLISH = 1  # HL-RF steps after the refinement


@dataclass(frozen=True)
class Stage:
    """Of a row's ways the `ways` nearest, at most `slack` times as long as the first; `steps` of those unfinished."""

    ways: int
    slack: float
    steps: int


@dataclass(frozen=True)
class Effort:
    """How much to spend.

    Attributes:
        rivals: How many classes are looked at from the input.
        starts: How many ways are tried at most: to the nearest of these classes, then in random directions.
        slack: Classes more than so many times as far as the nearest are not tried.
        ahead: Turn the first direction half way to that further ahead, unless the gradient there points back.
        approach: HL-RF steps of each.
        enough: A way leaves the refinement with a crossing whose nearest point is, to first order, no closer than this
            times its length.
        stages: Of the refinement.
    """

    rivals: int
    starts: int
    slack: float
    ahead: bool
    approach: int
    enough: float
    stages: tuple[Stage, ...]

    @property
    def refine(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)


EFFORTS = {
    "quick": Effort(
        rivals=6,
        starts=3,
        slack=1.8,
        ahead=False,
        approach=3,
        enough=0.99,
        stages=(Stage(3, 1.5, 2), Stage(1, 1.0, 3), Stage(1, 1.0, 5)),
    ),
    "default": Effort(
        rivals=9,
        starts=4,
        slack=2.0,
        ahead=True,
        approach=3,
        enough=0.999,
        stages=(Stage(4, 2.0, 4), Stage(3, 1.3, 4), Stage(2, 1.1, 4), Stage(2, 1.1, 8)),
    ),
    "thorough": Effort(
        rivals=9,
        starts=12,
        slack=math.inf,
        ahead=False,
        approach=4,
        enough=0.9999,
        stages=(Stage(10, 1.8, 12), Stage(6, 1.4, 16), Stage(6, 1.4, 32)),
    ),
}


def boundary_search(
    model: Any,
    x: Tensor,
    y: Tensor,
    *,
    subspace: Tensor | None = None,
    normal: bool = False,
    bounds: tuple[float, float] | None = None,
    targets: Tensor | None = None,
    effort: EffortName = "default",
    generator: torch.Generator,
    radius: float | None = None,
    batch_size: int | None = None,
) -> Crossing:
    """Smallest L2 step found that changes the label of each input.

    Args:
        model: A ``torch.nn.Module``, a callable, or a `TorchClassifier`.
        x: Inputs ``(n, *input_shape)``; flat ``(n, D)`` for a `TorchClassifier`.
        y: Labels (n,). An input that the model does not call y is at distance 0.
        subspace: Orthonormal basis, (D, k) shared by all inputs or (n, D, k); the search stays in x + its span.
        normal: Search the orthogonal complement of the subspace instead.
        bounds: Box (lo, hi) that x and the crossing lie in; None for no box.
        targets: Classes (n,) to reach; any other class where None.
        effort: ``quick``, ``default`` or ``thorough``.
        generator: Of the directions of restarts.
        radius: Farthest to look, in units of x; by default 10^4 times the first-order distance to the boundary.
        batch_size: Rows in one model call; adapts to the memory where None.

    Returns:
        Distances that are upper bounds of the true ones; inf where nothing was found (never 0, never the input
        passed off as an answer).

    Raises:
        AttackError: Shapes do not fit, or the effort is unknown.
        ModelError: The model cannot be called.
    """
    (found,) = search_arms(
        model,
        x,
        y,
        [Arm(subspace, normal)],
        bounds=bounds,
        targets=targets,
        effort=effort,
        generator=generator,
        radius=radius,
        batch_size=batch_size,
    )
    return found


def search_arms(
    model: Any,
    x: Tensor,
    y: Tensor,
    arms: Sequence[Arm],
    *,
    bounds: tuple[float, float] | None = None,
    targets: Tensor | None = None,
    effort: EffortName = "default",
    generator: torch.Generator,
    radius: float | None = None,
    batch_size: int | None = None,
) -> list[Crossing]:
    """`boundary_search` in several arms at once, sharing model calls; one Crossing an arm.

    A restricted crossing that is shorter than the unrestricted one takes its place: it is a better answer to it.
    """
    classifier = adapt(model, x)
    flat, labels = classifier.flat(x), y.to(classifier.device)
    _check(flat, labels, arms, effort, targets)
    aims = None if targets is None else targets.to(classifier.device)
    spaces = [Arm(None if arm.subspace is None else arm.subspace.to(flat), arm.normal) for arm in arms]
    restart = torch.randn((EFFORTS[effort].starts, flat.shape[1]), generator=generator, dtype=torch.float64).to(flat)
    at_once = len(arms) * EFFORTS[effort].starts
    batch = batch_size or max(1, min(ROWS, VALUES // flat.shape[1]))
    size = max(1, batch // at_once)
    parts: list[list[Crossing]] = []
    start = 0
    with classifier.evaluation():
        while start < len(flat):
            rows = slice(start, start + size)
            local = [Arm(_rows(arm.subspace, rows), arm.normal) for arm in spaces]
            aim = None if aims is None else aims[rows]
            problem = Problem(classifier, flat[rows], labels[rows], targets=aim, arms=local, bounds=bounds, batch=batch)
            try:
                parts.append(_search(problem, EFFORTS[effort], restart, radius))
            except (RuntimeError, MemoryError) as error:
                if size == 1 or not out_of_memory(error):
                    raise
                size = max(1, size // 2)
                continue
            batch = problem.batch
            start += size
    return nested([_join(column) for column in zip(*parts, strict=True)], spaces)


def _search(problem: Problem, effort: Effort, restart: Tensor, radius: float | None) -> list[Crossing]:
    """All rows of a problem, from the first steps to the confirmed crossing."""
    margin, rivals = problem.rivals(problem.rows, effort.rivals, effort.starts)
    reach = REACH * rivals.scale if radius is None else torch.full_like(margin, radius)
    already = margin < 0
    step = torch.zeros_like(problem.at(problem.rows).x)
    distance, at_margin = torch.where(already, torch.zeros_like(margin), torch.inf), margin.where(already, torch.nan)
    cosine = torch.full_like(margin, torch.nan)
    rows = problem.rows[~already]
    if len(rows):
        ways = starts(problem, rows, rivals, restart, slack=effort.slack, ahead=effort.ahead)
        approach(problem, ways, effort.approach)
        draw_in(problem, ways, margin, forwards=3)
        ways = _refined(problem, ways, effort, reach)
        draw_in(problem, ways, margin, forwards=3)
        polish(problem, ways, POLISH)
        along_ray(problem, ways, lowest=0.97, forwards=3)
        angle = settle(problem, ways, rivals.noise[ways.rows])
        kept = torch.isfinite(ways.length) & (ways.length <= reach[ways.rows])
        to = ways.rows[kept]
        distance[to], at_margin[to], cosine[to] = ways.length[kept], ways.margin[kept], angle[kept]
        step[to] = ways.best[kept]
    found, x = torch.isfinite(distance), problem.at(problem.rows).x
    point = torch.where((found & ~already)[:, None], problem.points(x, step), x)
    columns = (point, distance, found, reach, problem.forwards, problem.backwards, at_margin, cosine)
    n = problem.n
    return [Crossing(*(column[at : at + n] for column in columns)) for at in range(0, len(margin), n)]


def _refined(problem: Problem, ways: Ways, effort: Effort, reach: Tensor) -> Ways:
    """The shortest way of each row, after the refinement of the nearest ones; only of rows that have crossed."""
    near, tried, done = ways, [ways], 0
    near.step = torch.where(torch.isfinite(near.length)[:, None], near.best, near.step)
    for stage in effort.stages:
        near = near.nearest(stage.ways, stage.slack).unfinished(effort.enough)
        if not len(near.rows):
            break
        tried.append(near)
        refine(problem, near, range(done, done + stage.steps), effort.refine, effort.enough)
        if not done:
            reach_out(problem, near, reach)
        done += stage.steps
    if len(near.rows):
        near.offer(near.step, problem.margin(near.step, near.rows))
    every = joined(tried)
    reach_out(problem, every, reach)
    return every.shortest()


def nested(found: list[Crossing], arms: Sequence[Arm]) -> list[Crossing]:
    """Unrestricted crossings replaced by shorter restricted ones of the same inputs."""
    restricted = [crossing for crossing, arm in zip(found, arms, strict=True) if arm.subspace is not None]
    return [
        _shortest([crossing, *restricted]) if arm.subspace is None and restricted else crossing
        for crossing, arm in zip(found, arms, strict=True)
    ]


def _shortest(candidates: Sequence[Crossing]) -> Crossing:
    """Of each input the shortest of several crossings, at the cost of the first."""
    first = candidates[0]
    winner = torch.stack([crossing.distance for crossing in candidates]).argmin(0)
    index = torch.arange(len(winner), device=winner.device)

    def pick(name: str) -> Tensor:
        return torch.stack([getattr(crossing, name) for crossing in candidates])[winner, index]

    return Crossing(
        point=pick("point"),
        distance=pick("distance"),
        found=pick("found"),
        radius=first.radius,
        forwards=first.forwards,
        backwards=first.backwards,
        margin=pick("margin"),
        kkt_cosine=first.kkt_cosine.where(winner == 0, pick("kkt_cosine")),
    )


def _join(parts: Sequence[Crossing]) -> Crossing:
    names = Crossing.__dataclass_fields__
    return Crossing(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _rows(basis: Tensor | None, rows: slice) -> Tensor | None:
    return basis if basis is None or basis.ndim == 2 else basis[rows]


def _check(x: Tensor, y: Tensor, arms: Sequence[Arm], effort: str, targets: Tensor | None) -> None:
    if effort not in EFFORTS:
        raise AttackError(f"effort {effort!r} is unknown; valid: {', '.join(EFFORTS)}")
    if not arms:
        raise AttackError("no arm to search in was given; pass at least Arm()")
    n, ambient_dim = x.shape
    for name, labels in (("y", y), ("targets", targets)):
        if labels is not None and tuple(labels.shape) != (n,):
            raise AttackError(f"{name} has shape {tuple(labels.shape)}, expected ({n},): one class an input")
    for arm in arms:
        shape = None if arm.subspace is None else tuple(arm.subspace.shape)
        if shape is None and arm.normal:
            raise AttackError("normal=True needs a subspace whose complement to search; pass subspace=basis")
        if shape is not None and (
            shape[:-1] not in {(ambient_dim,), (n, ambient_dim)} or not 0 < shape[-1] < ambient_dim
        ):
            raise AttackError(
                f"subspace has shape {shape} for {n} inputs with D = {ambient_dim}; expected (D, k) or (n, D, k), k < D"
            )
