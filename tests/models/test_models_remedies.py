"""Every remedy that an error message of the models names is applied here, and works."""

from __future__ import annotations

import pytest
import torch
from module_cases import X, linear
from torch import nn

from dmmcheck.errors import ModelError
from dmmcheck.models.base import Classifier
from dmmcheck.models.reference import reference_model
from dmmcheck.models.torch import adapt, verify

LIKE = adapt(linear, X)


class OwnMembers:
    """The members that `Classifier` gives no default for."""

    name, classes, input_shape, device, dtype = "own", 2, (3,), torch.device("cpu"), torch.float32

    def logits(self, x):
        return linear(x)


class Own(OwnMembers, Classifier):
    """The same with `Classifier` as its base class."""


class OneColumn(Own):
    def logits(self, x):
        return linear(x)[:, :1]


class InDouble(Own):
    dtype = torch.float64


class Uncopyable(nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("it holds a lock")


def lazy():
    model = nn.LazyLinear(2)
    model(X)
    return model


def scattered():
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2).double())


def with_weights():
    model = nn.Linear(3, 2, device="meta").to_empty(device="cpu")
    model.load_state_dict(nn.Linear(3, 2).state_dict())
    return model


def scores(x):
    return {"scores": linear(x)}


def calls(model):
    """A function that calls a module, which the adapter does not see."""

    def hidden(x):
        return model(x)

    return hidden


def beside(model):
    return reference_model(model, X, like=LIKE, role="robust twin")


def is_right(classifier):
    verify(classifier, X)
    return classifier.classes == 2


CASES = {
    "not callable": (
        lambda: adapt(42, X),
        "pass a torch.nn.Module, a function from a tensor to logits, a fitted classifier of scikit-learn, an ONNX sess",
        lambda: [adapt(nn.Linear(3, 2), X), adapt(linear, X), adapt(Own(), X)],
    ),
    "members missing": (
        lambda: adapt(OwnMembers(), X),
        "is a OwnMembers without role, evaluation; name dmmcheck.Classifier as its base class",
        lambda: [adapt(Own(), X)],
    ),
    "no tensor": (
        lambda: adapt(scores, X),
        "or a dict with the key 'logits'; wrap it in a function that returns the logits",
        lambda: [adapt(lambda x: scores(x)["scores"], X)],
    ),
    "no row of logits": (
        lambda: adapt(lambda x: linear(x)[:, :, None, None].expand(-1, -1, 4, 4), X),
        "flatten or pool the output to one row of logits for each input",
        lambda: [adapt(lambda x: linear(x)[:, :, None, None].expand(-1, -1, 4, 4).mean((2, 3)), X)],
    ),
    "labels": (
        lambda: adapt(lambda x: linear(x).argmax(1), X),
        "returned torch.int64; return floating-point logits, not labels",
        lambda: [adapt(linear, X)],
    ),
    "half output": (
        lambda: adapt(lambda x: linear(x).half(), X),
        "too coarse to find a boundary; compute logits in float32, without autocast",
        lambda: [adapt(linear, X)],
    ),
    "autocast": (
        lambda: adapt(torch.autocast("cpu", torch.bfloat16)(calls(nn.Linear(3, 2))), X),
        "returned torch.bfloat16, which is too coarse",
        lambda: [adapt(nn.Linear(3, 2), X)],
    ),
    "other shape": (
        lambda: adapt(nn.Linear(3, 2), X.reshape(2, 6)),
        "check that the data have the shape the model expects",
        lambda: [adapt(nn.Linear(3, 2), X.reshape(2, 6).reshape(-1, 3))],
    ),
    "other dtype": (
        lambda: adapt(calls(nn.Linear(3, 2).double()), X),
        "different dtypes; pass the torch.nn.Module itself, whose inputs are converted to its own dtype",
        lambda: [adapt(nn.Linear(3, 2).double(), X), adapt(calls(nn.Linear(3, 2).double()), X.double())],
    ),
    "lazy": (
        lambda: adapt(nn.LazyLinear(2), X),
        "2 parameters of the model are lazy and have no shape yet; call the model on a batch first",
        lambda: [adapt(lazy(), X)],
    ),
    "several dtypes": (
        lambda: adapt(scattered(), X),
        "one is supported; convert the whole model with .to(...)",
        lambda: [adapt(scattered().to(torch.float64), X), adapt(scattered().to(torch.float32), X)],
    ),
    "meta device": (
        lambda: adapt(nn.Linear(3, 2, device="meta"), X),
        "on the meta device and hold no values; load the weights first",
        lambda: [adapt(with_weights(), X)],
    ),
    "half module": (
        lambda: adapt(nn.Linear(3, 2).half(), X),
        "computes in torch.float16, but distances need float32 or float64; convert it with .float()",
        lambda: [adapt(nn.Linear(3, 2).half().float(), X)],
    ),
    "half inputs": (
        lambda: adapt(linear, X.half()),
        "but distances need float32 or float64; pass inputs in float32",
        lambda: [adapt(linear, X.half().float())],
    ),
    "own logits": (
        lambda: verify(OneColumn(), X),
        "have shape (2, 1) and dtype torch.float32 for 2 inputs; return (2, 2), in float32 or float64",
        lambda: [Own()],
    ),
    "reference model of another shape": (
        lambda: beside(nn.Linear(4, 2)),
        "it must take the inputs of the model under test: check their shape",
        lambda: [beside(nn.Linear(3, 2))],
    ),
    "reference model of another task": (
        lambda: beside(nn.Linear(3, 7)),
        "the robust twin has 7 classes, the model under test has 2; give a model of the same task",
        lambda: [beside(nn.Linear(3, 2))],
    ),
    "reference model that cannot be copied": (
        lambda: beside(Uncopyable(3, 2).double()),
        "move it there yourself, with .to(...)",
        lambda: [beside(Uncopyable(3, 2).double().to("cpu", torch.float32))],
    ),
    "own reference classifier of another dtype": (
        lambda: beside(InDouble()),
        "cannot be copied to cpu in torch.float32; pass one that computes there",
        lambda: [beside(Own())],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name):
    bad, words, remedy = CASES[name]
    with pytest.raises(ModelError) as error:
        bad()
    assert words in str(error.value)
    assert all(map(is_right, remedy()))
