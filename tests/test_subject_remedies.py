"""Each remedy that an error of a subject names is applied, and the subject can be made.

A case is (words of the message, arguments that provoke it, the arguments after the remedy).
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

import dmmcheck
from dmmcheck.errors import SubjectError
from dmmcheck.subject import DATA_X, DATA_Y, Subject

N, D = 16, 6
X = torch.linspace(0, 1, N * D).reshape(N, D)
Y = torch.arange(N) % 2
IMAGES = (255 * X).to(torch.uint8)
HOLED = torch.where(X > 0.9, torch.nan, X)


class Plane:
    """The plane of the first two coordinates."""

    dim = 2

    def tangent_basis(self, x):
        return torch.eye(D)[:, :2].to(x)

    def project_point(self, x):
        return torch.cat([x[:, :2], torch.zeros_like(x[:, 2:])], dim=1)


def model(x):
    return torch.stack([x.sum(1), x[:, 0]], dim=1)


def other(x):
    return 2 * model(x)


def made(**changes):
    return Subject(**{"model": model, "x": X, "y": Y, "manifold": Plane(), **changes})


CASES = {
    "few inputs": (
        f"{DATA_X} holds 5 inputs, at least 8 are needed; pass more of the test split",
        {"x": X[:5], "y": Y[:5]},
        {"x": X[:8], "y": Y[:8]},
    ),
    "integer images": (
        f"{DATA_X} has dtype torch.uint8, floating point is needed since distances are measured in it; scale "
        "integer images first, e.g. x / 255.0",
        {"x": IMAGES},
        {"x": IMAGES / 255.0},
    ),
    "no input axis": (
        f"{DATA_X} has shape (96,), expected (n, *input_shape); add the input axis",
        {"x": X.reshape(-1)},
        {"x": X.reshape(-1).reshape(N, D)},
    ),
    "no array": (
        f"{DATA_X} raised TypeError when it was converted to a tensor",
        {"x": "images"},
        {"x": np.asarray(X)},
    ),
    "missing values: removed": (
        f"{DATA_X} holds 10 NaN or infinite values of 96; remove or impute them",
        {"x": HOLED},
        {"x": HOLED[HOLED.isfinite().all(1)], "y": Y[HOLED.isfinite().all(1)]},
    ),
    "missing values: imputed": (
        "remove or impute them",
        {"x": HOLED},
        {"x": HOLED.nan_to_num(0.95)},
    ),
    "labels that are no array": (
        f"{DATA_Y} is a str that does not convert to a tensor",
        {"y": "cats"},
        {"y": Y.tolist()},
    ),
    "soft labels": (
        f"{DATA_Y} has shape (16, 2), and its rows are not one-hot (a single 1 among zeros); pass class numbers, e.g. "
        "y.argmax(1)",
        {"y": 0.9 * nn.functional.one_hot(Y)},
        {"y": (0.9 * nn.functional.one_hot(Y)).argmax(1)},
    ),
    "labels of another split": (
        f"{DATA_Y} has shape (12,), expected (16,): one label per input; pass class numbers of the same split",
        {"y": Y[:12]},
        {"y": Y},
    ),
    "labels of floating point": (
        f"{DATA_Y} has dtype float32 and holds fractions, expected integers; pass class numbers",
        {"y": Y + 0.5},
        {"y": Y.float()},
    ),
    "labels out of range": (
        f"{DATA_Y} holds labels from 1 to 2, the model has 2 classes (0 to 1); map the labels to the model's outputs, "
        "e.g. y - 1 where they count from 1",
        {"y": Y + 1},
        {"y": (Y + 1) - 1},
    ),
    "bounds that are no pair": (
        "bounds are 1.0, expected two numbers (lo, hi), e.g. (0.0, 1.0)",
        {"bounds": 1.0},
        {"bounds": (0.0, 1.0)},
    ),
    "bounds in the wrong order": (
        "bounds are (1.0, 0.0), expected lo < hi, e.g. (0.0, 1.0)",
        {"bounds": (1.0, 0.0)},
        {"bounds": (0.0, 1.0)},
    ),
    "bounds in other units": (
        f"{DATA_X} holds 95 values outside the bounds [0.0, 1.0]: it spans 0 to 255; give the bounds in the units of x",
        {"x": 255 * X, "bounds": (0.0, 1.0)},
        {"x": 255 * X, "bounds": (0.0, 255.0)},
    ),
    "x in other units": (
        "or scale x",
        {"x": 255 * X, "bounds": (0.0, 1.0)},
        {"x": 255 * X / 255, "bounds": (0.0, 1.0)},
    ),
    "robustly trained with a robust twin": (
        "robustly_trained is true and robust is given, which makes the model under test the standard one of a pair; "
        "give reference in place of robust, or leave robustly_trained out",
        {"robust": other, "robustly_trained": True},
        {"reference": other, "robustly_trained": True},
    ),
    "pairs that are one model": (
        "pairs is one model; give [(standard, robust), ...], or one model as robust",
        {"pairs": nn.Linear(D, 2)},
        {"robust": nn.Linear(D, 2)},
    ),
    "pairs that are models": (
        "pairs is a list that holds a function, expected [(standard, robust), ...] or a function seed -> (standard,",
        {"pairs": [other, other]},
        {"pairs": [(other, other)]},
    ),
    "an alternative for another number of pairs": (
        "alternative holds 2 models and pairs is 1 pairs; give one model for all pairs, one for each pair in the same",
        {"pairs": [(other, other)], "alternative": [other, other]},
        {"pairs": [(other, other)], "alternative": [other]},
    ),
    "two other models: the model is robust": (
        "both reference and robust are given; keep reference where the model under test is the robust one of a pair",
        {"reference": other, "robust": other},
        {"reference": other},
    ),
    "two other models: the model is standard": (
        "robust where it is the standard one",
        {"reference": other, "robust": other},
        {"robust": other},
    ),
    "a factory that is a model's name": (
        "factory is a str, which cannot be called; pass a function",
        {"factory": "resnet"},
        {"factory": lambda seed: model},
    ),
    "a trainer that is no function": (
        "trainer is a dict, which cannot be called; pass a function",
        {"trainer": {}},
        {"trainer": lambda x, y, seed: model},
    ),
    "checkpoints out of order": (
        "checkpoints have the steps [9, 0], expected (step, model) pairs with rising steps; sort them by step",
        {"checkpoints": [(9, model), (0, other)]},
        {"checkpoints": sorted([(9, model), (0, other)], key=lambda entry: entry[0])},
    ),
    "checkpoints without steps": (
        "expected (step, model) pairs",
        {"checkpoints": [model, other]},
        {"checkpoints": list(enumerate([model, other]))},
    ),
    "training inputs of another kind": (
        "the training data (x_train and y_train, in settings manifold-data): x_train holds inputs of shape (3,), but x "
        "holds inputs of shape (6,); pass training inputs of the shape of x",
        {"x_train": X[:, :3]},
        {"x_train": X},
    ),
    "training labels alone": (
        "y_train is given without x_train; give both, or neither",
        {"y_train": Y},
        {"x_train": X, "y_train": Y},
    ),
    "training labels alone: neither": ("or neither", {"y_train": Y}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_remedy_of_an_error_works(case):
    words, provoking, mended = CASES[case]
    with pytest.raises(SubjectError, match=re.escape(words)):
        made(**provoking)
    assert len(made(**mended).x) >= 8


def test_an_array_of_inputs_can_be_given_in_place_of_what_does_not_convert():
    with pytest.raises(SubjectError, match=re.escape("pass an array (n, *input_shape)")):
        made(x=[["a"] * D] * N)
    assert made(x=X.numpy()).input_shape == (D,)
    with pytest.raises(SubjectError, match=re.escape("pass (n,) integer labels")):
        made(y=["cat"] * N)
    assert made(y=Y.numpy()).y.dtype == torch.long


def test_another_device_can_be_chosen():
    with pytest.raises(SubjectError, match=r"device 'cuda:99' cannot be used here .*; choose another, e.g. 'cpu'"):
        made().to("cuda:99")
    assert str(made().to("cpu").classifier.device) == "cpu"
    with pytest.raises(SubjectError, match=r"device 'gpu' cannot be used here .*; choose another, e.g. 'cpu'"):
        dmmcheck.run(made(), device="gpu")
    world = dmmcheck.worlds.hyperplane(ambient_dim=12, dim=3, samples=32, seed=0)
    report = dmmcheck.run(world.subject, checks=["off-manifold-suffices"], device="cpu")
    assert report.device == "cpu"
