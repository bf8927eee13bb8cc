"""Near-duplicates and near copies: found where they were made, and hardly ever where they were not."""

from __future__ import annotations

import pytest
import torch
from sklearn import datasets

from dmmcheck.measurement.near import near_copies, near_duplicates


def digits(n, seed=0):
    data = datasets.load_digits()
    order = torch.randperm(len(data.data), generator=torch.Generator().manual_seed(seed))[:n]
    return torch.tensor(data.data / 16).float()[order], torch.tensor(data.target)[order]


def copies(x, times, noise=0.02, seed=1):
    many = x.repeat(times, 1)
    return many + noise * torch.randn(many.shape, generator=torch.Generator().manual_seed(seed), dtype=many.dtype)


def count(x, y):
    return len(near_duplicates(x, y).unique())


@pytest.mark.parametrize(("n", "times"), [(85, 6), (21, 6), (85, 2)])
def test_noisy_copies_of_digits_are_merged_into_the_digits(n, times):
    x, y = digits(n)
    assert torch.equal(near_duplicates(copies(x, times), y.repeat(times)), torch.arange(n).repeat(times))


def test_many_digits_with_copies_are_merged_but_for_one_in_a_hundred():
    x, y = digits(300)
    assert 300 <= count(copies(x, 6), y.repeat(6)) <= 303


@pytest.mark.parametrize(("classes", "size"), [(8, 32), (20, 10), (4, 60)])
@pytest.mark.parametrize("spread", [0.2, 0.05])
def test_classes_close_together_are_not_taken_for_copies(classes, size, spread):
    generator = torch.Generator().manual_seed(classes)
    centres = torch.randn(classes, 20, generator=generator).repeat_interleave(size, 0)
    x = centres + spread * torch.randn(len(centres), 20, generator=generator)
    assert count(x, torch.arange(classes).repeat_interleave(size)) >= 0.98 * len(x)


@pytest.mark.parametrize("n", [40, 360, 1797])
def test_ordinary_digits_are_not_merged(n):
    assert count(*digits(n)) >= 0.99 * n


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
@pytest.mark.parametrize("is_standard", [False, True])
def test_ordinary_tables_are_not_merged(name, is_standard):
    data = getattr(datasets, f"load_{name}")()
    x, y = torch.tensor(data.data), torch.tensor(data.target)
    distinct = torch.unique(torch.cat([x / x.std(0) if is_standard else x, y[:, None]], 1), dim=0)
    x, y = distinct[:, :-1], distinct[:, -1].long()
    for step in (1, 3):
        assert count(x[::step], y[::step]) >= 0.99 * len(x[::step])


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 30])
@pytest.mark.parametrize("draw", [torch.randn, torch.rand])
def test_independent_points_are_merged_no_more_often_than_chance_allows(dim, draw):
    x = draw(800, dim, generator=torch.Generator().manual_seed(dim))
    assert count(x, torch.zeros(800)) >= 0.98 * 800


def test_points_of_another_label_are_not_merged():
    x, y = digits(85)
    assert count(copies(x, 2), torch.cat([y, y + 10])) == 170


def test_given_groups_stay_and_are_merged_by_a_near_pair():
    x, y = digits(40)
    x = torch.cat([x, x[:1] + 1e-4])
    y = torch.cat([y, y[:1]])
    groups = torch.arange(41)
    groups[3] = 2  # given
    found = near_duplicates(x, y, groups=groups)
    assert found[3] == found[2]
    assert found[40] == found[0]
    assert len(found.unique()) == 39


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_very_few_points_stay_apart(n):
    assert count(digits(n)[0], torch.zeros(n)) == n


@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.02])
@pytest.mark.parametrize("times", [1, 6])
def test_points_that_were_copied_are_found(noise, times):
    x, _ = digits(600)
    inputs, others = x[:100], x[100:]
    assert not near_copies(inputs, others).any()
    assert near_copies(inputs, copies(inputs, times, noise)).all()
    found = near_copies(inputs, torch.cat([others, copies(inputs[:3], times, noise)]))
    assert found.nonzero().flatten().tolist() == [0, 1, 2]


def test_two_halves_of_iris_hold_no_near_copies_but_the_equal_rows():
    x = torch.tensor(datasets.load_iris().data)
    inputs, others = x[::2], x[1::2]
    equal = (inputs[:, None] == others[None]).all(2).any(1)
    assert near_copies(inputs, others).sum() <= equal.sum() + 1
