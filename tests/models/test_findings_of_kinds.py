"""One function, given as models of several kinds, has the same findings."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
import views
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from dmmcheck.manifolds import Subspace
from dmmcheck.subject import Subject

CLAIMS = tuple(
    f"{name}-stated-builtin" for name in ("off-manifold-energy", "on-manifold-distance", "off-manifold-suffices")
)


@cache
def wine():
    """Features in standard units and labels: those to train on, and those to test on."""
    x, y = load_wine(return_X_y=True)
    x = StandardScaler().fit_transform(x) * np.linspace(0.5, 2, x.shape[1])
    return x[1::2], y[1::2], x[::2], y[::2]


@cache
def fitted(kind):
    x_train, y_train, *_ = wine()
    last = {
        "linear": LogisticRegression(),
        "network": MLPClassifier((8,), activation="tanh", solver="lbfgs", alpha=1.0, random_state=0),
    }[kind]
    return make_pipeline(StandardScaler(), last).fit(x_train, y_train)


def twin(pipeline):
    """The same function, written in torch by hand."""
    scaler, last = pipeline[0], pipeline[-1]
    weights = getattr(last, "coefs_", None) or [last.coef_.T]
    biases = getattr(last, "intercepts_", None) or [last.intercept_]
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        layer = nn.utils.skip_init(nn.Linear, *weight.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.tensor(weight.T), torch.tensor(bias)
        layers += [layer, nn.Tanh()]
    network = nn.Sequential(*layers[:-1])
    mean, scale = torch.tensor(scaler.mean_), torch.tensor(scaler.scale_)
    return lambda x: network((x.double() - mean) / scale)


def estimates(model):
    """The estimates of stated claims, from quick searches, and what is said of the model."""
    x_train, y_train, x, y = wine()
    plane = Subspace(torch.linalg.svd(torch.tensor(x_train), full_matrices=False).Vh[:3].T)
    subject = Subject(model=model, x=x, y=y, x_train=x_train, y_train=y_train, manifold=plane)
    found = views.judged(subject, *CLAIMS, effort="quick", samples=24)
    return {claim: finding.estimate for claim, finding in found.items()}, subject.conversions


@cache
def expected(kind):
    return estimates(twin(fitted(kind)))[0]


@pytest.mark.parametrize("kind", ["linear", "network"])
def test_a_rebuilt_estimator_has_the_findings_of_the_same_function_in_torch(kind):
    found, said = estimates(fitted(kind))
    assert "rebuilt as a torch module" in said[0]
    assert found == pytest.approx(expected(kind), rel=1e-3)


def test_finite_differences_have_the_findings_of_gradients_to_two_per_cent():
    network = twin(fitted("network"))

    def over_arrays(x):
        return network(torch.as_tensor(x)).numpy()

    found, said = estimates(over_arrays)
    assert "finite differences" in said[0]
    assert found == pytest.approx(expected("network"), rel=0.02)
