"""Images come with channels last in memory where a network computes faster so, and as they are elsewhere."""

from __future__ import annotations

import pytest
import torch
import views
from torch import nn
from torch.nn import functional as F

from dmmcheck.measurement.trainings import first_logits
from dmmcheck.models.base import flat
from dmmcheck.models.reference import moved
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


class ViewingOfOne(Functional):
    """Takes a single image with channels last, and no more than one."""

    def forward(self, x):
        pooled = F.max_pool2d(F.relu(self.parts[0](x)), 2)
        n, channels, height, width = pooled.shape
        means = pooled.view(n * channels, height * width).mean(1)
        return self.parts[-1](pooled.flatten(1)) + means.view(n, channels)[:, :4]


class DependingOnLayout(Functional):
    """Returns other logits for another layout."""

    def forward(self, x):
        return super().forward(x) + float(x.is_contiguous())


class MaskedAndDepending(Functional):
    """Returns other logits for another layout, and a class that is never predicted."""

    def forward(self, x):
        sign = 1.0 if x.is_contiguous() else -1.0
        return torch.cat([sign * super().forward(x), torch.full_like(x[:, :1, 0, 0], -1e9)], 1)


class TypeDepending(Functional):
    """Returns no number for another layout."""

    def forward(self, x):
        return super().forward(x) if x.is_contiguous() else super().forward(x) > 0


class ChannelsLastData(Functional):
    """Takes images (n, H, W, C), whose channels come last as they are."""

    def forward(self, x):
        return super().forward(x.permute(0, 3, 1, 2))


class Keeping(Functional):
    """Keeps what it computed last."""

    def forward(self, x):
        self.kept = F.relu(self.parts[0](x))
        return self.parts[-1](F.max_pool2d(self.kept, 2).flatten(1))


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
        (ViewingOfOne(), images(1)),
        (ViewingOfOne(), images(2)),
        (DependingOnLayout(), images()),
        (MaskedAndDepending(), images()),
        (TypeDepending(), images()),
        (ChannelsLastData(), images().permute(0, 2, 3, 1).contiguous()),
        (network(nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(32 * 64), width=32 * 64), images()),
        (network(nn.ReLU(), width=32 * 64), images()),
        (network(nn.GroupNorm(4, 32), nn.ReLU(), nn.MaxPool2d(2)), images()),
        (Functional().double(), images(dtype=torch.float64)),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), images()),
    ],
    ids=[
        *("view", "view-backward", "view-of-one", "view-of-two", "depends-on-layout", "masked", "other-dtype"),
        *("channels-last-data", "batch-norm-of-rows"),
        *("no-gain", "group-norm", "float64", "no-convolution"),
    ],
)
def test_other_models_get_images_as_they_are(model, x):
    classifier = adapt(model, x)
    assert classifier.layout == torch.preserve_format
    leaf = flat(classifier, x).requires_grad_()
    torch.testing.assert_close(classifier.logits(leaf), model(x))
    (found,) = torch.autograd.grad(classifier.logits(leaf).sum(), leaf)
    assert bool(found.any())


def test_single_inputs_are_tried_as_batches():
    model = ViewingOfOne()
    classifier = adapt(model, images(1))
    torch.testing.assert_close(classifier.logits(images(3).flatten(1)), model(images(3)))


def test_a_class_that_is_never_predicted_takes_no_gain_away():
    class Masked(Functional):
        def forward(self, x):
            return torch.cat([super().forward(x), torch.full_like(x[:, :1, 0, 0], -torch.inf)], 1)

    assert adapt(Masked(), images()).layout == torch.channels_last


def test_a_copy_in_another_dtype_gets_images_as_they_are():
    classifier = adapt(Functional(), images())
    assert classifier.layout == torch.channels_last
    copied = moved(classifier, "cpu", torch.float64, role="twin")
    assert (copied.layout, copied.dtype) == (torch.preserve_format, torch.float64)


def test_a_network_that_keeps_an_activation_can_still_be_copied():
    model = Keeping()
    assert adapt(model, images()).layout == torch.channels_last
    assert not model.kept.requires_grad
    assert moved(model, "cpu", torch.float64, role="twin") is not model


def test_the_logits_that_tell_networks_apart_are_those_of_a_function_of_the_network():
    x = torch.rand((20, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    model = views.pooling_network()
    module, function = adapt(model, x), adapt(lambda z: 1 * model(z), x)
    assert (module.layout, function.layout) == (torch.channels_last, torch.preserve_format)
    assert torch.equal(first_logits(module, x.flatten(1)), first_logits(function, x.flatten(1)))


def test_a_function_over_images_is_not_tried_in_another_layout():
    calls = []

    def model(x):
        calls.append((x.is_contiguous(), x.requires_grad))
        return F.max_pool2d(x, 4).flatten(1)

    assert adapt(model, images()).layout == torch.preserve_format
    assert set(calls) == {(True, False)}
