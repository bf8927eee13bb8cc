"""Inputs are moved to the device and the dtype of a module's parameters, and what has no single one is an error."""

from __future__ import annotations

import pytest
import torch
from module_cases import WEIGHT, X
from torch import nn

from dmmcheck.errors import ManifoldError, ModelError
from dmmcheck.models.base import flat
from dmmcheck.models.placement import placement
from dmmcheck.models.torch import adapt


def test_a_module_without_parameters_follows_its_buffers_and_else_the_inputs():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", WEIGHT.double())

        def forward(self, x):
            return x @ self.weight

    assert adapt(Fixed(), X).dtype == torch.float64
    assert adapt(nn.Identity(), X).dtype == X.dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_follow_the_dtype_of_the_model(dtype):
    classifier = adapt(nn.Linear(3, 2).to(dtype), X.double())
    assert classifier.logits(flat(classifier, X)).dtype == dtype


class Scattered(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 2), nn.Linear(2, 2).double()

    def forward(self, x):
        return self.two(self.one(x).double())


def test_a_function_without_parameters_computes_where_the_inputs_are():
    assert placement(len, X) == (X.device, X.dtype)
    assert placement(len, X.double()) == (X.device, torch.float64)
    assert placement(len, torch.ones(2, 3, dtype=torch.long)) == (X.device, torch.get_default_dtype())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Scattered(), ["2 dtypes (torch.float32, torch.float64)", "convert the whole encoder with .to(...)"]),
        (nn.Linear(3, 2).half(), ["computes in torch.float16", "convert it with .float()"]),
        (nn.Linear(3, 2).bfloat16(), ["computes in torch.bfloat16", "convert it with .float()"]),
        (nn.Linear(3, 2, device="meta"), ["on the meta device", "load the weights"]),
        (nn.LazyLinear(2), ["2 parameters", "no shape yet", "call the encoder on a batch first"]),
    ],
    ids=["dtypes", "half", "bfloat16", "meta", "lazy"],
)
def test_parameters_that_no_input_fits_are_an_error_of_the_class_asked_for(model, words):
    for error in (ModelError, ManifoldError):
        with pytest.raises(error) as raised:
            placement(model, X, what="encoder", error=error)
        assert all(word in str(raised.value) for word in ["the encoder", *words])


def test_inputs_in_half_precision_are_an_error_for_a_function():
    with pytest.raises(ModelError, match=r"the model computes in torch.float16, .* pass inputs in float32"):
        placement(len, X.half())
