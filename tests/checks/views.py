"""What a check sees, of small subjects; and networks to see it through."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from dmmcheck import geometry
from dmmcheck.config.settings import Settings
from dmmcheck.manifolds import Subspace
from dmmcheck.measurement.measure import View
from dmmcheck.run import Run
from dmmcheck.subject import Subject

D, K, CLASSES = 12, 3, 4


class Local:
    """A flat manifold with another tangent space for each input, all within the first 2k axes."""

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
    """A small smooth network with weights of its own."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(D, 16), nn.Softplus(), nn.Linear(16, classes))
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(scale * torch.randn(weights.shape, generator=generator) / 2)
    return model.eval()


def subject(
    *, seed: int = 0, samples: int = 48, manifold: object = None, classes: int = CLASSES, **more: object
) -> Subject:
    """A network and inputs that it is right about by construction."""
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
    return Run(of, Settings(**settings)).measure.view(n)


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
        return int(seen.measure.classifier.logits(torch.tensor(point, dtype=torch.float32)[None]).argmax(1))
