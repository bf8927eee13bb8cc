"""The built-in search for the nearest label change, in any search space, with or without a box.

Several candidates of each input are moved in the same batches. Each decision depends on one candidate or on the
candidates of one input, so that a result depends neither on the batch nor on the order of the inputs. The search has
three parts:

1. Initial candidates (`hlrf`): half a step towards the linearised boundary of each of the nearest classes, along the
   gradient at the input or its mean with a gradient further ahead, and in random directions that all inputs share; then
   HL-RF steps. Where a label changes before the crossings that these find (`label_starts`), one more candidate; and
   one where it changes on a ray for another reason than these crossings (`ray_starts`).
2. Refinement (`ddn`) of the best candidates, fewer in each stage, until their crossing is a nearest point. For inputs
   in which no candidate has crossed the boundary, or only candidates far behind where others expect it: DeepFool and
   growing radii (`deepfool`).
3. For the shortest candidate (`line_search`): a line search, one more HL-RF step, a last line search, and the smallest
   overshoot that exceeds the rounding of the logits. It confirms the label change and gives the gradient there.

No constant has a unit. Lengths are relative to those of the candidates, so that scaling the inputs scales the distances
and scaling the logits changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.minimal_norm.candidates import Candidates, joined
from dmmcheck.attacks.minimal_norm.ddn import ddn_steps
from dmmcheck.attacks.minimal_norm.deepfool import deepfool_fallback
from dmmcheck.attacks.minimal_norm.effort import EFFORTS, Effort
from dmmcheck.attacks.minimal_norm.ends import Ends
from dmmcheck.attacks.minimal_norm.hlrf import hlrf, initial_steps, polish
from dmmcheck.attacks.minimal_norm.input_gradients import InputGradients
from dmmcheck.attacks.minimal_norm.label_starts import RAYS, label_starts
from dmmcheck.attacks.minimal_norm.line_search import confirm_crossings, line_search, shorten_far_crossings
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle
from dmmcheck.attacks.minimal_norm.ray_starts import ray_starts
from dmmcheck.attacks.search_space import Everywhere, SearchSpace, at_once, spanned, spread
from dmmcheck.attacks.waiting import waits
from dmmcheck.errors import AttackError
from dmmcheck.inference.types import SearchEffort
from dmmcheck.models.base import Classifier, evaluating, flat
from dmmcheck.models.boxed import Box, box_at
from dmmcheck.models.memory import batch_results
from dmmcheck.models.torch import adapt

FARTHEST_ENTRY = 1e4  # largest entry of a perturbation, in ranges of the values of the inputs
RADIUS = 1e4  # how far the search looks, in first-order distances to the boundary
BATCH = (512, 1 << 21)  # most rows, and most values of x, in one model call
GPU_BATCH = (4096, 1 << 24)  # the same on a GPU, where a call takes nearly as long for few rows


def boundary_search(
    model: Any,
    x: Tensor,
    y: Tensor,
    *,
    subspace: Tensor | None = None,
    normal: bool = False,
    space: SearchSpace | None = None,
    bounds: Box | None = None,
    targets: Tensor | None = None,
    examples: tuple[Tensor, Tensor] | None = None,
    effort: SearchEffort = "default",
    generator: torch.Generator,
    radius: float | None = None,
    batch_size: int | None = None,
    known: InputGradients | None = None,
) -> Crossing:
    """Return the smallest L2 perturbation found that changes the label of each input.

    Args:
        model: A ``torch.nn.Module``, a function on tensors, or a `Classifier`.
        x: Inputs ``(n, *input_shape)``, or flat (n, D) for a `Classifier`.
        y: Labels (n,). An input that the model does not call y is at distance 0.
        subspace: Orthonormal basis (D, k) for all inputs, or (n, D, k) for each; the search stays in x + its span.
        normal: Search the orthogonal complement of the subspace instead.
        space: A `SearchSpace` of the n inputs, in place of subspace and normal.
        bounds: Box (lo, hi) that x and the crossing lie in, two numbers or two tensors (D,);
            where None, that of a classifier that has one.
        targets: Classes (n,) to reach; any other class where None.
        examples: Labelled examples (m, *input_shape) or (m, D), and their labels (m,), or None. The search also looks
            for label changes on the way to the nearest ones of other classes, which helps where the margin is flat.
        effort: ``quick``, ``default`` or ``thorough``; ``brief`` where only medians of many searches count, and
            ``exhaustive`` to check the results of ``thorough``.
        generator: Source of the random directions.
        radius: How far to search, in units of x; by default 10^4 times the first-order distance to the boundary, and at
            most 10^4 times the range of the values of x.
        batch_size: Most rows in one model call, halved where memory runs out; where None, 512, on a
            GPU 4,096, and fewer where an input has many values.
        known: What `gradients_at` returned for these inputs and labels; computed where None.

    Returns:
        Distances in units of x that are upper bounds of the true ones, and inf where no label change was found.

    Raises:
        AttackError: Arguments do not fit each other, or the effort is unknown.
        ModelError: The model cannot be called.

    Example:
        >>> import torch, dmmcheck
        >>> plane = lambda x: torch.stack([x[:, 0], -x[:, 0]], 1)  # the boundary is where the first coordinate is 0
        >>> x, y = torch.tensor([[3.0, 4.0]]), torch.tensor([0])
        >>> found = dmmcheck.boundary_search(plane, x, y, generator=torch.Generator().manual_seed(0))
        >>> round(float(found.distance), 2)
        3.0
        >>> second_axis = torch.tensor([[0.0], [1.0]])  # along it the label never changes
        >>> dmmcheck.boundary_search(plane, x, y, subspace=second_axis, generator=torch.Generator()).found
        tensor([False])
    """
    if space is not None and (subspace is not None or normal):
        raise AttackError("both space and subspace (or normal) are given; pass one of them")
    classifier = adapt(model, x)
    points = flat(classifier, x)
    if space is None:
        _check_basis(subspace, *points.shape)
        space = spanned(None if subspace is None else subspace.to(points), normal=normal)
    (found,) = search_spaces(
        classifier,
        points,
        y,
        [space],
        bounds=bounds,
        targets=targets,
        examples=examples,
        effort=effort,
        generator=generator,
        radius=radius,
        batch_size=batch_size,
        known=known,
    )
    return found


def search_spaces(
    model: Any,
    x: Tensor,
    y: Tensor,
    spaces: Sequence[SearchSpace],
    *,
    bounds: Box | None = None,
    targets: Tensor | None = None,
    examples: tuple[Tensor, Tensor] | None = None,
    effort: SearchEffort = "default",
    generator: torch.Generator,
    radius: float | None = None,
    batch_size: int | None = None,
    known: InputGradients | None = None,
) -> list[Crossing]:
    """Search several search spaces at once by `boundary_search`, with shared model calls.

    There is one crossing for each of the spaces, of which there must be one at least. Where a crossing in another space
    is shorter than the one found anywhere, it replaces the latter, since it is a crossing anywhere too. All other
    arguments, and the errors, are those of `boundary_search`.
    """
    classifier = adapt(model, x)
    points, labels = flat(classifier, x), y.to(classifier.device)
    _check(points, labels, spaces, effort, targets)
    chosen = EFFORTS[effort]
    restart = torch.randn((chosen.candidates, points.shape[1]), generator=generator, dtype=torch.float64).to(points)
    rays = torch.randn((RAYS, points.shape[1]), generator=generator, dtype=torch.float64).to(points)
    wanted = None if targets is None else targets.to(classifier.device)
    oracle = MarginOracle(
        classifier,
        points,
        labels,
        targets=wanted,
        spaces=spaces,
        bounds=box_at(classifier, points) if bounds is None else bounds,
        batch=batch_size or _batch(points),
        farthest_entry=max(FARTHEST_ENTRY * float(spread(points)), radius or 0.0),
        ends=None if examples is None else _ends(classifier, points, labels, wanted, examples),
        known=known,
    )
    with evaluating(classifier):
        parts = _in_parts(oracle, chosen.candidates, lambda part: _search(part, chosen, restart, rays, radius))
    return nested([_joined(column) for column in zip(*parts, strict=True)], spaces)


def gradients_at(model: Any, x: Tensor, y: Tensor, *, effort: SearchEffort) -> InputGradients:
    """Return the gradients at inputs with which searches of an effort begin, for several searches of these inputs.

    Args:
        model: A ``torch.nn.Module``, a function on tensors, or a `Classifier`.
        x: Inputs ``(n, *input_shape)``, or flat (n, D) for a `Classifier`.
        y: Labels (n,).
        effort: The highest effort of the searches.
    """
    classifier = adapt(model, x)
    points, labels = flat(classifier, x), y.to(classifier.device)
    oracle = MarginOracle(
        classifier, points, labels, targets=None, spaces=[Everywhere()], bounds=None, batch=_batch(points)
    )
    with evaluating(classifier):
        return InputGradients(*oracle.at_inputs(oracle.rows, labels, EFFORTS[effort].nearest_classes))


def _batch(x: Tensor) -> int:
    """Return the largest number of rows in one model call for inputs (n, D)."""
    rows, values = GPU_BATCH if waits(x) else BATCH
    return max(1, min(rows, values // x.shape[1]))


def _ends(
    classifier: Classifier, x: Tensor, y: Tensor, targets: Tensor | None, examples: tuple[Tensor, Tensor]
) -> Ends:
    """Return the nearest examples of other classes, or of the target classes."""
    points, labels = flat(classifier, examples[0]), examples[1].to(classifier.device)
    if tuple(labels.shape) != (len(points),):
        raise AttackError(f"examples are {len(points)} points with labels {tuple(labels.shape)}; pass one label each")
    own = y if targets is None else targets
    return Ends.nearest(x, own, points, labels, targeted=targets is not None)


def _in_parts(
    oracle: MarginOracle, candidates: int, search: Callable[[MarginOracle], list[Crossing]]
) -> list[list[Crossing]]:
    """Return the results of a search for consecutive parts of the inputs, whose candidates fit in one model call."""
    batch = oracle.batch

    def search_part(inputs: slice) -> list[Crossing]:
        nonlocal batch
        part = oracle.part(inputs, batch)
        found = search(part)
        batch = part.batch  # halved where memory ran out
        return found

    limits = [most for most in map(at_once, oracle.spaces) if most is not None]
    return batch_results(oracle.n, max(1, min([batch // (len(oracle.spaces) * candidates), *limits])), search_part)[0]


def _search(
    oracle: MarginOracle, effort: Effort, restart: Tensor, rays: Tensor, radius: float | None
) -> list[Crossing]:
    """Return the search for all rows of an oracle: the confirmed crossings of each search space."""
    margin, nearest = oracle.nearest_classes(oracle.rows, effort.nearest_classes, effort.candidates)
    farthest = (RADIUS * nearest.scale).clamp_max(oracle.farthest_entry)
    farthest = farthest if radius is None else torch.full_like(margin, radius)
    already = margin < 0
    delta = torch.zeros_like(oracle.at(oracle.rows).x)
    distance, at_margin = torch.where(already, torch.zeros_like(margin), torch.inf), margin.where(already, torch.nan)
    cosine = torch.full_like(margin, torch.nan)
    rows = oracle.rows[~already]
    if len(rows):
        candidates = initial_steps(
            oracle, rows, nearest, restart, max_ratio=effort.max_ratio, look_ahead=effort.look_ahead
        )
        hlrf(oracle, candidates, effort.hlrf_steps)
        more = label_starts(oracle, rows, candidates, rays, nearest.scale, reading=effort.labels)
        if len(more.rows):
            hlrf(oracle, more, effort.hlrf_steps)
            candidates = joined([candidates, more])
        if effort.labels.reads_rays:
            behind = ray_starts(oracle, candidates, torch.cat([rays, restart]), ray_dim=effort.labels.ray_dim)
            if len(behind.rows):
                hlrf(oracle, behind, 2 * effort.hlrf_steps)
                candidates = joined([candidates, behind])
        shorten_far_crossings(oracle, candidates, margin, forwards=effort.line_forwards)
        candidates = _refined(oracle, candidates, effort, farthest)
        shorten_far_crossings(oracle, candidates, margin, forwards=effort.line_forwards)
        polish(oracle, candidates)
        line_search(oracle, candidates, lowest=0.97, forwards=effort.line_forwards)
        angle = confirm_crossings(oracle, candidates, nearest.noise[candidates.rows], knows_angles=effort.knows_angles)
        kept = torch.isfinite(candidates.length) & (candidates.length <= farthest[candidates.rows])
        to = candidates.rows[kept]
        distance[to], at_margin[to], cosine[to] = candidates.length[kept], candidates.margin[kept], angle[kept]
        delta[to] = candidates.best[kept]
    found, x = torch.isfinite(distance), oracle.at(oracle.rows).x
    point = torch.where((found & ~already)[:, None], oracle.points(x, delta), x)
    columns = (point, distance, found, farthest, oracle.forwards, oracle.backwards, at_margin, cosine)
    n = oracle.n
    return [Crossing(*(column[at : at + n] for column in columns)) for at in range(0, len(margin), n)]


def _refined(oracle: MarginOracle, candidates: Candidates, effort: Effort, radius: Tensor) -> Candidates:
    """Refine the candidates, and return the one with the shortest crossing in each row.

    Rows without a crossing are left out.
    """
    near, tried, done = candidates, [candidates], 0
    near.delta = torch.where(torch.isfinite(near.length)[:, None], near.best, near.delta)
    for stage in effort.stages:
        near = near.nearest(stage.candidates, stage.max_ratio).unfinished(effort.optimality_tol)
        if not len(near.rows):
            break
        tried.append(near)
        ddn_steps(oracle, near, range(done, done + stage.steps), effort.ddn_steps, effort.optimality_tol)
        if not done:
            deepfool_fallback(oracle, near, radius, nearer=effort.nearer)
        done += stage.steps
    if len(near.rows):
        near.update_best(near.delta, oracle.margin(near.delta, near.rows))
    whole = joined(tried)  # also the candidates as they were before DDN moved them, from which DeepFool goes elsewhere
    deepfool_fallback(oracle, whole, radius, nearer=effort.nearer)
    return whole.shortest()


def nested(found: list[Crossing], spaces: Sequence[SearchSpace]) -> list[Crossing]:
    """Return the crossings found anywhere, replaced by those of other search spaces where these are shorter.

    Args:
        found: The crossings of each search space.
        spaces: The search spaces.
    """
    free = [isinstance(space, Everywhere) for space in spaces]
    restricted = [crossing for crossing, is_free in zip(found, free, strict=True) if not is_free]
    return [
        _shortest([crossing, *restricted]) if is_free and restricted else crossing
        for crossing, is_free in zip(found, free, strict=True)
    ]


def _shortest(crossings: Sequence[Crossing]) -> Crossing:
    """Return the shortest of several crossings of each input; radius and passes are those of the first."""
    first = crossings[0]
    winner = torch.stack([crossing.distance for crossing in crossings]).argmin(0)
    index = torch.arange(len(winner), device=winner.device)

    def pick(name: str) -> Tensor:
        return torch.stack([getattr(crossing, name) for crossing in crossings])[winner, index]

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


def _joined(parts: Sequence[Crossing]) -> Crossing:
    names = Crossing.__dataclass_fields__
    return Crossing(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _check(x: Tensor, y: Tensor, spaces: Sequence[SearchSpace], effort: str, targets: Tensor | None) -> None:
    if effort not in EFFORTS:
        raise AttackError(f"effort {effort!r} is unknown; choose one of {', '.join(EFFORTS)}")
    if not spaces:
        raise AttackError("no search space is given; pass at least one, such as Everywhere()")
    for name, labels in (("y", y), ("targets", targets)):
        if labels is not None and tuple(labels.shape) != (len(x),):
            raise AttackError(f"{name} has shape {tuple(labels.shape)}; pass one class for each input, ({len(x)},)")


def _check_basis(basis: Tensor | None, n: int, ambient_dim: int) -> None:
    shape = None if basis is None else tuple(basis.shape)
    if shape is not None and (shape[:-1] not in {(ambient_dim,), (n, ambient_dim)} or not 0 < shape[-1] < ambient_dim):
        raise AttackError(
            f"subspace has shape {shape} for {n} inputs with D = {ambient_dim}; pass a basis (D, k) or (n, D, k), k < D"
        )
