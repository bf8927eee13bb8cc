"""What the parts of a perturbation do: flip the label, vanish under projection, resemble the target class."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.checks.base import Explanation, check
from dmmcheck.evidence import Evidence
from dmmcheck.measure import View

STRETCH = 1.5  # perturbations are looked at beyond the boundary, not on its very edge

_FLIPS = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula=(
        "s_i = flip(x + c P_N d / |P_N d|) - flip(x + c P_T d / |P_T d|), c = 1.5 |d|, d the smallest perturbation; "
        "flip is 1 where the label changes"
    ),
    control=(
        "builtin: both parts at equal norm; random-split: the same under shared random splits of dimensions (k, D-k)."
    ),
    threshold="0: the off-manifold part flips where the on-manifold part does not, in more than half of the inputs.",
    assumptions="Locally flat boundaries: there a part with more than (1/1.5)^2 = 44 % of the energy flips the label.",
    violation="A boundary normal within the tangent space: only the on-manifold part flips.",
    reading=(
        "builtin supported, random-split not: any split of these dimensions does the same; the manifold adds nothing."
    ),
)


@check(
    "component-flips",
    tier="controlled",
    statement="the off-manifold component of a perturbation does the work",
    threshold=0.0,
    direction="greater",
    unit="flips",
    explanation=_FLIPS,
)
def component_flips(measure: View) -> Evidence:
    """Flip by the off-manifold part minus flip by the on-manifold part, at equal norm."""
    step = measure.step("free")
    tangent = measure.project_tangent(step)
    reach = STRETCH * step.norm(dim=1, keepdim=True)
    off, on = (_flips(measure, reach * _unit(part)) for part in (step - tangent, tangent))
    return Evidence.of(off - on)


check(
    "component-flips",
    tier="controlled",
    variant="random-split",
    statement="and more so than that of a random split of the same dimensions",
    threshold=0.0,
    direction="greater",
    unit="flips",
    controls=("rotation",),
    null="search",
)(component_flips)


_RESTORES = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula="s_i = [label(project(x_adv)) = label(project(x))], x_adv = x + 1.5 d, or x + d where that keeps the label",
    control="Taking away a random direction of the same length instead; pairs in which just one of the two restores.",
    threshold="0.5: in more than half of the inputs (stated), of the discordant pairs (controlled).",
    assumptions="project() keeps the class of clean inputs (soundness: label agreement).",
    violation="A classifier whose perturbations lie on the manifold: projecting changes nothing.",
    reading="Stated supported, controlled not: any change of that size restores, the projection is nothing special.",
)


@check(
    "projection-restores",
    statement="projecting an adversarial example to the manifold restores its class",
    threshold=0.5,
    direction="greater",
    unit="rate",
    explanation=_RESTORES,
)
def projection_restores(measure: View) -> Evidence:
    """Rate of label(project(x_adv)) = label(project(x))."""
    adversarial, found = _adversarial(measure)
    restored = _restored(measure, measure.project_point(adversarial))
    return Evidence.of(torch.where(found, restored, torch.nan), summary="mean")


@check(
    "projection-restores",
    tier="controlled",
    statement="and more often than taking away a random direction of the same length",
    threshold=0.5,
    direction="greater",
    unit="rate",
)
def projection_restores_controlled(measure: View) -> Evidence:
    """Among inputs where one of the two restores, rate of the projection."""
    adversarial, found = _adversarial(measure)
    projected = measure.project_point(adversarial)
    length = (adversarial - projected).norm(dim=1, keepdim=True)
    random = _restored(measure, adversarial - length * _unit(measure.noise("projection-restores")))
    restored = _restored(measure, projected)
    discordant = found & (random != restored)
    return Evidence.of(restored[discordant], summary="mean")


_NOISE = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula=(
        "s_i = cos(d_on, e_on - x) - cos(d_off, e_off - x), e the nearest example of the class that the step leads to"
    ),
    control="A random tangent direction in place of d_on.",
    threshold="0: the on-manifold perturbation points more towards the class it leads to.",
    assumptions="The nearest example stands for its class.",
    violation="A boundary whose off-manifold normal points to the other class as much as the on-manifold step does.",
    reading="Supported: on-manifold steps look like the target class, off-manifold steps like noise.",
)


@check(
    "noise-like",
    statement="off-manifold perturbations look like noise, on-manifold ones like the target class",
    threshold=0.0,
    direction="greater",
    unit="cosine",
    explanation=_NOISE,
)
def noise_like(measure: View) -> Evidence:
    """cos(on-manifold step, target class) - cos(off-manifold step, target class)."""
    on, off = (_likeness(measure, measure.step(arm), measure.step(arm)) for arm in ("tangent", "normal"))
    return Evidence.of(on - off, censored=int(torch.isnan(on - off).sum()))


@check(
    "noise-like",
    tier="controlled",
    statement="on-manifold perturbations look more like the target class than random tangent directions",
    threshold=0.0,
    direction="greater",
    unit="cosine",
)
def noise_like_controlled(measure: View) -> Evidence:
    """cos(on-manifold step, target class) - cos(random tangent direction, target class)."""
    step = measure.step("tangent")
    random = measure.project_tangent(measure.noise("noise-like"))
    gain = _likeness(measure, step, step) - _likeness(measure, step, random)
    return Evidence.of(gain, censored=int(torch.isnan(gain).sum()))


def _unit(v: Tensor) -> Tensor:
    """Rows of v (n, D) scaled to length one; NaN where a row is zero."""
    return v / v.norm(dim=1, keepdim=True)


def _flips(measure: View, step: Tensor) -> Tensor:
    """1 where x + step has another label, 0 where it has not, NaN where there is no step, (n,).

    A part without direction (zero) flips nothing.
    """
    known = torch.isfinite(measure.step("free")).all(1)
    moved = torch.isfinite(step).all(1)
    changed = measure.labels(measure.x + torch.where(moved[:, None], step, 0.0)) != measure.y
    return torch.where(known, (changed & moved).to(step.dtype), torch.nan)


def _adversarial(measure: View) -> tuple[Tensor, Tensor]:
    """Adversarial examples (n, D) a little beyond the boundary, and where there is one (n,)."""
    step = measure.step("free")
    found = torch.isfinite(step).all(1)
    step = torch.where(found[:, None], step, 0.0)
    far = measure.x + STRETCH * step
    keeps = measure.labels(far) != measure.y
    return torch.where(keeps[:, None], far, measure.x + step), found


def _restored(measure: View, points: Tensor) -> Tensor:
    """1 where points (n, D) have the label of the projected clean input."""
    clean = measure.labels(measure.project_point(measure.x))
    return (measure.labels(points) == clean).to(points.dtype)


def _likeness(measure: View, leads: Tensor, direction: Tensor) -> Tensor:
    """Cosine between a direction (n, D) and the way to the nearest example of the class that the step `leads` to."""
    examples = measure.measure.examples
    found = torch.isfinite(leads).all(1)
    target = measure.labels(measure.x + torch.where(found[:, None], leads, 0.0))
    cosine = torch.full_like(measure.x[:, 0], torch.nan)
    for label in target[found].unique():
        rows = torch.nonzero(found & (target == label)).reshape(-1)
        members = examples.x[examples.y == label]
        if len(members):
            nearest = members[torch.cdist(measure.x[rows], members).argmin(1)]
            cosine[rows] = torch.cosine_similarity(direction[rows], nearest - measure.x[rows], dim=1)
    return cosine
