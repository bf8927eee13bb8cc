"""Models with planes between their classes, and inputs: what the attacks of the library search in tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dmmcheck.attacks.search_space import Everywhere, spanned

D, K = 12, 4
BOX = (0.0, 1.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Linear(nn.Module):
    """Three classes with planes between them; logits shifted and scaled as told."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale * torch.randn(3, D, generator=generator(1)))
        self.bias = nn.Parameter(scale * torch.randn(3, generator=generator(2)) + shift)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.flatten(1) @ self.weight.T + self.bias


class Narrow(nn.Module):
    """Two classes with one plane w . x = 1 between them."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        beyond = x.flatten(1) @ self.w - 1
        return torch.stack([-beyond, beyond], 1)


def inputs(n: int = 10, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, D, generator=generator(3), dtype=dtype)


def labels(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(1)


def basis() -> Tensor:
    return torch.linalg.qr(torch.randn(D, K, generator=generator(4))).Q


def exact(model: Linear, x: Tensor, project: Callable[[Tensor], Tensor] = lambda v: v) -> Tensor:
    """Distances (n,) of inputs (n, D) to the nearest of the planes within a subspace, given by its projection."""
    y = labels(model, x)
    weight, z = model.weight.detach(), model(x).detach()
    rows = []
    for i, label in enumerate(y.tolist()):
        planes = weight[label] - weight
        margins = z[i, label] - z[i]
        lengths = project(planes).norm(dim=1)
        rows.append(min(margins[j] / lengths[j] for j in range(3) if j != label))
    return torch.stack(rows)


SPACES = {"free": Everywhere(), "tangent": spanned(basis()), "normal": spanned(basis(), normal=True)}
