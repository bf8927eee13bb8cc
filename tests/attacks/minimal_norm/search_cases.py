"""What tests search: a plane at an angle to a manifold, and a small smooth network with its inputs."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import nn

from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle
from dmmcheck.attacks.minimal_norm.search import search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.models.torch import adapt


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def plane(ambient_dim, dim, theta, *, dtype=torch.float32, n=8):
    """Inputs, model, basis and distances: a hyperplane whose normal is theta degrees from a linear manifold."""
    generator = rng(ambient_dim + dim)
    basis = geometry.random_basis(ambient_dim, dim, generator=generator, dtype=torch.float64)
    along = basis @ torch.randn(dim, generator=generator, dtype=torch.float64)
    across = torch.randn(ambient_dim, generator=generator, dtype=torch.float64)
    across -= basis @ (basis.T @ across)
    angle = math.radians(theta)
    w = math.cos(angle) * along / along.norm() + math.sin(angle) * across / across.norm()
    x = torch.randn(n, ambient_dim, generator=generator, dtype=torch.float64)
    offset = 1 - (x @ w).min()
    free = x @ w + offset
    expected = {"free": free, "on": free / math.cos(angle), "off": free / math.sin(angle)}
    weight, bias = w.to(dtype), offset.to(dtype)
    return (
        x.to(dtype),
        lambda points: torch.stack([points @ weight + bias, 0 * points[:, 0]], 1),
        basis.to(dtype),
        expected,
    )


class Net(nn.Module):
    """A small smooth network with weights from its own generator."""

    def __init__(self, ambient_dim=12, classes=4, seed=0):
        super().__init__()
        generator = rng(seed)
        self.one = nn.Parameter(torch.randn(ambient_dim, 16, generator=generator, dtype=torch.float64))
        self.two = nn.Parameter(torch.randn(16, classes, generator=generator, dtype=torch.float64))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(torch.tanh(x @ self.one / 3)) @ self.two


NET = Net()
X = torch.randn(40, 12, generator=rng(8), dtype=torch.float64)
with torch.no_grad():
    Y = NET.eval()(X).argmax(1)
NET.train()
BASES = torch.stack([geometry.random_basis(12, 3, generator=rng(s), dtype=torch.float64) for s in range(40)])
SPACES = [Everywhere(), spanned(BASES), spanned(BASES, normal=True)]


def labels(x):
    """What the network in evaluation mode calls points (n, 12)."""
    with torch.no_grad():
        found = NET.eval()(x).argmax(1)
    NET.train()
    return found


def distances(model=NET, x=X, y=Y, spaces=SPACES, **options):
    """Distances (spaces, n) that the search finds."""
    return torch.stack([c.distance for c in search_spaces(model, x, y, spaces, generator=rng(), **options)])


@cache
def baseline():
    """Distances of the network's inputs in the three search spaces."""
    return distances()


def oracle_of(model, x, y=None, *, spaces=None, bounds=None, **options):
    """The margin oracle of a function, at inputs of class 0 unless labels are given."""
    y = torch.zeros(len(x), dtype=torch.long) if y is None else y
    return MarginOracle(
        adapt(model, x), x, y, spaces=spaces or [Everywhere()], bounds=bounds, **{"targets": None} | options
    )
