"""The distance along a curved manifold, where it is known."""

from __future__ import annotations

from dataclasses import replace

import contexts
import numpy as np
import pytest
import torch
from torch import nn

from dmmcheck.attacks.search import boundary_search
from dmmcheck.manifolds import Decoder
from dmmcheck.models.boxed import BoxedClassifier
from dmmcheck.models.torch import adapt
from dmmcheck.soundness.along import along_manifold

ANGLES = torch.tensor([0.3, 0.9, 1.6, -0.7, -1.2], dtype=torch.float64)
LIMIT = -0.5  # the boundary is where the first coordinate has this value


def circle(angle):
    """Points (n, 3) of the unit circle in three dimensions."""
    return torch.cat([angle.cos(), angle.sin(), 0 * angle], 1)


CIRCLE = Decoder(lambda x: torch.atan2(x[:, 1], x[:, 0])[:, None], circle, dim=1)
AFFINE = nn.Linear(2, 5, dtype=torch.float64)
with torch.no_grad():
    AFFINE.weight.copy_(torch.tensor([[30.0, 0.1], [0, 0.2], [1, 0], [0, 0.1], [5, 0.1]]))
FLAT = Decoder(lambda x: (x - AFFINE.bias) @ torch.linalg.pinv(AFFINE.weight).T, AFFINE, dim=2)


def context_at(x, manifold, normal):
    """Make a soundness context of inputs on one side of a plane, with their crossings in the tangent spaces."""

    def model(x):
        return (x @ normal.to(x) - LIMIT)[:, None] * torch.tensor([1.0, -1.0]).to(x)

    y, plane = torch.zeros(len(x), dtype=torch.long), contexts.Flat(torch.zeros_like(x[0]), torch.eye(len(x[0]))[:, :1])
    context = contexts.context_of(model, x, y, replace(plane, basis=plane.basis.to(x)), pool=(x, y), effort="quick")
    basis = manifold.tangent_basis(x)
    found = boundary_search(context.classifier, x, y, subspace=basis, generator=torch.Generator().manual_seed(0))
    return replace(context, basis=basis, manifold=manifold, crossings={"tangent": found})


def asked(context):
    return contexts.asked(along_manifold, context)


@pytest.mark.parametrize("radius", [1.0, 1.2], ids=["on-the-circle", "beside-it"])
def test_on_a_circle_it_is_the_chord_to_the_boundary(radius):
    x = radius * circle(ANGLES[:, None])
    x[:, 2] += 0.1
    there = torch.acos(LIMIT - (radius - 1) * ANGLES.cos())  # where the moved circle meets the boundary
    chords = 2 * ((there - ANGLES.abs()) / 2).sin()
    context = context_at(x, CIRCLE, torch.tensor([1.0, 0, 0]))
    item = asked(context)["along-manifold"]
    assert (item.ok, item.value) == (None, pytest.approx(float(chords.median()), rel=1e-3))
    tangent = float(context.distance("tangent").median())
    assert f"in the median of 5 inputs; in the tangent spaces it is {tangent:.3g}" in item.message


def test_on_a_plane_it_is_the_distance_in_the_tangent_space_however_codes_are_scaled():
    x = torch.randn((7, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    normal = torch.tensor([0.1, 1, 0.3, 0.5, -0.2])
    x = x + (1 - x @ normal.double()).clamp_min(0)[:, None] * normal.double() / normal.double().square().sum()
    context = context_at(x, FLAT, normal)
    assert asked(context)["along-manifold"].value == pytest.approx(
        float(context.distance("tangent").median()), rel=1e-3
    )


def test_where_the_manifold_does_not_reach_the_boundary_it_is_infinite():
    item = asked(context_at(circle(ANGLES[:, None]), CIRCLE, torch.tensor([0.4, 0, 0])))["along-manifold"]
    assert item.value == float("inf")
    assert item.message.endswith("finds a label change along the curved manifold for 0 of 5 inputs")


def test_a_decoder_that_fails_off_the_data_is_named():
    def short(angle):
        if bool((angle.abs() > 2).any()):
            raise ValueError("no point has this code")
        return circle(angle)

    manifold = Decoder(CIRCLE.encode, short, dim=1)
    item = asked(context_at(circle(ANGLES[:, None]), manifold, torch.tensor([1.0, 0, 0])))["along-manifold"]
    assert item.value is None
    assert "no distance along the manifold is measured: " in item.message
    assert "no point has this code" in item.message


@pytest.mark.parametrize("what", ["plane", "operator", "labels", "box"])
def test_there_is_none_without_codes_bases_or_gradients_or_in_a_box(what):
    context = context_at(circle(ANGLES[:, None]), CIRCLE, torch.tensor([1.0, 0, 0]))
    changed = {
        "plane": {"manifold": contexts.Flat(context.x[0], context.basis[0])},
        "operator": {"basis": None},
        "labels": {"classifier": adapt(lambda x: (np.asarray(x)[:, 0] < LIMIT).astype(int), context.x)},
        "box": {"classifier": BoxedClassifier(context.classifier, (-2.0, 2.0))},
    }[what]
    assert asked(replace(context, **changed)) == {}
