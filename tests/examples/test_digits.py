"""The digits example: the networks and data of the demo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from examples.digits import data, subject, training
from examples.digits.network import DigitsCNN, untrained

SHORT = training.Recipe(epochs=2)
SHORT_ADVERSARIAL = training.Recipe(epochs=1, radius=0.75)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory, request):
    """Networks are trained here, once for the whole module, and not taken from build/."""
    folder = getattr(request.module, "_folder", None) or tmp_path_factory.mktemp("digits")
    request.module._folder = folder
    monkeypatch.setattr(subject, "CACHE", folder)
    subject.checkpoints.cache_clear()
    subject.robust.cache_clear()


def test_split_is_stratified_disjoint_and_scaled():
    train, test = data.load()
    assert len(train.x) + len(test.x) == 1797
    assert train.x.shape[1:] == test.x.shape[1:] == (1, 8, 8)
    assert train.x.min() == test.x.min() == 0
    assert train.x.max() == test.x.max() == 1
    assert torch.cdist(train.x.flatten(1), test.x.flatten(1)).min() > 0
    shares = torch.bincount(test.y) / torch.bincount(train.y)
    assert torch.all((shares - 0.5).abs() < 0.02)


@pytest.mark.parametrize("network", ["model", pytest.param("robust", marks=pytest.mark.heavy)])
def test_accuracy_on_unseen_digits(network):
    reached = training.accuracy(getattr(subject, network)(), *subject.split().test)
    assert reached >= 0.97


def shortly_trained():
    """A network after a fifth of the epochs of the robust one."""
    recipe = replace(training.ADVERSARIAL, epochs=training.ADVERSARIAL.epochs // 5)
    return training.fit(*subject.split().train, subject.SEED, recipe=recipe)


@pytest.mark.parametrize(
    "robust",
    [shortly_trained, pytest.param(subject.robust, marks=pytest.mark.heavy)],
    ids=["short", "whole"],
)
def test_adversarial_training_withstands_attacks_that_change_the_standard_network(robust):
    test = subject.split().test
    x, y = test.x[:200], test.y[:200]
    survived = {}
    for name, network in (("standard", subject.model()), ("robust", robust())):
        generator = torch.Generator().manual_seed(3)
        attacked = training.worst_within(network, x, y, training.ADVERSARIAL, generator)
        assert (attacked - x).flatten(1).norm(dim=1).max() <= training.ADVERSARIAL.radius * 1.0001
        assert attacked.min() >= 0
        assert attacked.max() <= 1
        survived[name] = training.accuracy(network, attacked, y)
    assert survived["robust"] > survived["standard"] + 0.2


def test_checkpoints_run_from_untrained_to_the_model():
    steps = [step for step, _ in subject.checkpoints()]
    assert steps[0] == 0
    assert steps == sorted(set(steps))
    assert _same(subject.checkpoints()[0][1], subject.factory(subject.SEED))
    assert _same(subject.checkpoints()[-1][1], subject.model())
    assert training.accuracy(subject.checkpoints()[0][1], *subject.split().test) < 0.3


def some_digits():
    """A part of the training digits, where it does not matter how well a network is trained."""
    train = subject.split().train
    return train.x[:300], train.y[:300]


@pytest.mark.parametrize("recipe", [SHORT, SHORT_ADVERSARIAL], ids=["plain", "adversarial"])
def test_training_is_a_function_of_data_and_seed(recipe):
    x, y = some_digits()
    first, again, other = (training.fit(x, y, seed, recipe=recipe) for seed in (5, 5, 6))
    assert _same(first, again)
    assert not _same(first, other)


def test_no_global_generator_is_read_or_set():
    torch_before, numpy_before = torch.get_rng_state(), _numpy_state()
    data.load()
    subject.factory(1)
    training.fit(*some_digits(), 0, recipe=SHORT_ADVERSARIAL)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(_numpy_state(), numpy_before)


def test_initial_weights_follow_torch_defaults():
    ours, theirs = untrained(0), DigitsCNN()
    for mine, default in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.device.type == "cpu"
        assert mine.abs().max() <= default.abs().max() * 1.5
        if mine.numel() > 100:
            assert mine.std().item() == pytest.approx(default.std().item(), rel=0.2)


def test_trained_networks_are_saved_and_loaded_again(monkeypatch):
    first = subject.model()
    subject.checkpoints.cache_clear()
    monkeypatch.setattr(training, "fit_with_history", _must_not_train)
    again = subject.model()
    assert again is not first
    assert _same(first, again)


def test_another_recipe_trains_another_network(monkeypatch):
    subject.model()
    subject.checkpoints.cache_clear()
    monkeypatch.setattr(training, "PLAIN", SHORT)
    assert subject.checkpoints()[-1][0] == SHORT.epochs * -(-len(subject.split().train.x) // SHORT.batch)


def test_restored_networks_can_be_trained_further():
    network = subject.model()
    cross_entropy(network(subject.split().test.x[:4]), subject.split().test.y[:4]).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def _numpy_state():
    return np.random.get_state()[1].copy()  # noqa: NPY002 -- read, not drawn from


def _same(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def _must_not_train(*_args, **_kwargs):
    raise AssertionError("trained again although the weights were kept")
