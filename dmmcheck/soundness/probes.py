"""Did the search find the boundary? What others find who do not share its gradients or its code (gates G5-G8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn.functional import one_hot

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.planted import planted
from dmmcheck.attacks.probe import along, nearer, nothing, random_rays
from dmmcheck.attacks.torchattacks.attack import TorchAttack
from dmmcheck.errors import AttackError
from dmmcheck.models.torch import TorchClassifier
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import ARMS, BEATEN, WHERE, Ground, gate, informs, judged, median, ratio, times

RAYS = 5
INDEPENDENT_INPUTS = 32
FEW_CLASSES = 20  # FAB takes one gradient a class and step
SURROGATE_EXAMPLES = 512
SURROGATE_STEPS = 5
RIDGE = 1e-3
PLANTED_INPUTS = 32
PLANT_AT = 0.5  # of the distance found
RECALL = 0.98
RECALL_ALPHA = 0.05
MASKED = "gradients mislead the search: take out what masks them (saturation, quantisation, rounding, noise)"
NO_EXAMPLE = "the model recognises no example of another class near the inputs; give labelled x_train of all classes"


def items(ground: Ground) -> Iterator[Soundness]:
    """Every item that looks for the boundary in another way."""
    yield segment_probe(ground)
    yield random_ray_probe(ground)
    yield transfer(ground)
    yield independent_attack(ground)
    yield from planted_boundaries(ground)


def segment_probe(ground: Ground) -> Soundness:
    """G5: the way to the nearest example of another class is no shorter."""
    if not bool(ground.segments.found.any()):
        return informs("segment", "attack", f"not looked at: {NO_EXAMPLE}")
    share = _beaten(ground.segments.distance, ground.distance("free"))
    return gate(
        "segment",
        "attack",
        share,
        most=0.05,
        finding="the straight way to the nearest example of another class crosses the boundary more than 2% nearer "
        f"in {times(share)} of inputs (limit 5%)",
        remedy=MASKED,
    )


def random_ray_probe(ground: Ground) -> Soundness:
    """G5: five random directions, the same for all inputs, do no better, in any of the arms."""
    shares = {}
    for arm in ARMS:
        distance = ground.distance(arm)
        rays = random_rays(
            ground.classifier,
            ground.x,
            ground.y,
            radius=torch.where(torch.isfinite(distance), distance, 2 * ground.length),
            directions=RAYS,
            space=ground.space(arm),
            generator=ground.random("rays", arm),
        )
        shares[arm] = _beaten(rays.distance, distance)
    worst = max(ARMS, key=lambda arm: shares[arm])
    return gate(
        "random-rays",
        "attack",
        shares[worst],
        most=0.05,
        finding=f"one of {RAYS} random directions {WHERE[worst]} crosses the boundary more than 2% nearer in "
        f"{times(shares[worst])} of inputs (limit 5%)",
        remedy=MASKED,
    )


def transfer(ground: Ground) -> Soundness:
    """G6: directions from a smooth surrogate, fitted to the model's labels alone, do no better."""
    best = nothing(ground.x, ground.y)
    distance = ground.distance("free")
    reach = torch.where(torch.isfinite(distance), distance, 2 * ground.length)
    for direction in _surrogate_directions(ground):
        step = direction * (reach / direction.norm(dim=1).clamp_min(1e-30))[:, None]
        best = nearer(best, along(ground.classifier, ground.x, ground.y, step))
    share = _beaten(best.distance, distance)
    return gate(
        "transfer",
        "attack",
        share,
        most=0.1,
        finding="the way to a smooth surrogate's boundary crosses the model's more than 2% nearer "
        f"in {times(share)} of inputs (limit 10%)",
        remedy=MASKED,
    )


def independent_attack(ground: Ground) -> Soundness:
    """G7: an attack from a library, in the same subspaces, is no better by more than 2 % in the median.

    Being worse is no fault of the search's. FAB, or PGDL2 with bisection of its radius where classes are many.
    """
    n = min(INDEPENDENT_INPUTS, len(ground.x))
    name = "FAB" if ground.classifier.classes <= FEW_CLASSES else "PGDL2"
    try:
        attack = TorchAttack(name)
        ahead = {arm: _ahead(ground, attack, arm, n) for arm in ARMS}
    except AttackError as error:
        return informs("independent-attack", "attack", f"no second attack has confirmed the search: {error}")
    worst = max(ARMS, key=lambda arm: ahead[arm])
    return gate(
        "independent-attack",
        "attack",
        ahead[worst],
        most=0.02,
        finding=f"torchattacks' {name} is nearer by {times(ahead[worst])} in the median {WHERE[worst]} "
        f"(limit 2%, {n} inputs)",
        remedy="the search is stuck on this model; raise its effort",
    )


def _ahead(ground: Ground, attack: TorchAttack, arm: str, n: int) -> float:
    """By what share of the distance an attack is nearer in the median."""
    space = ground.space(arm, slice(n))
    other = attack(
        ground.classifier,
        ground.x[:n],
        ground.y[:n],
        subspace=space.basis,
        normal=space.normal,
        generator=ground.random("independent", arm),
    )
    return max(0.0, 1 - median(ratio(other.distance, ground.distance(arm, n))))


def planted_boundaries(ground: Ground) -> Iterator[Soundness]:
    """G8: boundaries planted at half the known distance in T and in N are found.

    Fails where the recall is below 98 % by an exact binomial test: a single miss among few plants is no evidence.
    """
    n = min(PLANTED_INPUTS, len(ground.x))
    ends = torch.nonzero(ground.segments.found[:n]).reshape(-1)
    for arm in ("tangent", "normal"):
        if not len(ends):
            yield informs(f"planted-{arm}", "attack", f"not planted: {NO_EXAMPLE}")
            continue
        hits = _planted_hits(ground, arm, n)[ends]
        missed, total = int((~hits).sum()), len(hits)
        p = binomtest(missed, total, 1 - RECALL, alternative="greater").pvalue
        yield judged(
            f"planted-{arm}",
            "attack",
            p > RECALL_ALPHA,
            1 - missed / total,
            RECALL,
            finding=f"the search finds {total - missed} of {total} boundaries planted {WHERE[arm]} "
            f"(at least {RECALL:.0%}, p = {p:.2g})",
            remedy="gradients do not lead to a boundary that is there: take out what masks them, or raise the effort",
        )


def _planted_hits(ground: Ground, arm: str, n: int) -> Tensor:
    """Which plants of an arm were found (n,)."""
    distance, end = ground.distance(arm, n), ground.segments
    radius = PLANT_AT * torch.where(torch.isfinite(distance), distance, end.distance[:n])

    def search(classifier: TorchClassifier, rows: Tensor) -> Crossing:
        return ground.searched(classifier, arm, rows, "default")

    return planted(
        ground.classifier,
        ground.x[:n],
        radius=torch.where(torch.isfinite(radius) & (radius > 0), radius, ground.length),
        end=end.point[:n],
        space=ground.space(arm, slice(n)),
        search=search,
        generator=ground.random("planted", arm),
    )


def _surrogate_directions(ground: Ground) -> Iterator[Tensor]:
    """Steps (n, D) to the boundary of kernel ridge regression on the model's labels, towards its first two rivals."""
    stride = max(1, len(ground.x_pool) // SURROGATE_EXAMPLES)
    examples = ground.x_pool[::stride][:SURROGATE_EXAMPLES]
    with torch.no_grad():
        said = one_hot(ground.classifier.logits(examples).argmax(1), ground.classifier.classes).to(examples)
    apart = torch.cdist(examples, examples)
    width = apart.median().clamp_min(1e-30)
    kernel = torch.exp(-((apart / width) ** 2) / 2)
    weights = torch.linalg.solve(kernel + RIDGE * torch.eye(len(kernel)).to(kernel), said - said.mean(0))
    mean = said.mean(0)

    def surrogate(x: Tensor) -> Tensor:
        return torch.add(torch.exp(-((torch.cdist(x, examples) / width) ** 2) / 2) @ weights, mean)

    scores = surrogate(ground.x).scatter(1, ground.y[:, None], -torch.inf)
    for rival in scores.topk(min(2, ground.classifier.classes - 1), dim=1).indices.T:
        yield _to_boundary(surrogate, ground, rival)


def _to_boundary(surrogate: Callable[[Tensor], Tensor], ground: Ground, rival: Tensor) -> Tensor:
    """Step (n, D) after a few Newton steps towards where label and rival score the same."""
    point = ground.x.clone()
    for _ in range(SURROGATE_STEPS):
        with torch.enable_grad():
            leaf = point.detach().requires_grad_(True)
            scores = surrogate(leaf)
            lead = (scores.gather(1, ground.y[:, None]) - scores.gather(1, rival[:, None])).squeeze(1)
            (gradient,) = torch.autograd.grad(lead.sum(), leaf)
        square = gradient.square().sum(1).clamp_min(1e-30)
        step = -(lead.detach() / square)[:, None] * gradient
        size = step.norm(dim=1, keepdim=True).clamp_min(1e-30)
        point = point + step * (ground.length / size).clamp(max=1)
    return point - ground.x


def _beaten(probe: Tensor, search: Tensor) -> float:
    """Share of inputs in which a probe comes nearer by more than 2 %."""
    return float((probe < BEATEN * search).double().mean())
