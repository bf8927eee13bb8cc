"""Linear classifiers, whose scores are affine."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.svm import LinearSVC
from torch import nn

from dmmcheck.models.sklearn.affine import Affine

KINDS = (
    *(LogisticRegression, SGDClassifier, Perceptron, RidgeClassifier, RidgeClassifierCV),
    *(LinearSVC, LinearDiscriminantAnalysis),
)


def build(estimator: Any) -> nn.Module:
    """Return the scores (n, C), or (n, 1) for two classes, that ``decision_function`` returns."""
    return Affine(np.atleast_2d(estimator.coef_), estimator.intercept_)
