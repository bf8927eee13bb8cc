"""Gradients by finite differences against those of the same function in torch, and the calls that they take."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dmmcheck.models.numpy_function import BATCH_ROWS, STEPS, difference_steps, numpy_function

D = 64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(activation: nn.Module) -> nn.Sequential:
    """A small network in float32, whose rounding differences have to overcome."""
    layers = nn.utils.skip_init(nn.Linear, D, 32), nn.utils.skip_init(nn.Linear, 32, 3)
    for layer in layers:
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=seeded(layer.in_features))
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], activation, layers[1]).requires_grad_(False)


X = torch.rand((40, D), generator=seeded(1))


def gradient(function, x: torch.Tensor) -> torch.Tensor:
    """The gradient (n, D) of a difference of two scores."""
    leaf = x.clone().requires_grad_()
    scores = function(leaf)
    return torch.autograd.grad((scores[:, 0] - scores[:, 1]).sum(), leaf)[0]


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU()], ids=["tanh", "relu"])
def test_gradients_in_float32_are_within_one_per_cent(activation):
    net = network(activation)
    function = numpy_function(lambda x: net(torch.as_tensor(x)).numpy(), X, "network")
    found, exact = gradient(function, X), gradient(net, X)
    assert float(((found - exact).norm(dim=1) / exact.norm(dim=1)).median()) < 0.01


def test_a_step_of_one_feature_is_as_long_as_one_of_all_and_at_most_the_largest_size():
    spread = X.double().std(0)
    straight = numpy_function(lambda x: x @ np.ones((D, 2)), X.double(), "linear")
    torch.testing.assert_close(straight.steps, spread * STEPS[0] * D**0.5)
    noisy = numpy_function(lambda x: x @ np.ones((D, 2)) + 1e-4 * np.sin(1e7 * x[:, :2]), X.double(), "noisy")
    torch.testing.assert_close(noisy.steps, spread * STEPS[-1])
    one = X[:, :1].double()
    torch.testing.assert_close(
        difference_steps(numpy_function(lambda x: x**2, one, "square"), one), one.std(0) * STEPS[0]
    )


def test_calls_for_a_gradient_are_of_bounded_size_and_one_for_each_feature():
    seen = []

    def function(x):
        seen.append(len(x))
        return x @ np.ones((D, 2))

    made = numpy_function(function, X.double(), "linear")
    seen.clear()
    x = torch.rand((100, D), generator=seeded(2), dtype=torch.float64)
    gradient(made, x)
    assert seen[0] == 100
    assert sum(seen[1:]) == 100 * D
    assert 100 < max(seen) <= BATCH_ROWS
