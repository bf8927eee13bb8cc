"""Labels of any kind become class numbers by obvious rules, or are refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frames import Series

from dmmcheck.data.labels import class_names, labels_of
from dmmcheck.errors import SubjectError

NAMES = ["cat", "dog"]


class Fitted:
    classes_ = np.array([1, 2, 3])

    def predict_proba(self, x):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("y", "names", "said"),
    [
        ([0, 1, 0], None, ""),
        (torch.tensor([0, 1, 0]), None, ""),
        (torch.tensor([False, True, False]), None, ""),
        (Series([0, 1, 0]), None, ""),
        ([[0], [1], [0]], None, ""),
        ([0.0, 1.0, 0.0], None, "y: whole numbers in float64 were read as classes"),
        ([[1, 0], [0, 1], [1, 0]], None, "y: one-hot rows were read as class numbers"),
        (torch.eye(2)[[0, 1, 0]], NAMES, "y: one-hot rows were read as class numbers"),
        (Series(["cat", "dog", "cat"]), NAMES, "y: the labels cat, dog are the classes 0 to 1"),
        (np.array([1, 2, 1]), [1, 2], "y: the labels 1, 2 are the classes 0 to 1"),
        ([1.0, 2.0, 1.0], [1, 2], "y: the labels 1, 2 are the classes 0 to 1"),
    ],
)
def test_labels_of_any_kind_become_class_numbers(y, names, said):
    labels, made = labels_of(y, "y", 3, names)
    assert labels.dtype == torch.long
    assert labels.tolist() == [0, 1, 0]
    assert made == said


@pytest.mark.parametrize(
    ("y", "names", "words"),
    [
        (
            ["cat", "cow", "cat"],
            NAMES,
            "y holds 'cow', which the model's classes_ \\('cat', 'dog'\\) lack; pass labels",
        ),
        (["cat", "cow", "cat"], None, "y holds 'cat', 'cow', which are no numbers, and the model has no classes_"),
        ([0.5, 1.0, 0.0], None, "holds fractions, expected integers"),
        ([[0.5, 0.5]] * 3, None, "its rows are not one-hot"),
        ([[1, 1]] * 3, None, "its rows are not one-hot"),
        ([0, 1], None, r"has shape \(2,\), expected \(3,\): one label per input; pass class numbers of the same split"),
        ([[1, 0]] * 2, None, r"has shape \(2, 2\), expected \(3,\)"),
        ("cats", None, "y is a str that does not convert to a tensor"),
        ([1j, 0, 1], None, "has dtype complex128, expected integers"),
    ],
)
def test_other_labels_are_refused(y, names, words):
    with pytest.raises(SubjectError, match=words):
        labels_of(y, "y", 3, names)


def test_a_model_and_its_methods_name_the_classes():
    assert class_names(Fitted()) == [1, 2, 3]
    assert class_names(Fitted().predict_proba) == [1, 2, 3]
    assert class_names(torch.nn.Linear(2, 2)) is None
