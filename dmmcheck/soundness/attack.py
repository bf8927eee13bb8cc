"""Whether the search found the boundary, judged by its own results and gradients (gates G0-G4, G9, G10)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dmmcheck.attacks.margins import logit_margin
from dmmcheck.inference.types import ARMS, ArmName
from dmmcheck.measurement.measure import NEXT_EFFORT
from dmmcheck.models.base import called, input_gradient, is_differentiable
from dmmcheck.models.boxed import box_at, box_of
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import (
    BEATEN,
    TOLERATED,
    WHERE,
    SoundnessContext,
    bounded,
    in_steps,
    info,
    median,
    more_effort,
    more_thorough,
    percent,
    ratio,
    widening,
)
from dmmcheck.soundness.registry import gate

ZERO = 1e-6  # a gradient vanishes where it changes the margin by less than this share over a typical distance
EFFORT_INPUTS = 16
NOT_CONVERGED = 0.25  # a shortfall above which the next effort says nothing about the shortest distance
CONFIRMED = 0.99  # smallest share of crossings that a second pass confirms
NOT_NESTED = 0.05  # largest share of inputs for which a search in a subspace beats the free one
FOUND_LEAST = 0.95  # smallest share of inputs for which an attack must find a label change
NO_GRADIENT = (
    "the model gives labels or scores that jump, so the search asks for labels alone: distances are upper bounds, and "
    "checks of gradients are not run"
)
SATURATED = "give logits before saturation, rounding or quantisation, or replace that step by a differentiable one"
AUTOGRAD_OFF = (
    "autograd is off in its forward pass; take torch.no_grad(), torch.inference_mode(), .detach() and .data out of it"
)
IN_BOX = "; or the box may hold no point of another class near the input: set boxed = false to measure without the box"
VANISHING = 0.01  # largest share of inputs whose gradient may vanish
UNPREDICTED = 0.2  # largest relative error of the gradient against finite differences, in the median
STEPS = (0.05, 0.2)  # of finite differences, in units of the distance


@gate("attack")
def labels_confirmed(context: SoundnessContext) -> Soundness:
    """G0: a second forward pass confirms the label change of every crossing."""
    wrong, total = 0, 0
    for arm in ARMS:
        crossing = context.crossings[arm]
        with torch.no_grad():
            margin = logit_margin(called(context.classifier, crossing.point.to(context.x)), context.y)
        kept = crossing.found.to(margin.device)
        wrong += int((kept & (margin > 1e-5 * context.logit_spread)).sum())
        total += int(kept.sum())
    if not total:
        return info("labels-confirmed", "no label change was found that could be confirmed")
    share = 1 - wrong / total
    return bounded(
        "labels-confirmed",
        share,
        least=CONFIRMED,
        finding=f"a second forward pass confirms {percent(share, CONFIRMED)} of {total} crossings (at least 99%)",
        remedy="the model's answer changes from call to call; make it deterministic and independent of the batch",
    )


@gate("attack")
def gradients(context: SoundnessContext) -> Iterator[Soundness]:
    """G1: gradients of loss and margin do not vanish.

    Within a subspace they may vanish, where the model does not change there: that item is informational, and random
    rays and planted boundaries show whether gradients are masked instead.
    """
    if not is_differentiable(context.classifier):
        yield info("gradients", NO_GRADIENT)
        return
    shares = {
        "margin": _vanishing(context, context.margin_gradient[1]),
        "loss": _vanishing(context, _loss_gradient(context)),
    }
    share = max(shares.values())
    for arm in ("tangent", "normal"):
        within = _vanishing(context, context.space(arm).project(context.margin_gradient[1]))
        yield info(
            f"gradients-{arm}",
            f"the margin's gradient vanishes {WHERE[arm]} in {percent(within)} of inputs",
            within,
        )
    yield bounded(
        "gradients",
        share,
        most=VANISHING,
        finding=f"the gradient of loss or margin vanishes in {percent(share, VANISHING)} of inputs (limit 1%)",
        remedy=SATURATED if _has_autograd(context) else AUTOGRAD_OFF,
    )


def _has_autograd(context: SoundnessContext) -> bool:
    """Return whether autograd relates the logits to the input."""
    with torch.enable_grad():
        return called(context.classifier, context.x[:1].clone().requires_grad_(True)).requires_grad


@gate("attack")
def finite_differences(context: SoundnessContext) -> Soundness:
    """G2: the gradient predicts how the margin changes over a twentieth and a fifth of a typical distance."""
    if not is_differentiable(context.classifier):
        return info("finite-differences", NO_GRADIENT)
    error = _worst_error(context)
    if math.isnan(error) and box_of(context.classifier) is not None:
        return info("finite-differences", "not compared: in the box, no input has room for a step along its gradient")
    return bounded(
        "finite-differences",
        error,
        most=UNPREDICTED,
        finding=f"gradients and finite differences differ by {percent(error, UNPREDICTED)} in the median (limit 20%)",
        remedy="the gradient does not describe the model at the scale of its distances; remove fast oscillations, "
        "rounding and step functions from its forward pass, and custom backward passes",
    )


@gate("attack")
def found(context: SoundnessContext) -> Iterator[Soundness]:
    """G3: the free search finds a crossing for nearly all inputs; in the subspaces, distances may be censored."""
    for arm in ARMS:
        crossing = context.crossings[arm]
        share = float(crossing.found.double().mean())
        finding = f"a label change was found {WHERE[arm]} for {percent(share, FOUND_LEAST)} of inputs"
        if arm != "free":
            censored = "" if share == 1 else "; the rest is censored at the search radius"
            yield info(f"found-{arm}", finding + censored, share)
            continue
        yield bounded(
            "found-free",
            share,
            least=FOUND_LEAST,
            finding=f"{finding} (at least 95%)",
            remedy="check whether gradients vanish or the logits saturate, and give logits before that step"
            + (IN_BOX if box_of(context.classifier) is not None else ""),
        )


@gate("attack")
def effort(context: SoundnessContext) -> Soundness:
    """G4: a more thorough search finds the same distances, at 4 inputs or, where that is not enough, at 8 or 16."""
    again = in_steps(context, min(EFFORT_INPUTS, len(context.x)), partial(_searched_again, context))
    moved = {arm: max(0.0, 1 - median(ratio(one, context.distance(arm, len(one))))) for arm, one in again.items()}
    worst = max(moved, key=lambda arm: moved[arm])
    n = len(again[worst])
    shorter = percent(moved[worst], NOT_CONVERGED)
    shortfall = f"{more_thorough(context)} shortens the median distance {WHERE[worst]} by {shorter}"
    if TOLERATED < moved[worst] <= NOT_CONVERGED:
        return widening(
            "effort",
            moved[worst],
            TOLERATED,
            f"{shortfall} ({n} inputs); above {TOLERATED:.0%}, intervals include what that search changes",
        )
    return bounded(
        "effort",
        moved[worst],
        most=NOT_CONVERGED,
        finding=f"{shortfall} (limit {percent(NOT_CONVERGED)}, {n} inputs)",
        remedy=f"the search has not converged on this model; {more_effort(context)}",
    )


def _searched_again(context: SoundnessContext, arm: ArmName, inputs: slice) -> Tensor:
    """Return the distances, in an arm, of a search of some inputs with the next effort."""
    return context.searched(context.classifier, arm, inputs, NEXT_EFFORT[context.effort]).distance


@gate("attack")
def nesting(context: SoundnessContext) -> Soundness:
    """G9: a crossing in a subspace is a crossing anywhere, so the free search must not give a longer distance."""
    restricted = torch.minimum(context.distance("tangent"), context.distance("normal"))
    share = float((restricted < BEATEN * context.distance("free")).double().mean())
    return bounded(
        "nesting",
        share,
        most=NOT_NESTED,
        finding="a search in a subspace is more than 2% shorter than the free one "
        f"in {percent(share, NOT_NESTED)} of inputs (limit {NOT_NESTED:.0%})",
        remedy=f"the free search has missed a nearer boundary; {more_effort(context)}",
    )


@gate("attack")
def kkt(context: SoundnessContext) -> Soundness:
    """G10: at a nearest crossing the perturbation is parallel to the margin's gradient."""
    if not is_differentiable(context.classifier):
        return info("kkt", NO_GRADIENT)
    cosines = {arm: median(context.crossings[arm].kkt_cosine) for arm in ARMS}
    listed = ", ".join(f"{cosines[arm]:.3f} {WHERE[arm]}" for arm in ARMS)
    return info("kkt", f"median cosine of step and gradient at the crossing: {listed}", cosines["free"])


@gate("attack")
def flatness(context: SoundnessContext) -> Soundness:
    """Where the boundary is flat, (d_free/d_on)^2 + (d_free/d_off)^2 = 1; the residual shows curvature."""
    free = context.distance("free")
    residual = median((free / context.distance("tangent")) ** 2 + (free / context.distance("normal")) ** 2 - 1)
    return info(
        "flatness",
        f"(d_free/d_on)^2 + (d_free/d_off)^2 - 1 is {residual:+.2f} in the median; 0 where the boundary is flat",
        residual,
    )


@gate("attack")
def box(context: SoundnessContext) -> Iterator[Soundness]:
    """Report the share of a perturbation outside the box of the inputs, which only boxed searches keep to."""
    bounds = context.bounds
    if bounds is None or box_of(context.classifier) is not None:
        return
    crossing = context.crossings["free"]
    point = crossing.point.to(context.x)
    share = median((point - point.clamp(*bounds)).norm(dim=1) / crossing.distance.to(context.x))
    yield info("box", f"distances are unboxed: {percent(share)} of a step leaves the box {bounds} in the median", share)


def are_masked(context: SoundnessContext) -> bool:
    """Return whether gradients vanish, or do not predict how the margin changes, by the limits of G1 and G2.

    An error that is not a number counts as too large, except in a box, where an input may have no room for a step.
    """
    vanishing = max(_vanishing(context, context.margin_gradient[1]), _vanishing(context, _loss_gradient(context)))
    error = _worst_error(context)
    if math.isnan(error):
        return vanishing > VANISHING or box_of(context.classifier) is None
    return vanishing > VANISHING or error > UNPREDICTED


def _worst_error(context: SoundnessContext) -> float:
    """Return the median error of the gradient against finite differences, at the worse of two step sizes."""
    return max(median(_derivative_error(context, share)) for share in STEPS)


def _vanishing(context: SoundnessContext, gradient: Tensor) -> float:
    """Return the share of inputs whose gradient (n, D) is rounding, or moves no margin over a typical distance."""
    margin, whole = context.margin_gradient
    least = ZERO * torch.maximum(margin.abs() / context.length, whole.norm(dim=1))
    return float((gradient.norm(dim=1) <= least).double().mean())


def _loss_gradient(context: SoundnessContext) -> Tensor:
    """Return the gradient (n, D) of the cross-entropy, with logits scaled so that the median margin is one."""
    unit = context.margin_gradient[0].abs().median().clamp_min(1e-30)
    with torch.enable_grad():
        leaf = context.x.clone().requires_grad_(True)
        loss = cross_entropy(called(context.classifier, leaf) / unit, context.y, reduction="sum")
        return input_gradient(loss, leaf, role=context.classifier.role) * unit


def _derivative_error(context: SoundnessContext, share: float) -> Tensor:
    """Return the relative error (n,) of the gradient against central differences along the gradient.

    The differences are taken over a share of the typical distance.
    """
    gradient = context.margin_gradient[1]
    length = gradient.norm(dim=1, keepdim=True)
    step = share * context.length
    along = _with_room(context, step * gradient / length.clamp_min(1e-30))
    other = context.logits.scatter(1, context.y[:, None], -torch.inf).argmax(1)
    ahead, behind = (_margin_to(context, context.x + sign * along, other) for sign in (1, -1))
    difference = (ahead - behind) / (2 * step)
    slope = (along * gradient).sum(1) / step if box_of(context.classifier) is not None else length.squeeze(1)
    error = (difference - slope).abs() / torch.maximum(difference.abs(), slope)
    unknown = torch.where(length.squeeze(1) > 0, torch.nan, 1.0)  # in a box, an input may have no room to step
    return torch.where(slope > 0, error, unknown)


def _with_room(context: SoundnessContext, step: Tensor) -> Tensor:
    """Return the steps (n, D), each entry small enough that the box, if any, allows the step in both directions."""
    box = box_at(context.classifier, context.x)
    if box is None:
        return step
    room = torch.minimum(context.x - box[0], box[1] - context.x).clamp_min(0)
    return torch.minimum(torch.maximum(step, -room), room)


def _margin_to(context: SoundnessContext, x: Tensor, other: Tensor) -> Tensor:
    """Return the logit of the label minus the logit of another class (n,), at points x (n, D)."""
    with torch.no_grad():
        logits = called(context.classifier, x)
    return (logits.gather(1, context.y[:, None]) - logits.gather(1, other[:, None])).squeeze(1)
