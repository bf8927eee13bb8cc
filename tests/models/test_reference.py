"""Reference models are brought to the device and the dtype of the model under test; the given ones stay as they are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from dmmcheck.errors import ModelError
from dmmcheck.models.base import Classifier, flat
from dmmcheck.models.reference import moved, reference_model
from dmmcheck.models.torch import adapt

D, CLASSES = 12, 4
X = torch.rand(2, D, generator=torch.Generator().manual_seed(0))
LIKE = adapt(nn.Linear(D, CLASSES), X)


def network():
    return nn.Linear(D, CLASSES).double()


class Watched(nn.Module):
    """Computes as a network does, and keeps where it was sent."""

    def __init__(self):
        super().__init__()
        self.network, self.sent = nn.Linear(D, CLASSES), []

    def to(self, device=None, dtype=None):
        self.sent.append((device, dtype))
        return super().to(device=device, dtype=dtype)

    def forward(self, x):
        return self.network(x)


def test_a_module_of_another_dtype_is_copied_and_the_given_one_stays_as_it_is():
    given = network()
    used = reference_model(given, X, like=LIKE, role="reference twin")
    assert (used.device, used.dtype, used.role) == (LIKE.device, torch.float32, "reference twin")
    with torch.no_grad():
        torch.testing.assert_close(used.logits(X), given(X.double()).float())
    assert {weights.dtype for weights in given.parameters()} == {torch.float64}


def test_a_module_that_fits_is_not_copied():
    given = nn.Linear(D, CLASSES)
    assert reference_model(given, X, like=LIKE, role="reference twin").forward is given


@pytest.mark.filterwarnings("ignore:`torch.jit")  # deprecated, and still in use
def test_a_traced_module_is_moved_as_a_module_is():
    traced = torch.jit.trace(network(), torch.zeros(2, D).double())
    used = reference_model(traced, X, like=LIKE, role="reference twin")
    with used.evaluation():
        assert used.logits(flat(used, X)).dtype == torch.float32
    assert traced.weight.dtype == torch.float64


def test_an_adapted_model_follows_too_and_keeps_its_form():
    given = replace(adapt(network(), X), form="probabilities")
    used = reference_model(given, X, like=LIKE, role="robust twin")
    assert (used.device, used.dtype, used.form, used.role) == (
        LIKE.device,
        torch.float32,
        "probabilities",
        "robust twin",
    )


@pytest.mark.parametrize("bound", [False, True], ids=["module", "bound-method"])
def test_a_module_on_another_device_is_copied_to_that_of_the_model(bound, monkeypatch):
    model = Watched()
    monkeypatch.setattr("dmmcheck.models.reference.placement", lambda *_, **__: (torch.device("meta"), torch.float32))
    made = reference_model(model.forward if bound else model, X, like=LIKE, role="reference twin")
    used = made.forward.__self__ if bound else made.forward
    assert used is not model
    assert used.sent == [(torch.device("cpu"), torch.float32)]
    assert model.sent == []


def test_a_bound_method_is_moved_with_its_module_and_a_function_stays():
    assert moved(Watched().forward, "cpu", role="model").__self__.sent == [("cpu", None)]
    assert moved(len, "cpu", role="model") is len


def picky(points):
    if points.dtype != torch.float64:
        raise TypeError("float64 only")
    return points[:, :CLASSES]


class Single(nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("there is but one")


class Own(Classifier):
    name, classes, input_shape, device, dtype = "own", CLASSES, (D,), torch.device("cpu"), torch.float64

    def logits(self, x):
        return x[:, :CLASSES]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (adapt(picky, X.double()), r"the robust twin raised TypeError in forward .* float64 only"),
        (
            Single(D, CLASSES).double(),
            r"robust twin cannot be copied to cpu in torch.float32.*there is but one.*\.to\(",
        ),
        (
            Own(),
            r"computes on cpu in torch.float64 and cannot be copied to cpu in torch.float32; pass one that computes",
        ),
        (nn.Linear(D, 7), "the robust twin has 7 classes, the model under test has 4; give a model of the same task"),
        (replace(LIKE, input_shape=(3,)), "the robust twin has 3 values an input, the model under test has 12"),
        (nn.Linear(D - 1, CLASSES), "the robust twin raised RuntimeError .* the inputs of the model under test"),
        (None, "the robust twin is a NoneType, which cannot be called"),
    ],
    ids=["float64-only", "no-copy", "own-classifier", "classes", "values", "shape", "none"],
)
def test_a_model_that_cannot_be_used_beside_the_model_under_test_is_named(model, words):
    with pytest.raises(ModelError, match=words):
        reference_model(model, X, like=LIKE, role="robust twin")


def test_an_own_classifier_that_computes_there_is_used_as_it_is():
    class Fitting(Own):
        dtype = torch.float32

    given = Fitting()
    assert reference_model(given, X, like=LIKE, role="robust twin") is given


def test_an_own_classifier_stays_where_it_is_asked_for_and_is_refused_elsewhere():
    own = Own()
    assert moved(own, "cpu", role="model") is own
    assert moved(own, "cpu", own.dtype, role="model") is own
    with pytest.raises(ModelError, match="cannot be copied to meta"):
        moved(own, "meta", role="model")
