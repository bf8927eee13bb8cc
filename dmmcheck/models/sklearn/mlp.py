"""Multi-layer perceptrons."""

from __future__ import annotations

from typing import Any

from sklearn.neural_network import MLPClassifier
from torch import nn

from dmmcheck.models.sklearn.affine import Affine

KINDS = (MLPClassifier,)
ACTIVATIONS = {"identity": nn.Identity, "logistic": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


def build(estimator: Any) -> nn.Module:
    """Return a module for the values (n, C), or (n, 1) for two classes, before the softmax or the logistic function."""
    layers: list[nn.Module] = []
    for weight, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True):
        layers += [Affine(weight.T, bias), ACTIVATIONS[estimator.activation]()]
    return nn.Sequential(*layers[:-1])
