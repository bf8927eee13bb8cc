"""What is wrong with each unsound model."""

from __future__ import annotations

import pytest
import torch
from made import made

from dmmcheck import worlds


@pytest.mark.parametrize("kind", ["saturated", "quantised", "step", "rounded"])
def test_masked_gradients_vanish(kind):
    subject = made(kind).subject
    leaf = subject.x.clone().requires_grad_(True)
    logits = subject.model(leaf)
    (gradient,) = torch.autograd.grad(logits.gather(1, subject.y[:, None]).sum(), leaf)
    assert float(gradient.norm(dim=1).max()) < 1e-6


def test_a_ripple_changes_gradients_and_hardly_the_logits():
    subject, plain = made("ripple").subject, worlds.neighbours(classes=4, samples=48, seed=3).subject
    leaf = plain.x.clone().requires_grad_(True)
    gradients = []
    for model in (subject.model, plain.model):
        logits = model(leaf)
        (gradient,) = torch.autograd.grad((logits[:, 0] - logits[:, 1]).sum(), leaf)
        gradients.append(gradient)
    assert float(torch.cosine_similarity(*gradients, dim=1).abs().median()) < 0.5
    with torch.no_grad():
        same = subject.model(plain.x).argmax(1) == plain.model(plain.x).argmax(1)
    assert float(same.double().mean()) > 0.9


def test_a_stochastic_model_answers_differently_from_call_to_call():
    subject = made("stochastic").subject
    with torch.no_grad():
        first, second = (subject.model(subject.x) for _ in range(2))
    assert not torch.equal(first, second)
    assert float((first - second).abs().max()) < 1


def test_a_constant_model_names_one_class_and_an_untrained_one_knows_none():
    constant, untrained = made("constant").subject, made("untrained").subject
    with torch.no_grad():
        assert set(constant.model(constant.x).argmax(1).tolist()) == {0}
        correct = untrained.model(untrained.x).argmax(1) == untrained.y
    assert float(correct.double().mean()) < 0.5
    assert not any(made(kind).sound for kind in worlds.KINDS)
