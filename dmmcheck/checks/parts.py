"""What the parts of a perturbation do: flip the label, vanish under projection, resemble the target class."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.checks.base import FIELD_CONTROLS, Explanation, check
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement.measure import ArmName, View

STRETCH = 1.5  # perturbations are looked at beyond the boundary, not on its very edge
RATE_MARGIN = 0.05
COSINE_MARGIN = 0.05

_FLIPS = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula=(
        "among inputs where just one of flip(x + c P_N d / |P_N d|) and flip(x + c P_T d / |P_T d|) is 1, the rate of "
        "the first; c = 1.5 |d|, d the smallest perturbation; flip is 1 where the label changes"
    ),
    control=(
        "Both parts have equal norm. The larger part does more in any split, so the rate is held against the same "
        "under shared random splits of dimensions (k, D-k): rotated (C0), of the same spectrum (C1), those of other "
        "inputs (C2)."
    ),
    threshold="The control's rate, moved by a twentieth of what is missing from 1.",
    assumptions="Locally flat boundaries: there a part with more than (1/1.5)^2 = 44 % of the energy flips the label.",
    violation="A boundary normal within the tangent space: only the on-manifold part flips.",
    reading=(
        "Where k is small beside D, random splits have the rate 1 already: a rate near 1 is then refuted as a "
        "statement on *this* manifold, since any split of these dimensions does the same."
    ),
)


@check(
    "component-flips",
    tier="controlled",
    statement="the off-manifold component of a perturbation does the work",
    threshold=0.5,
    direction="greater",
    unit="rate",
    margin=RATE_MARGIN,
    controls=FIELD_CONTROLS,
    null="forward",
    explanation=_FLIPS,
)
def component_flips(measure: View) -> Evidence:
    """Rate of the off-manifold part among inputs that one part flips, at equal norm."""
    step = measure.step("free")
    tangent = measure.project_tangent(step)
    reach = STRETCH * step.norm(dim=1, keepdim=True)
    off, on = (_flips(measure, reach * _unit(part)) for part in (step - tangent, tangent))
    return Evidence.of(off[off != on], summary="mean", censored=int(torch.isnan(off).sum()))


_RESTORES = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula="s_i = [label(project(x_adv)) = label(project(x))], x_adv = x + 1.5 d, or x + d where that keeps the label",
    control=(
        "controlled: x_adv is projected to the flat x + T at p = project(x), as a rotated one would be: "
        "s_i = [label(p + P_T (x_adv - p)) = label(p)], beside the same in rotated spaces (C0), in those of the same "
        "spectrum (C1) and of other inputs (C2). They take away a random component of about the same length."
    ),
    threshold="0.5: in more than half of the inputs (stated); controlled: the control's rate.",
    assumptions="project() keeps the class of clean inputs (soundness: label agreement).",
    violation="A classifier whose perturbations lie on the manifold: projecting changes nothing.",
    reading="Stated supported, controlled not: a projection to any space of that dimension restores as often.",
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
    restored = measure.labels(measure.project_point(adversarial)) == _projected(measure)[1]
    return Evidence.of(torch.where(found, restored.double(), torch.nan), summary="mean", censored=int((~found).sum()))


@check(
    "projection-restores",
    tier="controlled",
    statement="projecting an adversarial example to the manifold restores its class",
    threshold=0.5,
    direction="greater",
    unit="rate",
    margin=RATE_MARGIN,
    controls=FIELD_CONTROLS,
    null="forward",
)
def projection_restores_controlled(measure: View) -> Evidence:
    """Rate of label(p + P_T (x_adv - p)) = label(p), p = project(x)."""
    adversarial, found = _adversarial(measure)
    clean, label = _projected(measure)
    restored = measure.labels(clean + measure.project_tangent(adversarial - clean)) == label
    return Evidence.of(torch.where(found, restored.double(), torch.nan), summary="mean", censored=int((~found).sum()))


_NOISE = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151",
    formula=(
        "s_i = cos(d_on, e_on - x) - cos(d_off, e_off - x), e the nearest example of the class that the step leads to"
    ),
    control=(
        "controlled: s_i = cos(P_T d, e - x) - cos(P_T r, e - x), d the smallest perturbation and r a random "
        "direction, beside the same under rotated tangent spaces (C0), of the same spectrum (C1), of other inputs "
        "(C2). A tangent space in which the data lie is special in this, whatever the model."
    ),
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
    on, off = (_likeness(measure, arm) for arm in ("tangent", "normal"))
    return Evidence.of(on - off, censored=int(torch.isnan(on - off).sum()))


@check(
    "noise-like",
    tier="controlled",
    statement="the on-manifold part of perturbations looks more like the target class than random tangent directions",
    threshold=0.0,
    direction="greater",
    unit="cosine",
    margin=COSINE_MARGIN,
    controls=FIELD_CONTROLS,
)
def noise_like_controlled(measure: View) -> Evidence:
    """cos(on-manifold part, target class) - cos(random tangent direction, target class)."""
    step = measure.step("free")
    towards = _towards(measure, "free")
    part, random = (measure.project_tangent(v) for v in (step, measure.noise("noise-like")))
    gain = _cosine(part, towards) - _cosine(random, towards)
    return Evidence.of(gain, censored=int(torch.isnan(gain).sum()))


def _unit(v: Tensor) -> Tensor:
    """Rows of v (n, D) scaled to length one; NaN where a row is zero."""
    length: Tensor = v.norm(dim=1, keepdim=True)
    return v / length


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

    def compute() -> tuple[tuple[Tensor, Tensor], int]:
        found = torch.isfinite(step).all(1)
        far = measure.x + STRETCH * torch.where(found[:, None], step, 0.0)
        keeps = measure.labels(far) != measure.y
        return (torch.where(keeps[:, None], far, measure.crossing("free").point.to(far)), found), 0

    return measure.once(("adversarial", measure.attack, measure.n), compute)


def _projected(measure: View) -> tuple[Tensor, Tensor]:
    """The inputs taken to the manifold (n, D), and what the model says of them (n,); once for all draws."""

    def compute() -> tuple[tuple[Tensor, Tensor], int]:
        clean = measure.project_point(measure.x)
        return (clean, measure.labels(clean)), 0

    return measure.once(("projected", measure.n), compute)


def _likeness(measure: View, arm: ArmName) -> Tensor:
    """Cosine (n,) between a step and the way to the nearest example of the class that it leads to."""
    return _cosine(measure.step(arm), _towards(measure, arm))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine (n,) of rows; NaN where one has no direction."""
    return (_unit(a) * _unit(b)).sum(1)


def _towards(measure: View, arm: ArmName) -> Tensor:
    """From each input to the nearest example of the class its step leads to, (n, D); NaN where there is none."""
    crossing = measure.crossing(arm)

    def compute() -> tuple[Tensor, int]:
        examples = measure.measure.examples
        found = crossing.found.to(measure.x.device)
        target = measure.rivals(crossing.point.to(measure.x))
        towards = torch.full_like(measure.x, torch.nan)
        for label in torch.unique(target[found]):
            rows = torch.nonzero(found & (target == label)).reshape(-1)
            members = examples.x[examples.y == label]
            if len(members):
                nearest = torch.cdist(measure.x[rows], members).argmin(1)
                towards[rows] = members[nearest] - measure.x[rows]
        return towards, 0

    return measure.once(("towards", arm, measure.attack, measure.effort, measure.n), compute)
