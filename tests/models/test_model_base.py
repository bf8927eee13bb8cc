"""An object that satisfies the Classifier protocol is accepted where a model is."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import dmmcheck
from dmmcheck.errors import ModelError
from dmmcheck.models.base import UNDER_TEST, Classifier, ambient_dim, called, flat, missing_members
from dmmcheck.models.torch import adapt

X = torch.rand(12, 2, 2, generator=torch.Generator().manual_seed(0))


class Halves(Classifier):
    """Class 0 where the first of four entries is below one half; the five members that have no default."""

    name, classes, input_shape = "halves", 2, (2, 2)
    device, dtype = torch.device("cpu"), torch.float64

    def logits(self, x):
        return torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5], 1)


def duck_typed():
    """The same without the base class: all members are its own."""
    return SimpleNamespace(
        name="halves",
        classes=2,
        input_shape=(2, 2),
        device=torch.device("cpu"),
        dtype=torch.float64,
        role="model",
        logits=Halves().logits,
        evaluation=nullcontext,
    )


both = pytest.mark.parametrize("classifier", [Halves(), duck_typed()], ids=["subclass", "any object"])


@both
def test_an_object_with_the_members_is_a_classifier_and_adapted_to_itself(classifier):
    assert isinstance(classifier, Classifier)
    assert missing_members(classifier) == []
    assert adapt(classifier, X) is classifier


@both
def test_the_boundary_search_takes_it(classifier):
    labels = classifier.logits(flat(classifier, X)).argmax(1)
    crossing = dmmcheck.boundary_search(classifier, X, labels, generator=torch.Generator().manual_seed(0))
    assert crossing.distance.dtype == torch.float64
    torch.testing.assert_close(crossing.distance, (X[:, 0, 0] - 0.5).abs().double(), rtol=1e-3, atol=0)


@both
def test_a_subject_takes_it(classifier):
    labels = classifier.logits(flat(classifier, X)).argmax(1)
    manifold = dmmcheck.manifolds.Subspace(torch.eye(4, 2, dtype=torch.float64))
    subject = dmmcheck.Subject(model=classifier, x=X, y=labels, manifold=manifold)
    assert subject.classifier is classifier


def test_a_subject_refuses_one_that_breaks_its_word():
    class Wrong(Halves):
        classes = 3

    with pytest.raises(ModelError, match=r"the logits of the model have shape \(2, 2\) .* return \(2, 3\)"):
        dmmcheck.Subject(
            model=Wrong(), x=X, y=np.zeros(12, dtype=int), manifold=dmmcheck.manifolds.Subspace(torch.eye(4, 2))
        )


def test_a_subclass_inherits_role_and_evaluation():
    halves = Halves()
    assert halves.role == UNDER_TEST
    with halves.evaluation() as same:
        assert same is halves


def test_members_that_are_missing_are_listed():
    assert missing_members(SimpleNamespace(name="a", logits=len)) == [
        *("classes", "input_shape", "device", "dtype", "role", "evaluation")
    ]


def test_inputs_are_flat_on_the_device_and_in_the_dtype_of_the_classifier():
    points = flat(Halves(), X.clone().requires_grad_(True))
    assert (points.shape, points.dtype, points.requires_grad) == ((12, 4), torch.float64, False)
    assert ambient_dim(Halves()) == 4
    torch.testing.assert_close(flat(Halves(), points), points)


def test_an_error_of_the_model_names_the_batch_and_one_of_memory_is_passed_on():
    def broken(error):
        class Broken(Halves):
            def logits(self, x):
                raise error

        return Broken()

    with pytest.raises(ModelError, match=r"the model raised KeyError in forward on a batch of shape \(12, 2, 2\)"):
        called(broken(KeyError("no")), flat(Halves(), X))
    with pytest.raises(RuntimeError, match="out of memory"):
        called(broken(RuntimeError("CUDA out of memory")), flat(Halves(), X))
