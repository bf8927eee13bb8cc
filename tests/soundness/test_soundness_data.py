"""Copies of training data among the inputs, and inputs that depend on each other."""

from __future__ import annotations

from dataclasses import replace

import contexts
import pytest
import torch
import views
from sklearn import datasets

import dmmcheck
from dmmcheck.config.settings import Settings
from dmmcheck.run import Run
from dmmcheck.soundness import data


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_it_fails_where_many_inputs_were_fitted_on_and_passes_without(noise):
    def overlapping(context):
        return replace(context, training_points=torch.cat([context.x_pool, context.x[:8] + noise]))

    contexts.assert_fails_for_its_own_reason("disjoint", data.disjoint, overlapping)
    item = contexts.asked(data.disjoint, overlapping(contexts.plain()))["disjoint"]
    assert item.value == 8
    words = "8 of 32 inputs are copies or near copies of training data (limit 1, 5.0%); fit the manifold on"
    assert item.message.startswith(words)


def items_of(subject):
    return contexts.by_name(Run(subject, Settings()).soundness)


def test_few_copies_are_left_out_and_noted():
    plain = views.subject(samples=100)
    items = items_of(replace(plain, x_train=torch.cat([plain.x_train, plain.x[:3]]), y_train=None))
    assert (items["disjoint"].ok, items["disjoint"].value) == (None, 3.0)
    assert items["disjoint"].message == "3 of 100 inputs are copies or near copies of training data; they are left out"


def test_a_test_set_with_noise_as_training_data_fails():
    plain = views.subject(samples=48)
    item = items_of(replace(plain, x_train=plain.x + 1e-6, y_train=None))["disjoint"]
    assert item.ok is False
    assert item.message.startswith("48 of 48 inputs are copies or near copies of training data (limit 2, 5.0%); fit")


def test_one_copied_iris_row_leaves_all_verdicts_standing():
    iris = datasets.load_iris()
    x, y = torch.tensor(iris.data).float(), torch.tensor(iris.target)
    x_train, y_train = torch.cat([x[1::2], x[:1]]), torch.cat([y[1::2], y[:1]])
    centres = torch.stack([x_train[y_train == label].mean(0) for label in range(3)])
    manifold = dmmcheck.manifolds.PCA(dim=2).fit(x_train)
    subject = dmmcheck.Subject(
        lambda z: -(z[:, None] - centres).square().sum(2), x[::2], y[::2], manifold, x_train=x_train, y_train=y_train
    )
    item = items_of(subject)["disjoint"]
    assert item.ok is None
    assert "they are left out" in item.message


def test_groups_and_near_duplicates_are_counted():
    plain = views.subject(samples=48)
    subject = replace(
        plain,
        x=torch.cat([plain.x, plain.x[:12] + 1e-3]),
        y=torch.cat([plain.y, plain.y[:12]]),
        groups=[*range(46), 0, 0, *range(100, 112)],
    )
    item = items_of(subject)["independent-inputs"]
    assert item.ok is None
    assert item.message == (
        "60 inputs form 46 independent groups, of which one input each is measured: the groups given are 58, and "
        "12 inputs are nearly the same as another one of their label"
    )
    assert items_of(plain)["independent-inputs"].message == "no two of 48 inputs are nearly the same"


def test_unknown_training_points_are_informational():
    item = contexts.asked(data.disjoint, replace(contexts.plain(), training_points=None))["disjoint"]
    assert item.ok is None
    assert "not known; give x_train" in item.message
