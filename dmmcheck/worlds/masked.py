"""Subjects that must never get a verdict: masked gradients, random labels, constant and stochastic models."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dmmcheck.seeding import seeded
from dmmcheck.worlds.base import World
from dmmcheck.worlds.parameters import check_choice
from dmmcheck.worlds.prototypes import NearestPrototype, neighbours
from dmmcheck.worlds.unrelated import Network

Kind = Literal["saturated", "quantised", "step", "rounded", "ripple", "stochastic", "untrained", "constant"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LEVELS = 8  # levels of quantised inputs per unit of length
SIZE = 0.05  # standard deviation of the noise of a stochastic model, whose margins are about 0.5


class Saturated(nn.Module):
    """Softmax of logits so large that all probabilities but one, and the gradients, round to zero."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return the probabilities (n, C)."""
        return (1e4 * self.inner(x)).softmax(1)  # type: ignore[no-any-return]


class Quantised(nn.Module):
    """A model of rounded inputs, which is constant nearly everywhere."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C)."""
        return self.inner((LEVELS * x).round() / LEVELS)  # type: ignore[no-any-return]


class Step(nn.Module):
    """A model of the signs of the inputs, which have no gradient."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C)."""
        return self.inner(torch.sign(x))  # type: ignore[no-any-return]


class Rounded(nn.Module):
    """A model whose logits are rounded, so that they have no gradient."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C)."""
        return (10 * self.inner(x)).round()  # type: ignore[no-any-return]


class Ripple(nn.Module):
    """A small, fast wave is added to the input, so that gradients do not point to the boundary."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C)."""
        return self.inner(x + 0.02 * torch.sin(400 * x))  # type: ignore[no-any-return]


class Stochastic(nn.Module):
    """A model with new noise on its logits at every call."""

    def __init__(self, inner: nn.Module, seed: int) -> None:
        super().__init__()
        self.inner = inner
        self.seed = seed
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C)."""
        self.calls += 1
        logits: Tensor = self.inner(x)
        generator = seeded(self.seed, "stochastic", self.calls)
        return logits + SIZE * torch.randn(logits.shape, generator=generator).to(logits)


class Constant(nn.Module):
    """A model that always names the first class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C)."""
        logits = torch.zeros(self.classes).to(x)
        logits[0] = 1.0
        return logits + 0 * x[:, :1]


def unsound(
    *, kind: Kind, ambient_dim: int = 50, dim: int = 8, classes: int = 4, samples: int = 256, seed: int
) -> World:
    """Return a subject whose distances cannot be measured reliably.

    Inputs, manifold and model are those of `neighbours`. A change of the inputs or the logits masks the gradients of
    the model (``"saturated"``, ``"quantised"``, ``"step"``, ``"rounded"``, ``"ripple"``) or adds noise
    (``"stochastic"``). ``"untrained"`` has a network of random weights and random labels instead, ``"constant"`` a
    model that always names the first class.

    Args:
        kind: One of `KINDS`.
        ambient_dim: D.
        dim: k, at least C.
        classes: C.
        samples: Number of inputs, and of examples for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_choice("kind", kind, KINDS)
    base = neighbours(ambient_dim=ambient_dim, dim=dim, classes=classes, samples=samples, seed=seed).subject
    generator = seeded(seed, "unsound", kind)
    subject = replace(base, model=_model(kind, base.model, seed=seed, generator=generator))
    if kind == "untrained":
        labels = [torch.randint(0, classes, (samples,), generator=generator) for _ in range(2)]
        subject = replace(subject, y=labels[0], y_train=labels[1])
    return World(kind, subject, sound=False)


def _model(kind: Kind, inner: NearestPrototype, *, seed: int, generator: torch.Generator) -> nn.Module:
    classes, ambient_dim = inner.prototypes.shape
    if kind == "stochastic":
        return Stochastic(inner, seed)
    if kind == "untrained":
        return Network(ambient_dim, classes, generator=generator).eval()
    if kind == "constant":
        return Constant(classes)
    masks = {"saturated": Saturated, "quantised": Quantised, "step": Step, "rounded": Rounded, "ripple": Ripple}
    return masks[kind](inner)
