"""Shares of energy against naive references and the closed form of a hyperplane."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import views

from dmmcheck import worlds
from dmmcheck.checks import energy


@pytest.fixture(scope="module", params=["shared", "local"])
def seen(request):
    manifold = views.Local() if request.param == "local" else None
    return views.view(views.subject(manifold=manifold), 40)


def test_off_manifold_energy_is_the_share_left_by_the_tangent_part(seen):
    expected = views.naive(seen, lambda x, y, d, T: 1 - np.sum(views.tangent_part(d, T) ** 2) / np.sum(d**2))
    assert energy.off_manifold_energy(seen).values == pytest.approx(expected, abs=1e-5)


def test_boundary_parallel_takes_the_gradient_at_the_crossing(seen):
    expected = []
    for point, y, basis in zip(seen.crossing("free").point, seen.y, views.bases(seen), strict=True):
        leaf = point.detach().clone().requires_grad_(True)
        logits = seen.classifier.logits(leaf[None])[0]
        (logits[y] - torch.cat([logits[:y], logits[y + 1 :]]).max()).backward()
        gradient = views.array(leaf.grad)
        expected.append(1 - np.sum(views.tangent_part(gradient, basis) ** 2) / np.sum(gradient**2))
    assert energy.boundary_parallel(seen).values == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("angle", [20.0, 70.0])
def test_a_hyperplane_has_the_shares_of_its_angle(angle):
    seen = views.view(worlds.hyperplane(angle=angle, seed=0, ambient_dim=16, dim=3, samples=48).subject)
    share = math.sin(math.radians(angle)) ** 2
    assert energy.off_manifold_energy(seen).values == pytest.approx(np.full(48, share), abs=1e-4)
    assert energy.boundary_parallel(seen).values == pytest.approx(np.full(48, share), abs=1e-4)
