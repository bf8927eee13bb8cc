"""Boundaries behind flat stretches of a normal space, of which the examples say nothing."""

from __future__ import annotations

import pytest
import torch
from search_cases import oracle_of, rng

from dmmcheck.attacks.minimal_norm.candidates import Candidates
from dmmcheck.attacks.minimal_norm.ends import Ends
from dmmcheck.attacks.minimal_norm.ray_starts import REACH, ray_starts
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.attacks.search_space import spanned

DIM, INPUTS, FAR, HIDDEN = 4, 12, 1.0, 0.4


def data(ambient_dim, *, noise=0.0):
    """Inputs and examples of two classes on a plane of the first coordinates, or near it."""
    generator = rng(1)
    x = torch.zeros(INPUTS + 40, ambient_dim)
    x[:, :DIM] = torch.randn(len(x), DIM, generator=generator)
    x[:, DIM:] += noise * torch.randn(len(x), ambient_dim - DIM, generator=generator)
    labels = torch.arange(len(x)) % 2
    basis = torch.eye(ambient_dim)[:, :DIM]
    return x[:INPUTS], (x[INPUTS:], labels[INPUTS:]), basis


def walls(hidden=True):
    """Logits with a plane at the distance FAR across one direction, and a step at HIDDEN across another one."""

    def model(points):
        side = torch.tanh(30 * (1 - points[:, DIM + 1] / HIDDEN)) if hidden else 1.0
        margin = side - points[:, DIM] / FAR
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    return model


@pytest.mark.parametrize("effort", ["quick", "default", "thorough"])
@pytest.mark.parametrize("ambient_dim", [40, 300])
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_step_that_no_gradient_shows_is_found_in_the_normal_space(ambient_dim, effort, scale):
    x, (points, labels), basis = data(ambient_dim)

    def model(z):
        return walls()(z / scale)

    found = boundary_search(
        model,
        scale * x,
        torch.zeros(INPUTS, dtype=torch.long),
        subspace=basis,
        normal=True,
        examples=(scale * points, labels),
        effort=effort,
        generator=rng(2),
    )
    assert bool(found.found.all())
    torch.testing.assert_close(found.distance, torch.full((INPUTS,), scale * HIDDEN), rtol=0.02, atol=0)


def starts(model, ambient_dim=40, *, noise=0.0, ray_dim=16, with_examples=True, normal=True):
    """Return the starts beside crossings on the plane that is known, and how many margins were asked for."""
    x, (points, labels), basis = data(ambient_dim, noise=noise)
    own = torch.zeros(INPUTS, dtype=torch.long)
    ends = Ends.nearest(x, own, points, labels, targeted=False) if with_examples else None
    oracle = oracle_of(model, x, ends=ends, spaces=[spanned(basis, normal=normal)])
    known = torch.zeros(INPUTS, ambient_dim)
    known[:, DIM] = 1.01 * FAR
    candidates = Candidates(torch.arange(INPUTS), known)
    candidates.update_best(known, torch.full((INPUTS,), -0.01))
    rays = torch.randn(8, ambient_dim, generator=rng(3))
    found = ray_starts(oracle, candidates, rays, ray_dim=ray_dim)
    return oracle, found, int(oracle.forwards.sum())


def test_starts_are_label_changes_that_the_known_crossing_does_not_explain():
    oracle, found, _ = starts(walls())
    assert found.rows.tolist() == list(range(INPUTS))
    assert bool((found.margin < 0).all())
    torch.testing.assert_close(oracle.margin(found.best, found.rows), found.margin)
    assert bool((found.best[:, DIM] < 1.01 * FAR).all())
    assert bool((found.best[:, DIM + 1] >= 0.9 * HIDDEN).all())
    assert bool((found.length <= 1.0001 * REACH * 1.01 * FAR * 36**0.5).all())
    torch.testing.assert_close(found.best[:, :DIM], torch.zeros(INPUTS, DIM), rtol=0, atol=1e-5)


def test_a_label_change_that_the_known_crossing_explains_is_no_start():
    _, found, asked = starts(walls(hidden=False))
    assert asked == INPUTS * 16  # 8 rays both ways
    assert not len(found.rows)


@pytest.mark.parametrize(
    "more", [{"noise": 1.0}, {"ray_dim": 60}, {"with_examples": False}, {"normal": False, "ray_dim": 1}]
)
def test_no_ray_is_read_where_examples_say_something_or_other_rays_are_followed(more):
    _, found, asked = starts(walls(), **more)
    assert not len(found.rows)
    assert asked == 0


def test_a_crossing_that_is_known_to_first_order_alone_counts_too():
    x, (points, labels), basis = data(40)
    own = torch.zeros(INPUTS, dtype=torch.long)
    oracle = oracle_of(
        walls(), x, ends=Ends.nearest(x, own, points, labels, targeted=False), spaces=[spanned(basis, normal=True)]
    )
    near = torch.zeros(INPUTS, 40)
    near[:, DIM] = 0.99 * FAR
    candidates = Candidates(torch.arange(INPUTS), near)
    candidates.linearized_distance = torch.full((INPUTS,), FAR)
    found = ray_starts(oracle, candidates, torch.randn(8, 40, generator=rng(3)), ray_dim=16)
    assert found.rows.tolist() == list(range(INPUTS))
    nothing = Candidates(torch.arange(INPUTS), torch.zeros(INPUTS, 40))
    assert not len(ray_starts(oracle, nothing, torch.randn(8, 40, generator=rng(3)), ray_dim=16).rows)
