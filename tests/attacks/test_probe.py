"""Label-only probes against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dmmcheck.attacks.probe import HALVINGS, SCAN, along, bisect, nearer, nothing, random_rays, segment
from dmmcheck.attacks.search_space import spanned
from dmmcheck.geometry import project_tangent, random_basis
from dmmcheck.models.torch import TorchClassifier, adapt

D = 20


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classifier(lead: Callable[[Tensor], Tensor], dim: int = D) -> TorchClassifier:
    """Two classes, the first where `lead` is positive."""
    return adapt(lambda x: torch.stack([lead(x), -lead(x)], 1), torch.zeros(2, dim))


def plane(x: Tensor) -> Tensor:
    return 1 - x[:, 0]


def ball(x: Tensor) -> Tensor:
    return 1 - x.norm(dim=1)


def zeros(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.long)


def test_the_segment_ends_at_the_boundary_on_the_way_to_the_nearest_other_class():
    x = torch.zeros(2, D)
    x[1, 0] = 0.5
    pool = torch.zeros(4, D)
    pool[0, 0] = 0.9  # called the same class
    pool[1, :2] = torch.tensor([2.0, 2.0])
    pool[2, 0] = 5.0  # another class too, but farther
    pool[3, 0] = 1.1  # the model calls it another class, its label does not
    labels = torch.tensor([1, 1, 1, 0])
    crossing = segment(classifier(plane), x, zeros(2), pool, labels)
    assert crossing.found.all()
    truth = torch.tensor([2**0.5, 2.5 / 1.5 / 2])  # from (0, 0): half of (2, 2); from (.5, 0): a third of (1.5, 2)
    assert torch.allclose(crossing.distance, truth, rtol=2e-3)
    assert (crossing.distance >= truth * (1 - 1e-5)).all()
    assert (crossing.margin <= 0).all()
    assert (crossing.forwards > 0).all()
    assert (crossing.backwards == 0).all()


def test_only_where_a_label_changes_a_ray_is_followed_beyond_the_scan():
    model = classifier(plane)
    x, delta = torch.zeros(3, D), torch.zeros(3, D)
    delta[0, 0], delta[1, 0], delta[2, 1] = (
        8.4,
        1.1,
        8.4,
    )  # it changes in the first eighth, the last, nowhere
    seen: list[Tensor] = []
    recording = replace(model, forward=lambda points: (seen.append(points), model.forward(points))[1])
    crossing = along(recording, x, zeros(3), delta)
    assert crossing.found.tolist() == [True, True, False]
    assert torch.allclose(crossing.distance[:2], torch.ones(2), rtol=5e-3)
    assert crossing.forwards.tolist() == [1 + HALVINGS + 1, SCAN + HALVINGS + 1, SCAN]
    assert sum(map(len, seen)) == int(crossing.forwards.sum())
    assert all(len(points) for points in seen)
    assert torch.equal(x, torch.zeros(3, D))


def test_without_an_example_of_another_class_the_segment_finds_nothing():
    x = torch.zeros(2, D)
    for pool, labels in ((x, zeros(2)), (x, zeros(2) + 1)):  # none, and none that the model recognises
        crossing = segment(classifier(plane), x, zeros(2), pool, labels)
        assert not crossing.found.any()
        assert torch.isinf(crossing.distance).all()


def test_rays_from_the_centre_of_a_ball_cross_at_its_radius():
    crossing = random_rays(
        classifier(ball), torch.zeros(3, D), zeros(3), radius=torch.full((3,), 4.0), generator=generator()
    )
    assert torch.allclose(crossing.distance, torch.ones(3), rtol=5e-3)
    assert torch.allclose(crossing.point[0], crossing.point[2])  # the same directions for all inputs


def test_rays_look_no_further_than_told():
    radius = torch.tensor([0.5, 2.0])
    crossing = random_rays(classifier(ball), torch.zeros(2, D), zeros(2), radius=radius, generator=generator())
    assert crossing.found.tolist() == [False, True]
    assert crossing.radius.tolist() == pytest.approx([0.5, 2.0])


@pytest.mark.parametrize("normal", [False, True])
def test_rays_keep_to_their_subspace(normal: bool):
    basis = random_basis(D, 5, generator=generator())
    space = spanned(basis, normal=normal)
    x = torch.zeros(2, D)
    crossing = random_rays(
        classifier(ball), x, zeros(2), radius=torch.full((2,), 2.0), space=space, generator=generator()
    )
    inside = project_tangent(crossing.point, basis)
    assert crossing.found.all()
    assert torch.allclose(inside, torch.zeros_like(inside) if normal else crossing.point, atol=1e-5)


def test_more_rays_come_nearer():
    x, y, radius = torch.zeros(4, D), zeros(4), torch.full((4,), 50.0)
    few, many = (
        random_rays(classifier(plane), x, y, radius=radius, directions=count, generator=generator())
        for count in (2, 64)
    )
    assert (many.distance < few.distance).all()
    assert (many.distance >= 1).all()


def test_the_first_of_several_changes_along_a_ray_is_found():
    def stripes(x: Tensor) -> Tensor:
        return torch.cos(x[:, 0])

    delta = torch.zeros(1, D)
    delta[0, 0] = 9.0  # changes at pi/2, 3/2 pi and 5/2 pi
    crossing = along(classifier(stripes), torch.zeros(1, D), zeros(1), delta)
    assert crossing.distance.item() == pytest.approx(torch.pi / 2, rel=5e-3)


def test_bisection_returns_the_side_that_crosses():
    truth = torch.tensor([0.3, 0.7])
    far = bisect(lambda share: share >= truth, torch.zeros(2), torch.ones(2), halvings=12)
    assert (far >= truth).all()
    assert torch.allclose(far, truth, atol=2**-12)


def test_the_nearer_of_two_crossings_is_kept_input_by_input():
    x, y = torch.zeros(2, D), zeros(2)
    axes = torch.eye(2, D) * 3
    model = classifier(lambda x: 1 - x[:, 0] - 2 * x[:, 1])
    a, b = (
        along(model, x, y, axis.expand(2, -1) * torch.tensor([[1.0], [k]]))
        for axis, k in ((axes[0], 0.1), (axes[1], 1))
    )
    best = nearer(a, b)
    assert best.distance.tolist() == pytest.approx([0.5, 0.5], rel=1e-2)
    assert torch.equal(nearer(nothing(x, y), b).distance, b.distance)
    assert torch.equal(best.forwards, a.forwards + b.forwards)
