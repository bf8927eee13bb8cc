"""Training of the network: normally, or adversarially on the worst image in an L2 ball around each image."""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.digits.network import untrained

History = list[tuple[int, nn.Module]]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of training.

    Attributes:
        epochs: Passes over the training data.
        batch: Images in each batch.
        rate: Learning rate of Adam.
        radius: L2 radius of the adversarial images, in units of the images; 0 for normal training.
        attack_steps: Steps of PGD for each adversarial image.
    """

    epochs: int = 30
    batch: int = 64
    rate: float = 2e-3
    radius: float = 0.0
    attack_steps: int = 7


PLAIN = Recipe()
ADVERSARIAL = Recipe(epochs=40, radius=0.75)


def progress(text: str, *, first: bool = False, last: bool = False) -> None:
    """Write a line to stderr. On a terminal it replaces the line before; elsewhere only the last line is written."""
    if sys.stderr.isatty():
        sys.stderr.write("\n" * first + f"\r\033[K{text}" + "\n" * last)
    elif last:
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def fit(x: Tensor, y: Tensor, seed: int = 0, *, recipe: Recipe = PLAIN, name: str = "network") -> nn.Module:
    """The network after training on images x (n, 1, 8, 8) with labels y (n,)."""
    return fit_with_history(x, y, seed, recipe=recipe, name=name)[-1][1]


def fit_with_history(x: Tensor, y: Tensor, seed: int = 0, *, recipe: Recipe = PLAIN, name: str = "network") -> History:
    """The pairs (step, network) before training, after 1, 2, 4, 8, ... steps, and at the end."""
    generator = torch.Generator().manual_seed(seed)
    network = untrained(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    history: History = [(0, deepcopy(network))]
    step = 0
    for epoch in range(1, recipe.epochs + 1):
        for index in torch.randperm(len(x), generator=generator).split(recipe.batch):
            images = worst_within(network, x[index], y[index], recipe, generator) if recipe.radius else x[index]
            loss = F.cross_entropy(network(images), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            if step.bit_count() == 1:
                history.append((step, deepcopy(network)))
        progress(
            f"training the {name}: epoch {epoch} of {recipe.epochs}, loss {loss.item():.4f}",
            first=epoch == 1,
            last=epoch == recipe.epochs,
        )
    if history[-1][0] != step:
        history.append((step, network))
    return [(at, model.eval()) for at, model in history]


def worst_within(network: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Images of high loss within an L2 ball around x (n, 1, 8, 8) and within [0, 1], by PGD (Madry et al. 2018)."""
    step = 2.5 * recipe.radius / recipe.attack_steps
    delta = _into_ball(torch.randn(x.shape, generator=generator), recipe.radius)
    for _ in range(recipe.attack_steps):
        delta.requires_grad_(True)
        loss = F.cross_entropy(network(x + delta), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, delta)
        delta = _into_ball(delta.detach() + step * _unit(gradient), recipe.radius)
        delta = (x + delta).clamp(0, 1) - x
    return x + delta


def _lengths(v: Tensor) -> Tensor:
    """L2 norm of each image, (n, 1, 1, 1)."""
    return v.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, 1, 1, 1)


def _unit(v: Tensor) -> Tensor:
    return v / _lengths(v)


def _into_ball(v: Tensor, radius: float) -> Tensor:
    return v * (radius / _lengths(v)).clamp(max=1)


def accuracy(network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """Share of correctly classified images."""
    with torch.no_grad():
        return (network(x).argmax(1) == y).float().mean().item()
