"""Training data that look to the model like the inputs pass; each way in which they do not is named."""

from __future__ import annotations

from dataclasses import replace

import contexts
import pytest
import torch
from torch import nn

from dmmcheck.models.torch import adapt
from dmmcheck.soundness import training_data


def trained(x_train=None, y_train=None):
    """The plain context with training data of the digits."""
    train = contexts.digits().train
    x = train.x.flatten(1) if x_train is None else x_train(train.x).flatten(1)
    y = train.y if y_train is None else y_train(train.y)
    return replace(contexts.plain(), x_train=x, y_train=y)


def noisy(y, share=0.1):
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(len(y), generator=generator) < share
    return torch.where(wrong, (y + torch.randint(1, 10, y.shape, generator=generator)) % 10, y)


def item(context, gate=training_data.training_data):
    return next(iter(contexts.asked(gate, context).values()))


def test_the_training_data_of_the_digits_pass():
    context = trained()
    assert item(context).ok is True
    assert item(context, training_data.training_scale).ok is True


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_train": lambda y: (y + 1) % 10}, "are shifted by 1: number its classes as those of the inputs, which"),
        ({"y_train": lambda y: 9 - y}, "the class numbers of the training data are in another order: number"),
        ({"y_train": noisy}, "some of its labels are wrong, or it has another preprocessing than the inputs: correct"),
        ({"x_train": lambda x: x / 255}, "multiply the training data by 255, which gives"),
    ],
    ids=["shifted", "reversed", "noise", "scale"],
)
def test_what_is_wrong_with_the_training_data_is_named(changes, words):
    found = item(trained(**changes))
    assert found.ok is False
    assert words in found.message
    assert "training examples and 9" in found.message
    assert "the inputs (limit: 5 points lower; p = " in found.message


@pytest.mark.parametrize(("wrong", "rows", "asked"), [(0.0, None, [10]), (0.2, None, [10, 40]), (0.2, 10, [10])])
def test_more_training_examples_are_asked_about_where_the_first_ones_are_not_recognised(
    monkeypatch, wrong, rows, asked
):
    counts = []

    def counted(context, x):
        counts.append(len(x))
        return context.classifier.logits(x).argmax(1)

    monkeypatch.setattr(training_data, "_predicted", counted)
    monkeypatch.setattr(training_data, "FIRST_EXAMPLES", 10)
    monkeypatch.setattr(training_data, "EXAMPLES", 40)
    context = trained()
    labels = context.classifier.logits(context.x_train).argmax(1)
    first = torch.linspace(0, len(labels) - 1, 10).round().long()
    labels[first[: round(10 * wrong)]] += 1
    if rows:
        context, labels = replace(context, x_train=context.x_train[first]), labels[first]
    assert item(replace(context, y_train=labels)).ok is True
    assert counts == asked


def test_few_wrong_labels_are_no_finding():
    assert item(trained(y_train=lambda y: noisy(y, 0.02))).ok is True


def test_a_model_that_overfits_is_no_finding():
    assert item(replace(trained(), accuracy=0.6)).ok is True


def test_an_accuracy_that_may_be_lower_by_chance_is_no_finding():
    context = trained(y_train=noisy)
    assert item(replace(context, x_train=context.x_train[:12], y_train=context.y_train[:12])).ok is True


@pytest.mark.parametrize("factor", [255.0, 1 / 255])
def test_another_scale_is_named_without_labels(factor):
    for changes in ({"x_train": factor * trained().x_train}, {"training_points": factor * trained().x_train}):
        found = item(replace(contexts.plain(), **changes), training_data.training_scale)
        assert found.ok is False
        assert "give both with the same preprocessing, for example the same division by 255" in found.message


def test_another_offset_is_named_without_labels():
    found = item(replace(contexts.plain(), x_train=trained().x_train - 9), training_data.training_scale)
    assert found.ok is False


def test_nothing_is_said_where_nothing_is_known():
    context = replace(contexts.plain(), training_points=None)
    assert item(context).ok is None
    assert "give x_train and y_train" in item(context).message
    assert item(context, training_data.training_scale).ok is None


class Coloured(nn.Module):
    """A model that depends on the colour and the place of a bright spot."""

    def __init__(self, channels_last):
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x):
        x = x.permute(0, 3, 1, 2) if self.channels_last else x
        return torch.stack([x[:, c, rows].mean((1, 2)) for c in (0, 2) for rows in (slice(0, 3), slice(3, 6))], 1)


def coloured(n, *, channels_last, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = 0.2 * torch.rand(n, 3, 6, 5, generator=generator), torch.arange(n) % 4
    for row, label in enumerate(y.tolist()):
        x[row, 2 * (label // 2), 3 * (label % 2) : 3 * (label % 2) + 3] += 0.5
    return (x.permute(0, 2, 3, 1) if channels_last else x), y


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, axis: x.flip(axis), "reverse the channels of the training data (they look like BGR beside RGB)"),
        (
            lambda x, axis: x.permute(0, 2, 3, 1) if axis == 1 else x.permute(0, 3, 1, 2),
            "give the training data channels ",
        ),
    ],
    ids=["BGR", "layout"],
)
def test_channels_and_layout_are_named(channels_last, change, words):
    x, _ = coloured(200, channels_last=channels_last, seed=0)
    images, labels = coloured(400, channels_last=channels_last, seed=1)
    context = replace(
        contexts.plain(),
        classifier=adapt(Coloured(channels_last), x),
        accuracy=1.0,
        labelled=200,
        x_train=images.flatten(1),
        y_train=labels,
    )
    assert item(context).ok is True
    changed = change(images, 3 if channels_last else 1).flatten(1)
    found = item(replace(context, x_train=changed))
    assert found.ok is False
    assert words in found.message
    assert found.message.endswith("which gives 100%")
