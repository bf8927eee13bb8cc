"""The boundary search against closed forms, and what must not change its answers."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from scipy import optimize
from search_cases import BASES, NET, SPACES, Net, X, Y, baseline, distances, labels, plane, rng

from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm.effort import EFFORTS
from dmmcheck.attacks.minimal_norm.search import boundary_search, nested, search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.errors import AttackError, ModelError


@pytest.mark.parametrize("theta", [0.5, 45, 89.5])
@pytest.mark.parametrize(
    ("ambient_dim", "dim", "n"),
    [
        *[(2, 1, 8), (50, 1, 8), (50, 16, 8), (784, 1, 8), (784, 16, 8)],
        pytest.param(150528, 16, 2, marks=pytest.mark.heavy),
    ],
)
def test_hyperplane_at_an_angle_to_a_linear_manifold(ambient_dim, dim, n, theta):
    x, model, basis, expected = plane(ambient_dim, dim, theta, n=n)
    spaces = [Everywhere(), spanned(basis), spanned(basis, normal=True)]
    found = search_spaces(model, x, torch.zeros(len(x), dtype=torch.long), spaces, generator=rng())
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
    """Distance from x to the plane face . p = 1 inside the box, by SLSQP of scipy; inf where the box misses it."""
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


def test_the_search_never_misses_what_a_fine_scan_of_directions_finds():
    directions = torch.randn(4000, 12, generator=rng(2), dtype=torch.float64)
    directions = directions / directions.norm(dim=1, keepdim=True)
    for x, y, found in zip(X[:8], Y[:8], baseline()[0][:8], strict=True):
        assert bool((labels(x + 0.999 * found * directions) == y).all())


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_results_do_not_depend_on_the_batch_size(batch_size):
    torch.testing.assert_close(distances(batch_size=batch_size), baseline(), rtol=1e-5, atol=0)


def test_bases_too_large_to_copy_give_the_same_answer(monkeypatch):
    monkeypatch.setattr("dmmcheck.attacks.search_space.COPIED_VALUES", 0)
    torch.testing.assert_close(distances(), baseline(), rtol=1e-5, atol=0)


def test_results_do_not_depend_on_the_order_of_inputs():
    order = torch.randperm(40, generator=rng(9))
    spaces = [Everywhere(), spanned(BASES[order]), spanned(BASES[order], normal=True)]
    torch.testing.assert_close(
        distances(x=X[order], y=Y[order], spaces=spaces), baseline()[:, order], rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("shared", [False, True], ids=["per-input", "shared"])
@pytest.mark.parametrize("normal", [False, True], ids=["tangent", "normal"])
def test_a_space_is_the_same_as_subspace_and_normal(normal, shared):
    basis = BASES[0] if shared else BASES
    named = boundary_search(NET, X, Y, subspace=basis, normal=normal, generator=rng())
    space = boundary_search(NET, X, Y, space=spanned(basis, normal=normal), generator=rng())
    assert bool(named.found.all())
    for name in vars(named):
        torch.testing.assert_close(getattr(space, name), getattr(named, name), rtol=0, atol=0, equal_nan=True)


class FirstEntries:
    """A search space of another kind: the first m entries of every input."""

    def __init__(self, count):
        self.count = count

    def project(self, v):
        return torch.cat([v[:, : self.count], torch.zeros_like(v[:, self.count :])], 1)

    def rows(self, index):
        return self


def test_any_object_that_projects_is_a_search_space():
    crossing = boundary_search(NET, X, Y, space=FirstEntries(3), generator=rng())
    same = boundary_search(NET, X, Y, subspace=torch.eye(12, 3, dtype=torch.float64), generator=rng())
    assert bool(crossing.found.all())
    assert bool((crossing.point[:, 3:] == X[:, 3:]).all())
    torch.testing.assert_close(crossing.distance, same.distance, rtol=1e-5, atol=0)


def test_a_shared_basis_is_the_same_as_its_copies():
    shared, copies = BASES[0], BASES[:1].expand(40, -1, -1).contiguous()
    one = distances(spaces=[spanned(shared), spanned(shared, normal=True)])
    torch.testing.assert_close(
        one, distances(spaces=[spanned(copies), spanned(copies, normal=True)]), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_scaling_the_inputs_scales_the_answer(scale):
    class Scaled(Net):
        def forward(self, x):
            return super().forward(x / scale)

    torch.testing.assert_close(distances(model=Scaled(), x=X * scale) / scale, baseline(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("change", [lambda z: 1e-3 * z, lambda z: 1e3 * z, lambda z: z + 100, lambda z: z.softmax(1)])
def test_scaling_or_shifting_the_logits_changes_nothing(change):
    class Changed(Net):
        def forward(self, x):
            return change(super().forward(x))

    torch.testing.assert_close(distances(model=Changed()), baseline(), rtol=1e-3, atol=0)


def test_a_rotated_world_has_the_rotated_answer():
    # directions of restarts are drawn in the coordinates of x; quick has none
    q = geometry.random_basis(12, 12, generator=rng(1), dtype=torch.float64)

    class Turned(Net):
        def forward(self, x):
            return super().forward(x @ q.T)

    spaces = [
        Everywhere(),
        spanned(torch.einsum("ij,njk->nik", q.T, BASES)),
        spanned(torch.einsum("ij,njk->nik", q.T, BASES), normal=True),
    ]
    turned = search_spaces(Turned(), X @ q, Y, spaces, effort="quick", generator=rng())
    plain = search_spaces(NET, X, Y, SPACES, effort="quick", generator=rng())
    for one, other in zip(turned, plain, strict=True):
        torch.testing.assert_close(one.distance, other.distance, rtol=1e-3, atol=0)
        near = (one.point @ q.T - other.point).norm(dim=1) / other.distance
        assert float(near.median()) < 1e-3


def test_crossings_have_the_other_label_lie_in_their_subspace_and_are_nested():
    free, on, off = search_spaces(NET, X, Y, SPACES, generator=rng())
    for crossing in (free, on, off):
        assert bool((labels(crossing.point) != Y)[crossing.found].all())
        torch.testing.assert_close((crossing.point - X).norm(dim=1)[crossing.found], crossing.distance[crossing.found])
    delta = on.point - X
    torch.testing.assert_close(geometry.project_tangent(delta, BASES), delta)
    delta = off.point - X
    assert float(geometry.project_tangent(delta, BASES).norm(dim=1).max()) < 1e-9
    assert bool((free.distance <= torch.minimum(on.distance, off.distance)).all())
    assert float(free.kkt_cosine.nanmedian()) > 0.99


def test_a_brief_search_confirms_its_crossings_without_gradients_there(monkeypatch):
    brief, quick = (
        search_spaces(NET, X, Y, SPACES[:1], effort=effort, generator=rng())[0] for effort in ("brief", "quick")
    )
    assert bool((labels(brief.point) != Y)[brief.found].all())
    assert bool((brief.margin < 0)[brief.found].all())
    assert bool(brief.kkt_cosine.isnan().all())
    assert not bool(quick.kkt_cosine[quick.found].isnan().any())
    with monkeypatch.context() as patch:
        patch.setitem(EFFORTS, "brief", replace(EFFORTS["brief"], knows_angles=True))
        (with_angles,) = search_spaces(NET, X, Y, SPACES[:1], effort="brief", generator=rng())
    torch.testing.assert_close(brief.distance, with_angles.distance)
    assert int(brief.forwards.sum()) == int(with_angles.forwards.sum())
    assert bool((brief.backwards < with_angles.backwards)[brief.found].all())


def test_a_shorter_restricted_crossing_is_the_answer_of_the_free_search_too():
    free, on, off = search_spaces(NET, X, Y, SPACES, generator=rng())
    far = type(free)(**{**vars(free), "distance": 2 * torch.minimum(on.distance, off.distance)})
    improved, same, other = nested([far, on, off], SPACES)
    torch.testing.assert_close(improved.distance, torch.minimum(on.distance, off.distance), rtol=0, atol=0)
    torch.testing.assert_close((improved.point - X).norm(dim=1), improved.distance)
    assert torch.equal(improved.forwards, far.forwards)
    assert (same, other) == (on, off)
    assert nested([far], [Everywhere()]) == [far]


def test_targets_are_reached_and_never_nearer_than_any_class():
    for target in range(4):
        targets = torch.full_like(Y, target)
        crossing = boundary_search(NET, X, Y, targets=targets, generator=rng())
        assert bool((labels(crossing.point) == target)[crossing.found].all())
        other = target != Y
        assert bool((crossing.distance[other] >= 0.999 * baseline()[0][other]).all())
        assert bool((crossing.distance[~other] == 0).all())


@pytest.mark.parametrize(("ambient_dim", "seed", "target"), [(40, 1, 2), (64, 0, 1)])
def test_examples_of_the_target_do_not_keep_the_search_from_nearer_boundaries(ambient_dim, seed, target):
    net = Net(ambient_dim, classes=10, seed=seed).eval()
    x = torch.randn(400, ambient_dim, generator=rng(8), dtype=torch.float64)
    y = net(x).argmax(1)
    others = (y[:100] != target).nonzero().squeeze(1)
    search = partial(boundary_search, net, x[others], y[others], targets=torch.full_like(others, target))
    aided, alone = (search(examples=examples, generator=rng()).distance for examples in ((x, y), None))
    assert float((aided / alone).quantile(0.95)) <= 1.02


def test_the_distance_is_infinite_where_nothing_is_found():
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_of_the_model_is_followed(dtype):
    model = Net().to(dtype)
    crossing = boundary_search(model, X, Y, generator=rng())
    assert crossing.distance.dtype == dtype
    torch.testing.assert_close(crossing.distance.double(), baseline()[0], rtol=2e-2, atol=0)


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

    inputs = torch.rand(20, 20, generator=rng(5)) * 2 - 1
    classes = model(inputs).argmax(1)
    for x, y in zip(inputs.split(1), classes.split(1), strict=True):
        seen.clear()
        found = boundary_search(model, x, y, bounds=bounds, effort=effort, generator=rng())
        shortest = min(float((p - x).norm(dim=1)[label != y].min()) for p, label in seen if bool((label != y).any()))
        assert float(found.distance) <= 1.002 * shortest


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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"effort": "heroic"}, "effort 'heroic' is unknown; choose one of brief, quick, default, thorough"),
        ({"normal": True}, "normal=True needs a subspace"),
        ({"subspace": torch.eye(12, dtype=torch.float64)}, r"shape \(12, 12\).*k < D"),
        ({"subspace": BASES[:5]}, r"shape \(5, 12, 3\) for 40 inputs"),
        ({"space": spanned(BASES), "subspace": BASES}, r"both space and subspace \(or normal\) are given; pass one of"),
        ({"space": spanned(BASES), "normal": True}, r"both space and subspace \(or normal\) are given"),
        ({"targets": torch.zeros(3)}, r"targets has shape \(3,\); pass one class for each input, \(40,\)"),
    ],
)
def test_bad_arguments_are_one_clear_error(options, words):
    with pytest.raises(AttackError, match=words):
        boundary_search(NET, X, Y, generator=rng(), **options)


def test_no_search_space_is_an_error():
    with pytest.raises(AttackError, match=r"no search space is given; pass at least one, such as Everywhere"):
        search_spaces(NET, X, Y, [], generator=rng())


MEMORY = """
import resource, torch
from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm.search import search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
torch.zeros(1).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
generator = torch.Generator().manual_seed(0)
n, D, k = 4, 150528, 32
basis = torch.zeros(n, D, k)
basis[:, range(0, 3 * k, 3), range(k)] = 1
x, w = torch.randn(n, D, generator=generator), torch.randn(D, generator=generator)
bias = 1 - (x @ w).min()
model = lambda p: torch.stack([p @ w + bias, 0 * p[:, 0]], 1)
spaces = [Everywhere(), spanned(basis), spanned(basis, normal=True)]
found = search_spaces(model, x, torch.zeros(n, dtype=torch.long), spaces, generator=generator)
assert all(bool(crossing.found.all()) for crossing in found)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6)
"""


@pytest.mark.heavy
def test_no_square_array_exists_at_imagenet_size():
    printed = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True).stdout
    assert float(printed) < 1.0  # GB above the bare process, the bases' 0.08 GB included; a (D, D) array takes 90
