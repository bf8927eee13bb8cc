"""How the classes lie around the manifold: how near each is, and on which side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.checks.base import claim, declare
from dmmcheck.checks.parts import COSINE_EFFECT
from dmmcheck.geometry import unit_vectors
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement.view import View


def every_class_near(view: View) -> Evidence:
    """Farthest over nearest targeted distance."""
    classes, found = view.targeted("free")
    distances = torch.stack([crossing.distance.to(view.x) for crossing in found])  # (classes, n)
    own = torch.tensor(classes, device=view.y.device)[:, None] == view.y[None, :]
    farthest = distances.masked_fill(own, -torch.inf).max(0).values
    nearest = distances.masked_fill(own, torch.inf).min(0).values
    return replace(Evidence.ratio(farthest, nearest), note=_over_classes(view, classes, nearest, farthest))


def _over_classes(view: View, classes: tuple[int, ...], nearest: Tensor, farthest: Tensor) -> str:
    """Return a note with the distances in absolute terms, and over how many classes they are where that is not all."""
    ends = [float(one.quantile(0.5, interpolation="lower")) for one in (nearest, farthest)]
    note = "median L2 distance {:.3g} to the nearest class, {:.3g} to the farthest".format(*ends)
    if len(classes) == view.classes:
        return note
    return f"{note}; over {len(classes)} of {view.classes} classes, so that the farthest of all may be farther"


def shared_sheet(view: View) -> Evidence:
    """Cosine of the normal steps of two neighbours into each other's class, less its mean over other classes."""
    classes, found = view.targeted("free")
    deltas = torch.stack([_delta(view, crossing) for crossing in found])  # (classes, n, D)
    deltas -= view.project_tangent(deltas)
    for delta in deltas:  # in place, since all of them together are large
        delta.copy_(unit_vectors(delta))
    positions = _positions(view, classes)
    pairs = view.cached(("pairs", view.n), lambda: (_pairs(view.x, torch.where(positions >= 0, view.y, -1)), 0))
    cosines = [
        float(_opposition(deltas[:, a], deltas[:, b], own_a=positions[a], own_b=positions[b]))
        for a, b in pairs.tolist()
    ]
    return Evidence.of(cosines, censored=int(np.isnan(cosines).sum()))


def _opposition(a: Tensor, b: Tensor, *, own_a: Tensor, own_b: Tensor) -> Tensor:
    """Return the cosine of two inputs' steps into each other's class, less the mean over other pairs of classes.

    Args:
        a: (classes, D) unit steps of the one input into each class.
        b: (classes, D) unit steps of the other input.
        own_a: Position of the one input's class.
        own_b: Position of the other input's class.
    """
    cosines = a @ b.T  # (class that a steps into, class that b steps into)
    mutual = cosines[own_b, own_a].clone()
    other = ~torch.eye(len(cosines), dtype=torch.bool, device=a.device)
    other[own_a] = other[:, own_b] = other[own_b, own_a] = False
    rest = cosines[other & ~torch.isnan(cosines)]
    return mutual - rest.mean() if len(rest) else mutual


def _delta(view: View, crossing: Crossing) -> Tensor:
    """Return each input's perturbation into one class (n, D); NaN where none was found."""
    found = crossing.found & (crossing.distance > 0)
    return torch.where(found[:, None], crossing.point - view.x, torch.nan)


def _pairs(x: Tensor, y: Tensor) -> Tensor:
    """Return pairs (m, 2) of neighbouring inputs with different labels, the nearest pair first.

    Each input is in one pair only.

    An input in several pairs would count several times. Inputs with label -1 are in no pair.
    """
    apart = torch.cdist(x, x)
    apart[(y[:, None] == y[None, :]) | (y[:, None] < 0) | (y[None, :] < 0)] = torch.inf
    pairs: list[tuple[int, int]] = []
    while True:
        nearest = int(apart.argmin())
        a, b = divmod(nearest, len(x))
        if not torch.isfinite(apart[a, b]):
            return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
        pairs.append((min(a, b), max(a, b)))
        apart[[a, b]] = apart[:, [a, b]] = torch.inf


def _positions(view: View, classes: tuple[int, ...]) -> Tensor:
    """Return the position (n,) of each input's label among the target classes; -1 where it is not among them."""
    table = torch.full((view.classes,), -1, device=view.y.device)
    table[list(classes)] = torch.arange(len(classes), device=view.y.device)
    return table[view.y]


declare(
    "every-class-near",
    "every class is about equally near",
    claim(
        every_class_near,
        threshold=5.0,
        direction="less",
        unit="ratio",
        needs=("classes",),
        costly_looks=True,
        is_targeted=True,
    ),
)
declare(
    "shared-sheet",
    "two classes lie on opposite sides of one sheet: their normal steps are opposed",
    claim(
        shared_sheet,
        tier="controlled",
        threshold=0.0,
        direction="less",
        unit="cosine",
        min_effect=COSINE_EFFECT,
        controls=("rotation",),
        draw_cost="forward",
    ),
)
