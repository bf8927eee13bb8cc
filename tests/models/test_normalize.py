"""Normalisation becomes a part of a model: the logits are those of normalised inputs, distances those of the data."""

from __future__ import annotations

import re

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import dmmcheck
from dmmcheck.errors import ModelError, SubjectError
from dmmcheck.manifolds import Subspace
from dmmcheck.measurement.reference_models import trainer
from dmmcheck.models.normalize import folded, normalization_of
from dmmcheck.models.torch import adapt
from dmmcheck.subject import Subject

GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(24, 3, 2, 2, generator=GENERATOR)
MEAN, STD = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.25, 2.0])
GIVEN = {"mean": MEAN.tolist(), "std": STD.tolist()}
SCALED = (X - MEAN[:, None, None]) / STD[:, None, None]
NET = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
nn.init.normal_(NET[1].weight, generator=GENERATOR)


def made(**changes):
    y = NET(SCALED).argmax(1)
    plane = Subspace(torch.eye(12)[:, :3])
    return Subject(**{"model": NET, "x": X, "y": y, "manifold": plane, "normalize": GIVEN, **changes})


def function(x):
    return NET(x)


@pytest.mark.parametrize("model", [NET, function, NET.forward], ids=["module", "function", "method"])
def test_the_logits_are_those_of_normalised_inputs(model):
    subject = made(model=model)
    torch.testing.assert_close(subject.classifier.logits(X.reshape(24, -1)), NET(SCALED))
    torch.testing.assert_close(subject.x, X)
    assert subject.classifier.name in {"Sequential", "function"}


def test_the_mode_of_the_module_is_changed_and_restored():
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 3)).train()
    classifier = made(model=net).classifier
    with classifier.evaluation():
        assert not net.training
    assert net.training


def test_distances_are_in_the_units_of_the_data():
    weights = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    x = torch.tensor([[0.25, 0.5]]).repeat(8, 1)

    def model(x):
        return x @ weights.T - torch.tensor([0.5, 0.0])

    subject = Subject(
        model=model,
        x=x,
        y=torch.ones(8).long(),
        manifold=Subspace(torch.eye(2)[:, :1]),
        normalize={"mean": 0.0, "std": 0.125},
    )
    found = dmmcheck.boundary_search(subject.classifier, x, subject.y, generator=GENERATOR)
    # 2 x / 0.125 = -0.5 at x = -0.03125
    torch.testing.assert_close(found.distance, torch.full((8,), 0.28125), rtol=1e-3, atol=0)


def test_other_models_and_the_trainer_get_normalised_inputs_too():
    seen = []

    def train(x, y, seed):
        seen.append(x)
        return NET

    subject = made(robust=nn.Sequential(NET), trainer=train, x_train=X, y_train=NET(SCALED).argmax(1))
    torch.testing.assert_close(subject.reference_classifier(subject.robust, "robust").logits(X), NET(SCALED))
    trained = trainer(subject)(X.reshape(24, -1), subject.y, 0)
    torch.testing.assert_close(seen[0], SCALED)
    torch.testing.assert_close(trained.logits(X), NET(SCALED))


def test_an_estimator_and_a_copy_elsewhere_are_normalised_once():
    y = torch.arange(24) % 3
    estimator = LogisticRegression().fit(SCALED.reshape(24, -1).numpy(), y.numpy())
    subject = made(model=estimator, y=estimator.predict(SCALED.reshape(24, -1).numpy()))
    expected = torch.as_tensor(estimator.decision_function(SCALED.reshape(24, -1).double().numpy()))
    for one in (subject, subject.to("cpu"), subject.to("cpu").to("cpu")):
        torch.testing.assert_close(one.classifier.logits(X.double()), expected, atol=1e-5, rtol=1e-5)
        assert one.classifier.name == "LogisticRegression"
    torch.testing.assert_close(made().to("cpu").classifier.logits(X), NET(SCALED))


def test_standard_units_normalise_once():
    from dmmcheck.measurement.units import in_units

    subject = made(units="standard")
    standard = in_units(subject)
    torch.testing.assert_close(standard.classifier.logits(standard.x), NET(SCALED), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("input_shape", "count", "shape"),
    [((3, 2, 2), 3, (3, 1, 1)), ((8, 8, 3), 3, (1, 1, 3)), ((5,), 5, (5,)), ((3, 2, 2), 1, (1, 1, 1)), ((5,), 1, (1,))],
)
def test_numbers_are_those_of_channels_or_of_features(input_shape, count, shape):
    assert normalization_of({"mean": [0.0] * count, "std": [1.0] * count}, input_shape).mean.shape == shape


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mean": [0.5]}, "normalize is {'mean': [0.5]}, expected a mapping with mean and std, e.g."),
        (0.5, "normalize is 0.5, expected a mapping"),
        ({"mean": [0.5] * 2, "std": [1.0] * 2}, "2 means, inputs of shape (3, 2, 2) have 3 channels; give one number"),
        ({"mean": [0.5] * 3, "std": [1.0]}, "normalize has 3 means and 1 standard deviations; give as many of each"),
        ({"mean": 0, "std": 0}, "normalize has the std 0, expected numbers above 0"),
        ({"mean": "a", "std": 1}, "mean of normalize is 'a', expected numbers"),
        ({"mean": [float("nan")], "std": 1}, "expected finite numbers"),
    ],
)
def test_a_normalisation_that_does_not_fit_is_refused(given, words):
    with pytest.raises(SubjectError, match=re.escape(words)):
        made(normalize=given)


def test_a_classifier_of_its_own_normalises_itself():
    own = adapt(NET, X)
    with pytest.raises(ModelError, match="leave normalize out, and normalise inputs in its method logits"):
        made(model=own)
    assert folded(own, None, X, role="model") is own
