"""The decision-based search for the nearest label change, in any search space, with a budget of model calls.

For each input, label changes on the ways to examples of other classes and on random rays are found first
(`first_crossings`). The shortest of them are then shortened (`shorten`): by steps along the boundary's normal, which
labels alone reveal, and by the removal of directions that the label change does not need. Nothing but labels is read,
so that a model without gradients, such as a forest, is searched like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.decision_based.first_crossings import first_crossings
from dmmcheck.attacks.decision_based.frame import frame_of
from dmmcheck.attacks.decision_based.labels import LabelOracle
from dmmcheck.attacks.decision_based.shorten import BITS, HALVINGS, OFFSETS, STEP_QUERIES, Refinement
from dmmcheck.attacks.margins import logit_margin
from dmmcheck.attacks.search_space import SearchSpace, at_once
from dmmcheck.errors import AttackError
from dmmcheck.models.base import Classifier, called, evaluating

QUERIES = 5000  # most model calls of an input, unless set
BATCH_ROWS = 16384  # most rows in one model call
PART = 64  # inputs that are searched at a time
CONVERGED = 1e-3  # a step that shortens a crossing by a smaller share counts as no progress
PATIENCE = 1  # rounds of all directions without progress, after which a crossing is left as it is


@dataclass(frozen=True)
class DecisionEffort:
    """How much a search does.

    Attributes:
        tried: Crossings of each input that take one step.
        kept: How many of these, the shortest ones, take all steps.
        steps: Most steps of each.
        share: Of the model calls that the settings allow.
    """

    tried: int
    kept: int
    steps: int
    share: float


EFFORTS: Mapping[str, DecisionEffort] = {
    "brief": DecisionEffort(2, 1, 4, 0.25),
    "quick": DecisionEffort(2, 1, 4, 0.25),
    "default": DecisionEffort(6, 2, 12, 1.0),
    "thorough": DecisionEffort(8, 4, 24, 2.0),
    "exhaustive": DecisionEffort(12, 6, 40, 4.0),
}
"""The efforts of the search; more than the set number of model calls are made only where one is held against more."""


def decision_based_search(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    *,
    space: SearchSpace,
    targets: Tensor | None = None,
    effort: str = "default",
    queries: int = QUERIES,
    x_pool: Tensor | None = None,
    y_pool: Tensor | None = None,
    hint: Tensor | None = None,
    generator: torch.Generator,
) -> Crossing:
    """Return the smallest L2 perturbation found that changes the label of each input, from labels alone.

    Args:
        classifier: The classifier.
        x: Inputs (n, D). An input that the model does not call y is at distance 0.
        y: Labels (n,).
        space: Search spaces of the inputs.
        targets: Classes (n,) to reach; any other class where None.
        effort: ``brief`` (the same as ``quick``), ``quick``, ``default``, ``thorough`` or ``exhaustive``.
        queries: Most model calls of one input with the default effort.
        x_pool: Examples (p, D), the ways to which are searched first; none where None.
        y_pool: Their labels (p,).
        hint: Perturbations (n, D), such as those found in another space, whose projections are searched first, too.
        generator: Source of the random directions, which all inputs share.

    Returns:
        Distances in units of x that are upper bounds of the true ones; ``forwards`` counts the model calls.

    Raises:
        AttackError: The effort is unknown.
        ModelError: The model raises.

    Example:
        >>> import torch
        >>> from dmmcheck.attacks.decision_based.search import decision_based_search
        >>> from dmmcheck.attacks.search_space import Everywhere
        >>> from dmmcheck.models.torch import adapt
        >>> x, y = torch.tensor([[3.0, 4.0]]), torch.tensor([0])
        >>> plane = adapt(lambda x: torch.stack([x[:, 0], -x[:, 0]], 1), x)
        >>> found = decision_based_search(plane, x, y, space=Everywhere(), generator=torch.Generator().manual_seed(0))
        >>> round(float(found.distance), 2)
        3.0
    """
    if effort not in EFFORTS:
        raise AttackError(f"effort {effort!r} is unknown; choose one of {', '.join(EFFORTS)}")
    seed = int(torch.randint(2**62, (1,), generator=generator))
    pool = (x[:0], y[:0]) if x_pool is None or y_pool is None else (x_pool.to(x), y_pool.to(y))
    parts, together = [], min(PART, at_once(space) or PART)
    with evaluating(classifier):
        for start in range(0, len(x), together):
            rows = slice(start, start + together)
            oracle = LabelOracle(
                classifier,
                x[rows],
                y[rows],
                targets=None if targets is None else targets[rows],
                space=space.rows(rows),
                queries=round(EFFORTS[effort].share * queries),
                batch=BATCH_ROWS,
            )
            own = (*pool, None if hint is None else hint[rows])
            parts.append(_search(oracle, own, EFFORTS[effort], torch.Generator().manual_seed(seed)))
    names = Crossing.__dataclass_fields__
    return Crossing(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _search(
    oracle: LabelOracle, known: tuple[Tensor, Tensor, Tensor | None], effort: DecisionEffort, generator: torch.Generator
) -> Crossing:
    """Return the search for all inputs of an oracle."""
    everyone = torch.arange(len(oracle.x), device=oracle.x.device)
    already = oracle.crosses(torch.zeros_like(oracle.x)[:, None], everyone).squeeze(1)
    frame = frame_of(oracle.space, oracle.x, generator)
    rays, radius = first_crossings(oracle, frame, *known, count=effort.tried, generator=generator)
    order = torch.randperm(frame.count, generator=generator).to(oracle.x.device)
    refinement = Refinement(oracle, frame, rays, order)
    _shorten(refinement, effort)
    refinement.sharpen(torch.arange(len(rays.inputs), device=oracle.x.device))
    distance, delta = torch.full_like(oracle.x[:, 0], torch.inf), torch.zeros_like(oracle.x)
    for row in rays.length.argsort(descending=True, stable=True).tolist():  # the shortest one is written last
        at = rays.inputs[row]
        distance[at], delta[at] = rays.length[row], rays.length[row] * rays.unit[row]
    delta = oracle.clipped(delta)
    distance = torch.where(torch.isfinite(distance), torch.minimum(distance, delta.norm(dim=1)), distance)
    return _confirmed(oracle, delta, distance, radius, already)


def _shorten(refinement: Refinement, effort: DecisionEffort) -> None:
    """Take steps until no crossing gets shorter or the model calls are spent.

    After the first step, only the shortest crossings of each input are kept.
    """
    oracle, rays = refinement.oracle, refinement.rays
    count = refinement.frame.count
    size = min(count, max(8, oracle.queries // (5 * effort.kept * (BITS + 1))))
    patience = PATIENCE * -(-count // size)  # all directions have had their turn so often
    idle = torch.zeros_like(rays.inputs)
    for number in range(max(effort.steps, 2 * patience)):
        numbers = refinement.block(size)
        removed = numbers if number % 2 else numbers[:0]
        spent = BITS * len(numbers) + STEP_QUERIES + HALVINGS
        spent += len(removed) + len(removed).bit_length() + 2 * HALVINGS if len(removed) else 0
        going = idle < patience
        wanted = spent * torch.bincount(rays.inputs[going], minlength=len(oracle.x))
        rows = torch.nonzero(going & oracle.affords(rays.inputs, wanted[rays.inputs])).reshape(-1)
        if not len(rows):
            break
        before = rays.length[rows].clone()
        if len(removed):
            refinement.remove(rows, removed)
        refinement.step(rows, numbers, OFFSETS[min(number, len(OFFSETS) - 1)])
        idle[rows] = torch.where(rays.length[rows] < (1 - CONVERGED) * before, 0, idle[rows] + 1)
        if not number:
            idle[refinement.beyond(effort.kept)] = patience


def _confirmed(oracle: LabelOracle, delta: Tensor, distance: Tensor, radius: Tensor, already: Tensor) -> Crossing:
    """Return the crossings whose label change a last model call confirms."""
    with torch.no_grad():
        logits = called(oracle.classifier, oracle.x + delta)
    oracle.spent += 1
    changed = logits.argmax(1) != oracle.y if oracle.targets is None else logits.argmax(1) == oracle.targets
    found = already | (changed & torch.isfinite(distance))
    margin = logit_margin(logits, oracle.y).to(oracle.x)
    unknown = torch.full_like(distance, torch.nan)
    return Crossing(
        point=torch.where((found & ~already)[:, None], oracle.x + delta, oracle.x),
        distance=torch.where(already, 0.0, torch.where(found, distance, torch.inf)),
        found=found,
        radius=radius,
        forwards=oracle.spent,
        backwards=torch.zeros_like(oracle.spent),
        margin=torch.where(found, margin, unknown),
        kkt_cosine=unknown,
    )
