"""Builds a torch module that computes the scores of a fitted scikit-learn estimator, part by part."""

from __future__ import annotations

from functools import partial
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

from dmmcheck.errors import ModelError
from dmmcheck.models.exact import NoExactFormError
from dmmcheck.models.sklearn import calibrated, gaussian, kernel, linear, mlp, steps
from dmmcheck.models.sklearn.gaussian import OfEachClass
from dmmcheck.models.sklearn.response import Response

FAMILIES = (linear, gaussian, mlp, kernel)


def scores_of(estimator: Any, role: str) -> nn.Module:
    """Return a module from rows (n, D) to scores (n, C), or (n, 1) for two classes.

    Args:
        estimator: A fitted classifier of scikit-learn.
        role: What messages call it.

    Raises:
        ModelError: It is not fitted, or gives several labels to an input.
        NoExactFormError: A part of it is of a kind without a differentiable form here.
    """
    if not isinstance(estimator, BaseEstimator):  # scikit-learn cannot say whether it is fitted
        raise NoExactFormError(_unsupported(estimator, role))
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise ModelError(
            f"the {role} is a {type(estimator).__name__} that is not fitted; call fit(x, y) first"
        ) from error
    return _scores(estimator, role)


def _scores(estimator: Any, role: str) -> nn.Module:
    if isinstance(estimator, (GridSearchCV, RandomizedSearchCV)):
        return _scores(estimator.best_estimator_, role)
    if type(estimator).__name__ == "FrozenEstimator":  # of scikit-learn 1.6 and later
        return _scores(estimator.estimator, role)
    if isinstance(estimator, Pipeline):
        before = [_step(name, step, role) for name, step in estimator.steps[:-1] if step not in (None, "passthrough")]
        return nn.Sequential(*before, _scores(estimator.steps[-1][1], role))
    if isinstance(estimator, OneVsRestClassifier):
        return _one_vs_rest(estimator, role)
    if isinstance(estimator, CalibratedClassifierCV):
        return calibrated.build(estimator, partial(_scores, role=role))
    for family in FAMILIES:
        if isinstance(estimator, family.KINDS):
            module: nn.Module = family.build(estimator)
            return module
    raise NoExactFormError(_unsupported(estimator, role))


def _one_vs_rest(estimator: Any, role: str) -> nn.Module:
    """Return the score of each class against the others."""
    if estimator.multilabel_:
        raise ModelError(f"the {role} gives several labels to an input, one is supported; fit it on y of shape (n,)")
    if not hasattr(estimator, "decision_function"):  # the probabilities of the classes are divided by their sum
        raise NoExactFormError(_unsupported(estimator, role))
    parts = [Response(_scores(part, role), probabilities=False) for part in estimator.estimators_]
    return parts[0] if len(parts) == 1 else OfEachClass(parts)


def _step(name: str, step: Any, role: str) -> nn.Module:
    module = steps.build(step)
    if module is None:
        raise NoExactFormError(
            f"the step {name!r} of the {role} is a {type(step).__name__}, which has no exact form here"
        )
    return module


def _unsupported(estimator: Any, role: str) -> str:
    return f"the {role} is a {type(estimator).__name__}, which has no exact form here"
