"""Is the manifold estimate fit to split a space into along and across, at these inputs?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from scipy.stats import binomtest
from torch import Tensor

from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import Ground, gate, informs, judged, median, times

ORTHONORMAL = 1e-4
AGREEMENT = 0.8
CHANCE_ALPHA = 0.01
RANK_INPUTS = 16
LINEAR = 0.5


def items(ground: Ground) -> Iterator[Soundness]:
    """Every item on the manifold estimate."""
    projected = ground.manifold.project_point(ground.x).to(ground.x)
    yield orthonormal(ground)
    yield disjoint(ground)
    yield residual(ground, projected)
    yield label_agreement(ground, projected)
    yield effective_rank(ground)
    yield linearity(ground, projected)


def orthonormal(ground: Ground) -> Soundness:
    """Tangent bases have orthonormal columns."""
    basis = ground.basis if ground.basis.ndim == 3 else ground.basis[None]
    gram = basis.mT @ basis
    worst = float((gram - torch.eye(gram.shape[-1]).to(gram)).abs().amax())
    return gate(
        "orthonormal",
        "manifold",
        worst,
        most=ORTHONORMAL,
        finding=f"tangent bases are {worst:.1g} off orthonormal (limit {ORTHONORMAL:g})",
        remedy="pass tangent_basis through torch.linalg.qr first",
    )


def disjoint(ground: Ground) -> Soundness:
    """The manifold was fitted on other points than it is evaluated at."""
    if ground.training_points is None:
        return informs(
            "disjoint", "manifold", "what the manifold was fitted on is not known; give x_train, or .training_points"
        )
    known = {
        row.tobytes()
        for row in ground.training_points.reshape(len(ground.training_points), -1).to(ground.x).cpu().numpy()
    }
    shared = sum(row.tobytes() in known for row in ground.x.cpu().numpy())
    return gate(
        "disjoint",
        "manifold",
        float(shared),
        most=0,
        finding=f"{shared} of {len(ground.x)} inputs are among the points that the manifold was fitted on (limit 0)",
        remedy="fit it on training data and test on held-out inputs",
    )


def residual(ground: Ground, projected: Tensor) -> Soundness:
    """How far the inputs lie from the estimate, beside the distance to the boundary."""
    off = median((projected - ground.x).norm(dim=1))
    free = median(ground.distance("free"))
    times_free = off / free if free > 0 else float("nan")
    coarse = "; the estimate is coarser than the distances read off it" if times_free > 1 else ""
    return informs(
        "residual",
        "manifold",
        f"inputs lie {off:.3g} from the manifold in the median, {times_free:.2g} times the distance to the boundary "
        f"{free:.3g}{coarse}",
        off,
    )


def label_agreement(ground: Ground, projected: Tensor) -> Soundness:
    """The model says the same of an input and of its projection; fails where it does no better than chance."""
    with torch.no_grad():
        same = ground.classifier.logits(projected).argmax(1) == ground.y
    n, agree = len(same), int(same.sum())
    share = agree / n
    chance = max(1 / ground.classifier.classes, float(torch.bincount(ground.y).max()) / n)
    finding = f"the model says the same of {times(share)} of inputs and their projections"
    if chance >= 1:
        return informs("label-agreement", "manifold", f"{finding}, which all are of one class", share)
    p = binomtest(agree, n, chance, alternative="greater").pvalue
    if p <= CHANCE_ALPHA and share < AGREEMENT:
        return informs(
            "label-agreement",
            "manifold",
            f"{finding}, fewer than {AGREEMENT:.0%}: a manifold of more dimensions may keep more of the classes",
            share,
        )
    return judged(
        "label-agreement",
        "manifold",
        p <= CHANCE_ALPHA,
        share,
        chance,
        finding=f"{finding} (chance {times(chance)}, p = {p:.2g})",
        remedy="the estimate has lost what the classes differ in; raise its dimension, or fit another one",
    )


def effective_rank(ground: Ground) -> Soundness:
    """In how many dimensions the tangent spaces lie all together: exp of the entropy of their mean projector."""
    k = ground.basis.shape[-1]
    if ground.basis.ndim == 2:
        return informs("effective-rank", "manifold", f"all inputs share one tangent space of dimension {k}", float(k))
    basis = ground.basis[:RANK_INPUTS]
    columns = basis.permute(1, 0, 2).reshape(basis.shape[1], -1).double()
    energy = torch.linalg.eigvalsh(columns.mT @ columns).clamp_min(0)
    share = energy[energy > 0] / energy.sum()
    rank = float(torch.exp(-(share * share.log()).sum()))
    return informs(
        "effective-rank",
        "manifold",
        f"the tangent spaces, of dimension {k}, span {rank:.1f} dimensions together ({len(basis)} inputs)",
        rank,
    )


def linearity(ground: Ground, projected: Tensor) -> Soundness:
    """How far a tangent step as long as d_on leaves the manifold, along one random direction for all inputs."""
    ray = torch.randn(ground.x.shape[1], generator=ground.random("linearity"), dtype=torch.float64).to(ground.x)
    v = ground.space("tangent").restrict(ray.expand_as(ground.x))
    distance = ground.distance("tangent")
    length = torch.where(torch.isfinite(distance), distance, ground.length)
    v = v * (length / v.norm(dim=1).clamp_min(1e-30))[:, None]
    moved = ground.x + v
    drift = (moved - ground.manifold.project_point(moved).to(moved)) - (ground.x - projected)
    share = median(drift.norm(dim=1) / length)
    bent = "; the tangent space is no picture of the manifold at that distance" if share > LINEAR else ""
    return informs(
        "linearity",
        "manifold",
        f"a tangent step as long as d_on leaves the manifold by {times(share)} of its length in the median{bent}",
        share,
    )
