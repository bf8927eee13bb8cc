"""What the items on angles and dimensions of the manifold estimate say, in closed form."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import contexts
import numpy as np
import pytest
import torch

from dmmcheck.manifolds import analytic
from dmmcheck.soundness import dimensions


def asked(context):
    items = contexts.asked(dimensions.tangent_angles, context) | contexts.asked(dimensions.intrinsic_dimension, context)
    assert all(item.ok is None for item in items.values())
    return items["tangent-angles"], items["intrinsic-dimension"]


class Circle:
    """The circle of radius 1 in the first two of 64 dimensions."""

    dim = 1

    def __init__(self, known=360.0):
        self.known = known  # degrees up to which it answers

    def tangent_basis(self, x):
        if (torch.rad2deg(torch.atan2(x[:, 1], x[:, 0])) > self.known).any():
            raise KeyError("unknown point")
        turned = torch.zeros_like(x)
        turned[:, 0], turned[:, 1] = -x[:, 1], x[:, 0]
        return (turned / turned.norm(dim=1, keepdim=True))[:, :, None]


def on_a_circle(spacing: float):
    """Inputs on a circle, each with a point of the data that many degrees away."""
    angle = 2 * torch.pi * torch.arange(8, dtype=torch.float64) / 8
    x, points = torch.zeros((2, 8, 64), dtype=torch.float64)
    for at, turned in ((x, angle), (points, angle + spacing * torch.pi / 180)):
        at[:, 0], at[:, 1] = turned.cos(), turned.sin()
    circle = Circle()
    return replace(contexts.plain(), x=x, manifold=circle, basis=circle.tangent_basis(x), training_points=points)


@pytest.mark.parametrize("spacing", [2.0, 10.0, 20.0])
def test_tangents_of_a_circle_turn_by_the_angle_between_the_points(spacing):
    angles, _ = asked(on_a_circle(spacing))
    assert angles.value == pytest.approx(spacing, rel=1e-6)
    assert f"are {spacing:.3g} degrees apart (median principal angle of 8 inputs), two random spaces" in angles.message


def test_where_the_points_are_not_known_examples_are_neighbours_and_no_dimension_is_estimated():
    context = on_a_circle(5.0)
    unknown = replace(context, training_points=None, x_pool=context.training_points)
    angles, dimension = asked(unknown)
    assert angles.value == pytest.approx(5.0, rel=1e-6)
    assert (dimension.value, dimension.message.partition(";")[0]) == (None, "k is 1")
    assert "not known" in dimension.message


def test_a_manifold_that_answers_at_the_inputs_alone_has_no_angles():
    apart, _ = asked(replace(on_a_circle(10.0), manifold=Circle(known=5.0)))
    assert apart.value is None
    assert "no angles are measured between an input and the nearest point of the data: the manifold's" in apart.message


def test_spaces_that_all_inputs_share_or_that_have_no_bases_have_no_angles():
    shared, _ = asked(contexts.plain())
    assert (shared.value, shared.message) == (0.0, "all inputs share one tangent space")
    apart, _ = asked(replace(contexts.plain(), basis=None))
    assert apart.value is None
    assert "no angles are measured" in apart.message


def test_the_dimension_of_a_torus_is_found_beside_k_from_at_most_2048_points():
    torus = analytic.torus(64, generator=torch.Generator().manual_seed(0))
    points = torus.sample(5000, generator=torch.Generator().manual_seed(1))
    _, dimension = asked(replace(contexts.plain(), training_points=points))
    assert dimension.value == pytest.approx(2, abs=0.2)
    assert dimension.message.startswith(f"k is {contexts.DIM}; of 1667 points, k estimated: 2.0 by TwoNN")


@pytest.mark.parametrize(
    ("points", "words"),
    [(torch.zeros(50, 64), "1 distinct points cannot be estimated"), (torch.eye(64), "no finite number by TwoNN")],
    ids=["one", "equally-far"],
)
def test_points_whose_dimension_cannot_be_estimated_are_named(points, words):
    _, dimension = asked(replace(contexts.plain(), training_points=points))
    assert dimension.value is None
    assert words in dimension.message


class Fixed:
    """An estimator of scikit-dimension that finds the same dimension for all points."""

    def __init__(self, dim):
        self.dimension_ = dim

    def fit(self, points):
        if len(points) != len(np.unique(points, axis=0)):
            raise ValueError("points are repeated")
        return self


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (
            {"TwoNN": lambda: Fixed(2.25), "MLE": lambda: Fixed(1.94)},
            "; scikit-dimension estimates 2.2 by TwoNN and 1.9 by maximum likelihood",
        ),
        ({"TwoNN": lambda: Fixed(2)}, "; scikit-dimension raised AttributeError: "),
    ],
    ids=["estimates", "other-version"],
)
def test_scikit_dimension_adds_its_estimates_where_it_is_installed(monkeypatch, methods, words):
    library = ModuleType("skdim")
    library.__spec__ = ModuleSpec("skdim", None)
    monkeypatch.setitem(sys.modules, "skdim", library)
    monkeypatch.setitem(sys.modules, "skdim.id", SimpleNamespace(**methods))
    points = analytic.torus(64, generator=torch.Generator().manual_seed(0)).sample(
        200, generator=torch.Generator().manual_seed(1)
    )
    _, dimension = asked(replace(contexts.plain(), training_points=torch.cat([points, points])))
    assert words in dimension.message


def test_the_estimates_of_scikit_dimension_are_near_those_here():
    pytest.importorskip("skdim", reason="scikit-dimension is not installed")
    points = analytic.torus(64, generator=torch.Generator().manual_seed(0)).sample(
        500, generator=torch.Generator().manual_seed(1)
    )
    _, dimension = asked(replace(contexts.plain(), training_points=points))
    assert re.search(r"; scikit-dimension estimates [12]\.\d by TwoNN and [12]\.\d by maximum", dimension.message)


def test_an_input_that_is_a_point_of_the_data_is_compared_with_the_next_one():
    context = on_a_circle(10.0)
    both = torch.cat([context.x, context.training_points])
    angles, _ = asked(replace(context, training_points=both))
    assert angles.value == pytest.approx(10.0, rel=1e-6)
