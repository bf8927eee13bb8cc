"""Support vector machines with a kernel, for two classes."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.svm import SVC, NuSVC
from torch import Tensor, nn

from dmmcheck.models.exact import NoExactFormError
from dmmcheck.models.sklearn.affine import values

KINDS = (SVC, NuSVC)
KERNELS = ("linear", "poly", "rbf", "sigmoid")


class KernelScore(nn.Module):
    """The weighted sum of the kernel between an input and the support vectors.

    Args:
        estimator: A fitted support vector machine for two classes.
    """

    vectors: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, estimator: Any) -> None:
        super().__init__()
        self.kind, self.degree = estimator.kernel, int(estimator.degree)
        self.gamma, self.constant = float(estimator._gamma), float(estimator.coef0)
        self.register_buffer("vectors", values(estimator.support_vectors_))
        self.register_buffer("weight", values(estimator.dual_coef_)[0])
        self.register_buffer("bias", values(estimator.intercept_))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (n, 1) of rows (n, D)."""
        return (self._kernel(x) @ self.weight + self.bias)[:, None]

    def _kernel(self, x: Tensor) -> Tensor:
        """Return the kernel (n, m) between rows and support vectors (m, D)."""
        if self.kind == "rbf":
            squared = torch.cdist(x, self.vectors, compute_mode="donot_use_mm_for_euclid_dist").square()
            return torch.exp(-self.gamma * squared)
        product = x @ self.vectors.T
        if self.kind == "linear":
            return product
        scaled = self.gamma * product + self.constant
        return scaled**self.degree if self.kind == "poly" else torch.tanh(scaled)


def build(estimator: Any) -> nn.Module:
    """Return the scores (n, 1) that ``decision_function`` returns.

    Raises:
        NoExactFormError: There are more than two classes, or the kernel is a function or a matrix.
    """
    name, classes = type(estimator).__name__, len(estimator.classes_)
    if classes > 2:
        raise NoExactFormError(f"{name} decides among {classes} classes by the votes of pairs of classes")
    if estimator.kernel not in KERNELS:
        raise NoExactFormError(f"the kernel of {name} is {estimator.kernel!r}, which has no exact form here")
    return KernelScore(estimator)
