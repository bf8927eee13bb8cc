"""Classifiers with a normal distribution for each class: quadratic discriminant analysis and naive Bayes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB
from torch import Tensor, nn

from dmmcheck.models.sklearn.affine import Affine, values

KINDS = (QuadraticDiscriminantAnalysis, GaussianNB)


class Normal(nn.Module):
    """The logarithm of a normal density and its prior, up to a constant that all classes share.

    Args:
        whitening: An affine map, after which the distribution is a standard normal one.
        constant: What is added.
    """

    constant: Tensor

    def __init__(self, whitening: nn.Module, constant: float) -> None:
        super().__init__()
        self.whitening = whitening
        self.register_buffer("constant", values(constant))

    def forward(self, x: Tensor) -> Tensor:
        """Return one number (n,) for each row (n, D)."""
        square: Tensor = self.whitening(x).square().sum(1)
        return self.constant - square / 2


class Feature(nn.Module):
    """Each feature centred and divided by its standard deviation, without the (D, D) matrix."""

    centre: Tensor
    size: Tensor

    def __init__(self, centre: Any, size: Any) -> None:
        super().__init__()
        self.register_buffer("centre", values(centre))
        self.register_buffer("size", values(size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows (n, D)."""
        return (x - self.centre) / self.size


class OfEachClass(nn.Module):
    """The densities of all classes side by side."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows (n, C)."""
        return torch.stack([part(x).reshape(-1) for part in self.parts], dim=1)


def build(estimator: Any) -> nn.Module:
    """Return the logarithms (n, C) of the joint densities of input and class."""
    is_naive = isinstance(estimator, GaussianNB)
    return OfEachClass([*map(_naive(estimator) if is_naive else _full(estimator), range(len(estimator.classes_)))])


def _naive(estimator: Any) -> Any:
    def part(number: int) -> nn.Module:
        variance = values(estimator.var_[number])
        constant = math.log(estimator.class_prior_[number]) - float(variance.log().sum()) / 2
        return Normal(Feature(estimator.theta_[number], variance.sqrt()), constant)

    return part


def _full(estimator: Any) -> Any:
    def part(number: int) -> nn.Module:
        variance = values(estimator.scalings_[number])
        weight = (values(estimator.rotations_[number]) / variance.sqrt()).T
        constant = math.log(estimator.priors_[number]) - float(variance.log().sum()) / 2
        return Normal(Affine(weight, -weight @ values(estimator.means_[number])), constant)

    return part
