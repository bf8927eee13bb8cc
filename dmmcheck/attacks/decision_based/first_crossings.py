"""First crossings of each input, by labels alone: on the ways to examples of other classes, and on shared rays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmmcheck.attacks.decision_based.frame import Frame
from dmmcheck.attacks.decision_based.labels import LabelOracle
from dmmcheck.attacks.probe import bisect
from dmmcheck.manifolds.neighbours import distance_matrix

EXAMPLES = 6  # examples of other classes, the ways to which are searched: near ones, of as many classes as there are
NEAR = 256  # nearest examples among which these are chosen
RAYS = 8  # random directions, the same for all inputs
FITTED = 512  # examples to whose labels a linear surrogate is fitted
RIDGE = 1e-2  # of the mean squared length of the centred examples
FEW = 20  # up to so many directions of a frame are searched, to both sides
SHARES = (0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.6)  # of the distance to the nearest example of another class
FARTHER = (3.0, 6.0, 12.0, 25.0)  # the same, for inputs without a crossing so far
HALVINGS = 5  # of the interval that holds the first label change


@dataclass(eq=False)
class Rays:
    """Label changes on rays from the inputs.

    Attributes:
        inputs: (m,) the input of each ray.
        unit: (m, D) directions of length 1 in the search spaces.
        length: (m,) distance of a label change on the ray; inf where none is known.
    """

    inputs: Tensor
    unit: Tensor
    length: Tensor

    def of(self, kept: Tensor) -> Rays:
        """Return some of the rays."""
        return Rays(self.inputs[kept], self.unit[kept], self.length[kept])


def first_crossings(
    oracle: LabelOracle,
    frame: Frame,
    x_pool: Tensor,
    y_pool: Tensor,
    hint: Tensor | None,
    *,
    count: int,
    generator: torch.Generator,
) -> tuple[Rays, Tensor]:
    """Return the shortest first crossings of each input, and the radius up to which labels were read on the rays.

    Args:
        oracle: Answers for all inputs.
        frame: Directions that span the search spaces.
        x_pool: Examples (p, D); there may be none.
        y_pool: Their labels (p,).
        hint: Perturbations (n, D) whose projections are searched, too; none where None.
        count: Most crossings to keep for an input.
        generator: Source of the rays.

    Returns:
        The rays with a crossing, and radii (n,).
    """
    vectors, scale = _directions(oracle, frame, x_pool, y_pool, generator)
    if hint is not None:
        vectors = torch.cat([vectors, oracle.space.project(hint)[:, None]], 1)
    length = vectors.norm(dim=2, keepdim=True)
    unit = torch.where(length > 0, vectors / length.clamp_min(torch.finfo(length.dtype).tiny), 0.0)
    n = len(unit)
    everyone = torch.arange(n, device=unit.device)
    near, far = _scan(oracle, unit, scale, everyone, SHARES)
    lost = everyone[~torch.isfinite(far).any(1)]
    if len(lost):
        near[lost], far[lost] = _scan(oracle, unit[lost], scale[lost], lost, FARTHER)
    kept = far.argsort(dim=1, stable=True)[:, :count]
    inputs = everyone[:, None].expand_as(kept).reshape(-1)
    rays = Rays(inputs, unit[inputs, kept.reshape(-1)], far.gather(1, kept).reshape(-1))
    found = torch.isfinite(rays.length)
    rays, low = rays.of(found), near.gather(1, kept).reshape(-1)[found]
    rays.length = halved(oracle, rays, low, rays.length, HALVINGS)
    radius = scale * torch.where(torch.isfinite(far).any(1), SHARES[-1], FARTHER[-1])
    return rays, radius


def halved(oracle: LabelOracle, rays: Rays, near: Tensor, far: Tensor, halvings: int) -> Tensor:
    """Return the distances (m,) of the label changes on rays, bisected between near and far (m,)."""

    def crosses(length: Tensor) -> Tensor:
        return oracle.crosses((length[:, None] * rays.unit)[:, None], rays.inputs).squeeze(1)

    return bisect(crosses, near, far, halvings)


def _directions(
    oracle: LabelOracle, frame: Frame, x_pool: Tensor, y_pool: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the directions (n, s, D) in the search spaces, and a length scale (n,) of each input."""
    x, n = oracle.x, len(oracle.x)
    found, scale = [], x.norm(dim=1).clamp_min(1.0)
    if len(x_pool):
        wrong = y_pool[None] == oracle.y[:, None] if oracle.targets is None else y_pool[None] != oracle.targets[:, None]
        near = distance_matrix(x, x_pool).masked_fill(wrong, torch.inf).topk(min(NEAR, len(x_pool)), largest=False)
        scale = torch.where(torch.isfinite(near.values[:, 0]), near.values[:, 0], scale)
        chosen = _of_many_classes(y_pool[near.indices])
        is_other = torch.isfinite(near.values.gather(1, chosen))
        toward = torch.where(is_other[:, :, None], x_pool[near.indices.gather(1, chosen)] - x[:, None], 0.0)
        found += [oracle.space.project(way) for way in toward.unbind(1)]
        found += _surrogate_directions(oracle, x_pool, y_pool)
    rays = torch.randn((RAYS, x.shape[1]), generator=generator, dtype=torch.float64).to(x)
    found += [oracle.space.project(ray.expand(n, -1)) for ray in rays]
    vectors = torch.stack(found, 1)
    if frame.count <= FEW:
        numbers = torch.arange(frame.count, device=x.device)
        axes = frame.directions(numbers, torch.arange(n, device=x.device))
        vectors = torch.cat([vectors, axes, -axes], 1)
    return vectors, scale.clamp_min(torch.finfo(x.dtype).eps)


def _surrogate_directions(oracle: LabelOracle, x_pool: Tensor, y_pool: Tensor) -> list[Tensor]:
    """Return directions (n, D) in the search spaces towards the nearest classes, by a linear surrogate.

    The surrogate is a ridge regression on the labels of the examples.
    """
    stride = -(-len(x_pool) // FITTED)
    x, labels = x_pool[::stride], y_pool[::stride]
    centre, classes = x.mean(0), torch.unique(labels)
    rows = x - centre
    kernel = rows @ rows.T
    ridge = RIDGE * kernel.diagonal().mean().clamp_min(torch.finfo(x.dtype).tiny) * torch.eye(len(x)).to(x)
    ones = (labels[:, None] == classes[None]).to(x)
    weights = rows.T @ torch.linalg.solve(kernel + ridge, ones - ones.mean(0))  # (D, classes)
    values = (oracle.x - centre) @ weights + ones.mean(0)
    is_own = classes[None] == oracle.y[:, None]
    own = (weights @ is_own.to(x).T).T  # (n, D); zero where no example has the label
    value = (values * is_own).sum(1)
    steps = [oracle.space.project(weights[:, c].expand_as(own) - own) for c in range(len(classes))]
    apart = torch.stack([(value - values[:, c]) / step.norm(dim=1) for c, step in enumerate(steps)], 1)
    wanted = is_own if oracle.targets is None else classes[None] != oracle.targets[:, None]
    order = apart.nan_to_num(nan=torch.inf).masked_fill(wanted, torch.inf).argsort(dim=1, stable=True)
    number = torch.arange(len(own), device=x.device)
    stacked = torch.stack(steps, 1)
    return [stacked[number, order[:, column]] for column in range(min(EXAMPLES, len(classes) - 1))]


def _of_many_classes(labels: Tensor) -> Tensor:
    """Return the columns (n, s) of labels (n, p) with the first example of each class, then with the second ones.

    The examples of an input stand in the order of their distance.
    """
    numbers = torch.unique(labels, return_inverse=True)[1]
    seen = torch.nn.functional.one_hot(numbers).cumsum(1).gather(2, numbers[..., None]).squeeze(2)
    order: Tensor = seen.argsort(dim=1, stable=True)
    return order[:, :EXAMPLES]


def _scan(
    oracle: LabelOracle, unit: Tensor, scale: Tensor, inputs: Tensor, shares: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Return the distances (m, s) between which the first label change lies on each ray; inf where there is none."""
    near, far = torch.zeros_like(unit[..., 0]), torch.full_like(unit[..., 0], torch.inf)
    for share in shares:
        here = (share * scale)[:, None].expand_as(far)
        hit = oracle.crosses(here[..., None] * unit, inputs) & torch.isinf(far)
        far = torch.where(hit, here, far)
        near = torch.where(torch.isinf(far), here, near)
    return near, far
