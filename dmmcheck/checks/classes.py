"""How the classes lie around the sheet: which are near, and on which side."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.checks.base import Explanation, check
from dmmcheck.errors import CheckError
from dmmcheck.evidence import Evidence
from dmmcheck.measure import View


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


_SHEET = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula=(
        "s_i = cos(P_N step of a towards b's class, P_N step of b towards a's class), b the nearest input of "
        "another class"
    ),
    control=(
        "builtin: opposed at all (0); labels: the classes that the steps lead to are dealt anew, the same "
        "way for all pairs."
    ),
    threshold="0: the two steps point to opposite sides.",
    assumptions="Neighbours of two classes share a normal space well enough for their steps to be compared.",
    violation="Classes that lie on different sheets, or beside each other along the manifold.",
    reading="builtin supported and labels not: normal steps of neighbours are opposed whatever classes they lead to.",
)


@check(
    "shared-sheet",
    tier="controlled",
    statement="two classes lie on opposite sides of one sheet: their normal steps are opposed",
    threshold=0.0,
    direction="less",
    unit="cosine",
    explanation=_SHEET,
)
def shared_sheet(measure: View) -> Evidence:
    """Cosine of the normal steps of neighbours of two classes, each towards the other's class."""
    classes, steps = _normal_steps(measure)
    near = _nearest_other(measure)
    dealt = torch.tensor(measure.order or range(len(classes)), device=near.device)
    place = _places(measure, classes)
    one = _pick(steps, dealt[place[near]], torch.arange(measure.n, device=near.device), place >= 0)
    other = _pick(steps, dealt[place], near, place >= 0)
    known = (place >= 0) & (place[near] >= 0)
    cosine = torch.where(known, torch.cosine_similarity(one, other, dim=1), torch.nan)
    return Evidence.of(cosine[known], censored=int(torch.isnan(cosine[known]).sum()))


check(
    "shared-sheet",
    tier="controlled",
    statement="and more so than steps towards other classes",
    threshold=0.0,
    direction="less",
    unit="cosine",
    needs=("classes",),
    controls=("labels",),
    variant="labels",
)(shared_sheet)


def _normal_steps(measure: View) -> tuple[tuple[int, ...], Tensor]:
    """Normal step of each input into each class, (classes, n, D); NaN where none was found."""
    classes, found = measure.targeted("normal")
    if not classes:
        raise CheckError("the model has no classes to aim at")
    steps = [
        torch.where(crossing.found[:, None] & (crossing.distance[:, None] > 0), crossing.point - measure.x, torch.nan)
        for crossing in found
    ]
    return classes, torch.stack(steps)


def _nearest_other(measure: View) -> Tensor:
    """Index (n,) of the nearest input in view that has another label."""
    apart = torch.cdist(measure.x, measure.x)
    apart[measure.y[:, None] == measure.y[None, :]] = torch.inf
    return apart.argmin(1)


def _places(measure: View, classes: tuple[int, ...]) -> Tensor:
    """Position (n,) of each input's label among the classes aimed at; -1 where it is not among them."""
    table = torch.full((measure.measure.classifier.classes,), -1, device=measure.y.device)
    table[list(classes)] = torch.arange(len(classes), device=measure.y.device)
    return table[measure.y]


def _pick(steps: Tensor, targets: Tensor, rows: Tensor, known: Tensor) -> Tensor:
    """Step (n, D) of input rows[i] into class targets[i]; the first class where the target is not known."""
    return steps[torch.where(known, targets, 0), rows]
