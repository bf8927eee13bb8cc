"""How the classes lie around the sheet: which are near, and on which side."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.checks.base import Explanation, check
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement.measure import View

COSINE_MARGIN = 0.05


@check(
    "every-class-near",
    statement="every class is about equally near",
    threshold=5.0,
    direction="less",
    unit="ratio",
    needs=("classes",),
    explanation=Explanation(
        source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
        formula=(
            "s_i = max_j d_free(x_i -> j) / min_j d_free(x_i -> j), over the other classes (at most ten, drawn "
            "from the seed)"
        ),
        control="None.",
        threshold="5: within a factor of five.",
        assumptions="The targeted search, of little effort, is as good for far classes as for near ones.",
        violation="Classes along a line: the next one is near, the last one far.",
        reading=(
            "Refuted: some classes cannot be reached by a small step; the picture of one sheet for all is too simple."
        ),
    ),
)
def every_class_near(measure: View) -> Evidence:
    """Farthest over nearest targeted distance."""
    classes, found = measure.targeted("free")
    distances = torch.stack([crossing.distance.to(measure.x) for crossing in found])  # (classes, n)
    own = torch.tensor(classes, device=measure.y.device)[:, None] == measure.y[None, :]
    farthest = distances.masked_fill(own, -torch.inf).max(0).values
    nearest = distances.masked_fill(own, torch.inf).min(0).values
    return Evidence.ratio(farthest, nearest)


@check(
    "shared-sheet",
    tier="controlled",
    statement="two classes lie on opposite sides of one sheet: their normal steps are opposed",
    threshold=0.0,
    direction="less",
    unit="cosine",
    margin=COSINE_MARGIN,
    controls=("rotation",),
    null="forward",
    explanation=Explanation(
        source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
        formula=(
            "s_i = cos(P_N step of a into b's class, P_N step of b into a's class) less the mean of the same cosine "
            "over all other pairs of different classes to step into; (a, b) neighbouring inputs of two classes, each "
            "in one pair"
        ),
        control=(
            "The labels permuted, within the statistic: it is 0 where steps into other classes are as opposed (with "
            "two classes there are no others). And rotated normal spaces (C0): across any smooth boundary the steps "
            "from either side are opposed, whatever the manifold."
        ),
        threshold="The control's value less 0.05.",
        assumptions="Neighbours of two classes share a normal space well enough for their steps to be compared.",
        violation="Classes that lie on different sheets, or that change places: their normal steps point the same way.",
        reading=(
            "Refuted with an estimate near the control: opposed, as steps across any boundary are. Refuted with a "
            "positive one: they point the same way. Supported: opposed off this manifold, and less so off a random one."
        ),
    ),
)
def shared_sheet(measure: View) -> Evidence:
    """Cosine of the normal steps of neighbours of two classes, each towards the other's class, less that for others."""
    classes, found = measure.targeted("free")
    steps = torch.stack([_unit(_normal_step(measure, crossing)) for crossing in found])  # (classes, n, D)
    place = _places(measure, classes)
    pairs = measure.once(("pairs", measure.n), lambda: (_pairs(measure.x, torch.where(place >= 0, measure.y, -1)), 0))
    cosine = [float(_opposition(steps[:, a], steps[:, b], place[a], place[b])) for a, b in pairs.tolist()]
    return Evidence.of(cosine, censored=int(np.isnan(cosine).sum()))


def _opposition(a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor) -> Tensor:
    """Cosine of a's unit step (classes, D) into b's class and b's into a's, less the mean over others; a scalar."""
    cosines = a @ b.T  # (into c, into c')
    own = cosines[of_b, of_a].clone()
    other = ~torch.eye(len(cosines), dtype=torch.bool, device=a.device)
    other[of_a] = other[:, of_b] = other[of_b, of_a] = False
    dealt = cosines[other & ~torch.isnan(cosines)]
    return own - dealt.mean() if len(dealt) else own


def _normal_step(measure: View, crossing: Crossing) -> Tensor:
    """Off-manifold part of each input's step into one class (n, D); NaN where none was found."""
    step = crossing.point - measure.x
    step = torch.where(crossing.found[:, None] & (crossing.distance[:, None] > 0), step, torch.nan)
    return step - measure.project_tangent(step)


def _unit(v: Tensor) -> Tensor:
    length: Tensor = v.norm(dim=1, keepdim=True)
    return v / length


def _pairs(x: Tensor, y: Tensor) -> Tensor:
    """Neighbouring inputs of different labels, the nearest first and each in one pair only: (m, 2).

    Inputs that share a neighbour would otherwise count as several looks at one. Label -1 has no pair.
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


def _places(measure: View, classes: tuple[int, ...]) -> Tensor:
    """Position (n,) of each input's label among the classes aimed at; -1 where it is not among them."""
    table = torch.full((measure.measure.classifier.classes,), -1, device=measure.y.device)
    table[list(classes)] = torch.arange(len(classes), device=measure.y.device)
    return table[measure.y]
