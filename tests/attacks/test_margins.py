"""The logit margin against its definition, and gradients that reach the input alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dmmcheck.attacks.margins import largest_other, logit_margin, margin_gradient
from dmmcheck.errors import ModelError
from dmmcheck.models.base import input_gradient
from dmmcheck.models.torch import adapt


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


Z = torch.randn(7, 4, generator=seeded())
Y = torch.tensor([0, 1, 2, 3, 0, 1, 2])


def test_the_margin_is_the_logit_of_the_label_over_the_largest_of_the_others():
    for z, y, other, margin in zip(Z, Y, largest_other(Z, Y), logit_margin(Z, Y), strict=True):
        others = [float(z[j]) for j in range(4) if j != y]
        assert float(other) == max(others)
        assert float(margin) == pytest.approx(float(z[y]) - max(others))


def test_the_margin_is_negative_where_the_label_is_another():
    assert torch.equal(logit_margin(Z, Y) < 0, Z.argmax(1) != Y)


def test_a_margin_of_two_equal_logits_is_zero():
    assert logit_margin(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([0])).tolist() == [0]


def test_the_gradient_of_the_margin_is_that_of_finite_differences():
    weight = torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    classifier = adapt(lambda x: torch.tanh(x @ weight), torch.zeros(2, 5, dtype=torch.float64))
    x = torch.randn(4, 5, generator=seeded(2), dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0])
    margin, gradient = margin_gradient(classifier, x, y)
    torch.testing.assert_close(margin, logit_margin(classifier.logits(x), y))
    for entry in range(5):
        shift = 1e-6 * torch.eye(5, dtype=torch.float64)[entry]
        difference = (
            margin_gradient(classifier, x + shift, y)[0] - margin_gradient(classifier, x - shift, y)[0]
        ) / 2e-6
        torch.testing.assert_close(gradient[:, entry], difference, rtol=1e-6, atol=1e-8)


def test_parameters_and_the_given_points_get_no_gradient():
    module = nn.Linear(5, 3)
    x = torch.zeros(2, 5)
    margin, gradient = margin_gradient(adapt(module, x), x, torch.tensor([0, 1]))
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(part.requires_grad for part in (x, margin, gradient))
    assert bool((gradient != 0).any())


def test_an_output_that_does_not_depend_on_the_leaf_has_gradient_zero():
    leaf, other = (torch.ones(2, 3, requires_grad=True) for _ in range(2))
    assert input_gradient(torch.tensor(1.0), leaf).tolist() == [[0] * 3] * 2
    assert input_gradient(other.sum(), leaf).tolist() == [[0] * 3] * 2


def test_outputs_are_weighted_and_kept_where_asked():
    leaf = torch.ones(2, 3, requires_grad=True)
    output = leaf.square().sum(1)
    weights = torch.tensor([1.0, -2.0])
    first = input_gradient(output, leaf, weights, keep=True)
    torch.testing.assert_close(first, weights[:, None] * 2 * leaf.detach())
    torch.testing.assert_close(input_gradient(output, leaf, weights), first)
    with pytest.raises(ModelError, match="the model raised RuntimeError in backward on a batch of 2 inputs"):
        input_gradient(output, leaf, weights)
