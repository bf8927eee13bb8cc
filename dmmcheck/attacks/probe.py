"""Label-only probes: searches for a label change that use no gradients, which the boundary search must outdo.

A probe looks in a few directions and no further than a given radius, so it is not an attack. Where it finds a nearer
boundary than the boundary search, the search was misled, for instance by masked gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.margins import logit_margin
from dmmcheck.attacks.search_space import Everywhere, SearchSpace
from dmmcheck.manifolds.neighbours import distance_matrix
from dmmcheck.models.base import Classifier, called, evaluating
from dmmcheck.models.boxed import box_at, is_inside

SCAN = 8  # points at which the label is read along a ray, before bisection
HALVINGS = 8  # of the interval that holds the label change
EXAMPLES = 8  # nearest examples of other classes whose labels the model is asked for


def segment(classifier: Classifier, x: Tensor, y: Tensor, x_pool: Tensor, y_pool: Tensor) -> Crossing:
    """Return the first label change found on the line segment to the nearest example of another class.

    Args:
        classifier: The model under test.
        x: Inputs (n, D).
        y: Labels (n,).
        x_pool: Examples (m, D).
        y_pool: Their labels (m,). An example is used only if its label is not y and the model does not call it y.

    Returns:
        The crossings; nothing is found for an input where the model calls all of the `EXAMPLES` nearest examples y.
    """
    apart = distance_matrix(x, x_pool).masked_fill(y_pool[None, :] == y[:, None], torch.inf)
    near = apart.topk(min(EXAMPLES, len(x_pool)), dim=1, largest=False)
    with evaluating(classifier), torch.no_grad():
        predicted = torch.stack([called(classifier, x_pool[index]).argmax(1) for index in near.indices.T], 1)
    nearest, column = near.values.masked_fill(predicted == y[:, None], torch.inf).min(1)
    ends = x_pool[near.indices.gather(1, column[:, None]).squeeze(1)]
    return along(classifier, x, y, torch.where(torch.isfinite(nearest)[:, None], ends - x, torch.zeros_like(x)))


def random_rays(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    *,
    radius: Tensor,
    directions: int = 5,
    space: SearchSpace | None = None,
    generator: torch.Generator,
) -> Crossing:
    """Return the first label change found along random directions, which are the same for all inputs.

    Args:
        classifier: The model under test.
        x: Inputs (n, D).
        y: Labels (n,).
        radius: How far to look (n,).
        directions: Number of rays of each input.
        space: Search spaces of the inputs, onto which each direction is projected; everywhere where None.
        generator: Source of the directions.
    """
    inside = space or Everywhere()
    best = nothing(x, y)
    for ray in torch.randn(directions, x.shape[1], generator=generator, dtype=torch.float64).to(x):
        v = inside.project(ray.expand_as(x))
        length = v.norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)
        delta = v * (radius / length)[:, None]
        best = nearer(best, along(classifier, x, y, delta, is_clipped=isinstance(inside, Everywhere)))
    return best


def along(classifier: Classifier, x: Tensor, y: Tensor, delta: Tensor, *, is_clipped: bool = True) -> Crossing:
    """Return the first label change from x (n, D) to x + delta, by a scan at growing radii, then by bisection.

    Args:
        classifier: The model under test.
        x: Inputs (n, D).
        y: Labels (n,).
        delta: (n, D) the perturbations at which the segments end.
        is_clipped: Whether the points of a segment outside the box of the classifier, if it has one, are clipped to it;
            otherwise they count as no label change.
    """
    box = box_at(classifier, x)
    forwards = torch.zeros_like(y)  # of the model, for each input

    def at(share: Tensor, rows: Tensor) -> Tensor:
        point = x[rows] + share[:, None] * delta[rows]
        return point.clamp(*box) if box is not None and is_clipped else point

    def crosses(share: Tensor, rows: Tensor) -> Tensor:
        forwards[rows] += 1
        point = at(share, rows)
        return (called(classifier, point).argmax(1) != y[rows]) & is_inside(point, box)

    with evaluating(classifier), torch.no_grad():
        near, far, left = torch.zeros_like(x[:, 0]), torch.ones_like(x[:, 0]), torch.arange(len(y), device=y.device)
        for share in torch.linspace(1 / SCAN, 1, SCAN).tolist():
            if not len(left):
                break
            hit = crosses(torch.full_like(near[left], share), left)
            far[left[hit]] = share
            left = left[~hit]
            near[left] = share
        rows = torch.nonzero(near < far).reshape(-1)  # those where the label has changed
        if len(rows):
            far[rows] = bisect(lambda share: crosses(share, rows), near[rows], far[rows])
        return _crossing(
            classifier, x, y, point=at(far[rows], rows), rows=rows, radius=delta.norm(dim=1), forwards=forwards
        )


def bisect(crosses: Callable[[Tensor], Tensor], near: Tensor, far: Tensor, halvings: int = HALVINGS) -> Tensor:
    """Return the end (n,) of the last interval at which the label has changed, by bisection on the label.

    Args:
        crosses: From positions (n,) to whether the label has changed there (n,).
        near: (n,) positions at which it has not.
        far: (n,) positions at which it has.
        halvings: How often each interval is halved.
    """
    for _ in range(halvings):
        middle = (near + far) / 2
        hit = crosses(middle)
        near, far = torch.where(hit, near, middle), torch.where(hit, middle, far)
    return far  # the side known to have crossed


def nearer(a: Crossing, b: Crossing) -> Crossing:
    """Return the nearer of two crossings of each input; passes of both are added up."""
    closer = b.distance < a.distance

    def pick(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(closer.reshape(-1, *[1] * (one.ndim - 1)), other, one)

    return Crossing(
        point=pick(a.point, b.point),
        distance=pick(a.distance, b.distance),
        found=a.found | b.found,
        radius=torch.maximum(a.radius, b.radius),
        forwards=a.forwards + b.forwards,
        backwards=a.backwards + b.backwards,
        margin=pick(a.margin, b.margin),
        kkt_cosine=pick(a.kkt_cosine, b.kkt_cosine),
    )


def nothing(x: Tensor, y: Tensor) -> Crossing:
    """Return a `Crossing` in which nothing was found and nothing was spent."""
    n = x.new_full((len(x),), torch.nan)
    none = torch.zeros_like(y)
    return Crossing(x, torch.full_like(n, torch.inf), none.bool(), torch.zeros_like(n), none, none, n, n)


def _crossing(
    classifier: Classifier, x: Tensor, y: Tensor, *, point: Tensor, rows: Tensor, radius: Tensor, forwards: Tensor
) -> Crossing:
    """Return the crossings at points (m, D) of some rows (m,) that a second pass confirms.

    The gradients at the crossings are unknown.
    """
    there, found = x.clone(), torch.zeros_like(y, dtype=torch.bool)
    distance, unknown = torch.full_like(radius, torch.inf), torch.full_like(radius, torch.nan)
    margin = unknown.clone()
    if len(rows):
        logits = called(classifier, point)
        forwards[rows] += 1
        changed = logits.argmax(1) != y[rows]
        kept = rows[changed]
        there[kept], found[kept], distance[kept] = point[changed], True, (point[changed] - x[kept]).norm(dim=1)
        margin[kept] = logit_margin(logits[changed], y[kept])
    return Crossing(
        point=there,
        distance=distance,
        found=found,
        radius=radius,
        forwards=forwards,
        backwards=torch.zeros_like(y),
        margin=margin,
        kkt_cosine=unknown,
    )
