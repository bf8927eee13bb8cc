"""Mistakes in what a user hands over: each one fails the item that names it, and leaves claims without a verdict."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import dmmcheck
from dmmcheck.registry import GATES

CLAIMS = ("off-manifold-energy", "boundary-clings")
PER_CLASS = 40
RANDOM = torch.Generator().manual_seed(7)


@pytest.fixture(autouse=True)
def fewer_gates(own_registries):
    """The gates that search take most of the time, and have nothing to do with what is handed over."""
    for name, gate in list(GATES.items()):
        if gate.ask.__module__ == "dmmcheck.soundness.probes" or name == "effort":
            del GATES._things[name]


class Spots(nn.Module):
    """Four classes: a bright spot is red or blue, and in the upper or the lower half."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, c, rows].mean((1, 2)) for c in (0, 2) for rows in (slice(0, 3), slice(3, 6))], 1)


def images(seed: int) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 6, 5) with such spots, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(4).repeat(PER_CLASS)
    x = 0.1 * torch.rand(len(y), 3, 6, 5, generator=generator)
    for row, label in enumerate(y.tolist()):
        x[row, 2 * (label // 2), 3 * (label % 2) : 3 * (label % 2) + 3] += 0.3 + 0.1 * torch.rand(
            1, generator=generator
        )
    return x, y


@dataclass
class Handed:
    """What is handed over: test and training data, and how a manifold is made from the latter."""

    x: Tensor
    y: Tensor
    x_train: Tensor
    y_train: Tensor
    wrap: type | None = None

    def run(self) -> dmmcheck.report.model.Report:
        manifold = dmmcheck.manifolds.PCA(dim=4).fit(self.x_train.flatten(1))
        subject = dmmcheck.Subject(
            Spots(),
            self.x,
            self.y,
            manifold if self.wrap is None else self.wrap(manifold),
            x_train=self.x_train,
            y_train=self.y_train,
        )
        return dmmcheck.run(subject, checks=CLAIMS, tiers=["stated"], samples=32, fast=True)


class Wrapped:
    """A manifold around another one."""

    name, dim = "wrapped", 4

    def __init__(self, inner: dmmcheck.Manifold) -> None:
        self.inner = inner

    def project_point(self, x: Tensor) -> Tensor:
        return self.inner.project_point(x)

    def tangent_basis(self, x: Tensor) -> Tensor:
        return self.inner.tangent_basis(x)


class RandomBasis(Wrapped):
    """Tangent spaces that are drawn anew at each call."""

    def tangent_basis(self, x: Tensor) -> Tensor:
        return torch.linalg.qr(torch.randn(x.shape[1], 4, generator=RANDOM)).Q.to(x)


class BatchBasis(Wrapped):
    """Tangent spaces of the batch, not of the training data."""

    def tangent_basis(self, x: Tensor) -> Tensor:
        nearby = torch.cat([x - x.mean(0), torch.eye(4, x.shape[1])])
        return torch.linalg.svd(nearby, full_matrices=False).Vh[:4].T


class InPlace(Wrapped):
    """A projection that changes the points that it gets."""

    def project_point(self, x: Tensor) -> Tensor:
        x.copy_(self.inner.project_point(x))
        return x


def noisy(y: Tensor) -> Tensor:
    """Labels of which each tenth is wrong."""
    return torch.where(torch.arange(len(y)) % 10 == 0, (y + 1) % 4, y)


MISTAKES = {
    "labels shifted": ({"y_train": lambda given: (given.y_train + 1) % 4}, "training-data", "are shifted by 1"),
    "labels noisy": ({"y_train": lambda given: noisy(given.y_train)}, "training-data", "some of its labels are wrong"),
    "BGR": ({"x_train": lambda given: given.x_train.flip(1)}, "training-data", "BGR beside RGB"),
    "NHWC": (
        {"x_train": lambda given: given.x_train.permute(0, 2, 3, 1).reshape(given.x_train.shape)},
        "training-data",
        "give the training data channels first",
    ),
    "times 255": ({"x_train": lambda given: 255 * given.x_train}, "training-scale", "the same division by 255"),
    "test set with noise": ({"x_train": lambda given: given.x + 1e-6}, "disjoint", "test on held-out inputs"),
    "random basis": ({"wrap": lambda given: RandomBasis}, "tangent-repeats", "draw no random numbers"),
    "basis of the batch": ({"wrap": lambda given: BatchBasis}, "tangent-batch", "treat each point for itself"),
    "in-place projection": ({"wrap": lambda given: InPlace}, "in-place", "let it compute on a copy"),
}


def handed() -> Handed:
    return Handed(*images(seed=0), *images(seed=1))


def test_what_is_right_is_sound_and_gets_verdicts():
    report = handed().run()
    assert [item.name for item in report.soundness if item.ok is False] == []
    assert {finding.verdict for finding in report.findings} <= {"supported", "refuted"}
    assert len(report.findings) == len(CLAIMS)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_fails_the_item_that_names_it_and_leaves_the_arrays_alone(mistake):
    changes, name, words = MISTAKES[mistake]
    given = handed()
    for attribute, change in changes.items():
        setattr(given, attribute, change(given))
    arrays = {key: value.clone() for key, value in vars(given).items() if isinstance(value, Tensor)}
    report = given.run()
    (item,) = (item for item in report.soundness if item.name == name)
    assert item.ok is False
    assert words in item.message
    assert all(finding.verdict == "inconclusive" and item.message in finding.reason for finding in report.findings)
    assert len(report.findings) == len(CLAIMS)
    assert all(torch.equal(getattr(given, key), value) for key, value in arrays.items())
