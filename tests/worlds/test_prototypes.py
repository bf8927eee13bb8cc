"""Nearest prototypes: their layout, and the pieces of their manifold."""

from __future__ import annotations

import pytest
import torch

from dmmcheck import worlds


@pytest.mark.parametrize(("layout", "classes"), [("simplex", 4), ("line", 5)])
def test_neighbouring_prototypes_are_a_unit_apart(layout, classes):
    world = worlds.neighbours(layout=layout, classes=classes, samples=8, seed=0)
    apart = torch.cdist(*[world.subject.model.prototypes.double()] * 2)
    if layout == "simplex":
        expected = 1 - torch.eye(classes, dtype=torch.float64)
    else:
        numbers = torch.arange(classes, dtype=torch.float64)
        expected = (numbers[:, None] - numbers[None, :]).abs()
    torch.testing.assert_close(apart, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("angle", [30.0, 60.0])
def test_the_lines_between_prototypes_make_the_angle_with_the_manifold(angle):
    world = worlds.neighbours(angle=angle, classes=4, samples=8, seed=0)
    prototypes, basis = world.subject.model.prototypes.double(), world.subject.manifold._basis.double()
    direction = prototypes[1] - prototypes[0]
    cosine = (direction @ basis).norm() / direction.norm()
    assert float(cosine) == pytest.approx(float(torch.cos(torch.deg2rad(torch.tensor(angle)))), abs=1e-5)


def test_a_point_is_projected_to_the_nearest_piece():
    world = worlds.neighbours(classes=4, samples=8, seed=0)
    manifold, prototypes = world.subject.manifold, world.subject.model.prototypes
    torch.testing.assert_close(manifold.project_point(prototypes), prototypes, rtol=0, atol=1e-5)
    off = torch.zeros(50)
    off[0] = 0.05
    moved = prototypes + off - manifold._basis @ (manifold._basis.T @ off)
    torch.testing.assert_close(manifold.project_point(moved), prototypes, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("layout", "classes", "answer"), [("simplex", 8, True), ("line", 8, False)])
def test_every_class_is_near_in_a_simplex_and_not_on_a_line(layout, classes, answer):
    world = worlds.neighbours(layout=layout, classes=classes, samples=48, seed=0)
    assert world.truth["every-class-near-stated-builtin"] is answer
