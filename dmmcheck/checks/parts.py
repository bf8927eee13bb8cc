"""What the parts of a perturbation do: change the label, vanish under projection, resemble the target class."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.checks.base import claim, declare
from dmmcheck.geometry import unit_vectors
from dmmcheck.inference.evidence import Evidence
from dmmcheck.inference.types import ArmName
from dmmcheck.manifolds.neighbours import distance_matrix
from dmmcheck.measurement.view import View
from dmmcheck.registry import FIELD_CONTROLS

STRETCH = 1.5  # perturbations are lengthened by this factor, so that they end clearly beyond the boundary
AGREEMENT = 0.8  # least share of clean inputs whose projection keeps their label
RATE_EFFECT = 0.05
COSINE_EFFECT = 0.05


def component_flips(view: View) -> Evidence:
    """Rate of the off-manifold part among inputs that one part flips, at equal norm."""
    delta = view.delta("free")
    tangent = view.project_tangent(delta)
    length = STRETCH * delta.norm(dim=1, keepdim=True)
    parts = {"off": delta - tangent, "on": tangent}
    off, on = (_flips(view, name, length * unit_vectors(part)) for name, part in parts.items())
    return Evidence.of(off[off != on], summary="mean", censored=int(torch.isnan(off).sum()))


def projection_restores(view: View) -> Evidence:
    """Rate of label(project(x_adv)) = y, the true label."""
    adversarial, found = _adversarial(view)
    return _restored(view, "manifold", view.project_point(adversarial), found)


def projection_restores_controlled(view: View) -> Evidence:
    """Rate of label(p + P_T (x_adv - p)) = y, the true label, with p = project(x)."""
    adversarial, found = _adversarial(view)
    clean, _ = _projected(view)
    return _restored(view, "tangent space", clean + view.project_tangent(adversarial - clean), found)


def _restored(view: View, onto: str, points: Tensor, found: Tensor) -> Evidence:
    """Return 1 where an adversarial example projected onto something (n, D) has the true label, else 0.

    It is NaN where no adversarial example was found.

    An estimate whose projections change the labels of many clean inputs says nothing about adversarial ones: then all
    values are NaN.
    """
    keep = int((_projected(view)[1] == view.y).sum())
    if keep < AGREEMENT * view.n:
        note = (
            f"the projections of {keep} of {view.n} clean inputs keep their label (at least {AGREEMENT:.0%}), so "
            "that projecting an adversarial example says nothing; raise the dimension of the manifold"
        )
        return Evidence.of(torch.full((view.n,), torch.nan), summary="mean", note=note)
    restored = _labels(view, onto, points) == view.y
    return Evidence.of(torch.where(found, restored.double(), torch.nan), summary="mean", censored=int((~found).sum()))


def noise_like(view: View) -> Evidence:
    """cos(on-manifold step, target class) - cos(off-manifold step, target class)."""
    on, off = (_likeness(view, arm) for arm in ("tangent", "normal"))
    return Evidence.of(on - off, censored=int(torch.isnan(on - off).sum()))


def noise_like_controlled(view: View) -> Evidence:
    """cos(on-manifold part, target class) - cos(random tangent direction, target class)."""
    part, random = view.tangent_cosines([view.delta("free"), view.noise("noise-like")], _towards(view))
    gain = part - random
    return Evidence.of(gain, censored=int(torch.isnan(gain).sum()))


def _labels(view: View, name: str, points: Tensor) -> Tensor:
    """Return the model's labels (n,) of points (n, D) that follow from the tangent spaces of a view.

    Those for the manifold's own tangent spaces are kept under a name, since each control is compared with them.
    """
    if view.field is not view.measurement.field:
        return view.labels(points)
    return view.cached(("labels", name, view.attack, view.n), lambda: (view.labels(points), 0))


def _flips(view: View, name: str, part: Tensor) -> Tensor:
    """Return 1 where x + part has another label, 0 where it has not, NaN where no perturbation was found, (n,).

    A part that is zero has no direction and changes no label.
    """
    known = torch.isfinite(view.delta("free")).all(1)
    moved = torch.isfinite(part).all(1)
    changed = _labels(view, name, view.x + torch.where(moved[:, None], part, 0.0)) != view.y
    return torch.where(known, (changed & moved).to(part.dtype), torch.nan)


def _adversarial(view: View) -> tuple[Tensor, Tensor]:
    """Return the adversarial examples (n, D) beyond the boundary, and for which inputs one was found (n,)."""
    delta = view.delta("free")

    def compute() -> tuple[tuple[Tensor, Tensor], int]:
        found = torch.isfinite(delta).all(1)
        far = view.x + STRETCH * torch.where(found[:, None], delta, 0.0)
        crossed = view.labels(far) != view.y
        return (torch.where(crossed[:, None], far, view.crossing("free").point.to(far)), found), 0

    return view.cached(("adversarial", view.attack, view.n), compute)


def _projected(view: View) -> tuple[Tensor, Tensor]:
    """Return the inputs projected onto the manifold (n, D), and the model's labels there (n,); cached for all draws."""

    def compute() -> tuple[tuple[Tensor, Tensor], int]:
        clean = view.project_point(view.x)
        return (clean, view.labels(clean)), 0

    return view.cached(("projected", view.estimate_key, view.n), compute)


def _likeness(view: View, arm: ArmName) -> Tensor:
    """Return the cosine (n,) of a perturbation and the way to the nearest example of the class found there."""
    return _cosine(view.delta(arm), _way(view, view.crossing(arm)))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine (n,) of the rows of two tensors (n, D); NaN where a row is zero."""
    return (unit_vectors(a) * unit_vectors(b)).sum(1)


def _towards(view: View) -> Tensor:
    """Return the way (n, D) to the nearest example of the class found anywhere; kept, since each draw asks for it."""
    crossing, key = view.crossing("free"), ("towards", view.estimate_key, view.attack, view.effort, view.n)
    return view.cached(key, lambda: (_way(view, crossing), 0))


def _way(view: View, crossing: Crossing) -> Tensor:
    """Return the nearest example of the class at each crossing, minus x, (n, D); NaN where there is none."""
    examples = view.examples
    found = crossing.found.to(view.x.device)
    target = view.largest_other_class(crossing.point.to(view.x))
    way = torch.full_like(view.x, torch.nan)
    for label in torch.unique(target[found]):
        rows, members = (torch.nonzero(of).reshape(-1) for of in (found & (target == label), examples.y == label))
        if len(members):
            nearest = distance_matrix(view.x[rows], examples.x, members).argmin(1)
            way[rows] = examples.x[members[nearest]] - view.x[rows]
    return way


declare(
    "component-flips",
    "the off-manifold component of a perturbation does the work",
    claim(
        component_flips,
        tier="controlled",
        threshold=0.5,
        direction="greater",
        unit="rate",
        min_effect=RATE_EFFECT,
        controls=FIELD_CONTROLS,
        draw_cost="forward",
        about_standard=True,
    ),
)
declare(
    "projection-restores",
    "projecting an adversarial example to the manifold restores its class",
    claim(projection_restores, threshold=0.5, direction="greater", unit="rate", about_standard=True),
    claim(
        projection_restores_controlled,
        tier="controlled",
        threshold=0.5,
        direction="greater",
        unit="rate",
        min_effect=RATE_EFFECT,
        controls=FIELD_CONTROLS,
        draw_cost="forward",
        about_standard=True,
    ),
)
declare(
    "noise-like",
    "off-manifold perturbations look like noise, on-manifold ones like the target class",
    claim(noise_like, threshold=0.0, direction="greater", unit="cosine", about_standard=True),
    claim(
        noise_like_controlled,
        tier="controlled",
        statement="the on-manifold part of perturbations looks more like the target class than random tangent "
        "directions",
        threshold=0.0,
        direction="greater",
        unit="cosine",
        min_effect=COSINE_EFFECT,
        controls=FIELD_CONTROLS,
        about_standard=True,
    ),
)
