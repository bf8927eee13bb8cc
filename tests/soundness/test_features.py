"""Units of features, constant features, and features that the model ignores."""

from __future__ import annotations

from dataclasses import replace

import contexts
import pytest
import torch
from sklearn import datasets
from torch import nn

from dmmcheck.models.torch import adapt
from dmmcheck.soundness import features


def table(name, model=lambda x: x[:, :2], **changes):
    """The plain context with the data of a table."""
    x = torch.tensor(getattr(datasets, f"load_{name}")().data).float()
    changes = {"bounds": None, "x_train": x, "classifier": adapt(model, x), **changes}
    return replace(contexts.plain(), x=x[:32], **changes)


def item(gate, context):
    return next(iter(contexts.asked(gate, context).values()))


@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_a_table_in_several_units_asks_for_a_choice(name):
    found = item(features.feature_units, table(name))
    assert found.ok is False
    assert 'set units = "standard" to divide each by its standard deviation, or units = "input"' in found.message
    for units in ("standard", "input"):
        assert item(features.feature_units, table(name, units=units)).ok is None


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_a_table_in_one_unit_passes(name):
    assert item(features.feature_units, table(name)).ok is True


@pytest.mark.parametrize(("factor", "ok"), [(50.0, False), (5.0, True), (1 / 5, True), (1e-4, False)])
def test_one_feature_in_another_unit_is_seen(factor, ok):
    x = table("iris").x_train.clone()
    x[:, 0] *= factor
    assert item(features.feature_units, table("iris", x_train=x)).ok is ok


def test_data_near_a_plane_in_any_direction_pass():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        turn = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
        x = torch.randn(200, 2, generator=generator) @ turn[:2] + 0.02 * torch.randn(200, 8, generator=generator)
        assert item(features.feature_units, table("iris", x_train=x)).ok is True


def test_a_standardised_table_passes():
    x = table("wine").x_train
    standard = (x - x.mean(0)) / x.std(0)
    assert item(features.feature_units, table("wine", x_train=standard)).ok is True


def test_a_constant_feature_is_counted_and_has_no_part_in_the_units():
    context = table("iris")
    padded = torch.cat([context.x_train, torch.full((150, 5), 7.0)], 1)
    context = replace(context, x_train=padded)
    assert item(features.feature_units, context).ok is True
    assert item(features.constant, context).message == "5 of 9 features are constant in the data"


def test_images_need_no_choice():
    assert item(features.feature_units, contexts.plain()).ok is None


class Padded(nn.Module):
    """The digit network on the first 64 features."""

    def forward(self, x):
        return contexts.network()(x[:, :64].reshape(-1, 1, 8, 8))


def padded(more):
    """The plain context with features that the model ignores."""

    def wider(x):
        return torch.cat([x, more(len(x))], 1)

    plain, train = contexts.plain(), contexts.digits().train.x.flatten(1)
    x = wider(plain.x)
    return replace(plain, x=x, x_pool=wider(plain.x_pool), x_train=wider(train), classifier=adapt(Padded(), x))


def noise(size):
    generator = torch.Generator().manual_seed(0)
    return lambda n: size * torch.randn(n, 192, generator=generator)


def test_noisy_features_that_the_model_ignores_are_named():
    found = item(features.ignored, padded(noise(0.3)))
    assert found.ok is False
    count = int(found.message.partition("ignores ")[2].partition(" of 25")[0])
    assert 192 <= count < 200  # and a few pixels that are nearly always dark
    assert "leave them out of data and manifold-data" in found.message


def test_few_ignored_features_are_a_note():
    found = item(features.ignored, padded(lambda n: noise(1.0)(n)[:, :12]))
    assert found.ok is None
    assert "features that vary, which carry 7" in found.message


@pytest.mark.parametrize("more", [noise(0.01), lambda n: torch.ones(n, 192)], ids=["quiet", "constant"])
def test_quiet_features_that_the_model_ignores_are_no_finding(more):
    assert item(features.ignored, padded(more)).ok is not False


def test_an_ordinary_network_ignores_nothing():
    assert item(features.ignored, contexts.plain()).ok is None
    assert item(features.ignored, contexts.plain()).value < 0.01


def test_a_vanishing_gradient_says_nothing_about_features():
    context = contexts.plain()
    flat_model = adapt(lambda x: torch.eye(10)[:1].expand(len(x), -1), contexts.digits().test.x)
    assert item(features.ignored, replace(context, classifier=flat_model)).ok is None
