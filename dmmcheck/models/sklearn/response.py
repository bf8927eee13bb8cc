"""Converts the scores of a classifier to the numbers that a scikit-learn classifier around it reads."""

from __future__ import annotations

from torch import Tensor, nn


class Response(nn.Module):
    """What scikit-learn reads from a classifier within another one: scores (n, C), or (n, 1) for two classes.

    Args:
        scores: A module from rows (n, D) to scores (n, C), or (n, 1) for two classes.
        probabilities: Whether the classifier has no ``decision_function``, so that its probabilities are read.
    """

    def __init__(self, scores: nn.Module, *, probabilities: bool) -> None:
        super().__init__()
        self.scores = scores
        self.probabilities = probabilities

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows (n, C) or (n, 1)."""
        scores: Tensor = self.scores(x)
        if scores.shape[1] > 2:
            return scores.softmax(1) if self.probabilities else scores
        difference = scores if scores.shape[1] == 1 else scores[:, 1:] - scores[:, :1]
        return difference.sigmoid() if self.probabilities else difference
