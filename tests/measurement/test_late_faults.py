"""What the user's code does wrong only while it is measured: one error, or a stated outcome."""

from __future__ import annotations

import pytest
import torch
import views

import dmmcheck
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle
from dmmcheck.attacks.minimal_norm.search import FARTHEST_ENTRY
from dmmcheck.attacks.search_space import Everywhere, spread
from dmmcheck.config.settings import Settings
from dmmcheck.errors import CheckError, LackOfMemoryError, ManifoldError, ModelError
from dmmcheck.manifolds.protected import protected
from dmmcheck.measurement.refits import refitted
from dmmcheck.measurement.summary import summarise_subject
from dmmcheck.models.base import called, evaluating, input_gradient
from dmmcheck.models.torch import adapt
from dmmcheck.run import Run
from dmmcheck.soundness.attack import AUTOGRAD_OFF, SATURATED, _has_autograd

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def raises(*given):
    raise ValueError("what went wrong")


def failing(message):
    """A function whose backward pass raises."""

    class Refuses(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError(message)

    return Refuses.apply


BACKWARD = {
    "cudnn RNN backward can only be called in training mode": "torch.backends.cudnn.flags(enabled=False)",
    "torch.utils.checkpoint is incompatible with .grad() when use_reentrant=True": "use_reentrant=False",
    "one of the variables has been modified by an inplace operation": "nn.ReLU(inplace=False)",
    "Expected all tensors to be on the same device": "on the device of its input",
    "mat1 and mat2 must have the same dtype": "whose inputs are converted to its own dtype",
    "expected scalar type Double but found Float": "whose inputs are converted to its own dtype",
    "Inference tensors cannot be saved for backward": "made under torch.inference_mode()",
    "something else": "let it have gradients with respect to its input by torch.autograd.grad",
}


@pytest.mark.parametrize("message", BACKWARD)
def test_backward_is_guarded_and_each_cause_has_its_own_remedy(message):
    leaf = X.clone().requires_grad_(True)
    with pytest.raises(ModelError) as error:
        input_gradient(failing(message)(leaf).sum(), leaf, role="robust model")
    text = str(error.value)
    assert text.startswith(f"the robust model raised RuntimeError in backward on a batch of 6 inputs: {message}; ")
    assert BACKWARD[message] in text
    assert sum(remedy in text for remedy in set(BACKWARD.values())) == 1


def batch_of_two(x):
    if len(x) > 2:
        raise ValueError("two at most")
    return x[:, :2]


def near_zero(x):
    if bool((x.abs() > 2.5).any()):
        raise ValueError("out of range")
    return x[:, :2]


def no_longer(x):
    return x[:1, :2] if len(x) > 2 else x[:, :2]


FORWARD = {
    "the size of the batch": (batch_of_two, X, "let it take batches of any size"),
    "the values": (near_zero, 9 * X, "it raised on a single input too, with values from"),
    "numpy inside": (
        lambda x: torch.as_tensor(x.numpy())[:, :2],
        X.clone().requires_grad_(True),
        "give a function from a numpy array to a numpy array",
    ),
    "fewer rows later": (no_longer, X, "the model returned torch.float32 of shape (1, 2) for 6 inputs"),
}


@pytest.mark.parametrize("cause", FORWARD)
def test_forward_has_a_remedy_for_each_cause(cause):
    model, x, words = FORWARD[cause]
    classifier = adapt(model, X[:2] / 10)
    with pytest.raises(ModelError) as error:
        called(classifier, x)
    assert words in str(error.value)


def test_a_lack_of_memory_passes_so_that_the_batch_can_be_halved():
    def hungry(x):
        if len(x) > 2:
            raise MemoryError("no memory")
        return x[:, :2]

    with pytest.raises(MemoryError):
        called(adapt(hungry, X), X)


def test_a_mode_that_cannot_be_changed_is_one_error():
    class Stubborn(torch.nn.Linear):
        def eval(self):
            return raises()

    model = Stubborn(4, 2)
    with pytest.raises(ModelError, match="the model raised ValueError when its mode was changed: what went wrong"):
        adapt(model, X)
    assert model.training
    assert all(weights.requires_grad for weights in model.parameters())


def test_a_mode_is_changed_for_the_duration_of_the_context():
    model = torch.nn.Linear(4, 2)
    with evaluating(adapt(model, X)):
        assert not model.training
    assert model.training


class Plane(views.Local):
    """A manifold whose methods may change their minds."""

    def __init__(self, **later):
        self.later = later

    def project_point(self, x):
        return (
            self.later["project_point"](x) if len(x) > 2 and "project_point" in self.later else super().project_point(x)
        )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x[1:], r"project_point returned \(5, 12\) for points of shape \(6, 12\)"),
        (lambda x: x * torch.nan, "project_point returned NaN or infinite values at 6 of 6 points"),
        (lambda x: None, "project_point returned NoneType"),
        (raises, "the manifold's project_point raised ValueError on points of shape"),
    ],
    ids=["drops rows", "NaN", "None", "raises"],
)
def test_a_projection_that_goes_wrong_later_is_one_error(answer, words):
    manifold = protected(Plane(project_point=answer))
    manifold.project_point(torch.zeros(2, 12))
    with pytest.raises(ManifoldError, match=words):
        manifold.project_point(torch.zeros(6, 12))


def test_a_method_that_works_in_place_changes_a_copy():
    x = torch.ones(6, 12)
    protected(Plane(project_point=torch.Tensor.zero_)).project_point(x)
    assert bool((x == 1).all())


def with_property(**properties):
    """A manifold with properties that raise or hold junk."""
    return type("Odd", (views.Local,), {name: property(value) for name, value in properties.items()})()


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("name", lambda of: summarise_subject(of, Run(of, Settings()).measure)),
        ("training_points", lambda of: Run(of, Settings()).measure),
        ("refit", lambda of: refitted(views.view(of, 8))),
    ],
)
def test_an_attribute_that_raises_is_one_error(name, ask):
    of = views.subject(manifold=with_property(**{name: raises}))
    with pytest.raises(
        ManifoldError, match=f"the manifold's {name} raised ValueError when it was read: what went wrong"
    ):
        ask(of)


def test_junk_in_optional_attributes_is_passed_over():
    manifold = with_property(name=lambda self: 3, training_points=lambda self: "none")
    assert protected(manifold).name == "Odd"
    assert Run(views.subject(manifold=manifold), Settings()).measure.sample is not None


def test_a_refit_that_raises_is_one_error_and_a_dimension_it_refuses_is_left_out():
    def refuses(self, dim):
        raise ManifoldError("no such dimension")

    odd = type("Odd", (views.Local,), {"refit": raises})
    with pytest.raises(CheckError, match="the manifold's refit raised ValueError for the dimension"):
        refitted(views.view(views.subject(manifold=odd()), 8))
    assert refitted(views.view(views.subject(manifold=type("Odd", (views.Local,), {"refit": refuses})()), 8)) == {}


@pytest.mark.parametrize("entry", [torch.nan, torch.inf, -torch.inf, 3e38, 1e6])
def test_a_perturbation_out_of_reach_counts_as_none(entry):
    x = torch.zeros(2, 3)
    oracle = MarginOracle(
        adapt(lambda x: x[:, :2], x),
        x,
        torch.zeros(2, dtype=torch.long),
        targets=None,
        spaces=[Everywhere()],
        bounds=None,
        farthest_entry=1e5,
    )
    delta = torch.tensor([[1.0, 2.0, 3.0], [1.0, entry, 3.0]])
    assert oracle.points(x, delta).tolist() == [[1, 2, 3], [0, 0, 0]]


NETWORK = views.network()


class Recorder:
    """A model that keeps what it was called with; its function may be replaced after the checks at the door."""

    def __init__(self):
        self.function, self.finite, self.largest = NETWORK, True, 0.0

    def __call__(self, x):
        self.finite = self.finite and bool(torch.isfinite(x).all())
        self.largest = max(self.largest, float(x.detach().abs().max()))
        return self.function(x)


MASKED = {
    "plain": NETWORK,
    "no_grad": torch.no_grad()(NETWORK.forward),
    "rounded": lambda x: (2 * NETWORK(x)).round() / 2,
    "saturated": lambda x: torch.sigmoid(40 * NETWORK(x)),
    "tiny": lambda x: 1e-30 * NETWORK(x),
}


@pytest.mark.parametrize("kind", MASKED)
def test_a_search_calls_the_model_with_finite_values_within_reach(kind):
    recorder = Recorder()
    of = views.subject(model=recorder)
    recorder.function = MASKED[kind]
    views.finding(of, "off-manifold-energy-stated-builtin", samples=16, effort="quick")
    assert recorder.finite
    assert recorder.largest <= (FARTHEST_ENTRY + 1) * float(spread(of.x.reshape(len(of.x), -1)))


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["no_grad", "rounded"])
def test_a_whole_run_calls_the_model_with_finite_values_within_reach(kind):
    recorder = Recorder()
    of = views.subject(model=recorder)
    recorder.function = MASKED[kind]
    found = views.judged(of, "off-manifold-energy-stated-builtin", sound=False)["off-manifold-energy-stated-builtin"]
    assert recorder.finite
    assert recorder.largest <= (FARTHEST_ENTRY + 1) * float(spread(of.x.reshape(len(of.x), -1)))
    assert found.verdict == "inconclusive"
    assert (AUTOGRAD_OFF if kind == "no_grad" else SATURATED) in found.reason


def test_autograd_that_is_off_is_told_from_gradients_that_vanish():
    from types import SimpleNamespace

    given = {
        kind: SimpleNamespace(classifier=adapt(MASKED[kind], torch.zeros(2, views.D)), x=torch.ones(3, views.D))
        for kind in ("no_grad", "rounded")
    }
    assert not _has_autograd(given["no_grad"])
    assert _has_autograd(given["rounded"])


def test_a_model_that_lacks_memory_for_one_input_is_one_error_with_the_way_on():
    def hungry(x):
        if x.requires_grad:
            raise MemoryError("no memory")
        return x[:, :2]

    x = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
    manifold = dmmcheck.manifolds.PCA(dim=1).fit(x)
    with pytest.raises(
        LackOfMemoryError, match=r"memory ran out on a batch of one input, of 2 to be .*--dmm-device cpu"
    ):
        dmmcheck.Subject(model=hungry, x=x, y=x[:, :2].argmax(1), manifold=manifold)
