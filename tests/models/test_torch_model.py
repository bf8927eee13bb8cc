"""How a module or function becomes a classifier, and one clear error for each way it can be wrong."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from module_cases import Moody, X, flags, linear
from torch import nn
from torch.nn.functional import logsigmoid

from dmmcheck.errors import ModelError
from dmmcheck.models.base import Classifier
from dmmcheck.models.torch import adapt, verify


@pytest.mark.parametrize(
    ("model", "form", "expected"),
    [
        (linear, "logits", linear(X)),
        (lambda x: SimpleNamespace(logits=linear(x)), "logits", linear(X)),
        (lambda x: x[:, 0], "binary", torch.stack([torch.zeros(4), X[:, 0]], 1)),
        (lambda x: x[:, :1], "binary", torch.stack([torch.zeros(4), X[:, 0]], 1)),
        (lambda x: linear(x).softmax(1), "probabilities", linear(X).log_softmax(1)),
        (lambda x: linear(x).log_softmax(1), "logits", linear(X).log_softmax(1)),
        (lambda x: x[:, :1].sigmoid(), "binary-probability", logsigmoid(torch.stack([-X[:, 0], X[:, 0]], 1))),
        (lambda x: x[:, 0].sigmoid(), "binary-probability", logsigmoid(torch.stack([-X[:, 0], X[:, 0]], 1))),
    ],
    ids=[
        *("tensor", "object-with-logits", "one-logit", "one-logit-column"),
        *("probabilities", "log-probabilities", "one-probability-column", "one-probability"),
    ],
)
def test_every_output_form_reads_as_logits(model, form, expected):
    classifier = adapt(model, X)
    assert classifier.form == form
    torch.testing.assert_close(classifier.logits(X), expected)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: torch.stack(
            [x[:, 0] + 1, -x[:, 0]], 1
        ),  # sums to one everywhere, as least squares on one-hot labels does
        lambda x: torch.stack([1 - x[:, 0].square(), x[:, 0].square()], 1),
        lambda x: x[:, 0] + 1,  # within [0, 1] at the first two inputs only
        lambda x: torch.stack([x[:, 0].sigmoid(), x[:, 1].sigmoid()], 1),  # two labels, not one of two
    ],
    ids=["affine", "square", "one-logit", "two-labels"],
)
def test_logits_that_look_like_probabilities_at_the_inputs_stay_logits(model):
    near = model(X[:2])
    assert near.min() >= 0
    assert near.max() <= 1
    assert adapt(model, X).form in {"logits", "binary"}


def test_inputs_of_zeros_are_moved_too_before_outputs_count_as_probabilities():
    assert adapt(lambda x: torch.stack([0.3 + x[:, 0], 0.7 - x[:, 0]], 1), torch.zeros((4, 3))).form == "logits"


def test_probabilities_of_a_model_that_refuses_far_inputs_are_still_read():
    def careful(x):
        assert x.abs().max() <= 1
        return linear(x).softmax(1)

    assert adapt(careful, X).form == "probabilities"


def test_a_model_that_works_in_place_leaves_the_inputs_alone():
    classifier, points = adapt(lambda x: linear(x.sub_(0.5).mul_(2)), X), X.clone().requires_grad_(True)
    logits = classifier.logits(points)
    torch.testing.assert_close(logits, linear(2 * X - 1))
    torch.autograd.grad(logits.sum(), points)
    torch.testing.assert_close(points.detach(), X, rtol=0, atol=0)


def exported(network):
    batch = torch.export.Dim("batch")
    return torch.export.export(network, (X,), dynamic_shapes=({0: batch},)).module()


@pytest.mark.parametrize(
    "wrapped",
    [lambda net: torch.jit.trace(net, X), torch.fx.symbolic_trace, nn.DataParallel, exported],
    ids=["traced", "symbolic", "parallel", "exported"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_modules_that_torch_wraps_are_called_like_others(wrapped):
    network = Moody().eval()
    model = wrapped(network)
    before, classifier = flags(model), adapt(model, X)
    with classifier.evaluation():
        assert not any(flags(model)[0])
        torch.testing.assert_close(classifier.logits(X), network(X))
    assert flags(model) == before


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 3, 1), (3, 1, 1, 1)])
def test_flat_inputs_reach_the_model_in_its_own_shape(shape):
    seen = []

    def model(x):
        seen.append(tuple(x.shape[1:]))
        return linear(x.flatten(1))

    classifier = adapt(model, X.reshape(4, *shape))
    torch.testing.assert_close(classifier.logits(X), linear(X))
    assert set(seen) == {shape}


def around(model):
    """A function that hides its module."""

    def hidden(x):
        return model(x)

    return hidden


def raises(x):
    raise ZeroDivisionError("no luck")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (42, ["int", "cannot be called", "torch.nn.Module", "dmmcheck.Classifier"]),
        (SimpleNamespace(logits=linear, name="own"), ["without classes, input_shape, device, dtype, role, evaluation"]),
        (raises, ["ZeroDivisionError", "no luck", "(2, 3)"]),
        (lambda x: [1, 2], ["list", "expected a tensor", "logits"]),
        (lambda x: linear(x)[:1], ["(1, 2)", "(2, classes)"]),
        (lambda x: linear(x)[:, :, None].expand(-1, -1, 5), ["(2, 2, 5)", "one row of logits"]),
        (lambda x: linear(x).argmax(1, keepdim=True).expand(-1, 2), ["int64", "not labels"]),
        (nn.Linear(3, 2).half(), ["float16", "convert it with .float()"]),
        (lambda x: linear(x).half(), ["returned torch.float16", "autocast"]),
        (nn.Linear(3, 2).double().forward.__func__, ["TypeError", "it is a method of a class", "pass the object"]),
        (around(nn.Linear(3, 2).double()), ["RuntimeError", "float32", "different dtypes", "torch.nn.Module"]),
        (nn.Linear(7, 2), ["RuntimeError", "shape the model expects"]),
    ],
    ids=[
        *("no-call", "lacks-members", "raises", "list", "batch", "rank", "labels", "half", "half-output"),
        *("unbound", "other-dtype", "features"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_clear_error(model, words):
    with pytest.raises(ModelError) as error:
        adapt(model, X)
    for word in words:
        assert word in str(error.value)


def test_a_message_calls_a_reference_model_by_its_role():
    with pytest.raises(ModelError, match=r"^the robust twin raised .* it must take the inputs of the model under test"):
        adapt(nn.Linear(7, 2), X, role="robust twin")


def test_a_classifier_is_returned_as_it_is():
    classifier = adapt(linear, X)
    assert isinstance(classifier, Classifier)
    assert adapt(classifier, X) is classifier


class Own(Classifier):
    """A classifier whose logits are given."""

    name, classes, input_shape, device, dtype = "own", 2, (3,), torch.device("cpu"), torch.float32

    def __init__(self, logits):
        self._logits = logits

    def logits(self, x):
        return self._logits(x)


def test_a_classifier_that_returns_a_row_of_logits_for_each_input_passes():
    verify(Own(linear), X)
    verify(Own(linear), X[:1])


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (lambda x: linear(x)[:, :1], [r"have shape (2, 1) and dtype torch.float32 for 2 inputs; return (2, 2)"]),
        (lambda x: linear(x).half(), ["torch.float16", "in float32 or float64"]),
        (lambda x: linear(x).argmax(1), ["shape (2,)", "torch.int64"]),
        (raises, ["the model raised ZeroDivisionError", "no luck"]),
    ],
    ids=["columns", "half", "labels", "raises"],
)
def test_a_classifier_that_does_not_keep_the_protocol_is_one_clear_error(logits, words):
    with pytest.raises(ModelError) as error:
        verify(Own(logits), X)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    "packed",
    [lambda z: {"loss": 0.0, "logits": z}, lambda z: (z, "hidden states"), lambda z: [z]],
    ids=["dict", "tuple", "list"],
)
def test_logits_are_taken_out_of_what_holds_them(packed):
    x = torch.rand(4, 3)
    weight = torch.rand(3, 2)
    classifier = adapt(lambda x: packed(x @ weight), x)
    torch.testing.assert_close(classifier.logits(x), x @ weight)
