"""What must never get a verdict: masked gradients, and models that know nothing or change their mind."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dmmcheck.seeding import seeded
from dmmcheck.worlds.base import World
from dmmcheck.worlds.prototypes import NearestPrototype, neighbours
from dmmcheck.worlds.unrelated import Network

Kind = Literal["saturated", "quantised", "step", "rounded", "ripple", "stochastic", "untrained", "constant"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LEVELS = 8  # of quantised inputs, in a unit of length
SIZE = 0.05  # of the noise of a stochastic model, where margins are about 0.5


class Saturated(nn.Module):
    """Softmax of logits so large that all but one round to zero, and so do the gradients."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (n, C)."""
        return (1e4 * self.inner(x)).softmax(1)  # type: ignore[no-any-return]


class Quantised(nn.Module):
    """Inputs are rounded first: a staircase, flat nearly everywhere."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, C)."""
        return self.inner((LEVELS * x).round() / LEVELS)  # type: ignore[no-any-return]


class Step(nn.Module):
    """Only the signs of the inputs count, and a sign has no gradient."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, C)."""
        return self.inner(torch.sign(x))  # type: ignore[no-any-return]


class Rounded(nn.Module):
    """Logits are rounded: steps again."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, C)."""
        return (10 * self.inner(x)).round()  # type: ignore[no-any-return]


class Ripple(nn.Module):
    """A small, fast wave on the input: gradients are there and mean nothing."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, C)."""
        return self.inner(x + 0.02 * torch.sin(400 * x))  # type: ignore[no-any-return]


class Stochastic(nn.Module):
    """Fresh noise on the logits at every call."""

    def __init__(self, inner: nn.Module, seed: int) -> None:
        super().__init__()
        self.inner = inner
        self.seed = seed
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, C)."""
        self.calls += 1
        logits: Tensor = self.inner(x)
        generator = seeded(self.seed, "stochastic", self.calls)
        return logits + SIZE * torch.randn(logits.shape, generator=generator).to(logits)


class Constant(nn.Module):
    """Always the first class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, C)."""
        logits = torch.zeros(self.classes).to(x)
        logits[0] = 1.0
        return logits + 0 * x[:, :1]


def unsound(
    *, kind: Kind, ambient_dim: int = 50, dim: int = 8, classes: int = 4, samples: int = 256, seed: int
) -> World:
    """A subject on which nothing can be measured, whatever its distances look like.

    Inputs and manifold are those of `neighbours`; so is the model, with something in front or behind that masks its
    gradients (``"saturated"``, ``"quantised"``, ``"step"``, ``"rounded"``, ``"ripple"``) or with noise
    (``"stochastic"``). ``"untrained"`` is a network of random weights held to labels drawn at random, ``"constant"``
    always says the same.

    Args:
        kind: One of `KINDS`.
        ambient_dim: D.
        dim: k, at least C.
        classes: C.
        samples: Inputs, and as many examples for neighbours.
        seed: Of everything random.
    """
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
