"""The built-in search for the nearest label change, anywhere or inside a subspace, with or without a box.

Three stages for each start, all decisions taken row by row, so that an answer depends neither on the batch nor on the
order of inputs:

1. approach: DeepFool steps inside the subspace until the label changes (Moosavi-Dezfooli et al., 1511.04599);
2. design point: HL-RF steps, the same problem in structural reliability (Hasofer & Lind 1974; Rackwitz & Fiessler
   1978): to the point of the linearised boundary nearest to the input, taken back to the true boundary, kept where
   shorter;
3. refinement of the nearest starts: normalised gradient steps on a sphere that shrinks and grows with success,
   annealed, the best kept (Rony et al., 1811.09600; Pintor et al., 2102.12827).

Starts differ in the class that is approached, then in a random direction shared by all inputs. Nothing in here has a
unit: lengths are relative to the row's own best, so that scaling inputs or logits scales the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.box import nearest_on_plane
from dmmcheck.attacks.problem import Arm, Problem
from dmmcheck.errors import AttackError
from dmmcheck.models.torch import adapt

__all__ = ["EFFORTS", "Arm", "Effort", "boundary_search", "search_arms"]

EffortName = Literal["quick", "default", "thorough"]

OVERSHOOT = 1.02
REACH = 1e4  # of the search, in first-order distances to the boundary
ROWS = 512  # rows in one model call
VALUES = 1 << 22  # values of x in one model call
RIVALS = 3
POLISH = 2  # HL-RF steps after the refinement, which leaves a smooth boundary's nearest point by its last step
TIE = 1e-6  # steps less than this share shorter are equally long
PUSH = 1e-5  # relative step beyond the boundary, so that a repeated forward pass agrees on the label


@dataclass(frozen=True)
class Effort:
    """How much to spend.

    Attributes:
        starts: How many starts are taken to the boundary.
        approach: Most DeepFool steps of each.
        design: HL-RF steps of each.
        refined: How many of them, the nearest first, are refined.
        refine: Steps of the refinement.
        slack: A start beyond this many times the best known is not refined.
    """

    starts: int
    approach: int
    design: int
    refined: int
    refine: int
    slack: float = 1.15


EFFORTS = {
    "quick": Effort(starts=2, approach=8, design=1, refined=1, refine=12),
    "default": Effort(starts=3, approach=10, design=2, refined=2, refine=18),
    "thorough": Effort(starts=6, approach=16, design=4, refined=6, refine=60, slack=1.3),
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
    size = batch_size or max(1, min(ROWS, VALUES // flat.shape[1]) // len(arms))
    parts: list[list[Crossing]] = []
    start = 0
    with classifier.evaluation():
        while start < len(flat):
            rows = slice(start, start + size)
            local = [Arm(_rows(arm.subspace, rows), arm.normal) for arm in spaces]
            aim = None if aims is None else aims[rows]
            try:
                problem = Problem(classifier, flat[rows], labels[rows], targets=aim, arms=local, bounds=bounds)
                parts.append(_search(problem, EFFORTS[effort], restart, radius))
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if size == 1 or not _out_of_memory(error):
                    raise
                size = max(1, size // 2)
                continue
            start += size
    return nested([_join(column) for column in zip(*parts, strict=True)], spaces)


def _search(problem: Problem, effort: Effort, restart: Tensor, radius: float | None) -> list[Crossing]:
    """All rows of a problem, from the first start to the confirmed crossing."""
    rows = problem.rows
    margin, classes, first_order, scale = problem.rivals(rows, RIVALS)
    reach = REACH * scale if radius is None else torch.full_like(scale, radius)
    best = Best(problem, margin)
    open_rows = rows[margin >= 0]
    trials = []
    for number in range(effort.starts if len(open_rows) else 0):
        started = _start(
            problem,
            best,
            open_rows,
            number,
            classes=classes,
            first_order=first_order,
            restart=restart,
            reach=reach,
            effort=effort,
        )
        trial = Best(problem, margin)
        trial.offer(open_rows, *started)
        found = open_rows[torch.isfinite(trial.length[open_rows])]
        _along_ray(problem, trial, found, lowest=0.0, forwards=3)
        _design_point(problem, trial, found, effort.design)
        trials.append(trial)
        best.take(trial)
    _refine_nearest(problem, trials, best, open_rows, effort)
    crossed = rows[(margin >= 0) & torch.isfinite(best.length)]
    _settle(problem, best, crossed)
    return _crossings(problem, best, margin, reach, crossed)


class Best:
    """Shortest crossing known of each row: step (R, D) and length (R,), inf where none is known."""

    def __init__(self, problem: Problem, margin: Tensor) -> None:
        self.step = torch.zeros((len(margin), problem.x.shape[1]), dtype=problem.x.dtype, device=problem.x.device)
        self.length = torch.full_like(margin, torch.inf)

    def offer(self, rows: Tensor, step: Tensor, margin: Tensor) -> Tensor:
        """Keep steps (m, D) that cross and are clearly shorter, so that rounding decides nothing; says which (m,)."""
        length = step.norm(dim=1)
        better: Tensor = (margin < 0) & (length < self.length[rows] * (1 - TIE))
        taken = rows[better]
        self.step[taken] = step[better]
        self.length[taken] = length[better]
        return better

    def take(self, other: Best) -> None:
        """Keep what is shorter in another."""
        shorter = other.length < self.length
        self.step[shorter] = other.step[shorter]
        self.length[shorter] = other.length[shorter]


def _start(
    problem: Problem,
    best: Best,
    rows: Tensor,
    number: int,
    *,
    classes: Tensor,
    first_order: Tensor,
    restart: Tensor,
    reach: Tensor,
    effort: Effort,
) -> tuple[Tensor, Tensor]:
    """A first crossing of each row: towards the number-th nearest class, later from a shared random direction."""
    if number < classes.shape[1]:
        return _approach(problem, rows, classes[rows, number], reach=reach[rows], steps=effort.approach)
    known = torch.isfinite(best.length[rows])
    length = torch.where(known, best.length[rows], first_order[rows, 0])[:, None]
    away = problem.restrict(restart[number].expand(len(rows), -1).clone(), rows)
    away = away / away.norm(dim=1, keepdim=True)
    begin = (best.step[rows] + 0.5 * length * away).nan_to_num(nan=0.0)
    return _approach(problem, rows, None, reach=reach[rows], steps=effort.approach, begin=problem.feasible(begin, rows))


def _approach(
    problem: Problem, rows: Tensor, rivals: Tensor | None, *, reach: Tensor, steps: int, begin: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """DeepFool inside the subspace: step (m, D) and the margin there (m,), negative where it crossed."""
    result = torch.zeros((len(rows), problem.x.shape[1]), dtype=reach.dtype, device=reach.device)
    result = result if begin is None else begin.clone()
    ended = torch.full_like(reach, torch.inf)
    active = torch.arange(len(rows), device=rows.device)
    for number in range(steps + 1):
        here = rows[active]
        # the last rounds aim at any class: the named one may not be reachable
        aims = rivals[active] if rivals is not None and number < steps // 2 else None
        margin, toward, g = problem.gradient(result[active], here, aims)
        ended[active] = margin
        going = (margin >= 0) & (g != 0).any(1) & torch.isfinite(margin)
        active, here = active[going], here[going]
        if not len(active) or number == steps:
            break
        step = result[active]
        g, toward = g[going], toward[going]
        if problem.bounds is None:
            step = step - OVERSHOOT * (toward / g.square().sum(1))[:, None] * g
        else:
            level = (g * step).sum(1) - OVERSHOOT * toward
            step = problem.feasible(nearest_on_plane(problem, here, g, level), here)
        length = step.norm(dim=1)
        result[active] = step * (reach[active] / length).clamp(max=1)[:, None]
    return _reach_out(problem, rows, result, ended, reach)


def _reach_out(problem: Problem, rows: Tensor, step: Tensor, margin: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Rows that have not crossed go on along their own ray, doubling, to the end of the search."""
    step, margin = step.clone(), margin.clone()
    for _ in range(4):
        length = step.norm(dim=1)
        open_rows = torch.nonzero((margin >= 0) & (length > 0) & (length < reach)).reshape(-1)
        if not len(open_rows):
            break
        grown = step[open_rows] * torch.minimum(torch.full_like(length, 2.0), reach / length)[open_rows, None]
        grown = problem.feasible(grown, rows[open_rows])
        step[open_rows], margin[open_rows] = grown, problem.margin(grown, rows[open_rows])
    return step, margin


def _refine_nearest(problem: Problem, trials: Sequence[Best], best: Best, rows: Tensor, effort: Effort) -> None:
    """Refine each row's nearest starts, one after the other, while they are near the best known."""
    if not trials:
        return
    lengths = torch.stack([trial.length for trial in trials])  # (starts, R)
    order = lengths.argsort(dim=0, stable=True)
    index = torch.arange(lengths.shape[1], device=lengths.device)
    for rank in range(min(effort.refined, len(trials))):
        chosen = order[rank]
        length = lengths[chosen, index]
        near = rows[(length[rows] < effort.slack * best.length[rows]) | (rank == 0) & torch.isfinite(length[rows])]
        trial = Best(problem, length)
        trial.length[near] = length[near]
        for number, start in enumerate(trials):
            here = near[chosen[near] == number]
            trial.step[here] = start.step[here]
        _refine(problem, trial, near, effort.refine)
        best.take(trial)


def _along_ray(problem: Problem, best: Best, rows: Tensor, *, lowest: float, forwards: int) -> None:
    """Shorten steps along their rays: regula falsi, kept away from both ends, between no change and change of label."""
    if not len(rows):
        return
    step = best.step[rows]
    near, far = torch.full_like(step[:, 0], lowest), torch.ones_like(step[:, 0])
    near_margin, far_margin = problem.margin(near[:, None] * step, rows), problem.margin(step, rows)
    crossed = near_margin < 0  # at the lowest point already: the whole ray is open again
    far = torch.where(crossed, near, far)
    far_margin, near = torch.where(crossed, near_margin, far_margin), torch.where(crossed, 0.0, near)
    for _ in range(forwards):
        share = near_margin.abs() / (near_margin.abs() + far_margin.abs())
        share = torch.where(crossed, 0.5, share.nan_to_num(nan=0.5).clamp(0.1, 0.9))
        middle = near + share * (far - near)
        margin = problem.margin(middle[:, None] * step, rows)
        hit = margin < 0
        crossed = crossed & hit
        near, far = torch.where(hit, near, middle), torch.where(hit, middle, far)
        near_margin, far_margin = torch.where(hit, near_margin, margin), torch.where(hit, margin, far_margin)
    best.offer(rows, far[:, None] * step, far_margin)


def _design_point(problem: Problem, best: Best, rows: Tensor, steps: int) -> None:
    """HL-RF: to the nearest point of the linearised boundary, out to the true one, kept where shorter."""
    for _ in range(steps):
        if not len(rows):
            return
        step = best.step[rows]
        margin, _, g = problem.gradient(step, rows)
        square = g.square().sum(1)
        level = (g * step).sum(1) - margin
        plane = _on_plane(problem, rows, g, level, square)
        there = problem.margin(plane, rows)
        better = best.offer(rows, plane, there)
        slope = (g * plane).sum(1).abs() / plane.norm(dim=1)
        out = plane * (1 + OVERSHOOT * there.clamp_min(0) / (slope * plane.norm(dim=1)))[:, None]
        # where that fails too: half way back to the crossing we came from
        out = torch.where((out.norm(dim=1) < best.length[rows])[:, None], out, (plane + step) / 2)
        out = problem.feasible(out.nan_to_num(nan=0.0), rows)
        again = rows[~better]
        if len(again):
            better[~better] = best.offer(again, out[~better], problem.margin(out[~better], again))
        rows = rows[better]


def _on_plane(problem: Problem, rows: Tensor, g: Tensor, level: Tensor, square: Tensor) -> Tensor:
    """The shortest step (m, D) with g . step = level, a little beyond it."""
    if problem.bounds is None:
        return (level / square)[:, None].nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) * g * (1 + 1e-4)
    return nearest_on_plane(problem, rows, g, level * (1 + 1e-4))


def _refine(problem: Problem, best: Best, rows: Tensor, steps: int) -> None:
    """Normalised steps on a sphere a little inside the best known crossing, annealed; the best is kept."""
    if not len(rows):
        return
    step = best.step[rows]
    radius = best.length[rows]
    for number in range(steps):
        anneal = (1 + math.cos(math.pi * number / steps)) / 2
        move, shrink = 0.005 + 0.295 * anneal, 0.001 + 0.029 * anneal
        margin, _, g = problem.gradient(step, rows)
        best.offer(rows, step, margin)
        known = best.length[rows]
        radius = torch.where(margin < 0, known * (1 - shrink), torch.minimum(radius * (1 + shrink), known))
        direction = g / g.norm(dim=1, keepdim=True)
        step = step - (move * radius)[:, None] * direction.nan_to_num(nan=0.0)
        step = step * (radius / step.norm(dim=1))[:, None].nan_to_num(nan=0.0, posinf=0.0)
        step = problem.feasible(step, rows)
    best.offer(rows, step, problem.margin(step, rows))
    _along_ray(problem, best, rows, lowest=0.97, forwards=3)
    _design_point(problem, best, rows, POLISH)


def _settle(problem: Problem, best: Best, rows: Tensor) -> None:
    """Move crossings beyond the boundary by as little as a repeated forward pass needs to agree on the label."""
    step = best.step[rows]
    length = best.length[rows]
    settled = torch.zeros_like(length, dtype=torch.bool)
    for push in (PUSH, 10 * PUSH, 100 * PUSH):
        open_rows = torch.nonzero(~settled).reshape(-1)
        if not len(open_rows):
            break
        pushed = problem.feasible(step[open_rows] * (1 + push), rows[open_rows])
        holds = problem.margin(pushed, rows[open_rows]) < 0
        best.step[rows[open_rows[holds]]] = pushed[holds]
        best.length[rows[open_rows[holds]]] = pushed[holds].norm(dim=1)
        settled[open_rows[holds]] = True
    lost = rows[~settled]
    best.length[lost] = torch.where(problem.margin(best.step[lost], lost) < 0, best.length[lost], torch.inf)


def _crossings(problem: Problem, best: Best, margin: Tensor, reach: Tensor, rows: Tensor) -> list[Crossing]:
    """What was found, confirmed by one more pass that also gives margin and gradient there."""
    at_margin, cosine = torch.full_like(margin, torch.nan), torch.full_like(margin, torch.nan)
    if len(rows):
        step = best.step[rows]
        last, _, g = problem.gradient(step, rows)
        at_margin[rows] = last
        cosine[rows] = -torch.cosine_similarity(step, g, dim=1)
    already = margin < 0
    found = already | (torch.isfinite(best.length) & (best.length <= reach) & (at_margin < 0))
    distance = torch.where(already, 0.0, torch.where(found, best.length, torch.inf))
    step = torch.where((found & ~already)[:, None], best.step, 0.0)
    at_margin = torch.where(already, margin, torch.where(found, at_margin, torch.nan))
    cosine = torch.where(found & ~already, cosine, torch.nan)
    columns = (distance, found, reach, problem.forwards, problem.backwards, at_margin, cosine)
    n = problem.n
    return [
        Crossing(problem.x + step[at : at + n], *(column[at : at + n] for column in columns))
        for at in range(0, len(margin), n)
    ]


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


def _out_of_memory(error: BaseException) -> bool:
    words = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "out of memory" in words
        or "can't allocate memory" in words
    )


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
