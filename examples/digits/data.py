"""scikit-learn's handwritten digits, always split in the same way."""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

TEST_SHARE = 1 / 3
SPLIT_SEED = 0


class Labelled(NamedTuple):
    """Images and their labels."""

    x: Tensor  # (n, 1, 8, 8) float32 in [0, 1]
    y: Tensor  # (n,) int64, 0 to 9


class Split(NamedTuple):
    """Training data of the networks and the manifold, and test data."""

    train: Labelled
    test: Labelled


def load() -> Split:
    """The 1797 digits of ``load_digits`` (no download), two thirds to train on, stratified by class."""
    x, y = load_digits(return_X_y=True)
    images = torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    labels = torch.tensor(y, dtype=torch.int64)
    train, test = train_test_split(range(len(y)), test_size=TEST_SHARE, stratify=y, random_state=SPLIT_SEED)
    return Split(Labelled(images[train], labels[train]), Labelled(images[test], labels[test]))
