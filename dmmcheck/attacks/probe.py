"""Label-only probes: what a search by gradients must not lose to, since they use none.

They look no further than told and are no attacks of their own: a probe that finds a nearer boundary than the search
shows that the search was misled, for instance by masked gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.margins import margin_of
from dmmcheck.attacks.torchattacks.coordinates import Space
from dmmcheck.models.torch import TorchClassifier

SCAN = 8  # points looked at along a ray before bisection
HALVINGS = 8
CANDIDATES = 8  # nearest examples of other classes that the model is asked about


def segment(classifier: TorchClassifier, x: Tensor, y: Tensor, x_pool: Tensor, y_pool: Tensor) -> Crossing:
    """First label change found on the straight way to the nearest example of another class.

    Args:
        classifier: The model under test.
        x: Inputs (n, D).
        y: Labels (n,).
        x_pool: Examples (m, D).
        y_pool: Their labels (m,). An example counts only where the model does not call it y either.

    Returns:
        Nothing found where none of the nearest few is recognised as another class.
    """
    apart = torch.cdist(x, x_pool).masked_fill(y_pool[None, :] == y[:, None], torch.inf)
    near = apart.topk(min(CANDIDATES, len(x_pool)), dim=1, largest=False)
    with classifier.evaluation(), torch.no_grad():
        said = torch.stack([classifier.logits(x_pool[index]).argmax(1) for index in near.indices.T], 1)
    nearest, column = near.values.masked_fill(said == y[:, None], torch.inf).min(1)
    ends = x_pool[near.indices.gather(1, column[:, None]).squeeze(1)]
    return along(classifier, x, y, torch.where(torch.isfinite(nearest)[:, None], ends - x, torch.zeros_like(x)))


def random_rays(
    classifier: TorchClassifier,
    x: Tensor,
    y: Tensor,
    *,
    radius: Tensor,
    directions: int = 5,
    space: Space | None = None,
    generator: torch.Generator,
) -> Crossing:
    """First label change found along random directions, the same ones for all inputs.

    Args:
        classifier: The model under test.
        x: Inputs (n, D).
        y: Labels (n,).
        radius: How far to look (n,).
        directions: How many rays an input.
        space: Where the rays run; each direction is projected onto the input's subspace.
        generator: Of the directions.
    """
    inside = space or Space()
    best = nothing(x, y)
    for ray in torch.randn(directions, x.shape[1], generator=generator, dtype=torch.float64).to(x):
        v = inside.restrict(ray.expand_as(x))
        length = v.norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)
        best = nearer(best, along(classifier, x, y, v * (radius / length)[:, None], space=inside))
    return best


def along(classifier: TorchClassifier, x: Tensor, y: Tensor, step: Tensor, *, space: Space | None = None) -> Crossing:
    """First label change on the way from x (n, D) to x + step: a scan at growing radii, then bisection on the label."""
    clip = (space or Space()).clip

    def at(share: Tensor) -> Tensor:
        return clip(x + share[:, None] * step)

    with classifier.evaluation(), torch.no_grad():
        crosses = _counted(lambda point: classifier.logits(point).argmax(1) != y)
        near, far, found = torch.zeros_like(x[:, 0]), torch.ones_like(x[:, 0]), torch.zeros_like(y, dtype=torch.bool)
        for share in torch.linspace(1 / SCAN, 1, SCAN).tolist():
            here = torch.full_like(near, share)
            hit = crosses(at(here)) & ~found
            far = torch.where(hit, here, far)
            found = found | hit
            near = torch.where(found, near, here)
        far = bisect(lambda share: crosses(at(share)), near, far)
        return _crossing(classifier, x, y, point=at(far), found=found, radius=step.norm(dim=1), forwards=crosses.calls)


def bisect(crosses: Callable[[Tensor], Tensor], near: Tensor, far: Tensor, halvings: int = HALVINGS) -> Tensor:
    """The far end of (near, far), both (n,), after closing in on a label change from both sides."""
    for _ in range(halvings):
        middle = (near + far) / 2
        hit = crosses(middle)
        near, far = torch.where(hit, near, middle), torch.where(hit, middle, far)
    return far  # the side known to have crossed


def nearer(a: Crossing, b: Crossing) -> Crossing:
    """The nearer crossing of each input, and the cost of both."""
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
    """No crossing of any input, at no cost."""
    n = x.new_full((len(x),), torch.nan)
    none = torch.zeros_like(y)
    return Crossing(x, torch.full_like(n, torch.inf), none.bool(), torch.zeros_like(n), none, none, n, n)


class _counted:  # noqa: N801  # a function with a count
    """How often a function is called."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.function(x)


def _crossing(
    classifier: TorchClassifier,
    x: Tensor,
    y: Tensor,
    *,
    point: Tensor,
    found: Tensor,
    radius: Tensor,
    forwards: int,
) -> Crossing:
    """A crossing of which nothing is known but the label."""
    found = found & (classifier.logits(point).argmax(1) != y)
    unknown = torch.full_like(radius, torch.nan)
    return Crossing(
        point=torch.where(found[:, None], point, x),
        distance=torch.where(found, (point - x).norm(dim=1), torch.inf),
        found=found,
        radius=radius,
        forwards=torch.full_like(y, forwards + 1),
        backwards=torch.zeros_like(y),
        margin=torch.where(found, margin_of(classifier.logits(point), y), unknown),
        kkt_cosine=unknown,
    )
