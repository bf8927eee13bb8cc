"""Did the search find the boundary? What its own results and gradients say (gates G0-G4, G9, G10)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dmmcheck.attacks.margins import input_gradient, margin_of
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import ARMS, BEATEN, WHERE, Ground, gate, informs, median, ratio, times

ZERO = 1e-6  # a gradient that changes the margin by less than this share of it, over a typical distance, is none
EFFORT_INPUTS = 16
STEPS = (0.05, 0.2)  # of finite differences, in units of the distance


def items(ground: Ground) -> Iterator[Soundness]:
    """Every item that needs no probe."""
    yield labels_confirmed(ground)
    yield from gradients(ground)
    yield finite_differences(ground)
    yield from found(ground)
    yield effort(ground)
    yield nesting(ground)
    yield kkt(ground)
    yield flatness(ground)
    if ground.bounds is not None:
        yield box(ground, ground.bounds)


def labels_confirmed(ground: Ground) -> Soundness:
    """G0: another forward pass says of every crossing that the label has changed."""
    wrong, total = 0, 0
    for arm in ARMS:
        crossing = ground.crossings[arm]
        with torch.no_grad():
            margin = margin_of(ground.classifier.logits(crossing.point.to(ground.x)), ground.y)
        kept = crossing.found.to(margin.device)
        wrong += int((kept & (margin > 1e-5 * ground.logit_spread)).sum())
        total += int(kept.sum())
    if not total:
        return informs("labels-confirmed", "attack", "nothing was found, so there is nothing to confirm")
    share = 1 - wrong / total
    return gate(
        "labels-confirmed",
        "attack",
        share,
        least=0.99,
        finding=f"a second forward pass confirms {times(share)} of {total} crossings (at least 99%)",
        remedy="the model's answer changes from call to call; make it deterministic and independent of the batch",
    )


def gradients(ground: Ground) -> Iterator[Soundness]:
    """G1: gradients of loss and margin do not vanish.

    Within a subspace they may, of a model that does not change there; that only informs. Random rays and planted
    boundaries tell it from a masked one.
    """
    shares = {
        "margin": _vanishing(ground, ground.margin_gradient[1]),
        "loss": _vanishing(ground, _loss_gradient(ground)),
    }
    share = max(shares.values())
    for arm in ("tangent", "normal"):
        within = _vanishing(ground, ground.space(arm).restrict(ground.margin_gradient[1]))
        yield informs(
            f"gradients-{arm}",
            "attack",
            f"the margin's gradient vanishes {WHERE[arm]} in {times(within)} of inputs",
            within,
        )
    yield gate(
        "gradients",
        "attack",
        share,
        most=0.01,
        finding=f"the gradient of loss or margin vanishes in {times(share)} of inputs (limit 1%)",
        remedy="give logits before saturation, rounding or quantisation, or a differentiable stand-in for that step",
    )


def finite_differences(ground: Ground) -> Soundness:
    """G2: the gradient says how the margin changes over a visible part of the way to the boundary."""
    error = max(median(_derivative_error(ground, share)) for share in STEPS)
    return gate(
        "finite-differences",
        "attack",
        error,
        most=0.2,
        finding=f"gradients and finite differences differ by {times(error)} in the median (limit 20%)",
        remedy="the gradient does not describe the model at the scale of its distances; take out what ripples, rounds "
        "or steps in its forward, or what overrides its backward",
    )


def found(ground: Ground) -> Iterator[Soundness]:
    """G3: the search finds a crossing nearly always; in the subspaces, what it does not find is censored."""
    for arm in ARMS:
        crossing = ground.crossings[arm]
        share = float(crossing.found.double().mean())
        finding = f"a label change was found {WHERE[arm]} for {times(share)} of inputs"
        if arm != "free":
            censored = "" if share == 1 else "; the rest is censored at the search radius"
            yield informs(f"found-{arm}", "attack", finding + censored, share)
            continue
        yield gate(
            "found-free",
            "attack",
            share,
            least=0.95,
            finding=f"{finding} (at least 95%)",
            remedy="see whether gradients vanish or the logits saturate",
        )


def effort(ground: Ground) -> Soundness:
    """G4: a more thorough search comes out at the same distances."""
    n = min(EFFORT_INPUTS, len(ground.x))
    moved = {arm: _shortened(ground, arm, n) for arm in ARMS}
    worst = max(moved, key=lambda arm: moved[arm])
    return gate(
        "effort",
        "attack",
        moved[worst],
        most=0.02,
        finding=f"a thorough search shortens the median distance {WHERE[worst]} by {times(moved[worst])} "
        f"(limit 2%, {n} inputs)",
        remedy="the search has not converged on this model; raise its effort",
    )


def _shortened(ground: Ground, arm: str, n: int) -> float:
    """Share of its distance that a thorough search saves in the median."""
    thorough = ground.searched(ground.classifier, arm, slice(n), "thorough").distance.to(ground.x)
    return max(0.0, 1 - median(ratio(thorough, ground.distance(arm, n))))


def nesting(ground: Ground) -> Soundness:
    """G9: what a subspace search finds is also a crossing anywhere, so the free search must not be longer."""
    restricted = torch.minimum(ground.distance("tangent"), ground.distance("normal"))
    share = float((restricted < BEATEN * ground.distance("free")).double().mean())
    return gate(
        "nesting",
        "attack",
        share,
        most=0.05,
        finding=f"a restricted search is more than 2% shorter than the free one in {times(share)} of inputs (limit 5%)",
        remedy="the free search was stuck; raise its effort",
    )


def kkt(ground: Ground) -> Soundness:
    """G10: at a nearest crossing the step runs along the margin's gradient."""
    cosines = {arm: median(ground.crossings[arm].kkt_cosine) for arm in ARMS}
    listed = ", ".join(f"{cosines[arm]:.3f} {WHERE[arm]}" for arm in ARMS)
    return informs("kkt", "attack", f"median cosine of step and gradient at the crossing: {listed}", cosines["free"])


def flatness(ground: Ground) -> Soundness:
    """Where the boundary is flat, (d_free/d_on)^2 + (d_free/d_off)^2 = 1; the residual shows curvature."""
    free = ground.distance("free")
    residual = median((free / ground.distance("tangent")) ** 2 + (free / ground.distance("normal")) ** 2 - 1)
    return informs(
        "flatness",
        "attack",
        f"(d_free/d_on)^2 + (d_free/d_off)^2 - 1 is {residual:+.2f} in the median; 0 where the boundary is flat",
        residual,
    )


def box(ground: Ground, bounds: tuple[float, float]) -> Soundness:
    """Distances are unboxed; how much of a step lies outside the inputs' box."""
    crossing = ground.crossings["free"]
    point = crossing.point.to(ground.x)
    share = median((point - point.clamp(*bounds)).norm(dim=1) / crossing.distance.to(ground.x))
    return informs(
        "box", "attack", f"distances are unboxed: {times(share)} of a step leaves the box {bounds} in the median", share
    )


def _vanishing(ground: Ground, gradient: Tensor) -> float:
    """Share of inputs in which a gradient (n, D) does not move the margin over a typical distance, or is rounding."""
    margin, whole = ground.margin_gradient
    least = ZERO * torch.maximum(margin.abs() / ground.length, whole.norm(dim=1))
    return float((gradient.norm(dim=1) <= least).double().mean())


def _loss_gradient(ground: Ground) -> Tensor:
    """Gradient (n, D) of the cross-entropy at a temperature that makes the median margin one."""
    unit = ground.margin_gradient[0].abs().median().clamp_min(1e-30)
    with torch.enable_grad():
        leaf = ground.x.clone().requires_grad_(True)
        loss = cross_entropy(ground.classifier.logits(leaf) / unit, ground.y, reduction="sum")
        return input_gradient(loss, leaf) * unit


def _derivative_error(ground: Ground, share: float) -> Tensor:
    """Relative error (n,) of the gradient against central differences along it, over a share of the distance."""
    gradient = ground.margin_gradient[1]
    length = gradient.norm(dim=1, keepdim=True)
    step = share * ground.length
    along = step * gradient / length.clamp_min(1e-30)
    rival = ground.logits.scatter(1, ground.y[:, None], -torch.inf).argmax(1)
    difference = (_lead(ground, ground.x + along, rival) - _lead(ground, ground.x - along, rival)) / (2 * step)
    slope = length.squeeze(1)
    error = (difference - slope).abs() / torch.maximum(difference.abs(), slope)
    return torch.where(slope > 0, error, torch.ones_like(error))


def _lead(ground: Ground, x: Tensor, rival: Tensor) -> Tensor:
    """Logit of the label over that of a fixed rival (n,)."""
    with torch.no_grad():
        logits = ground.classifier.logits(x)
    return (logits.gather(1, ground.y[:, None]) - logits.gather(1, rival[:, None])).squeeze(1)
