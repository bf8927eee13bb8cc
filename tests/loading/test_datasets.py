"""Arrays and datasets become inputs and labels, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from dmmcheck.errors import SubjectError
from dmmcheck.loading.datasets import inputs_and_labels, labelled

X, Y = torch.linspace(0, 1, 96).reshape(16, 6), torch.arange(16) % 2


class Pairs(Dataset):
    """A dataset of whatever pairs it is given."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


@pytest.mark.parametrize(
    "value",
    [
        (X, Y),
        [X.numpy(), Y.numpy()],
        TensorDataset(X, Y),
        Subset(TensorDataset(X, Y), range(16)),
        Pairs(*((x.numpy(), int(y)) for x, y in zip(X, Y, strict=True))),
        DataLoader(TensorDataset(X, Y), batch_size=5),
    ],
    ids=["tensors", "arrays", "tensor-dataset", "subset", "dataset", "loader"],
)
def test_arrays_and_datasets_give_the_same_inputs_and_labels(value):
    found = labelled(value, "data")
    torch.testing.assert_close(torch.as_tensor(found.inputs), X)
    torch.testing.assert_close(torch.as_tensor(found.labels), Y)
    assert found.said == ""


def test_inputs_alone_have_no_labels():
    found = inputs_and_labels(X, "manifold-data")
    assert found.inputs is X
    assert found.labels is None
    with pytest.raises(SubjectError, match="data has no labels; give"):
        labelled(np.zeros((3, 2)), "data")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((X, Y, Y), r"data is a tuple of 3 elements, expected 2 \(inputs x and labels y\); give \(x, y\)"),
        (3, "data is a int; give"),
        ("path", "data is a str"),
        ({"x": X}, "data is a dict"),
        (Pairs(), "data is an empty Pairs"),
        (Pairs((X[0],)), "item 0 is a tuple, not a pair"),
        (
            Pairs((X[0], 1), ("image.png", 1)),
            "the input of item 1 is a str, not a tensor; give the dataset a transform",
        ),
        (Pairs((X[0], 1), (X[0, :3], 1)), r"inputs of 2 shapes \(\(3,\), \(6,\)\)"),
    ],
    ids=["three", "number", "text", "dict", "empty", "unlabelled", "no-tensor", "shapes"],
)
def test_data_of_another_kind_are_refused(value, words):
    with pytest.raises(SubjectError, match=words):
        labelled(value, "data")
