"""Spherical boundaries: the angle with the manifold, and directions that make no difference."""

from __future__ import annotations

import math

import pytest
import torch

from dmmcheck import worlds


@pytest.mark.parametrize("angle", [30.0, 85.0])
def test_a_sphere_cuts_the_manifold_at_its_angle(angle):
    world = worlds.sphere(angle=angle, samples=8, seed=0)
    basis, centre = world.subject.manifold.basis.double(), world.subject.model.centre.double()
    on = basis[:, 0] * world.subject.model.radius * math.cos(math.radians(angle))  # where T meets the sphere
    normal = (on - centre) / (on - centre).norm()
    assert math.isclose(float((normal @ basis).norm()), math.cos(math.radians(angle)), abs_tol=1e-6)
    assert math.isclose(float((on - centre).norm()), world.subject.model.radius, rel_tol=1e-6)


def test_a_blind_model_ignores_what_lies_off_the_manifold():
    world = worlds.blind(samples=16, noise=0.3, seed=0)
    subject = world.subject
    projected = subject.manifold.project_point(subject.x)
    assert float((subject.x - projected).norm(dim=1).min()) > 0.5
    with torch.no_grad():
        torch.testing.assert_close(subject.model(subject.x), subject.model(projected), rtol=1e-4, atol=1e-5)
    assert bool(torch.isinf(world.distance["normal"]).all())
