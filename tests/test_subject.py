"""What a subject accepts and refuses when it is made, by the words of the error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dmmcheck.errors import DmmError, ManifoldError, ModelError, SubjectError
from dmmcheck.models.base import Classifier
from dmmcheck.subject import DATA_Y, Subject

N, D = 16, 6
X = torch.linspace(0, 1, N * D).reshape(N, D)
Y = torch.arange(N) % 2


class Plane:
    """The plane of the first two coordinates: any object with these three names is a manifold."""

    dim = 2

    def tangent_basis(self, x):
        return torch.eye(D)[:, :2].to(x)

    def project_point(self, x):
        return torch.cat([x[:, :2], torch.zeros_like(x[:, 2:])], dim=1)


def model(x):
    return torch.stack([x.sum(1), x[:, 0]], dim=1)


def subject(**changes):
    return Subject(**{"model": model, "x": X, "y": Y, "manifold": Plane(), **changes})


def test_bounds_hold_for_values_that_are_as_near_as_their_precision_allows():
    x = 0.1 * X  # the largest value is more than 0.1 in float32
    assert float(x.max()) > 0.1
    assert subject(x=x, bounds=(0.0, 0.1)).bounds == (0.0, 0.1)


@pytest.mark.parametrize(
    "kind", [torch.as_tensor, np.asarray, lambda a: np.asarray(a).tolist()], ids=["torch", "numpy", "list"]
)
def test_arrays_of_any_kind_become_tensors(kind):
    made = subject(x=kind(X), y=kind(Y))
    torch.testing.assert_close(made.x, X, check_dtype=False)
    torch.testing.assert_close(made.y, Y)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": X[:7], "y": Y[:7]}, ["7 inputs", "at least 8"]),
        ({"x": (X * 255).to(torch.uint8)}, ["uint8", "/ 255.0"]),
        ({"x": X.flatten()}, ["(96,)", "(n, *input_shape)"]),
        ({"x": torch.where(X > 0.5, torch.nan, X)}, ["48 NaN or infinite", "remove"]),
        ({"x": torch.where(X.max() == X, torch.inf, X)}, ["1 NaN or infinite"]),
        ({"x": "photos"}, ["str", "does not convert"]),
        ({"y": Y[:-1]}, ["(15,)", "expected (16,): one label per input"]),
        ({"y": torch.ones(16, 2)}, ["(16, 2)", "not one-hot"]),
        ({"y": Y + 0.5}, ["float32", "fractions"]),
        ({"y": Y + 1}, ["1 to 2", "y - 1 where they count from 1"]),
        ({"y": ["cat", "dog"] * 8}, ["'cat', 'dog'", "no classes_", "the numbers of the outputs"]),
        ({"y": Y + 5}, ["5 to 6", "2 classes"]),
        ({"y": Y - 1}, ["-1 to 0", "2 classes"]),
        ({"bounds": (0.0, 0.5)}, ["48 values outside", "[0.0, 0.5]", "spans 0 to 1"]),
        ({"bounds": (1.0, 0.0)}, ["(1.0, 0.0)", "lo < hi"]),
        ({"bounds": 1.0}, ["1.0", "two numbers"]),
        (
            {"reference": model, "robust": model},
            ["both reference and robust are given; keep reference where the model under test is the robust one"],
        ),
        ({"trainer": 3}, ["trainer is a int", "pass a function"]),
        ({"augment": 3}, ["augment is a int", "pass a function"]),
        ({"checkpoints": [(2, model), (1, model)]}, ["[2, 1]", "rising steps"]),
        ({"checkpoints": [model]}, ["(step, model) pairs"]),
        ({"x_train": X.int()}, ["x_train", "int32"]),
        ({"x_train": X[:, :3]}, ["(3,)", "(6,)"]),
        ({"x_train": X[:0]}, ["x_train has shape (0, 6) and holds no inputs, at least 1 is needed"]),
        ({"x_train": X[:0], "y_train": Y[:0]}, ["x_train has shape (0, 6)", "or leave x_train out"]),
        ({"x_train": X, "y_train": Y[:3]}, ["y_train", "(3,)"]),
        ({"x_train": X, "y_train": Y + 5}, ["the training data", "y_train holds labels from 5 to 6", "2 classes"]),
        ({"y_train": Y}, ["y_train is given without x_train; give both, or neither"]),
    ],
)
def test_unusable_data_is_one_clear_error(changes, words):
    with pytest.raises(SubjectError) as error:
        subject(**changes)
    for word in words:
        assert word in str(error.value)


def test_a_reference_model_with_other_classes_is_refused():
    with pytest.raises(
        ModelError, match="the reference model has 3 classes, the model under test has 2; give a model of the same task"
    ):
        subject(reference=lambda x: torch.cat([model(x), x[:, :1]], 1))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("tangent_basis", lambda x: 2 * torch.eye(D)[:, :2]),
        ("tangent_basis", lambda x: torch.eye(D + 1)[:, :2]),
        ("tangent_basis", lambda x: torch.eye(D)),
        ("project_point", lambda x: x[:, :2]),
    ],
    ids=["not-orthonormal", "other-D", "k-equals-D", "projection-of-other-shape"],
)
def test_a_manifold_that_does_not_fit_is_refused(attribute, value):
    plane = Plane()
    setattr(plane, attribute, value)
    with pytest.raises(ManifoldError):
        subject(manifold=plane)


def test_pairs_know_which_one_is_robust():
    other = nn.Linear(D, 2)
    assert subject().pair is None
    assert subject(reference=other).pair == (other, model)
    assert subject(robust=other).pair == (model, other)


def test_every_error_is_a_dmm_error():
    assert all(issubclass(error, DmmError) for error in (SubjectError, ModelError, ManifoldError))


def test_a_subject_provides_what_it_was_given():
    assert subject().provides == {"differentiable"}
    images = {"x_train": X, "y_train": Y}
    many = subject(
        model=lambda x: torch.cat([model(x), x[:, 1:2]], 1),
        robust=lambda x: torch.cat([model(x), x[:, 2:3]], 1),
        factory=lambda seed: model,
        checkpoints=[(0, lambda x: torch.cat([model(x), x[:, 2:3]], 1))],
        trainer=lambda x, y, seed: model,
        **images,
    )
    assert many.provides == {"differentiable", "pair", "factory", "checkpoints", "trainer", "classes", "examples"}
    assert subject(trainer=lambda x, y, seed: model).provides == {"differentiable"}  # nothing to train on
    assert subject(**images).provides == {"differentiable", "examples"}


def test_an_own_classifier_is_taken_as_it_is_and_one_that_returns_no_logits_is_refused():
    class Mine(Classifier):
        name, classes, input_shape, device, dtype = "mine", 2, (D,), torch.device("cpu"), torch.float32

        def logits(self, x):
            return model(x)

    own = Mine()
    assert subject(model=own).classifier is own
    own.classes = 3
    with pytest.raises(ModelError, match=r"the logits of the model have shape \(2, 2\) and dtype torch.float32"):
        subject(model=own)


def test_on_another_device_a_checkpoint_that_is_the_model_stays_the_model():
    network = nn.Linear(D, 2)
    made = subject(model=network, checkpoints=[(0, nn.Linear(D, 2)), (9, network)]).to("cpu")
    assert made.model is not network
    assert made.checkpoints[1][1] is made.model


def test_an_unknown_device_is_one_clear_error():
    with pytest.raises(SubjectError, match="device 'cuda:99' cannot be used here"):
        subject().to("cuda:99")


def test_groups_become_numbers():
    given = subject(groups=[f"patient {number % 10}" for number in range(len(subject().x))])
    assert given.groups.dtype == torch.long
    assert len(given.groups.unique()) == 10
    assert given.groups[0] == given.groups[10]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([1, 2, 3], r"groups have shape \(3,\), expected \("),
        (None, "groups has 5 different values, at least 8 are needed, since one input of each group is measured"),
    ],
)
def test_groups_that_cannot_be_used_are_one_clear_error(groups, words):
    groups = [number % 5 for number in range(len(subject().x))] if groups is None else groups
    with pytest.raises(SubjectError, match=words):
        subject(groups=groups)


class Named:
    """A function with names of classes, and of features where it was trained on a frame."""

    classes_ = ("cat", "dog")

    def __call__(self, x):
        return model(x)


def test_labels_are_mapped_once_and_said_so_also_in_a_copy():
    texts = ["cat" if label == 0 else "dog" for label in Y]
    made = subject(model=Named(), y=texts, x_train=X, y_train=texts)
    copied = made.to("cpu")
    for one in (made, copied):
        torch.testing.assert_close(one.y, Y)
        torch.testing.assert_close(one.y_train, Y)
        assert one.conversions == (f"{DATA_Y}: the labels cat, dog are the classes 0 to 1",)


def test_class_numbers_of_a_copy_are_not_taken_for_names():
    counting = Named()
    counting.classes_ = (1, 2)
    made = subject(model=counting, y=Y + 1)
    torch.testing.assert_close(made.to("cpu").y, Y)
    torch.testing.assert_close(made.y, Y)
