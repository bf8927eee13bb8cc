"""Whether the manifold estimate splits the input space in a meaningful way at these inputs."""

from __future__ import annotations

import torch

from dmmcheck.inference.stats import binomial_test
from dmmcheck.manifolds.base import PROJECTION_LIMIT, projection_residual
from dmmcheck.models.base import called
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import CHANCE_ALPHA, SoundnessContext, bounded, info, judged, median, percent, too_few
from dmmcheck.soundness.registry import gate

ORTHONORMAL = 1e-4
AGREEMENT = 0.8
RANK_INPUTS = 16
PROBES = 4  # random vectors that are projected where there are no bases
LINEAR = 0.5


@gate("manifold")
def orthonormal(context: SoundnessContext) -> Soundness:
    """Tangent bases have orthonormal columns; a projection without bases is orthogonal."""
    if context.basis is None:
        return _orthogonal(context)
    basis = context.basis if context.basis.ndim == 3 else context.basis[None]
    gram = basis.mT @ basis
    worst = float((gram - torch.eye(gram.shape[-1]).to(gram)).abs().amax())
    return bounded(
        "orthonormal",
        worst,
        most=ORTHONORMAL,
        finding=f"tangent bases are {worst:.1g} off orthonormal (limit {ORTHONORMAL:g})",
        remedy="make its columns orthonormal, for example by torch.linalg.qr(basis).Q",
    )


def _orthogonal(context: SoundnessContext) -> Soundness:
    spaces = context.space("tangent")
    worst = projection_residual(spaces, context.x, generator=context.random("orthonormal"))
    return bounded(
        "orthonormal",
        worst,
        most=PROJECTION_LIMIT,
        finding=f"projections onto the tangent spaces differ from orthogonal ones by {worst:.1g} "
        f"(limit {PROJECTION_LIMIT:g})",
        remedy="return P v with a symmetric P for which P P v = P v",
    )


@gate("manifold")
def residual(context: SoundnessContext) -> Soundness:
    """Report how far the inputs lie from the estimate, compared with the distance to the boundary."""
    off = median((context.projected - context.x).norm(dim=1))
    free = median(context.distance("free"))
    times_free = off / free if free > 0 else float("nan")
    coarse = "; the estimate is coarser than the distances to be measured" if times_free > 1 else ""
    return info(
        "residual",
        f"inputs lie {off:.3g} from the manifold in the median, {times_free:.2g} times the distance to the boundary "
        f"{free:.3g}{coarse}",
        off,
    )


@gate("manifold")
def label_agreement(context: SoundnessContext) -> Soundness:
    """The model gives an input and its projection the same label, more often than chance would."""
    with torch.no_grad():
        same = called(context.classifier, context.projected).argmax(1) == context.y
    n, agree = len(same), int(same.sum())
    share = agree / n
    chance = max(1 / context.classifier.classes, float(torch.bincount(context.y).max()) / n)
    finding = f"the model gives {percent(share)} of inputs the label of their projection"
    if chance >= 1:
        return info("label-agreement", f"{finding}, and all inputs are of one class", share)
    p = binomial_test(agree, n, chance)
    if p <= CHANCE_ALPHA and share < AGREEMENT:
        return info(
            "label-agreement",
            f"{finding}, fewer than {AGREEMENT:.0%}: a manifold of more dimensions may keep more of the classes",
            share,
        )
    return judged(
        "label-agreement",
        p <= CHANCE_ALPHA,
        share,
        chance,
        finding=f"{finding} (chance {percent(chance)}, p = {p:.2g})",
        remedy=too_few(n, chance)
        or "the estimate has lost what the classes differ in; raise its dimension, or fit another manifold",
    )


@gate("manifold")
def effective_rank(context: SoundnessContext) -> Soundness:
    """Report how many dimensions the tangent spaces span together: exp of the entropy of their mean projector."""
    if context.basis is None:
        return _mean_rank(context)
    k = context.basis.shape[-1]
    if context.basis.ndim == 2:
        return info("effective-rank", f"all inputs share one tangent space of dimension {k}", float(k))
    basis = context.basis[:RANK_INPUTS]
    columns = basis.permute(1, 0, 2).reshape(basis.shape[1], -1).double()
    energy = torch.linalg.eigvalsh(columns.mT @ columns).clamp_min(0)
    share = energy[energy > 0] / energy.sum()
    rank = float(torch.exp(-(share * share.log()).sum()))
    return info(
        "effective-rank",
        f"the tangent spaces, of dimension {k}, span {rank:.1f} dimensions together ({len(basis)} inputs)",
        rank,
    )


def _mean_rank(context: SoundnessContext) -> Soundness:
    """Report the dimension of tangent spaces without bases: the trace of their projections, by random vectors.

    How many dimensions they span together cannot be had from projections of a few vectors.
    """
    x = context.x[:RANK_INPUTS]
    probes = torch.randn((PROBES, *x.shape), generator=context.random("rank"), dtype=torch.float64).to(x)
    spaces = context.space("tangent", slice(0, len(x)))
    rank = float(torch.stack([(spaces.project(v) * v).sum(1) for v in probes]).mean())
    return info(
        "effective-rank",
        f"{context.why_no_bases}, so that the dimensions they span together are not counted; they have dimension "
        f"{context.manifold.dim}, and {PROBES} random vectors an input give them {rank:.4g} each",
        rank,
    )


@gate("manifold")
def linearity(context: SoundnessContext) -> Soundness:
    """Report how far a tangent step of length d_on leaves the manifold, along one random direction for all inputs."""
    ray = torch.randn(context.x.shape[1], generator=context.random("linearity"), dtype=torch.float64).to(context.x)
    v = context.space("tangent").project(ray.expand_as(context.x))
    distance = context.distance("tangent")
    length = torch.where(torch.isfinite(distance), distance, context.length)
    v = v * (length / v.norm(dim=1).clamp_min(1e-30))[:, None]
    moved = context.x + v
    drift = (moved - context.manifold.project_point(moved.clone()).to(moved)) - (context.x - context.projected)
    share = median(drift.norm(dim=1) / length)
    bent = "; the tangent space does not describe the manifold at that distance" if share > LINEAR else ""
    return info(
        "linearity",
        f"a tangent step as long as d_on leaves the manifold by {percent(share)} of its length in the median{bent}",
        share,
    )
