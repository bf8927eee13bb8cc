"""Images come with channels last in memory where a network computes faster so, and as they are elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dmmcheck.models.base import flat
from dmmcheck.models.torch import adapt


def images(n=5, *, dtype=torch.float32, channels=3):
    return torch.rand((n, channels, 8, 8), generator=torch.Generator().manual_seed(0), dtype=dtype)


def network(*middle, width=32 * 16):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *middle, nn.Flatten(), nn.Linear(width, 4)).eval()


class Functional(nn.Module):
    """Pools by a function, as the network of torch's own example does."""

    def __init__(self):
        super().__init__()
        self.parts = network(nn.ReLU(), nn.MaxPool2d(2))

    def forward(self, x):
        return self.parts[-1](F.max_pool2d(F.relu(self.parts[0](x)), 2).flatten(1))


class Viewing(Functional):
    """Cannot take images with channels last: a view needs the channels before the rows."""

    def forward(self, x):
        pooled = F.max_pool2d(F.relu(self.parts[0](x)), 2)
        return self.parts[-1](pooled.view(len(x), -1))


class DependingOnLayout(Functional):
    """Returns other logits for another layout."""

    def forward(self, x):
        return super().forward(x) + float(x.is_contiguous())


class _Strict(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad.view(-1).view(grad.shape)


class ViewingBackward(Functional):
    """Has no gradient where channels come last."""

    def forward(self, x):
        return self.parts[-1](F.max_pool2d(_Strict.apply(F.relu(self.parts[0](x))), 2).flatten(1))


@pytest.mark.parametrize(
    "model",
    [network(nn.ReLU(), nn.MaxPool2d(2)), network(nn.BatchNorm2d(32), nn.ReLU(), width=32 * 64), Functional()],
    ids=["max-pooling", "batch-norm", "functional"],
)
def test_channels_come_last_where_that_is_faster_and_change_rounding_alone(model):
    x = images()
    classifier = adapt(model, x)
    seen = []
    model.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    leaf, plain = flat(classifier, x).requires_grad_(), x.clone().requires_grad_()
    output = classifier.logits(leaf)
    assert seen == [True]
    torch.testing.assert_close(output, model(plain))
    (found,) = torch.autograd.grad(output.square().sum(), leaf)
    (expected,) = torch.autograd.grad(model(plain).square().sum(), plain)
    torch.testing.assert_close(found.reshape(x.shape), expected)


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (Viewing(), images()),
        (ViewingBackward(), images()),
        (DependingOnLayout(), images()),
        (network(nn.ReLU(), width=32 * 64), images()),
        (network(nn.GroupNorm(4, 32), nn.ReLU(), nn.MaxPool2d(2)), images()),
        (Functional().double(), images(dtype=torch.float64)),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), images()),
    ],
    ids=["view", "view-backward", "depends-on-layout", "no-gain", "group-norm", "float64", "no-convolution"],
)
def test_other_models_get_images_as_they_are(model, x):
    classifier = adapt(model, x)
    assert classifier.layout == torch.preserve_format
    leaf = flat(classifier, x).requires_grad_()
    torch.testing.assert_close(classifier.logits(leaf), model(x))
    (found,) = torch.autograd.grad(classifier.logits(leaf).sum(), leaf)
    assert bool(found.any())


def test_a_function_over_images_is_called_once_to_be_read():
    calls = []

    def model(x):
        calls.append(len(x))
        return F.max_pool2d(x, 4).flatten(1)

    assert adapt(model, images(channels=1)).layout == torch.preserve_format
    assert calls[0] == 2
    assert len(calls) <= 2
