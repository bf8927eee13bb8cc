"""Builds torch modules that compute the logarithms of the probabilities of calibrated classifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dmmcheck.models.exact import NoExactFormError
from dmmcheck.models.sklearn.affine import Scale
from dmmcheck.models.sklearn.response import Response


class SigmoidLogProbabilities(nn.Module):
    """A logistic function for each class against the others; of three classes or more, the values are normalised.

    Args:
        scale: The argument of the logistic function, as an affine map of each response.
    """

    def __init__(self, scale: nn.Module) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, response: Tensor) -> Tensor:
        """Return the logarithms of probabilities (n, C)."""
        z: Tensor = self.scale(response)
        if z.shape[1] == 1:
            z = torch.cat([-z, z], dim=1)
            return nn.functional.logsigmoid(z)
        return nn.functional.logsigmoid(z).log_softmax(1)


class TemperatureLogProbabilities(nn.Module):
    """The softmax of the scores times a number, the inverse temperature; those of two classes are (-z, z)."""

    def __init__(self, inverse_temperature: float) -> None:
        super().__init__()
        self.inverse_temperature = inverse_temperature

    def forward(self, response: Tensor) -> Tensor:
        """Return the logarithms of probabilities (n, C)."""
        logits = torch.cat([-response, response], dim=1) if response.shape[1] == 1 else response
        return (self.inverse_temperature * logits).log_softmax(1)


class MeanProbability(nn.Module):
    """The logarithms of the sum of the probabilities of all members, which are those of the mean up to a constant."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows (n, C)."""
        return torch.stack([member(x) for member in self.members]).logsumexp(0)


def build(estimator: Any, scores_of: Callable[[Any], nn.Module]) -> nn.Module:
    """Return the logarithms (n, C) of the probabilities of a ``CalibratedClassifierCV``, up to a constant.

    Args:
        estimator: The fitted classifier.
        scores_of: The module of a base estimator.

    Raises:
        NoExactFormError: The calibration has no exact form here, or a part of the training data lacked a class.
    """
    return MeanProbability([_member(part, estimator, scores_of) for part in estimator.calibrated_classifiers_])


def _member(part: Any, estimator: Any, scores_of: Callable[[Any], nn.Module]) -> nn.Module:
    """Return one base estimator with its calibration."""
    if len(part.estimator.classes_) != len(estimator.classes_):
        raise NoExactFormError("a base estimator of the calibrated classifier was trained without one of the classes")
    probabilities = not hasattr(part.estimator, "decision_function")
    calibration: nn.Module
    if part.method == "sigmoid":
        slopes, offsets = zip(*[(one.a_, one.b_) for one in part.calibrators], strict=True)
        calibration = SigmoidLogProbabilities(Scale(factor=[-a for a in slopes], shift=[-b for b in offsets]))
    elif part.method == "temperature" and not probabilities:
        calibration = TemperatureLogProbabilities(float(part.calibrators[0].beta_))
    else:  # isotonic calibration has steps; logarithms of probabilities near 1 differ by more than rounding
        raise NoExactFormError(f"the calibration {part.method!r} of {type(part.estimator).__name__} has no exact form")
    return nn.Sequential(Response(scores_of(part.estimator), probabilities=probabilities), calibration)
