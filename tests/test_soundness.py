"""Each gate passes on a plain network and fails where it should; masked networks never get by."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.models.torch import TorchClassifier, adapt
from dmmcheck.report.model import Soundness
from dmmcheck.soundness import Ground, assess, attack, manifold, model, probes
from examples.digits import data, training

DIM = 8
INPUTS = 64
ARMS = {"free": (False, False), "tangent": (True, False), "normal": (True, True)}


@dataclass(frozen=True, eq=False)
class Flat:
    """An affine subspace as a manifold."""

    origin: Tensor
    basis: Tensor

    @property
    def dim(self) -> int:
        return self.basis.shape[1]

    def project_point(self, x: Tensor) -> Tensor:
        return self.origin + (x - self.origin) @ self.basis @ self.basis.T

    def tangent_basis(self, x: Tensor) -> Tensor:
        return self.basis


class Masked(nn.Module):
    """A network with something done to its input or to its logits."""

    def __init__(
        self,
        network: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.network(self.before(x)))


def noise(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return Masked(network, after=lambda z: z + 0.1 * torch.randn(z.shape, generator=generator))


MASKED: dict[str, tuple[Callable[[nn.Module], nn.Module], set[str]]] = {
    "saturated softmax": (lambda f: Masked(f, after=lambda z: (50 * z).softmax(1)), {"gradients", "segment"}),
    "quantised input": (lambda f: Masked(f, lambda x: (16 * x).round() / 16), {"gradients", "segment"}),
    "rounded logits": (lambda f: Masked(f, after=lambda z: z.round()), {"gradients", "segment"}),
    "step": (lambda f: Masked(f, lambda x: (x > 0.5).to(x.dtype)), {"gradients", "transfer", "planted-tangent"}),
    "ripple": (lambda f: Masked(f, lambda x: x + 0.02 * torch.sin(400 * x)), {"finite-differences"}),
    "noise": (noise, {"deterministic", "found-free"}),
    "constant": (lambda f: Masked(f, after=lambda z: 0 * z + torch.eye(10)[3]), {"not-constant", "above-chance"}),
}
HARMLESS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda f: f,
    "softmax": lambda f: Masked(f, after=lambda z: z.softmax(1)),
    "x 1000": lambda f: Masked(f, after=lambda z: 1000 * z),
    "/ 1000": lambda f: Masked(f, after=lambda z: z / 1000),
}


@cache
def digits() -> data.Split:
    return data.load()


@cache
def network(seed: int) -> nn.Module:
    train = digits().train
    return training.fit(train.x, train.y, seed, recipe=training.Recipe(epochs=8))


@cache
def pca() -> Flat:
    x = digits().train.x.flatten(1)
    return Flat(x.mean(0), torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:DIM].T)


def searched(classifier: TorchClassifier, x: Tensor, y: Tensor, basis: Tensor) -> dict[str, Crossing]:
    found = {}
    for arm, (restricted, normal) in ARMS.items():
        generator = torch.Generator().manual_seed(0)
        subspace = basis if restricted else None
        found[arm] = boundary_search(classifier, x, y, subspace=subspace, normal=normal, generator=generator)
    return found


def ground_of(
    network: Any, x: Tensor, y: Tensor, flat: Flat, *, pool: tuple[Tensor, Tensor], n: int = INPUTS
) -> Ground:
    classifier = adapt(network, x)
    points = classifier.flat(x)
    with classifier.evaluation(), torch.no_grad():
        right = classifier.logits(points).argmax(1) == y
    x, y = points[right][:n], y[right][:n]
    return Ground(
        classifier=classifier,
        was_training=False,
        x=x,
        y=y,
        accuracy=float(right.double().mean()),
        majority=float(torch.bincount(y).max()) / len(y),
        labelled=len(right),
        x_pool=classifier.flat(pool[0]),
        y_pool=pool[1],
        bounds=(0.0, 1.0),
        basis=flat.basis,
        manifold=flat,
        training_points=classifier.flat(pool[0]),
        crossings=searched(classifier, x, y, flat.basis),
        search=boundary_search,
        seed=0,
    )


def digits_ground(network: nn.Module, n: int = INPUTS) -> Ground:
    split = digits()
    return ground_of(network, split.test.x, split.test.y, pca(), pool=(split.train.x, split.train.y), n=n)


@cache
def plain() -> Ground:
    return digits_ground(network(0), 32)


@cache
def sound() -> dict[str, Soundness]:
    return by_name(assess(plain()))


def by_name(items: Any) -> dict[str, Soundness]:
    return {item.name: item for item in items}


def failed(items: Any) -> set[str]:
    return {item.name for item in items if item.ok is False}


@pytest.mark.parametrize(("name", "seed"), [*((name, 0) for name in HARMLESS), ("plain", 1), ("softmax", 1)])
def test_a_sound_network_trips_no_gate(name: str, seed: int):
    items = assess(digits_ground(HARMLESS[name](network(seed)), 48))
    assert failed(items) == set()
    assert sum(item.ok is True for item in items) >= 18


@pytest.mark.parametrize(("name", "seed"), [*((name, 0) for name in MASKED), ("ripple", 1), ("noise", 1)])
def test_a_masked_network_is_caught(name: str, seed: int):
    mask, expected = MASKED[name]
    assert failed(assess(digits_ground(mask(network(seed)), 24))) >= expected


def test_every_item_states_value_and_limit_and_a_failed_one_the_remedy():
    items = assess(digits_ground(MASKED["quantised input"][0](network(0)), 16))
    assert len({item.name for item in items}) == len(items)
    for item in items:
        assert item.message
        assert item.family in {"model", "attack", "manifold"}
        if item.ok is not None:
            assert item.value is not None
            assert item.limit is not None
    said = by_name(items)
    assert "vanishes in 100% of inputs (limit 1%); give logits before saturation" in said["gradients"].message
    assert "found anywhere for 0% of inputs (at least 95%); see whether gradients vanish" in said["found-free"].message
    assert "nearer in 100% of inputs (limit 5%); gradients mislead the search" in said["segment"].message


def test_order_and_company_of_inputs_do_not_matter():
    ground = plain()
    order = torch.randperm(len(ground.x), generator=torch.Generator().manual_seed(1))
    turned = replace(
        ground,
        x=ground.x[order],
        y=ground.y[order],
        crossings={arm: Crossing(**{k: v[order] for k, v in vars(c).items()}) for arm, c in ground.crossings.items()},
    )
    a, b = sound(), by_name(assess(turned))
    assert {name: item.ok for name, item in a.items()} == {name: item.ok for name, item in b.items()}
    for name in ("gradients", "finite-differences", "segment", "random-rays", "transfer", "nesting", "residual"):
        assert a[name].value == pytest.approx(b[name].value, rel=1e-3, abs=1e-6)


def stretched(ground: Ground, factor: float, *arms: str) -> Ground:
    """The ground with distances as a worse or better search would have given them."""
    changed = {arm: replace(ground.crossings[arm], distance=factor * ground.crossings[arm].distance) for arm in arms}
    return replace(ground, crossings={**ground.crossings, **changed})


def lost(ground: Ground, arm: str) -> Ground:
    """The ground of a search that found nothing in one arm."""
    found = ground.crossings[arm]
    nothing = replace(
        found, point=ground.x, distance=torch.full_like(found.distance, torch.inf), found=torch.zeros_like(found.found)
    )
    return replace(ground, crossings={**ground.crossings, arm: nothing})


def nowhere(classifier: TorchClassifier, x: Tensor, y: Tensor, **_: Any) -> Crossing:
    return Crossing(**{key: value[: len(x)] for key, value in vars(lost(plain(), "free").crossings["free"]).items()})


def better(classifier: TorchClassifier, x: Tensor, y: Tensor, **arguments: Any) -> Crossing:
    found = boundary_search(classifier, x, y, **arguments)
    return replace(found, distance=0.9 * found.distance)


class Stubborn(nn.Dropout):
    """Does not do as eval() says."""

    def train(self, mode: bool = True) -> Stubborn:
        return super().train(True)


def refitted(ground: Ground, forward: Any) -> Ground:
    return replace(ground, classifier=replace(ground.classifier, forward=forward))


def batch_scaled(x: Tensor) -> Tensor:
    z = network(0)(x)
    return z / z.abs().amax()


def overflowing(x: Tensor) -> Tensor:
    return network(0)(x) * torch.where(x.flatten(1).sum(1) > 19, torch.inf, 1.0)[:, None]


def confirmed_elsewhere(ground: Ground) -> Ground:
    free = ground.crossings["free"]
    return replace(ground, crossings={**ground.crossings, "free": replace(free, point=ground.x)})


def far_away(ground: Ground) -> Ground:
    """A manifold whose nearest point is the same for all inputs."""
    return replace(ground, manifold=Flat(pca().origin, 0 * pca().basis))


TAMPERED: dict[str, tuple[Any, Callable[[Ground], Ground]]] = {
    "evaluation-mode": (model, lambda g: refitted(g, nn.Sequential(network(0), Stubborn(0.0)))),
    "deterministic": (model, lambda g: refitted(g, noise(network(0)))),
    "batch-independent": (model, lambda g: refitted(g, batch_scaled)),
    "finite": (model, lambda g: refitted(g, overflowing)),
    "not-constant": (model, lambda g: refitted(g, lambda x: 1e-6 * network(0)(x) + torch.eye(10)[3])),
    "above-chance": (model, lambda g: replace(g, accuracy=g.majority)),
    "labels-confirmed": (attack, confirmed_elsewhere),
    "found-free": (attack, lambda g: lost(g, "free")),
    "effort": (attack, lambda g: replace(g, search=better)),
    "nesting": (attack, lambda g: stretched(g, 0.5, "tangent")),
    "segment": (probes, lambda g: stretched(g, 10, "free")),
    "random-rays": (probes, lambda g: stretched(g, 50, "normal")),
    "transfer": (probes, lambda g: stretched(g, 10, "free")),
    "independent-attack": (probes, lambda g: stretched(g, 1.1, "normal")),
    "planted-tangent": (probes, lambda g: replace(g, search=nowhere)),
    "planted-normal": (probes, lambda g: replace(g, search=nowhere)),
    "orthonormal": (manifold, lambda g: replace(g, basis=g.basis * 1.01)),
    "disjoint": (manifold, lambda g: replace(g, training_points=torch.cat([g.x_pool, g.x[:1]]))),
    "label-agreement": (manifold, far_away),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_gate_fails_for_its_own_reason_and_passes_without(name: str):
    family, tamper = TAMPERED[name]
    ground = tamper(plain())
    with ground.classifier.evaluation():
        item = by_name(family.items(ground))[name]
        assert item.ok is False
        assert "; " in item.message
    assert sound()[name].ok is True


def test_what_only_informs_says_so():
    said = by_name(assess(lost(plain(), "tangent")))
    assert said["found-tangent"].ok is None
    assert said["found-tangent"].message.endswith("0% of inputs; the rest is censored at the search radius")
    unknown = by_name(manifold.items(replace(plain(), training_points=None)))
    assert "not known; give x_train" in unknown["disjoint"].message
    blurred = by_name(manifold.items(replace(plain(), manifold=Flat(pca().origin, pca().basis[:, :3]))))
    assert blurred["label-agreement"].ok is None
    assert "fewer than 80%" in blurred["label-agreement"].message
    assert "coarser than the distances read off it" in blurred["residual"].message


def test_a_missing_library_leaves_the_second_attack_to_the_reader(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    item = probes.independent_attack(plain())
    assert item.ok is None
    assert "pip install 'dmmcheck[attacks]'" in item.message


def test_a_model_that_does_not_change_in_a_subspace_is_not_called_masked():
    generator = torch.Generator().manual_seed(0)
    flat = Flat(torch.zeros(20), torch.linalg.qr(torch.randn(20, 4, generator=generator)).Q)
    w = flat.basis[:, 0]
    x = torch.randn(200, 20, generator=generator) @ flat.basis @ flat.basis.T
    y = (x @ w > 0).long()
    ground = ground_of(lambda v: torch.stack([-(v @ w), v @ w], 1), x, y, flat, pool=(x + 1e-3, y))
    items = by_name(assess(ground))
    assert failed(items.values()) == set()
    assert items["gradients-normal"].value == 1
    assert items["found-normal"].value == 0


def test_the_boundary_of_a_curved_and_a_tiny_world_is_sound():
    generator = torch.Generator().manual_seed(0)
    for dim, size in ((30, 1e-3), (2, 1e3)):
        flat = Flat(torch.zeros(dim), torch.eye(dim)[:, :1])
        x = size * torch.randn(300, dim, generator=generator)
        radius = size * dim**0.5

        def ball(v: Tensor, radius: float = radius) -> Tensor:
            lead = radius - v.norm(dim=1)
            return torch.stack([lead, -lead], 1)

        y = (x.norm(dim=1) > radius).long()
        ground = ground_of(ball, x, y, flat, pool=(x * 1.001, y))
        assert failed(assess(ground)) - {"label-agreement"} == set()
