"""What is said of models that take other inputs, or cut their output off."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from dmmcheck.errors import ModelError
from dmmcheck.models.conversions import conversion_of
from dmmcheck.models.onnx_session import OnnxModel
from dmmcheck.models.remedies import remedy_for
from dmmcheck.models.torch import adapt, check_gradient

X = torch.rand((4, 3), generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.rand((3, 2), generator=torch.Generator().manual_seed(1))


def logits(x):
    return x @ WEIGHTS.to(x)


def three(x, mask, table):
    return logits(x + mask + table)


def test_several_inputs_are_named():
    with pytest.raises(TypeError) as raised:
        three(X)
    expected = "gives the others ('mask' and 'table') itself, e.g. lambda x: net(x, mask, table)"
    assert expected in remedy_for(raised.value, "")
    assert adapt(lambda x: three(x, 0 * x, 0 * x), X).classes == 2  # the remedy


def masked(x, *, mask):
    return logits(x) + mask


def test_keyword_inputs_are_named():
    with pytest.raises(TypeError) as raised:
        masked(X)
    assert "gives the other ('mask')" in remedy_for(raised.value, "")


def test_token_ids_are_told_to_be_embedded():
    with pytest.raises(ModelError, match="token ids have no distances"):
        adapt(nn.Embedding(10, 4), X)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_an_output_that_is_cut_off_is_one_sentence_whose_remedies_work(context):
    @context()
    def cut(x):
        return logits(torch.as_tensor(x))

    with pytest.raises(ModelError, match=re.escape("take that out of forward, or pass a function over numpy arrays")):
        check_gradient(adapt(cut, X), X)
    check_gradient(adapt(logits, X), X)
    over_arrays = adapt(lambda a: cut(torch.as_tensor(a)).numpy(), X)
    check_gradient(over_arrays, X)
    assert conversion_of(over_arrays) == "model: gradients are finite differences"


def test_a_classifier_without_gradients_need_not_record_them():
    steps = adapt(lambda a: torch.as_tensor(a).round().numpy() @ WEIGHTS.numpy(), X)
    check_gradient(steps, X)
    assert conversion_of(steps) == "model: its labels alone are searched"
    assert conversion_of(adapt(lambda a: (a[:, 0] > 0.5).astype(int), X)) == "model: its labels alone are searched"


def test_a_list_of_rows_is_stacked_and_a_tuple_has_its_first_element():
    torch.testing.assert_close(adapt(lambda x: list(logits(x)), X).logits(X), logits(X))
    torch.testing.assert_close(adapt(lambda x: (logits(x), x), X).logits(X), logits(X))
    torch.testing.assert_close(adapt(lambda x: [logits(x), x], X).logits(X), logits(X))


def test_weights_alone_are_told_to_be_loaded():
    with pytest.raises(
        ModelError, match=r"of weights without the network; pass the network itself, after net.load_state"
    ):
        adapt(nn.Linear(3, 2).state_dict(), X)


class Part:
    type, shape = "tensor(float)", [None, 3]

    def __init__(self, name):
        self.name = name


class Session:
    """A session with some inputs, as that of onnxruntime."""

    def __init__(self, *names):
        self.names = names

    def get_inputs(self):
        return [Part(name) for name in self.names]

    def get_outputs(self):
        return [Part("z")]

    def run(self, outputs, given):
        return [given["x"] @ WEIGHTS.numpy()]


def test_a_session_is_a_model_and_one_of_several_inputs_is_one_sentence():
    torch.testing.assert_close(adapt(Session("x"), X).logits(X), logits(X))
    with pytest.raises(
        ModelError, match=r"the ONNX graph has 2 inputs \(x, mask\), expected one; pass a function over numpy arrays"
    ):
        adapt(Session("x", "mask"), X)
    assert OnnxModel(Session("x"), "net").__name__ == "net"
