"""Estimators with ``fit`` and ``predict``, as scikit-learn has them, as torch modules that were compared with them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmmcheck.errors import ModelError

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
        """Logits (n, C) of inputs ``(n, *input_shape)``; those of two classes with one score z are (0, z)."""
        scores: Tensor = self.scores(x.reshape(len(x), -1))
        return torch.cat([torch.zeros_like(scores), scores], dim=1) if scores.shape[1] == 1 else scores


def is_estimator(model: Any) -> bool:
    """Whether a model is an estimator, or a method of one that predicts; no torch module is one."""
    owner = getattr(model, "__self__", None)
    if owner is not None:
        return getattr(model, "__name__", "") in METHODS and is_estimator(owner)
    methods = all(callable(getattr(model, name, None)) for name in ("fit", "predict"))
    return methods and not callable(model) and not isinstance(model, type)


def as_module(model: Any, x: Tensor, *, role: str) -> ExactModule:
    """A module with the scores of a fitted estimator, compared with it at up to 1024 of the inputs.

    Args:
        model: The estimator, or a method of one.
        x: Inputs ``(n, *input_shape)``.
        role: What messages call the model.

    Raises:
        ModelError: The estimator is not fitted, takes another number of features, or is of an unknown kind; or the
            module differs from it by more than 1e-5.
    """
    from dmmcheck.models.sklearn.convert import scores_of  # noqa: PLC0415  # loads scikit-learn

    estimator = getattr(model, "__self__", model)
    scores = scores_of(estimator, role)
    rows = x[:_ROWS].detach().reshape(len(x[:_ROWS]), -1).cpu().double()
    features = getattr(estimator, "n_features_in_", rows.shape[1])
    if features != rows.shape[1]:
        raise ModelError(
            f"the {role} takes {features} features, inputs have D = {rows.shape[1]}; pass inputs as it was trained on"
        )
    module = ExactModule(scores, estimator).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", message=".*valid feature names")  # it was fitted on a frame
        _compare(module(rows).numpy(), estimator, rows.numpy(), role)
    return module


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
    """The module's numbers, and the estimator's numbers of the same meaning."""
    if hasattr(estimator, "decision_function"):
        original = np.asarray(estimator.decision_function(rows))
        own = logits[:, 1] - logits[:, 0] if original.ndim == 1 else logits
        return own, original
    logs = torch.as_tensor(logits).log_softmax(1)
    if hasattr(getattr(estimator, "steps", [("", estimator)])[-1][1], "predict_joint_log_proba"):
        return logs.numpy(), estimator.predict_log_proba(rows)
    return logs.exp().numpy(), estimator.predict_proba(rows)
