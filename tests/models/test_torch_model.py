"""How a classifier is called: output forms, flags restored, and one clear error for each way it can be wrong."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dmmcheck.errors import ModelError
from dmmcheck.models.torch import adapt

X = torch.linspace(-1, 1, 12).reshape(4, 3)
WEIGHT = torch.arange(6.0).reshape(3, 2)


def linear(x):
    return x @ WEIGHT.to(x)


@pytest.mark.parametrize(
    ("model", "form", "expected"),
    [
        (linear, "logits", linear(X)),
        (lambda x: SimpleNamespace(logits=linear(x)), "logits", linear(X)),
        (lambda x: x[:, 0], "binary", torch.stack([torch.zeros(4), X[:, 0]], 1)),
        (lambda x: x[:, :1], "binary", torch.stack([torch.zeros(4), X[:, 0]], 1)),
        (lambda x: linear(x).softmax(1), "probabilities", linear(X).log_softmax(1)),
    ],
    ids=["tensor", "object-with-logits", "one-logit", "one-logit-column", "probabilities"],
)
def test_every_output_form_reads_as_logits(model, form, expected):
    classifier = adapt(model, X)
    assert classifier.form == form
    torch.testing.assert_close(classifier.logits(X), expected)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 3, 1), (3, 1, 1, 1)])
def test_flat_inputs_reach_the_model_in_its_own_shape(shape):
    seen = []

    def model(x):
        seen.append(tuple(x.shape[1:]))
        return linear(x.flatten(1))

    classifier = adapt(model, X.reshape(4, *shape))
    torch.testing.assert_close(classifier.logits(X), linear(X))
    assert set(seen) == {shape}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_follow_the_dtype_of_the_model(dtype):
    classifier = adapt(nn.Linear(3, 2).to(dtype), X.double())
    assert classifier.logits(classifier.flat(X)).dtype == dtype


class Moody(nn.Module):
    """A dropout, a batch norm frozen by hand, and one frozen parameter: three kinds of flags to restore."""

    def __init__(self):
        super().__init__()
        self.drop, self.norm, self.head = nn.Dropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 2)
        self.norm.eval()
        self.head.bias.requires_grad_(False)

    def forward(self, x):
        return self.head(self.norm(self.drop(x)))


def flags(model):
    return [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]


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


def raises(x):
    raise ZeroDivisionError("no luck")


class Scattered(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 2), nn.Linear(2, 2).double()

    def forward(self, x):
        return self.two(self.one(x).double())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (42, ["int", "cannot be called", "torch.nn.Module"]),
        (raises, ["ZeroDivisionError", "no luck", "(2, 3)"]),
        (lambda x: [1, 2], ["list", "expected a tensor", "logits"]),
        (lambda x: linear(x)[:1], ["(1, 2)", "(2, classes)"]),
        (lambda x: linear(x)[:, :, None].expand(-1, -1, 5), ["(2, 2, 5)", "one row of logits"]),
        (lambda x: linear(x).argmax(1, keepdim=True).expand(-1, 2), ["int64", "not labels"]),
        (Scattered(), ["2 dtypes", "model.to"]),
        (nn.Linear(3, 2).half(), ["float16", "model.float()"]),
        (nn.Linear(3, 2, device="meta"), ["meta", "load its weights"]),
        (nn.Linear(7, 2), ["RuntimeError", "shape the model expects"]),
    ],
    ids=["no-call", "raises", "list", "batch", "rank", "labels", "dtypes", "half", "meta", "features"],
)
def test_a_model_that_cannot_be_used_is_one_clear_error(model, words):
    with pytest.raises(ModelError) as error:
        adapt(model, X)
    for word in words:
        assert word in str(error.value)
