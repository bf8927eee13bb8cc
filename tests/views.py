"""Small subjects, views of them, and their numbers as arrays for naive references."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from dmmcheck import geometry
from dmmcheck.config.settings import Settings
from dmmcheck.manifolds import Subspace
from dmmcheck.measurement.view import View
from dmmcheck.report.model import Finding
from dmmcheck.run import Run
from dmmcheck.subject import Subject

D, K, CLASSES = 12, 3, 4


class Local:
    """A flat manifold with another tangent space at each input, all within the first 2k axes."""

    name = "local"
    dim = K

    def project_point(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, : 2 * K], torch.zeros_like(x[:, 2 * K :])], 1)

    def tangent_basis(self, x: Tensor) -> Tensor:
        turned = torch.zeros(len(x), x.shape[1], K).to(x)
        angle = x[:, 0]
        for axis in range(K):
            turned[:, 2 * axis, axis], turned[:, 2 * axis + 1, axis] = torch.cos(angle), torch.sin(angle)
        return turned


def network(seed: int = 0, scale: float = 1.0, classes: int = CLASSES) -> nn.Module:
    """A small smooth network with random weights."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(D, 16), nn.Softplus(), nn.Linear(16, classes))
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(scale * torch.randn(weights.shape, generator=generator) / 2)
    return model.eval()


def pooling_network() -> nn.Module:
    """A CNN with maximum pooling and random weights, whose logits depend on the memory layout by rounding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pooled = nn.Sequential(nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5), nn.MaxPool2d(2))
        return nn.Sequential(pooled, nn.Flatten(), nn.Linear(1024, 10)).eval()


def subject(
    *, seed: int = 0, samples: int = 48, manifold: object = None, classes: int = CLASSES, **more: object
) -> Subject:
    """A network, and inputs with the labels that it gives them."""
    generator = torch.Generator().manual_seed(100 + seed)
    x, x_train = (torch.randn(samples, D, generator=generator) for _ in range(2))
    model = network(seed, classes=classes)
    with torch.no_grad():
        y, y_train = model(x).argmax(1), model(x_train).argmax(1)
    if manifold is None:
        manifold = Subspace(geometry.random_basis(D, K, generator=generator))
    given = {"model": model, "x": x, "y": y, "manifold": manifold, "x_train": x_train, "y_train": y_train}
    return Subject(**{**given, **more})


def view(of: Subject, n: int | None = None, **settings: object) -> View:
    """The first n inputs as a check sees them."""
    return View.of(Run(of, Settings(**settings)).measure, n)


def judged(of: Subject, *ids: str, sound: bool = True, **settings: object) -> dict[str, Finding]:
    """Findings by id; all gating ones where none are named. Soundness is taken for granted unless asked for."""
    run = Run(of, Settings(**settings))
    if sound:
        run.soundness, run.pair_soundness, run.trainings_soundness = (), {}, {}
    chosen = [one for one in run.planned if (one.id in ids if ids else one.gating)]
    assert len(chosen) >= len(ids)
    return {one.id: run.finding(one) for one in chosen}


def finding(of: Subject, id: str, **settings: object) -> Finding:
    """One finding, soundness taken for granted."""
    return judged(of, id, **settings)[id]


def array(x: Tensor) -> np.ndarray:
    return x.detach().double().numpy()


def bases(seen: View) -> np.ndarray:
    """The tangent basis of each input (n, D, k)."""
    basis = array(seen.field.basis(slice(0, seen.n)))
    return basis if basis.ndim == 3 else np.broadcast_to(basis, (seen.n, *basis.shape))


def tangent_part(v: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return basis @ (basis.T @ v)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def label(seen: View, point: np.ndarray) -> int:
    with torch.no_grad():
        return int(seen.classifier.logits(torch.tensor(point, dtype=torch.float32)[None]).argmax(1))


def naive(seen: View, question: object) -> list:
    """One value per input, from its own x, y, smallest perturbation and tangent basis."""
    x, deltas, own = array(seen.x), array(seen.delta("free")), bases(seen)
    return [question(x[i], int(seen.y[i]), deltas[i], own[i]) for i in range(seen.n)]


class Counting(nn.Module):
    """A model that counts how often it is called."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x)


class Scaled(nn.Module):
    """A model of inputs divided by `size` and mapped back by `rotation`, with its logits times `factor`."""

    def __init__(
        self, inner: nn.Module, *, rotation: Tensor | None = None, size: float = 1.0, factor: float = 1.0
    ) -> None:
        super().__init__()
        self.inner, self.rotation, self.size, self.factor = inner, rotation, size, factor

    def forward(self, x: Tensor) -> Tensor:
        x = x / self.size
        return self.factor * self.inner(x if self.rotation is None else x @ self.rotation)
