"""Flat boundaries: the frame they are built in, the gap of the inputs, and a normal that is related to no manifold."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from dmmcheck import worlds
from dmmcheck.seeding import seeded
from dmmcheck.worlds.flat import GAP, UNRELATED, frame


def test_the_frame_is_orthonormal():
    basis, along, across = frame(20, 4, seeded(0, "frame"))
    torch.testing.assert_close(basis.T @ basis, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(basis @ (basis.T @ along), along)
    torch.testing.assert_close(basis.T @ across, torch.zeros(4, dtype=torch.float64))
    assert (float(along.norm()), float(across.norm())) == pytest.approx((1, 1))


@pytest.mark.parametrize("angle", [0.0, 45.0, 85.0])
def test_inputs_keep_their_distance_from_the_boundary_along_the_manifold(angle):
    world = worlds.hyperplane(angle=angle, samples=64, seed=0)
    assert float(world.distance["tangent"].min()) >= GAP - 1e-6


def test_two_sheets_have_their_classes_at_the_height_on_both_sides():
    world = worlds.sheets(height=0.2, samples=16, seed=0)
    assert world.distance["free"].tolist() == pytest.approx([0.2] * 16)
    assert set(world.subject.y.tolist()) == {0, 1}
    flipped = world.subject.manifold.project_point(world.subject.x + 0.3 * world.subject.manifold._normal)
    with torch.no_grad():
        assert bool((world.subject.model(flipped).argmax(1) == 1).all())  # projection leads to the upper sheet


def test_classes_change_places_above_the_height():
    world = worlds.crossed(height=0.2, samples=16, seed=0)
    subject = world.subject
    with torch.no_grad():
        above = subject.model(subject.x + 0.21 * subject.model.across).argmax(1)
        below = subject.model(subject.x + 0.19 * subject.model.across).argmax(1)
    assert torch.equal(above, 1 - subject.y)
    assert torch.equal(below, subject.y)


def test_the_angle_of_a_random_normal_has_the_distribution_of_a_random_direction():
    shares = []
    for seed in range(60):
        world = worlds.haar(ambient_dim=20, dim=4, samples=8, seed=seed)
        shares.append(float((world.distance["free"] / world.distance["tangent"])[0]) ** 2)
        assert not any(world.truth[finding] for finding in UNRELATED)
    assert stats.kstest(shares, stats.beta(2, 8).cdf).pvalue > 1e-3
    assert not math.isclose(shares[0], shares[1])
