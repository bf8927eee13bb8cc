"""How a classifier is called: output forms, flags restored, and one clear error for each way it can be wrong."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid

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


def test_a_method_of_a_module_is_called_in_evaluation_mode_and_followed():
    model = Moody().double()
    classifier = adapt(model.forward, X)
    assert classifier.dtype == torch.float64
    with classifier.evaluation():
        assert not any(flags(model)[0])
        once, twice = classifier.logits(classifier.flat(X)), classifier.logits(classifier.flat(X))
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


def test_a_module_without_parameters_follows_its_buffers_and_else_the_inputs():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", WEIGHT.double())

        def forward(self, x):
            return x @ self.weight

    assert adapt(Fixed(), X).dtype == torch.float64
    assert adapt(nn.Identity(), X).dtype == X.dtype


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


def around(model):
    """A function that hides its module."""

    def hidden(x):
        return model(x)

    return hidden


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
        (Scattered(), ["2 dtypes", "as a whole with .to(...)"]),
        (nn.Linear(3, 2).half(), ["float16", "convert it with .float()"]),
        (nn.Linear(3, 2).bfloat16(), ["bfloat16", "convert it with .float()"]),
        (lambda x: linear(x).half(), ["returned torch.float16", "autocast"]),
        (nn.Linear(3, 2).double().forward.__func__, ["TypeError", "torch.nn.Module"]),
        (around(nn.Linear(3, 2).double()), ["RuntimeError", "float32", "dtype and device", "torch.nn.Module"]),
        (nn.Linear(3, 2, device="meta"), ["meta", "load its weights"]),
        (nn.LazyLinear(2), ["2 parameters", "no shape yet", "one batch"]),
        (nn.Linear(7, 2), ["RuntimeError", "shape the model expects"]),
    ],
    ids=[
        *("no-call", "raises", "list", "batch", "rank", "labels", "dtypes", "half", "bfloat16", "half-output"),
        *("unbound", "other-dtype", "meta", "lazy", "features"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_clear_error(model, words):
    with pytest.raises(ModelError) as error:
        adapt(model, X)
    for word in words:
        assert word in str(error.value)
