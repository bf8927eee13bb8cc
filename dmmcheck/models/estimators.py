"""Estimators with ``fit`` and ``predict``: as torch modules compared with them, or as functions over arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmmcheck.errors import ModelError
from dmmcheck.models.exact import NoExactFormError
from dmmcheck.models.numpy_function import NumpyFunction, called_with_array, numpy_function

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")
AGREEMENT = 1e-5  # largest difference of the scores, relative where they exceed 1
_ROWS = 1024  # most inputs at which module and estimator are compared


class ExactModule(nn.Module):
    """A module that computes the scores of an estimator in float64, as logits.

    Attributes:
        reported_name: The name of the estimator's class.
        classes_: The label of each class.
        returns_logits: The scores are logits, also where they look like probabilities.
    """

    returns_logits = True

    def __init__(self, scores: nn.Module, estimator: Any) -> None:
        super().__init__()
        self.scores = scores
        self.reported_name = type(estimator).__name__
        self.classes_ = list(np.asarray(estimator.classes_).tolist())

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C) of inputs ``(n, *input_shape)``; (0, z) for two classes with one score z."""
        scores: Tensor = self.scores(x.reshape(len(x), -1))
        return torch.cat([torch.zeros_like(scores), scores], dim=1) if scores.shape[1] == 1 else scores


def is_estimator(model: Any) -> bool:
    """Return whether a model is an estimator, or a method of one that predicts; no torch module is one."""
    owner = getattr(model, "__self__", None)
    if owner is not None:
        return getattr(model, "__name__", "") in METHODS and is_estimator(owner)
    methods = all(callable(getattr(model, name, None)) for name in ("fit", "predict"))
    return methods and not callable(model) and not isinstance(model, type)


def as_function(
    model: Any, x: Tensor, *, role: str, bounds: tuple[Any, Any] | None = None
) -> ExactModule | NumpyFunction:
    """Return a fitted estimator as a function on tensors, in exact form where that is known, else by its methods.

    Args:
        model: The estimator, or a method of one.
        x: Inputs ``(n, *input_shape)``.
        role: What messages call the model.
        bounds: Box (lo, hi) that the estimator is not called outside of here, see `numpy_function`.

    Raises:
        ModelError: The estimator is not fitted, takes another number of features, or has no classes.
    """
    estimator = getattr(model, "__self__", model)
    try:
        return as_module(model, x, role=role)
    except NoExactFormError as error:
        if isinstance(getattr(estimator, "nb_classes", None), Integral):  # of the Adversarial Robustness Toolbox
            return numpy_function(estimator.predict, x, type(estimator).__name__, bounds=bounds)
        if not hasattr(estimator, "classes_"):
            raise ModelError(
                f"the {role} is a {type(estimator).__name__} without classes_, which is no fitted classifier; pass a "
                "fitted classifier, or a function from an array to labels or scores"
            ) from error
    _check_features(estimator, x, role)
    rows = x.detach().reshape(len(x), -1).cpu().double()
    classes = np.asarray(estimator.classes_)
    predicted = called_with_array(estimator.predict, rows).reshape(-1)
    name = type(estimator).__name__
    for method in ("decision_function", "predict_proba"):
        if not hasattr(estimator, method):
            continue
        function = OfRows(getattr(estimator, method))
        scores = called_with_array(function, rows)
        numbers = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        fits = scores.ndim == 1 or scores.shape == (len(rows), len(classes))
        if fits and bool((classes[numbers] == predicted).all()):
            return numpy_function(function, rows.reshape(x.shape), name, bounds=bounds)
    return NumpyFunction(OfRows(estimator.predict), name, labels=tuple(classes.tolist()))


@dataclass(frozen=True, eq=False)
class OfRows:
    """A method of an estimator as a function of arrays ``(n, *input_shape)``."""

    method: Callable[[Any], Any]

    def __call__(self, x: Any) -> Any:
        """Return what the method returns for the rows (n, D) of an array."""
        return self.method(np.asarray(x, dtype=np.float64).reshape(len(x), -1))


def as_module(model: Any, x: Tensor, *, role: str) -> ExactModule:
    """Return a module with the scores of a fitted estimator, compared with it at up to 1024 of the inputs.

    Args:
        model: The estimator, or a method of one.
        x: Inputs ``(n, *input_shape)``.
        role: What messages call the model.

    Raises:
        NoExactFormError: The estimator, or a part of it, is of a kind without an exact form here.
        ModelError: The estimator is not fitted or takes another number of features, or the module differs from it by
            more than 1e-5.
    """
    from dmmcheck.models.sklearn.convert import scores_of  # noqa: PLC0415  # loads scikit-learn

    estimator = getattr(model, "__self__", model)
    scores = scores_of(estimator, role)
    rows = x[:_ROWS].detach().reshape(len(x[:_ROWS]), -1).cpu().double()
    _check_features(estimator, x, role)
    module = ExactModule(scores, estimator).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", message=".*valid feature names")  # it was fitted on a frame
        _compare(module(rows).numpy(), estimator, rows.numpy(), role)
    return module


def _check_features(estimator: Any, x: Tensor, role: str) -> None:
    width = x[0].numel()
    features = getattr(estimator, "n_features_in_", width)
    if features != width:
        raise ModelError(
            f"the {role} takes {features} features, inputs have D = {width}; pass inputs as it was trained on"
        )


def _compare(logits: Any, estimator: Any, rows: Any, role: str) -> None:
    """Compare the logits (n, C) of a module with the scores and the predictions of an estimator."""
    name = type(estimator).__name__
    own, original = _comparable(logits, estimator, rows)
    difference = np.abs(own - original) / np.maximum(1, np.abs(original))
    worst = float(np.where(np.isfinite(original), difference, 0).max())
    if not worst <= AGREEMENT:
        raise ModelError(
            f"the differentiable form of the {role}, a {name}, differs from it by {worst:.2g} (limit {AGREEMENT:g}); "
            "pass a function from a tensor to logits that computes what your estimator does"
        )
    ordered = np.sort(logits, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > AGREEMENT * np.maximum(1, np.abs(ordered[:, -1]))
    predicted = np.asarray(estimator.predict(rows))
    other = int((np.asarray(estimator.classes_)[logits.argmax(1)] != predicted)[clear].sum())
    if other:
        raise ModelError(
            f"the {role}, a {name}, predicts other classes than its largest score for {other} of {len(rows)} inputs "
            "(limit 0), e.g. by a threshold of its own; pass a function from a tensor to logits, whose largest one is "
            "the prediction"
        )


def _comparable(logits: Any, estimator: Any, rows: Any) -> tuple[Any, Any]:
    """Return the module's numbers, and the estimator's numbers of the same meaning."""
    if hasattr(estimator, "decision_function"):
        original = np.asarray(estimator.decision_function(rows))
        own = logits[:, 1] - logits[:, 0] if original.ndim == 1 else logits
        return own, original
    logs = torch.as_tensor(logits).log_softmax(1)
    if hasattr(getattr(estimator, "steps", [("", estimator)])[-1][1], "predict_joint_log_proba"):
        return logs.numpy(), estimator.predict_log_proba(rows)
    return logs.exp().numpy(), estimator.predict_proba(rows)
