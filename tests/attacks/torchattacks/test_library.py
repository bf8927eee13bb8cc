"""Which of the library's attacks can be used, and that neither their global state nor their flags are left behind."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
import torch
from library_cases import D, Linear, generator, inputs, labels
from torch import Tensor, nn

from dmmcheck.attacks.torchattacks.attack import TorchAttack, panel
from dmmcheck.attacks.torchattacks.library import constructor, names, own_random_state
from dmmcheck.errors import AttackError, ModelError


class Touchy(nn.Module):
    """Dropout and batch norm, given in a mixed training mode, with some gradients wanted and one already there."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(D, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
        self.train()
        self.inner[3].eval()
        self.inner[0].bias.requires_grad_(False)
        self.inner[4].bias.grad = torch.ones(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@pytest.mark.parametrize("name", ["fab", "pgdl2", "cw", "deepfool", "apgd"])
def test_nothing_is_left_behind(name: str):
    torch.manual_seed(0)  # the network's weights
    model, x = Touchy(), inputs(4)
    flags = [module.training for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    model.eval()
    y = labels(model, x)
    model.train()
    model.inner[3].eval()
    TorchAttack(name)(model, x, y, generator=generator())
    assert [module.training for module in model.modules()] == flags
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert [parameter.grad is None for parameter in model.parameters()].count(False) == 1
    assert torch.equal(model.inner[4].bias.grad, torch.ones(3))
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert states[2] == random.getstate()


def test_a_function_over_a_module_gets_no_gradients():
    inner = Linear()
    x = inputs(4)
    TorchAttack("fab")(inner.forward, x, labels(inner, x), generator=generator())
    assert all(parameter.grad is None for parameter in inner.parameters())


def test_everything_is_put_back_when_the_model_raises():
    class Bomb(Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.calls > 5:
                raise ValueError("boom")
            return super().forward(x)

    model = Bomb().train()
    x = inputs(4)
    state = torch.get_rng_state()
    with pytest.raises(ModelError, match=r"the model raised ValueError in forward on a batch of shape \(4, 12\): boom"):
        TorchAttack("fab")(model, x, labels(model, x), generator=generator())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("fails", [False, True])
def test_random_numbers_follow_the_seed_and_the_global_generators_are_restored(fails: bool):
    def drawn() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002

    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    found = []
    for seed in (1, 1, 2):
        try:
            with own_random_state(seed):
                found.append(drawn())
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert fails
    assert found[0] == found[1]
    assert all(one != other for one, other in zip(found[0], found[2], strict=True))
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert states[2] == random.getstate()


def test_every_name_that_is_listed_can_be_used():
    assert {"FAB", "PGDL2", "CW", "DeepFool"} <= set(names())
    for name in names():
        assert constructor(name.lower())[0] == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonsense", r"has no attack 'nonsense'; use one of APGD, .*CW, .*FAB.*PGDL2"),
        ("MultiAttack", "has no attack 'MultiAttack'"),
        ("PGD", "PGD measures Linf, but distances here are L2; use one of"),
        ("OnePixel", "measures L0"),
        ("GN", "GN does not look for the nearest label change; use one of"),
    ],
)
def test_an_attack_that_cannot_be_used_is_an_error_with_the_reason(name: str, words: str):
    with pytest.raises(AttackError, match=words):
        TorchAttack(name)


def test_a_missing_library_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(AttackError, match=r"torchattacks cannot be imported .*pip install 'dmmcheck\[attacks\]'"):
        panel()
