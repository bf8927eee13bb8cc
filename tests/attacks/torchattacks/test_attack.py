"""The library's attacks against closed forms, and what they leave as it was."""

from __future__ import annotations

import pytest
import torch
from library_cases import BOX, SPACES, D, K, Linear, Narrow, basis, exact, generator, inputs, labels
from torch import Tensor

from dmmcheck.attacks.search_space import spanned
from dmmcheck.attacks.torchattacks.attack import PANEL, TorchAttack, panel
from dmmcheck.errors import AttackError
from dmmcheck.geometry import project_tangent


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("name", "tolerance"), [("fab", 2e-3), ("pgdl2", 2e-2), ("deepfool", 2e-2)])
def test_planes_are_found_at_their_distance(name: str, tolerance: float, space: str):
    model, x = Linear(), inputs()
    y = labels(model, x)
    crossing = TorchAttack(name)(model, x, y, space=SPACES[space], generator=generator())
    truth = exact(model, x, SPACES[space].project)
    assert crossing.found.all()
    assert (crossing.distance >= truth * (1 - 1e-4)).all()
    assert (crossing.distance <= truth * (1 + tolerance)).all()
    assert (crossing.kkt_cosine > 0.99).all()


@pytest.mark.parametrize("name", PANEL)
@pytest.mark.parametrize("per_input", [False, True], ids=["shared", "per-input"])
def test_a_crossing_lies_in_its_subspace_and_has_another_label(name: str, per_input: bool):
    model, x = Linear(), inputs()
    y = labels(model, x)
    bases = torch.linalg.qr(torch.randn(len(x), D, K, generator=generator(5))).Q if per_input else basis()
    for normal in (False, True):
        space = spanned(bases, normal=normal)
        crossing = TorchAttack(name)(model, x, y, space=space, generator=generator())
        delta = crossing.point - x
        inside = project_tangent(delta, bases)
        assert torch.allclose(delta - inside if normal else inside, delta, atol=1e-5)
        assert torch.allclose(delta.norm(dim=1), crossing.distance)
        assert (labels(model, crossing.point) != y).all()
        assert (crossing.margin <= 0).all()


@pytest.mark.parametrize("name", ["fab", "pgdl2", "cw", "deepfool"])
@pytest.mark.parametrize(("scale", "shift"), [(1, -100), (1e3, 0), (1e-3, 0)])
def test_shift_and_unit_of_the_logits_do_not_matter(name: str, scale: float, shift: float):
    x = inputs()
    plain, changed = Linear(), Linear(scale, shift)
    with torch.no_grad():
        changed.bias.copy_(plain.bias * scale + shift)
    a, b = (TorchAttack(name)(m, x, labels(m, x), generator=generator()) for m in (plain, changed))
    assert a.found.all()
    assert torch.allclose(a.distance, b.distance, rtol=5e-3)


@pytest.mark.parametrize("name", ["fab", "pgdl2", "cw"])
def test_pixels_on_the_box_move_into_it(name: str):
    w = torch.zeros(D)
    w[:2] = 1
    x = torch.zeros(3, D)
    x[:, 2:] = torch.rand(3, D - 2, generator=generator())
    crossing = TorchAttack(name)(Narrow(w), x, labels(Narrow(w), x), bounds=BOX, generator=generator())
    assert crossing.found.all()
    assert crossing.point.min() >= 0
    assert torch.allclose(crossing.distance, torch.full((3,), 0.5**0.5), rtol=2e-2)


@pytest.mark.parametrize("name", PANEL)
def test_the_box_is_kept_where_it_costs_distance(name: str):
    w = torch.zeros(D)
    w[:2] = torch.tensor([2.0, 0.8])  # unboxed, the plane is nearest along w; in the box, the first entry stops at 1
    x = torch.full((2, D), 0.5)
    x[:, 0], x[:, 1] = 0.25, 0.0
    w[2] = -0.5
    model = Narrow(w)
    boxed = TorchAttack(name)(model, x, labels(model, x), bounds=BOX, generator=generator())
    unboxed = TorchAttack(name)(model, x, labels(model, x), generator=generator())
    assert boxed.found.all()
    assert boxed.point.min() >= 0
    assert boxed.point.max() <= 1
    assert (boxed.distance >= unboxed.distance * (1 - 1e-3)).all()


@pytest.mark.parametrize("name", PANEL)
def test_misclassified_and_unreachable_inputs_are_told_apart(name: str):
    model, x = Linear(), inputs(4)
    y = labels(model, x)
    y[1] = (y[1] + 1) % 3
    crossing = TorchAttack(name)(model, x, y, generator=generator())
    assert crossing.distance[1] == 0
    assert crossing.found.all()
    constant = TorchAttack(name)(
        lambda v: v.flatten(1)[:, :2] * 0 + torch.tensor([1.0, 0]), x, y * 0, generator=generator()
    )
    assert not constant.found.any()
    assert torch.isinf(constant.distance).all()
    assert torch.equal(constant.point, x)
    assert (constant.radius > 0).all()
    assert torch.isnan(constant.kkt_cosine).all()


@pytest.mark.parametrize("name", PANEL)
@pytest.mark.parametrize("shape", [(2,), (1, 3, 4), (2, 2, 3), (5, 2, 2, 2)])
def test_inputs_of_any_shape(name: str, shape: tuple[int, ...]):
    x = torch.rand(3, *shape, generator=generator())
    w = torch.ones(x[0].numel())

    def model(v: Tensor) -> Tensor:
        return torch.stack([v.flatten(1) @ w, v.flatten(1).sum(1) * 0 + 2 * len(w)], 1)

    crossing = TorchAttack(name)(model, x, torch.ones(3, dtype=torch.long), generator=generator())
    truth = (2 * len(w) - x.flatten(1).sum(1)) / len(w) ** 0.5
    assert torch.allclose(crossing.distance, truth, rtol=1e-2)


def test_double_precision_inputs_give_double_precision_crossings():
    model, x = Linear().double(), inputs(dtype=torch.float64)
    crossing = TorchAttack("fab")(model, x, labels(model, x), generator=generator())
    assert crossing.point.dtype == torch.float64
    assert torch.allclose(crossing.distance, exact(model, x), rtol=2e-3)


@pytest.mark.parametrize("name", PANEL)
def test_an_input_is_treated_alike_in_any_batch(name: str):
    model, x = Linear(), inputs()
    x[0, 0], x[0, 1] = 0, 1  # the range of the data is the same in both batches
    y = labels(model, x)
    together = TorchAttack(name)(model, x, y, generator=generator())
    apart = TorchAttack(name)(model, x[:3], y[:3], generator=generator())
    assert torch.allclose(together.distance[:3], apart.distance, rtol=2e-3)


def test_the_generator_decides():
    model, x = Linear(), inputs()
    attack = TorchAttack("pgdl2", random_start=True, steps=5)
    a, b, c = (attack(model, x, labels(model, x), generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(a.point, b.point)
    assert not torch.equal(a.point, c.point)


@pytest.mark.parametrize("name", PANEL)
def test_evaluations_are_counted(name: str):
    model, x = Linear(), inputs()
    y = labels(model, x)
    model.calls = 0
    crossing = TorchAttack(name)(model, x, y, generator=generator())
    counted = int(crossing.forwards.max())
    assert counted == crossing.forwards.min()
    assert counted == pytest.approx(model.calls, rel=0.1)
    assert crossing.backwards.min() >= 20


def test_the_panel_is_two_attacks_by_name():
    attacks = panel()
    assert list(attacks) == ["fab", "pgdl2"]
    assert repr(attacks["fab"]) == "TorchAttack('FAB', steps=20)"


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("FAB", {"norm": "Linf"}, "given norm 'Linf', but distances here are L2; leave norm out"),
        ("FAB", {"eps": None}, "FAB reads eps=None as 1.0; give the largest distance"),
        ("PGDL2", {"eps": 0.5}, "given eps=0.5, but the radius is searched for"),
        ("CW", {"confidence": 1}, "CW has no argument confidence; it has c, kappa, steps, lr"),
        ("CW", {"model": 1}, "CW has no argument model"),
    ],
)
def test_an_argument_that_cannot_be_used_is_an_error(name: str, arguments: dict[str, object], words: str):
    with pytest.raises(AttackError, match=words):
        TorchAttack(name, **arguments)


def test_in_a_subspace_points_outside_the_box_are_no_label_changes():
    w = torch.zeros(D)
    w[0] = 1
    model, second = Narrow(w), spanned(torch.eye(D)[:, :2])
    x = torch.full((2, D), 0.5)
    x[1, 1] = 0.1
    y = labels(model, x)
    free = TorchAttack("fab")(model, x, y, space=second, generator=generator())
    boxed = TorchAttack("fab")(model, x, y, space=second, bounds=(0.45, 0.55), generator=generator())
    assert free.found.all()
    assert not boxed.found.any()


def test_attacks_on_four_classes_are_refused_fewer():
    model, x = Linear(), inputs(2)
    with pytest.raises(AttackError, match="APGDT needs 4 classes or more, the model has 3; use FAB"):
        TorchAttack("apgdt")(model, x, labels(model, x), generator=generator())
