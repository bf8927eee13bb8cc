"""Items are drawn before they are read, no more than the limit; a source that breaks is one clear error."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SubsetRandomSampler, TensorDataset

from dmmcheck.errors import SubjectError
from dmmcheck.loading.build import build_subject
from dmmcheck.loading.items import READ_LIMIT, read

X, Y = torch.linspace(0, 1, 96).reshape(16, 6), torch.arange(16) % 2


class Counted(Dataset):
    """Many items, each made when it is read, which is counted."""

    def __init__(self, total):
        self.total, self.seen = total, []

    def __len__(self):
        return self.total

    def __getitem__(self, index):
        self.seen.append(index)
        return torch.full((2,), float(index)), index % 3


class Photographs(Counted):
    """The same at the size of ImageNet; each item is a view of one number."""

    def __getitem__(self, index):
        self.seen.append(index)
        return torch.tensor(index / self.total).expand(3, 224, 224), index % 3


class Endless(IterableDataset):
    """Items without an end."""

    def __iter__(self):
        return ((torch.full((2,), float(number)), number % 3) for number in itertools.count())


class Broken(Counted):
    """A dataset whose tenth item cannot be read."""

    def __getitem__(self, index):
        if index == 10:
            raise OSError("the disk is gone")
        return super().__getitem__(index)


class WithoutLength(Counted):
    def __len__(self):
        raise TypeError("the length is unknown")


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


@pytest.mark.parametrize("wrapped", [lambda data: data, DataLoader], ids=["dataset", "loader"])
def test_of_a_large_dataset_only_the_drawn_items_are_read(wrapped):
    data = Counted(50_000)
    found = read(wrapped(data), "data")
    assert len(data.seen) == READ_LIMIT == len(found.inputs)
    assert len(set(data.seen)) == READ_LIMIT
    assert max(data.seen) > 40_000
    assert found.said == "data: 2048 of 50000 items were drawn and read"
    torch.testing.assert_close(found.labels, found.inputs[:, 0].long() % 3)


def test_data_and_manifold_data_each_read_no_more_than_the_limit():
    data, training = Counted(50_000), Counted(50_000)
    parts = {
        "model": lambda x: torch.cat([x, -x[:, :1]], 1),
        "data": data,
        "manifold-data": training,
        "manifold": "pca",
    }
    of = build_subject({**parts, "manifold-options": {"dim": 1}}, root=Path(), samples=64)
    assert len(data.seen) == len(training.seen) == READ_LIMIT == len(of.x)
    assert of.conversions[:2] == tuple(
        f"{what}: 2048 of 50000 items were drawn and read" for what in ("data", "manifold-data")
    )


@pytest.mark.heavy
def test_of_50000_photographs_2048_are_read():
    data = Photographs(50_000)
    found = read(data, "data")
    assert len(data.seen) == READ_LIMIT
    assert found.inputs.shape == (READ_LIMIT, 3, 224, 224)


def test_the_same_items_are_drawn_each_time_and_the_global_generator_stays():
    before = torch.random.get_rng_state()
    first, again = (read(Counted(100), "data", 20) for _ in range(2))
    torch.testing.assert_close(first.inputs, again.inputs)
    read(DataLoader(Endless(), batch_size=7), "data", 20)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("source", [Endless(), DataLoader(Endless(), batch_size=7), iter(Endless())])
def test_of_what_has_no_end_the_first_items_are_read(source):
    found = read(source, "data", 20)
    assert found.inputs[:, 0].tolist() == list(range(20))
    assert found.labels.tolist() == [number % 3 for number in range(20)]
    assert found.said == "data: the first 20 items were read, and no more"


def test_a_loader_keeps_its_subset_and_its_collate_function():
    subset = SubsetRandomSampler([3, 4, 5])
    found = read(DataLoader(TensorDataset(X, Y), sampler=subset, batch_size=2), "data")
    assert sorted(found.inputs[:, 0].tolist()) == X[3:6, 0].tolist()
    again = RandomSampler(TensorDataset(X, Y), replacement=True, num_samples=5)
    assert len(read(DataLoader(TensorDataset(X, Y), sampler=again), "data").inputs) == 5

    def scaled(items):
        return 2 * torch.stack([x for x, _ in items]), torch.tensor([int(y) for _, y in items])

    found = read(DataLoader(TensorDataset(X, Y), batch_size=4, collate_fn=scaled, shuffle=True), "data")
    torch.testing.assert_close(found.inputs, 2 * X)
    torch.testing.assert_close(found.labels, Y)


@pytest.mark.parametrize(
    "item",
    [
        lambda x, y: {"image": x.numpy(), "label": int(y)},
        lambda x, y: {"labels": y, "pixel_values": x, "idx": 3},
        lambda x, y: (x, int(y), {"id": 7}),
        lambda x, y: [x.tolist(), y],
        lambda x, y: (x, torch.nn.functional.one_hot(y, 2)),
        lambda x, y: (x, "ab"[int(y)]),
    ],
    ids=["dict", "dict-of-a-processor", "metadata", "list", "one-hot", "texts"],
)
def test_items_of_any_usual_form_are_read(item):
    found = read(Items([item(x, y) for x, y in zip(X, Y, strict=True)]), "data")
    torch.testing.assert_close(found.inputs, X)
    labels = np.asarray(found.labels)
    numbers = labels.argmax(1) if labels.ndim == 2 else np.unique(labels, return_inverse=True)[1]
    np.testing.assert_array_equal(numbers, Y.numpy())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Broken(20), "data raised OSError when item number 10 was read: the disk is gone; let the source return"),
        (
            WithoutLength(20),
            "data raised TypeError when the length of the WithoutLength was asked for: the length is unknown; let",
        ),
        (iter(()), "data is empty; give the test split"),
        (Items([{"text": "a", "label": 1}]), "data: item 0 is a dict with the keys text, label; give it a key among"),
        (Items([(X[0], 1, 2)]), "data: item 0 is a tuple, not a pair (input, label)"),
        (Items([(X[0], [1, 2]), (X[0], [1])]), "data has labels of 2 shapes ((1,), (2,)); give each item one class"),
        (DataLoader(Endless(), batch_size=2, collate_fn=lambda items: (X[:2], Y[:1])), "as many inputs as labels"),
        (DataLoader(Broken(20), batch_size=5), "data raised OSError when item number 10 was read"),
    ],
)
def test_a_source_that_breaks_is_one_clear_error(source, words):
    with pytest.raises(SubjectError, match=re.escape(words)):
        read(source, "data")
