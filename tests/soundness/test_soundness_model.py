"""Each gate on the model fails for its own reason."""

from __future__ import annotations

from dataclasses import replace

import contexts
import pytest
import torch
from torch import Tensor, nn

from dmmcheck.soundness import model


class Stubborn(nn.Dropout):
    """A module that stays in training mode."""

    def train(self, mode: bool = True) -> Stubborn:
        return super().train(True)


def batch_scaled(x: Tensor) -> Tensor:
    z = contexts.network()(x)
    return z / z.abs().amax()


def overflowing(x: Tensor) -> Tensor:
    return contexts.network()(x) * torch.where(x.flatten(1).sum(1) > 19, torch.inf, 1.0)[:, None]


def nearly_constant(x: Tensor) -> Tensor:
    return 1e-6 * contexts.network()(x) + torch.eye(10)[3]


TAMPERED = {
    "evaluation-mode": (
        model.evaluation_mode,
        lambda context: contexts.with_forward(context, nn.Sequential(contexts.network(), Stubborn(0.0))),
    ),
    "deterministic": (
        model.deterministic,
        lambda context: contexts.with_forward(context, contexts.noise(contexts.network())),
    ),
    "batch-independent": (model.batch_independent, lambda context: contexts.with_forward(context, batch_scaled)),
    "finite": (model.finite, lambda context: contexts.with_forward(context, overflowing)),
    "not-constant": (model.not_constant, lambda context: contexts.with_forward(context, nearly_constant)),
    "above-chance": (model.above_chance, lambda context: replace(context, accuracy=context.majority)),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_gate_fails_for_its_own_reason_and_passes_without(name: str):
    contexts.assert_fails_for_its_own_reason(name, *TAMPERED[name])


def test_modules_that_stay_in_training_mode_are_named():
    context = contexts.with_forward(contexts.plain(), nn.Sequential(contexts.network(), Stubborn(0.0)))
    message = contexts.asked(model.evaluation_mode, replace(context, was_training=True))["evaluation-mode"].message
    assert message.startswith(
        "given in training mode, measured in evaluation mode, but 1 modules stay in training mode"
    )
    assert "(1)" in message  # the name of the module in the sequence


def test_a_function_has_no_evaluation_mode():
    context = contexts.with_forward(contexts.plain(), lambda x: contexts.network()(x))  # noqa: PLW0108  # no module
    item = contexts.asked(model.evaluation_mode, context)["evaluation-mode"]
    assert (item.ok, item.message) == (None, "the model is a function without an evaluation mode")


def test_rows_that_are_not_finite_are_counted():
    context = contexts.with_forward(contexts.plain(), overflowing)
    item = contexts.asked(model.finite, context)["finite"]
    bad = int((contexts.plain().x.sum(1) > 19).sum())
    assert item.value >= bad > 0
    assert f"{item.value:.0f} rows of logits or gradients are NaN or infinite (limit 0)" in item.message


def test_accuracy_is_compared_with_that_of_naming_one_class():
    context = replace(contexts.plain(), accuracy=0.5, majority=0.5, labelled=100)
    item = contexts.asked(model.above_chance, context)["above-chance"]
    assert (item.ok, item.limit) == (False, 0.5)
    assert item.message.startswith(
        "accuracy 50% on 100 inputs, where always naming one class gives 50% (p = 0.54, limit"
    )
    better = contexts.asked(model.above_chance, replace(context, accuracy=0.63))["above-chance"]
    assert better.ok is True


def test_probabilities_that_round_to_zero_are_counted():
    assert contexts.asked(model.probabilities, contexts.plain()) == {}
    saturated = contexts.Masked(contexts.network(), after=lambda z: (50 * z).softmax(1))
    item = contexts.asked(model.probabilities, contexts.digits_context(saturated, 16))["probabilities"]
    assert item.ok is None
    assert 0 < item.value < 1
    assert "outputs are probabilities" in item.message
