"""The shortest perturbation onto a plane inside a box, against closed forms and scipy; and the search that uses it."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import optimize
from search_cases import BASES, NET, X, distances, labels, oracle_of, rng

from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm.projection import finite, in_box, nearest_on_plane
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.attacks.search_space import Everywhere, spanned


def slsqp(g, level, low, high, basis=None):
    """Length of the shortest c with g . B c <= level and low <= B c <= high, by scipy; B the identity where None."""
    matrix = torch.eye(len(g), dtype=g.dtype).numpy() if basis is None else basis.numpy()
    g, low, high = g.numpy(), low.numpy(), high.numpy()
    best = optimize.minimize(
        lambda c: (c**2).sum(),
        0.01 * matrix.T @ -g,
        jac=lambda c: 2 * c,
        constraints=[
            {"type": "ineq", "fun": lambda c: level - g @ (matrix @ c), "jac": lambda c: -g @ matrix},
            {"type": "ineq", "fun": lambda c: matrix @ c - low, "jac": lambda c: matrix},
            {"type": "ineq", "fun": lambda c: high - matrix @ c, "jac": lambda c: -matrix},
        ],
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert best.success
    return math.sqrt(best.fun)


@pytest.fixture
def boxed_plane():
    """Gradients (8, 6), levels (8,), and the room below and above of inputs inside the box [-1, 1]."""
    g = torch.randn(8, 6, generator=rng(1), dtype=torch.float64)
    x = 1.8 * torch.rand(8, 6, generator=rng(2), dtype=torch.float64) - 0.9
    low, high = -1 - x, 1 - x
    farthest = -(torch.where(g > 0, low, high) * g).sum(1)  # what the far corner of the box reaches
    return g, -0.6 * farthest, x, low, high


def test_in_a_box_the_perturbation_is_the_shortest(boxed_plane):
    g, level, _, low, high = boxed_plane
    delta = in_box(g, level, low, high)
    assert bool(((delta >= low) & (delta <= high)).all())
    torch.testing.assert_close((g * delta).sum(1), level)
    expected = [slsqp(*row) for row in zip(g, level, low, high, strict=True)]
    assert delta.norm(dim=1).tolist() == pytest.approx(expected, rel=1e-5)


def test_where_the_plane_misses_the_box_its_far_corner_is_returned(boxed_plane):
    g, level, _, low, high = boxed_plane
    torch.testing.assert_close(in_box(g, 10 * level, low, high), torch.where(g > 0, low, high))


@pytest.mark.parametrize("normal", [False, True], ids=["tangent", "normal"])
def test_in_a_box_and_a_search_space_the_perturbation_is_nearly_the_shortest(boxed_plane, normal):
    g, _, x, low, high = boxed_plane
    basis = geometry.random_basis(6, 3, generator=rng(4), dtype=torch.float64)
    space = spanned(basis, normal=normal)
    span = torch.linalg.qr(torch.eye(6, dtype=torch.float64) - basis @ basis.T).Q[:, :3] if normal else basis
    projected = space.project(g)
    level = -0.3 * projected.norm(dim=1)  # within the box, in every row
    oracle = oracle_of(lambda p: p[:, :2], x, spaces=[space], bounds=(-1.0, 1.0))
    delta = nearest_on_plane(oracle, oracle.rows, projected, level)
    torch.testing.assert_close(space.project(delta), delta)
    torch.testing.assert_close((projected * delta).sum(1), level, rtol=1e-3, atol=0)
    assert float(torch.maximum(low - delta, delta - high).max()) < 1e-2  # the caller shrinks what is left over
    expected = [slsqp(*row, span) for row in zip(projected, level, low, high, strict=True)]
    assert delta.norm(dim=1).tolist() == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("space", [Everywhere(), spanned(torch.eye(6, 3, dtype=torch.float64))], ids=["free", "span"])
def test_without_a_box_the_perturbation_runs_along_the_gradient(boxed_plane, space):
    g, level, x, *_ = boxed_plane
    g = space.project(g)
    oracle = oracle_of(lambda p: p[:, :2], x, spaces=[space])
    delta = nearest_on_plane(oracle, oracle.rows, g, level)
    torch.testing.assert_close((g * delta).sum(1), level)
    torch.testing.assert_close(delta.norm(dim=1), -level / g.norm(dim=1))


def test_where_the_gradient_vanishes_nothing_moves():
    oracle = oracle_of(lambda p: p[:, :2], torch.zeros(1, 3, dtype=torch.float64))
    delta = nearest_on_plane(oracle, oracle.rows, torch.zeros(1, 3, dtype=torch.float64), torch.tensor([-1.0]))
    assert delta.tolist() == [[0, 0, 0]]
    assert finite(torch.tensor([math.nan, math.inf, -math.inf, 2.0])).tolist() == [0, 0, 0, 2]


def test_hyperplane_inside_a_box():
    # half the pixels sit on the lower wall and the plane pulls all of them down: only the others can move
    n, ambient_dim = 16, 40
    x = torch.zeros(n, ambient_dim, dtype=torch.float64)
    x[:, ::2] = 0.2 + 0.6 * torch.rand(n, ambient_dim // 2, generator=rng(5), dtype=torch.float64)
    w = torch.ones(ambient_dim, dtype=torch.float64)
    level = x.sum(1).amin() - 1.0
    drop = x.sum(1) - level
    crossing = boundary_search(
        lambda p: torch.stack([p @ w - level, 0 * p[:, 0]], 1),
        x,
        torch.zeros(n, dtype=torch.long),
        bounds=(0.0, 1.0),
        generator=rng(),
    )
    expected = torch.tensor([_water_filled(row, float(need)) for row, need in zip(x[:, ::2], drop, strict=True)])
    assert bool(crossing.found.all())
    assert bool((crossing.point >= 0).all())
    torch.testing.assert_close(crossing.distance, expected.double(), rtol=1e-3, atol=0)


def _water_filled(room, need):
    """Length of the shortest fall of `need` in total, no pixel below zero: water-filling from the sorted rooms."""
    room = sorted(room.tolist())
    spent = 0.0
    for i, cap in enumerate(room):
        share = (need - spent) / (len(room) - i)
        if share <= cap:
            return math.sqrt(sum(c * c for c in room[:i]) + (len(room) - i) * share**2)
        spent += cap
    raise AssertionError("the plane is out of reach")


@pytest.mark.parametrize("normal", [False, True])
def test_a_crossing_inside_box_and_subspace_stays_in_both(normal):
    x, basis = X.clamp(-1, 1), BASES
    x[:, ::2] = x[:, ::2].sign()  # half of the entries sit on the walls
    crossing = boundary_search(NET, x, labels(x), subspace=basis, normal=normal, bounds=(-1.0, 1.0), generator=rng())
    assert bool(crossing.found.any())
    assert bool((crossing.point.abs() <= 1 + 1e-9).all())
    delta = crossing.point - x
    inside = geometry.project_tangent(delta, basis)
    torch.testing.assert_close(inside, torch.zeros_like(delta) if normal else delta, atol=1e-9, rtol=0)


def test_a_box_hides_no_crossing_that_lies_in_it():
    # every entry of every input sits on a wall
    x = X.sign()
    y = labels(x)
    reachable = distances(x=x, y=y, spaces=[Everywhere()], bounds=(-1.0, 1.0), effort="thorough")[0]
    crossing = boundary_search(NET, x, y, bounds=(-1.0, 1.0), generator=rng())
    assert bool((crossing.found == torch.isfinite(reachable)).all())
    assert float(torch.isfinite(reachable).double().mean()) >= 0.95
    assert float((crossing.distance / reachable).median()) <= 1.015


def test_an_input_outside_the_box_is_not_moved_where_it_is_misclassified():
    x = torch.tensor([[1.3, 0.5]])
    found = boundary_search(
        lambda p: p @ torch.eye(2), x, torch.ones(1, dtype=torch.long), bounds=(0.0, 1.0), generator=rng()
    )
    assert float(found.distance) == 0
    assert torch.equal(found.point, x)
