"""The boundary search against closed forms, and what must not change its answers."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import count

import pytest
import torch
from scipy import optimize
from torch import nn

from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm import search
from dmmcheck.attacks.minimal_norm.candidates import Ways
from dmmcheck.attacks.minimal_norm.ddn import refine, settle
from dmmcheck.attacks.minimal_norm.hlrf import starts
from dmmcheck.attacks.minimal_norm.oracle import Problem
from dmmcheck.attacks.minimal_norm.search import EFFORTS, Arm, boundary_search, search_arms
from dmmcheck.errors import AttackError, ModelError
from dmmcheck.models.torch import adapt


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def plane(ambient_dim, dim, theta, *, dtype=torch.float32, n=8):
    """Inputs, model, basis, distances: a hyperplane whose normal is theta degrees from a linear manifold."""
    generator = rng(ambient_dim + dim)
    basis = geometry.random_basis(ambient_dim, dim, generator=generator, dtype=torch.float64)
    along = basis @ torch.randn(dim, generator=generator, dtype=torch.float64)
    across = torch.randn(ambient_dim, generator=generator, dtype=torch.float64)
    across -= basis @ (basis.T @ across)
    angle = math.radians(theta)
    w = math.cos(angle) * along / along.norm() + math.sin(angle) * across / across.norm()
    x = torch.randn(n, ambient_dim, generator=generator, dtype=torch.float64)
    offset = 1 - (x @ w).min()
    free = x @ w + offset
    distances = {"free": free, "on": free / math.cos(angle), "off": free / math.sin(angle)}
    weight, bias = w.to(dtype), offset.to(dtype)
    return (
        x.to(dtype),
        lambda points: torch.stack([points @ weight + bias, 0 * points[:, 0]], 1),
        basis.to(dtype),
        distances,
    )


@pytest.mark.parametrize("theta", [0.5, 45, 89.5])
@pytest.mark.parametrize(("ambient_dim", "dim"), [(2, 1), (50, 1), (50, 16), (784, 1), (784, 16), (150528, 16)])
def test_hyperplane_at_an_angle_to_a_linear_manifold(ambient_dim, dim, theta):
    x, model, basis, expected = plane(ambient_dim, dim, theta)
    arms = [Arm(), Arm(basis), Arm(basis, normal=True)]
    found = search_arms(model, x, torch.zeros(len(x), dtype=torch.long), arms, generator=rng())
    for crossing, name in zip(found, ("free", "on", "off"), strict=True):
        torch.testing.assert_close(crossing.distance.double(), expected[name], rtol=1e-3, atol=0)


@pytest.mark.parametrize("arm", ["free", "on", "off"])
def test_sphere(arm):
    radius, x = 3.0, torch.randn(32, 20, generator=rng(), dtype=torch.float64)
    x = x / x.norm(dim=1, keepdim=True) * torch.linspace(0.3, 2.5, 32)[:, None]
    basis = geometry.random_basis(20, 5, generator=rng(1), dtype=torch.float64)
    inside = geometry.project_tangent(x, basis)
    part = {"free": x, "on": inside, "off": x - inside}[arm].norm(dim=1)
    rest = x.square().sum(1) - part.square()
    expected = (radius**2 - rest).sqrt() - part  # inside the subspace the sphere is a smaller one around the projection
    crossing = boundary_search(
        lambda p: torch.stack([radius**2 - p.square().sum(1), 0 * p[:, 0]], 1),
        x,
        torch.zeros(32, dtype=torch.long),
        subspace=None if arm == "free" else basis,
        normal=arm == "off",
        generator=rng(),
    )
    torch.testing.assert_close(crossing.distance, expected, rtol=1e-2, atol=0)


def polytope():
    """A classifier (0 inside, else the face that is crossed), unit normals (40, 10) of the faces, inputs (24, 10)."""
    faces = torch.randn(40, 10, generator=rng(3), dtype=torch.float64)
    faces = faces / faces.norm(dim=1, keepdim=True)
    x = 0.4 * torch.randn(24, 10, generator=rng(4), dtype=torch.float64) / math.sqrt(10)
    return (lambda p: torch.cat([torch.ones_like(p[:, :1]), p @ faces.T], 1)), faces, x


@pytest.mark.parametrize("effort", ["quick", "default", "thorough"])
def test_polytope_is_left_through_its_nearest_face(effort):
    model, faces, x = polytope()
    crossing = boundary_search(model, x, torch.zeros(24, dtype=torch.long), effort=effort, generator=rng())
    torch.testing.assert_close(crossing.distance, (1 - x @ faces.T).amin(1), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("effort", "share"), [("quick", 0.8), ("default", 0.9), ("thorough", 0.9)])
def test_polytope_inside_a_box(effort, share):
    # the box cuts off most faces' nearest points: which of 40 faces is the nearest one cannot be seen from the input
    model, faces, x = polytope()
    side = float(x.abs().amax()) + 0.05
    crossing = boundary_search(
        model, x, torch.zeros(24, dtype=torch.long), bounds=(-side, side), effort=effort, generator=rng()
    )
    exact = torch.tensor([[_onto(row, face, side) for face in faces] for row in x], dtype=torch.float64)
    beyond = crossing.distance[:, None] / exact - 1
    assert bool(crossing.found.all())
    assert bool((crossing.point.abs() <= side).all())
    assert bool((beyond.amax(1) >= -1e-6).all())
    assert bool((beyond.abs().amin(1) <= 1e-3).all()), "a crossing is not the nearest point of any face"
    assert float((beyond.amax(1) <= 1e-3).double().mean()) >= share


def _onto(x, face, side):
    """Distance from x to the plane face . p = 1 inside the box, by an SLSQP of scipy; inf where the box misses it."""
    if float(face.abs().sum()) * side < 1:
        return math.inf
    x, face = x.numpy(), face.numpy()
    best = optimize.minimize(
        lambda p: ((p - x) ** 2).sum(),
        x,
        jac=lambda p: 2 * (p - x),
        bounds=[(-side, side)] * len(x),
        constraints={"type": "eq", "fun": lambda p: face @ p - 1, "jac": lambda p: face},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return math.sqrt(best.fun) if best.success else math.inf


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
    expected = torch.tensor([_capped(row, float(need)) for row, need in zip(x[:, ::2], drop, strict=True)])
    assert bool(crossing.found.all())
    assert bool((crossing.point >= 0).all())
    torch.testing.assert_close(crossing.distance, expected.double(), rtol=1e-3, atol=0)


def _capped(room, need):
    """Length of the shortest fall of `need` in total, no pixel below zero: water-filling from the sorted rooms."""
    room = sorted(room.tolist())
    spent = 0.0
    for i, cap in enumerate(room):
        share = (need - spent) / (len(room) - i)
        if share <= cap:
            return math.sqrt(sum(c * c for c in room[:i]) + (len(room) - i) * share**2)
        spent += cap
    raise AssertionError("the plane is out of reach")


class Net(nn.Module):
    """A small smooth network with weights from its own generator."""

    def __init__(self, ambient_dim=12, classes=4, seed=0):
        super().__init__()
        generator = rng(seed)
        self.one = nn.Parameter(torch.randn(ambient_dim, 16, generator=generator, dtype=torch.float64))
        self.two = nn.Parameter(torch.randn(16, classes, generator=generator, dtype=torch.float64))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(torch.tanh(x @ self.one / 3)) @ self.two


NET = Net()
X = torch.randn(40, 12, generator=rng(8), dtype=torch.float64)
with torch.no_grad():
    Y = NET.eval()(X).argmax(1)
NET.train()
BASES = torch.stack([geometry.random_basis(12, 3, generator=rng(s), dtype=torch.float64) for s in range(40)])
ARMS = [Arm(), Arm(BASES), Arm(BASES, normal=True)]


def distances(model=NET, x=X, y=Y, arms=ARMS, **options):
    return torch.stack([c.distance for c in search_arms(model, x, y, arms, generator=rng(), **options)])


BASELINE = distances()


def test_the_search_never_misses_what_a_fine_scan_of_directions_finds():
    directions = torch.randn(4000, 12, generator=rng(2), dtype=torch.float64)
    directions = directions / directions.norm(dim=1, keepdim=True)
    NET.eval()
    with torch.no_grad():
        for x, y, found in zip(X[:8], Y[:8], BASELINE[0][:8], strict=True):
            shorter = x + 0.999 * found * directions
            assert bool((NET(shorter).argmax(1) == y).all())
    NET.train()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_results_do_not_depend_on_the_batch_size(batch_size):
    torch.testing.assert_close(distances(batch_size=batch_size), BASELINE, rtol=1e-5, atol=0)


def test_a_model_call_has_at_most_as_many_rows_as_the_batch_size():
    seen = []

    class Watched(Net):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    torch.testing.assert_close(distances(model=Watched(), batch_size=5), BASELINE, rtol=1e-5, atol=0)
    assert max(seen) == 5


@pytest.mark.parametrize("effort", EFFORTS)
def test_passes_are_counted_as_the_model_sees_them(effort):
    seen = Counter()

    class Watched(Net):
        def forward(self, x):
            z = super().forward(x)
            seen["forwards"] += len(x)
            if z.requires_grad:
                z.register_hook(lambda gradient: seen.update(backwards=len(gradient)))
            return z

    classifier = adapt(Watched(), X)
    seen.clear()
    found = search_arms(classifier, X, Y, ARMS, effort=effort, generator=rng())
    assert seen["forwards"] == sum(int(crossing.forwards.sum()) for crossing in found)
    assert seen["backwards"] == sum(int(crossing.backwards.sum()) for crossing in found)


def test_bases_too_large_to_copy_give_the_same_answer(monkeypatch):
    monkeypatch.setattr("dmmcheck.attacks.problem.BASES", 0)
    torch.testing.assert_close(distances(), BASELINE, rtol=1e-5, atol=0)


@pytest.mark.parametrize("normal", [False, True])
def test_a_crossing_inside_box_and_subspace_stays_in_both(normal):
    x, basis = X.clamp(-1, 1), BASES
    x[:, ::2] = x[:, ::2].sign()  # half of the entries sit on the walls
    with torch.no_grad():
        y = NET.eval()(x).argmax(1)
    NET.train()
    crossing = boundary_search(NET, x, y, subspace=basis, normal=normal, bounds=(-1.0, 1.0), generator=rng())
    assert bool(crossing.found.any())
    assert bool((crossing.point.abs() <= 1 + 1e-9).all())
    step = crossing.point - x
    inside = geometry.project_tangent(step, basis)
    torch.testing.assert_close(inside, torch.zeros_like(step) if normal else step, atol=1e-9, rtol=0)


def test_the_box_is_no_excuse_for_finding_nothing():
    # every entry of every input sits on a wall
    x = X.sign()
    with torch.no_grad():
        y = NET.eval()(x).argmax(1)
    NET.train()
    reachable = distances(x=x, y=y, arms=[Arm()], bounds=(-1.0, 1.0), effort="thorough")[0]
    crossing = boundary_search(NET, x, y, bounds=(-1.0, 1.0), generator=rng())
    assert bool((crossing.found == torch.isfinite(reachable)).all())
    assert float(torch.isfinite(reachable).double().mean()) >= 0.95
    assert float((crossing.distance / reachable).median()) <= 1.015


def test_results_do_not_depend_on_the_order_of_inputs():
    order = torch.randperm(40, generator=rng(9))
    arms = [Arm(), Arm(BASES[order]), Arm(BASES[order], normal=True)]
    torch.testing.assert_close(distances(x=X[order], y=Y[order], arms=arms), BASELINE[:, order], rtol=1e-5, atol=0)


def test_a_shared_basis_is_the_same_as_its_copies():
    shared, copies = BASES[0], BASES[:1].expand(40, -1, -1).contiguous()
    one = distances(arms=[Arm(shared), Arm(shared, normal=True)])
    torch.testing.assert_close(one, distances(arms=[Arm(copies), Arm(copies, normal=True)]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_scaling_the_inputs_scales_the_answer(scale):
    class Scaled(Net):
        def forward(self, x):
            return super().forward(x / scale)

    torch.testing.assert_close(distances(model=Scaled(), x=X * scale) / scale, BASELINE, rtol=1e-3, atol=0)


@pytest.mark.parametrize("change", [lambda z: 1e-3 * z, lambda z: 1e3 * z, lambda z: z + 100, lambda z: z.softmax(1)])
def test_scaling_or_shifting_the_logits_changes_nothing(change):
    class Changed(Net):
        def forward(self, x):
            return change(super().forward(x))

    torch.testing.assert_close(distances(model=Changed()), BASELINE, rtol=1e-3, atol=0)


def test_a_rotated_world_has_the_rotated_answer():
    # directions of restarts are drawn in the coordinates of x; quick has none
    q = geometry.random_basis(12, 12, generator=rng(1), dtype=torch.float64)

    class Turned(Net):
        def forward(self, x):
            return super().forward(x @ q.T)

    arms = [
        Arm(),
        Arm(torch.einsum("ij,njk->nik", q.T, BASES)),
        Arm(torch.einsum("ij,njk->nik", q.T, BASES), normal=True),
    ]
    turned = search_arms(Turned(), X @ q, Y, arms, effort="quick", generator=rng())
    plain = search_arms(NET, X, Y, ARMS, effort="quick", generator=rng())
    for one, other in zip(turned, plain, strict=True):
        torch.testing.assert_close(one.distance, other.distance, rtol=1e-3, atol=0)
        near = (one.point @ q.T - other.point).norm(dim=1) / other.distance
        assert float(near.median()) < 1e-3


def test_crossings_have_the_other_label_lie_in_their_subspace_and_are_nested():
    free, on, off = search_arms(NET, X, Y, ARMS, generator=rng())
    NET.eval()
    with torch.no_grad():
        for crossing in (free, on, off):
            assert bool((NET(crossing.point).argmax(1) != Y)[crossing.found].all())
            torch.testing.assert_close(
                (crossing.point - X).norm(dim=1)[crossing.found], crossing.distance[crossing.found]
            )
    NET.train()
    step = on.point - X
    torch.testing.assert_close(geometry.project_tangent(step, BASES), step)
    step = off.point - X
    assert float(geometry.project_tangent(step, BASES).norm(dim=1).max()) < 1e-9
    assert bool((free.distance <= torch.minimum(on.distance, off.distance)).all())
    assert float(free.kkt_cosine.nanmedian()) > 0.99


def test_targets_are_reached_and_never_nearer_than_any_class():
    for target in range(4):
        aims = torch.full_like(Y, target)
        crossing = boundary_search(NET, X, Y, targets=aims, generator=rng())
        NET.eval()
        with torch.no_grad():
            assert bool((NET(crossing.point).argmax(1) == target)[crossing.found].all())
        NET.train()
        other = target != Y
        assert bool((crossing.distance[other] >= 0.999 * BASELINE[0][other]).all())
        assert bool((crossing.distance[~other] == 0).all())


def test_thorough_is_no_worse_than_quick():
    quick, thorough = (distances(effort=effort) for effort in ("quick", "thorough"))
    assert bool((thorough <= quick * 1.01).all())


def test_inputs_leave_the_refinement_once_their_crossing_is_a_nearest_point(monkeypatch):
    # beside a plane, the first steps end in the answer; over the bumps beside it they do not
    def model(p):
        bumps = torch.where(p[:, 1] > 0, 0.3 * torch.sin(7 * p[:, 2:]).sum(1), 0.0)
        return torch.stack([1 - p[:, 0] + bumps, 0 * p[:, 0]], 1)

    x = 0.1 * torch.randn(32, 6, generator=rng(), dtype=torch.float64)
    x[:, 1] = torch.tensor([-5.0, 5.0]).repeat(16)
    flat, bumpy = slice(0, None, 2), slice(1, None, 2)

    def found():
        return boundary_search(model, x, torch.zeros(32, dtype=torch.long), generator=rng())

    leaving = found()
    monkeypatch.setitem(EFFORTS, "default", replace(EFFORTS["default"], enough=2.0))
    staying = found()
    torch.testing.assert_close(leaving.distance[flat], 1 - x[flat, 0], rtol=1e-3, atol=0)
    torch.testing.assert_close(leaving.distance[bumpy], staying.distance[bumpy], rtol=1e-2, atol=0)
    steps = EFFORTS["default"].stages[0].steps
    assert int((staying.backwards - leaving.backwards)[flat].min()) >= EFFORTS["default"].refine - steps
    assert bool((leaving.backwards <= staying.backwards).all())


def test_the_first_step_goes_half_way_to_what_is_seen_ahead():
    def model(p):  # down along the first axis, further on along the second; the same for class 2, seen from nowhere
        near = torch.where(p[:, 0] < 1, p[:, 0], 1 + p[:, 1])
        return torch.stack([2 - near, 0 * near, 0 * near - 10], 1)

    x = torch.zeros(1, 3, dtype=torch.float64)
    problem = Problem(adapt(model, x), x, torch.tensor([0]), targets=None, arms=[Arm()], bounds=None)
    _, rivals = problem.rivals(problem.rows, 2, 1)
    restart = torch.ones(1, 3, dtype=torch.float64)
    blind = starts(problem, problem.rows, rivals, restart, slack=2.0, ahead=False)
    seeing = starts(problem, problem.rows, rivals, restart, slack=2.0, ahead=True)
    assert blind.aims.tolist() == seeing.aims.tolist() == [1]
    torch.testing.assert_close(blind.step, torch.tensor([[1.02, 0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(seeing.step, torch.tensor([[1.02, 1.02, 0.0]], dtype=torch.float64) / math.sqrt(2))


def test_a_gradient_ahead_that_points_back_turns_nothing():
    # behind the slab that starts at 2 the margin grows again: the two directions cancel but for their rounding
    def model(p):
        return torch.stack([(p[:, 0] - 3).abs() - 1, 0 * p[:, 0]], 1)

    x = 0.01 * torch.randn(16, 20, generator=rng())
    basis = geometry.random_basis(20, 4, generator=rng(1))
    problem = Problem(
        adapt(model, x), x, torch.zeros(16, dtype=torch.long), targets=None, arms=[Arm(basis, normal=True)], bounds=None
    )
    _, rivals = problem.rivals(problem.rows, 1, 1)
    restart = torch.ones(1, 20)
    blind = starts(problem, problem.rows, rivals, restart, slack=2.0, ahead=False)
    seeing = starts(problem, problem.rows, rivals, restart, slack=2.0, ahead=True)
    torch.testing.assert_close(seeing.step, blind.step)
    assert bool((geometry.coordinates(seeing.step, basis).norm(dim=1) < 1e-5 * seeing.step.norm(dim=1)).all())


def test_a_step_along_its_own_gradient_stays_in_its_line():
    # the margin grows along the line in both directions: there is nothing to turn to but what rounding left outside
    basis = geometry.random_basis(20, 1, generator=rng(1))
    x = torch.zeros(8, 20)

    def model(p):
        return torch.stack([1 + p.square().sum(1), 0 * p[:, 0]], 1)

    labels = torch.zeros(8, dtype=torch.long)
    problem = Problem(adapt(model, x), x, labels, targets=None, arms=[Arm(basis)], bounds=None)
    ways = Ways(problem.rows, problem.restrict(torch.randn(8, 20, generator=rng()), problem.rows))
    refine(problem, ways, range(40), 48, enough=1.0)
    outside = (ways.step - geometry.project_tangent(ways.step, basis)).norm(dim=1)
    assert bool((outside < 1e-5 * ways.step.norm(dim=1)).all())


def test_nothing_found_is_infinite_and_not_the_input_passed_off_as_an_answer():
    constant = boundary_search(
        lambda x: torch.ones(len(x), 2, dtype=x.dtype) * torch.tensor([1.0, 0.0]),
        X,
        torch.zeros(40, dtype=torch.long),
        generator=rng(),
    )
    assert not bool(constant.found.any())
    assert bool(torch.isinf(constant.distance).all())
    torch.testing.assert_close(constant.point, X)


def test_a_subspace_that_the_model_does_not_see_is_censored_and_not_found_far_away():
    x, model, basis, _ = plane(64, 4, 90.0)  # the normal is orthogonal to the subspace, up to rounding
    crossing = boundary_search(model, x, torch.zeros(8, dtype=torch.long), subspace=basis, generator=rng())
    assert not bool(crossing.found.any())


def test_a_radius_censors_what_lies_beyond():
    x, model, _, expected = plane(50, 1, 45.0)
    radius = float(expected["free"].median())
    crossing = boundary_search(model, x, torch.zeros(8, dtype=torch.long), radius=radius, generator=rng())
    assert bool((crossing.found == (expected["free"] * (1 + 2e-4) <= radius)).all())
    assert bool(torch.isinf(crossing.distance[~crossing.found]).all())


def test_a_misclassified_input_is_at_distance_zero():
    crossing = boundary_search(NET, X, (Y + 1) % 4, generator=rng())
    assert bool((crossing.distance == 0).all())
    assert bool(crossing.found.all())


def test_nan_logits_are_never_a_crossing():
    def model(x):
        logits = torch.stack([x[:, 0], -x[:, 0]], 1)
        return torch.where(x[:, :1] < 0, torch.nan, logits)

    x = torch.rand(8, 3, generator=rng(), dtype=torch.float64) + 0.1
    assert not bool(boundary_search(model, x, torch.zeros(8, dtype=torch.long), generator=rng()).found.any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_of_the_model_is_followed(dtype):
    model = Net().to(dtype)
    crossing = boundary_search(model, X, Y, generator=rng())
    assert crossing.distance.dtype == dtype
    torch.testing.assert_close(crossing.distance.double(), BASELINE[0], rtol=2e-2, atol=0)


def test_logits_may_have_another_dtype_than_the_inputs():
    def model(points):
        return torch.stack([points[:, 0], torch.ones_like(points[:, 0])], 1).float()

    x = torch.tensor([[2.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
    found = boundary_search(model, x, torch.zeros(2, dtype=torch.long), generator=rng())
    assert found.point.dtype == found.distance.dtype == found.margin.dtype == torch.float64
    torch.testing.assert_close(found.distance, torch.tensor([1.0, 2.0], dtype=torch.float64), rtol=0.01, atol=0)


def test_crossings_are_beyond_what_logits_differ_by_from_call_to_call():
    n, calls = 256, count()
    w = nn.functional.normalize(torch.randn(40, generator=rng(3)), dim=0)
    x = torch.randn(n, 40, generator=rng(2))
    x = x + (torch.linspace(0.1, 1.0, n) - x @ w)[:, None] * w  # 0.1 to 1 from the plane

    def model(points):  # rounded otherwise in every call, as with other batches; logits about 100
        last_bits = 1e-5 * (-1) ** next(calls)
        return torch.stack([points @ w + 100 + last_bits, torch.full_like(points[:, 0], 100.0)], 1)

    found = boundary_search(model, x, torch.zeros(n, dtype=torch.long), generator=rng())
    assert bool(found.found.all())
    margin = found.point.double() @ w.double()
    assert bool((margin < -1e-5).all()), "a crossing that another call takes back"
    assert bool((margin > -0.01 * found.distance).all())


def test_logits_that_take_no_part_are_not_taken_for_rounding():
    def model(points):
        return torch.stack([points[:, 0], torch.ones_like(points[:, 0]), torch.full_like(points[:, 0], -1e9)], 1)

    found = boundary_search(model, torch.tensor([[2.0, 0.0]]), torch.zeros(1, dtype=torch.long), generator=rng())
    torch.testing.assert_close(found.distance, torch.tensor([1.0]), rtol=2e-4, atol=0)  # 1e-3 more where they are


def test_a_crossing_just_before_what_is_no_number_is_kept():
    def model(points):
        margin = 1 - points[:, :1]
        return torch.cat([torch.where((margin < -5e-6) & (margin > -5e-5), torch.nan, margin), 0 * margin], 1)

    x = torch.zeros(1, 3, dtype=torch.float64)
    problem = Problem(adapt(model, x), x, torch.zeros(1, dtype=torch.long), targets=None, arms=[Arm()], bounds=None)
    ways = Ways(torch.zeros(1, dtype=torch.long), torch.tensor([[1.000002, 0, 0]], dtype=torch.float64))
    ways.offer(ways.step, problem.margin(ways.step, ways.rows))
    settle(problem, ways, torch.tensor([1e-6], dtype=torch.float64))
    torch.testing.assert_close(ways.length, torch.tensor([1.0], dtype=torch.float64), rtol=2e-3, atol=0)


def test_a_crossing_is_pushed_from_where_it_was_and_not_from_the_last_push():
    def model(points):
        return torch.stack([1 - points[:, 0], 0 * points[:, 0]], 1)

    x = torch.zeros(1, 3, dtype=torch.float64)
    for arm in (Arm(), Arm(torch.eye(3, 1, dtype=torch.float64))):
        problem = Problem(adapt(model, x), x, torch.zeros(1, dtype=torch.long), targets=None, arms=[arm], bounds=None)
        ways = Ways(torch.zeros(1, dtype=torch.long), torch.tensor([[1 + 1e-9, 0, 0]], dtype=torch.float64))
        ways.offer(ways.step, problem.margin(ways.step, ways.rows))
        settle(problem, ways, torch.tensor([5e-4], dtype=torch.float64))  # only the third push is beyond the rounding
        torch.testing.assert_close(ways.length, torch.tensor([1.001], dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("effort", EFFORTS)
def test_neighbours_in_the_batch_do_not_help(effort):
    def model(points):  # of the first kind a plateau that no gradient leads over; the second never crosses
        along = points[:, 0]
        plateau = torch.where(along < 0.45, 1 - along, torch.where(along < 1.5, 0.55, 0.55 - 3 * (along - 1.5)))
        margin = torch.where(points[:, 1] < 50, plateau, torch.exp(-along))
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    x, y = torch.tensor([[0.0, 0.0, 0.0], [0.0, 100.0, 0.0]]), torch.zeros(2, dtype=torch.long)
    alone = boundary_search(model, x[:1], y[:1], effort=effort, generator=rng()).distance
    beside = boundary_search(model, x, y, effort=effort, generator=rng()).distance
    torch.testing.assert_close(alone, beside[:1])


@pytest.mark.parametrize("bounds", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("effort", ["quick", "default"])
def test_no_crossing_that_was_seen_is_lost(effort, bounds):
    seen = []
    weights = [
        torch.randn(rows, columns, generator=rng(seed)) * scale / rows**0.5
        for seed, (rows, columns, scale) in enumerate(((20, 40, 2), (40, 40, 2), (40, 10, 1)))
    ]

    def model(points):
        logits = ((points @ weights[0]).relu() @ weights[1]).relu() @ weights[2]
        seen.append((points.detach(), logits.argmax(1)))
        return logits

    inputs = torch.rand(80, 20, generator=rng(5)) * 2 - 1
    labels = model(inputs).argmax(1)
    for x, y in zip(inputs.split(1), labels.split(1), strict=True):
        seen.clear()
        found = boundary_search(model, x, y, bounds=bounds, effort=effort, generator=rng())
        shortest = min(float((p - x).norm(dim=1)[label != y].min()) for p, label in seen if bool((label != y).any()))
        assert float(found.distance) <= 1.002 * shortest


def test_what_lies_outside_the_box_is_left_where_it_is():
    x = torch.tensor([[1.3, 0.5]])
    found = boundary_search(
        lambda p: p @ torch.eye(2), x, torch.ones(1, dtype=torch.long), bounds=(0.0, 1.0), generator=rng()
    )
    assert float(found.distance) == 0
    assert torch.equal(found.point, x)


def test_labels_that_do_not_hold_are_not_found_however_far_one_looks(monkeypatch):
    confirming = []
    monkeypatch.setattr(search, "settle", lambda *given: confirming.append(True) or settle(*given))

    def model(points):
        margin = 1 - points[:, 0] if not confirming else 1 + points[:, 0].abs()
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    x = torch.zeros(2, 3)
    found = boundary_search(model, x, torch.zeros(2, dtype=torch.long), radius=math.inf, generator=rng())
    assert confirming
    assert not bool(found.found.any())
    assert torch.equal(found.point, x)
    assert bool(found.margin.isnan().all())
    assert bool(found.distance.isinf().all())


def test_the_users_model_is_left_as_it_was_and_the_global_generator_untouched():
    model = Net()
    model.two.requires_grad_(False)
    seen = []
    handle = model.register_forward_hook(lambda *_: seen.append(1))
    state = torch.get_rng_state()
    boundary_search(model, X, Y, generator=rng())
    assert model.training
    assert model.drop.training
    assert [p.requires_grad for p in model.parameters()] == [True, False]
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert seen
    assert handle.id in model._forward_hooks


def test_flags_are_restored_when_the_model_raises():
    class Fails(Net):
        calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 3:
                raise ZeroDivisionError("tired")
            return super().forward(x)

    model = Fails()
    with pytest.raises(ModelError, match="ZeroDivisionError in forward on a batch of shape"):
        boundary_search(model, X, Y, generator=rng())
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_running_out_of_memory_halves_the_batch():
    class Small(Net):
        def forward(self, x):
            if len(x) > 6:
                raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return super().forward(x)

    model = Small()
    torch.testing.assert_close(distances(model=model), BASELINE, rtol=1e-5, atol=0)
    assert model.training


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"effort": "heroic"}, "effort 'heroic' is unknown; valid: quick, default, thorough"),
        ({"normal": True}, "normal=True needs a subspace"),
        ({"subspace": torch.eye(12, dtype=torch.float64)}, r"shape \(12, 12\).*k < D"),
        ({"subspace": BASES[:5]}, r"shape \(5, 12, 3\) for 40 inputs"),
        ({"targets": torch.zeros(3)}, r"targets has shape \(3,\), expected \(40,\)"),
    ],
)
def test_bad_arguments_are_one_clear_error(options, words):
    with pytest.raises(AttackError, match=words):
        boundary_search(NET, X, Y, generator=rng(), **options)


MEMORY = """
import resource, torch
from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm import search
from dmmcheck.attacks.minimal_norm.search import Arm, search_arms
torch.zeros(1).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
generator = torch.Generator().manual_seed(0)
n, D, k = 8, 150528, 64
basis = torch.empty(n, D, k)
basis[:] = torch.linalg.qr(torch.randn(D, k, generator=generator))[0]
x, w = torch.randn(n, D, generator=generator), torch.randn(D, generator=generator)
bias = 1 - (x @ w).min()
model = lambda p: torch.stack([p @ w + bias, 0 * p[:, 0]], 1)
arms = [Arm(), Arm(basis), Arm(basis, True)]
found = search_arms(model, x, torch.zeros(n, dtype=torch.long), arms, generator=generator)
assert all(bool(crossing.found.all()) for crossing in found)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6)
"""


def test_no_square_array_exists_at_imagenet_size():
    printed = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True).stdout
    assert float(printed) < 1.5  # GB above the bare process, the bases' 0.31 GB included
