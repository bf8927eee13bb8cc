"""Evaluation mode inside the context, every flag as before outside, and no gradient in a parameter."""

from __future__ import annotations

import pytest
import torch
from module_cases import Moody, X, flags, linear
from torch import nn

from dmmcheck.models.base import flat
from dmmcheck.models.evaluation import evaluation, module_of
from dmmcheck.models.torch import adapt


@pytest.mark.parametrize("fails", [False, True])
def test_flags_are_evaluation_inside_and_restored_outside(fails):
    model = Moody()
    before, statistics = flags(model), model.norm.running_mean.clone()
    classifier = adapt(model, X)
    assert flags(model) == before

    def use():
        with classifier.evaluation():
            assert not any(flags(model)[0])
            assert not any(flags(model)[1])
            classifier.logits(X)
            if fails:
                raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            use()
    else:
        use()
    assert flags(model) == before
    torch.testing.assert_close(model.norm.running_mean, statistics)


def test_a_method_of_a_module_is_called_in_evaluation_mode_and_followed():
    model = Moody().double()
    classifier = adapt(model.forward, X)
    assert classifier.dtype == torch.float64
    with classifier.evaluation():
        assert not any(flags(model)[0])
        once, twice = classifier.logits(flat(classifier, X)), classifier.logits(flat(classifier, X))
    torch.testing.assert_close(once, twice, rtol=0, atol=0)
    assert model.training
    assert classifier.name == "Moody"


def test_gradients_in_the_parameters_are_the_users_own():
    model = nn.Linear(3, 2)
    model(X).sum().backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    classifier, points = adapt(model, X), X.clone().requires_grad_(True)
    with classifier.evaluation():
        classifier.logits(points).sum().backward()
    for parameter, gradient in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)


def test_several_functions_are_put_into_evaluation_mode_at_once():
    one, two = Moody(), Moody()
    before = flags(one), flags(two)
    with evaluation(one, two.forward, linear):
        assert not any(any(part) for model in (one, two) for part in flags(model))
    assert (flags(one), flags(two)) == before


def test_the_module_of_a_function_is_itself_its_owner_or_none():
    module = nn.Linear(3, 2)
    assert module_of(module) is module
    assert module_of(module.forward) is module
    assert module_of(linear) is None
    assert module_of([].append) is None


def test_cudnn_which_has_no_gradients_of_recurrent_layers_then_is_off_and_on_again():
    assert torch.backends.cudnn.enabled
    with evaluation(nn.Sequential(nn.Linear(3, 2), nn.LSTM(2, 2))):
        assert not torch.backends.cudnn.enabled
        with evaluation(nn.GRU(2, 2)):
            assert not torch.backends.cudnn.enabled
        assert not torch.backends.cudnn.enabled
    assert torch.backends.cudnn.enabled
    with evaluation(nn.Linear(3, 2)):
        assert torch.backends.cudnn.enabled
