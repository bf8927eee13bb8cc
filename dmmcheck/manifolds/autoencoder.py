"""A small autoencoder that is trained on the training points, as a built-in manifold."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds.affine import PCA
from dmmcheck.manifolds.base import fitting_points
from dmmcheck.manifolds.decoder import Decoder
from dmmcheck.manifolds.dimension import chosen_dim
from dmmcheck.manifolds.nearest import nearest_codes
from dmmcheck.manifolds.operators import are_dense
from dmmcheck.models.process_state import neutral_state
from dmmcheck.seeding import seeded

WIDTH = 128  # units of the hidden layer of the encoder, and of that of the decoder
STEPS = 1500
BATCH = 128
RATE = 3e-3  # of Adam
HELD_OUT = 10  # one of so many points is held out, to stop early
LOOK = 50  # steps between two looks at the held-out points
PATIENCE = 5  # looks without an improvement after which training stops
BETTER = 0.999  # an improvement leaves less than this share of the error

_LOG = logging.getLogger(__name__)


class Network(nn.Module):
    """Principal component analysis, and a network with one hidden layer each for what it leaves of encoder and decoder.

    With c = (x - mean) / size, the code of x is z = c B / spread + f(c), and its decoded point is
    mean + size (z spread B^T + g(z)). The last layers of f and g begin at zero, so that training begins with the
    principal components B.

    Args:
        points: Training points (m, D).
        dim: Size k of a code.
        generator: Source of the weights.
    """

    mean: Tensor  # (D,)
    size: Tensor  # ()
    basis: Tensor  # (D, k)
    spread: Tensor  # (k,)

    def __init__(self, points: Tensor, dim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        plane = PCA(dim=dim).fit(points)
        mean = points.mean(0)
        size = (points - mean).square().mean().sqrt()
        codes = ((points - mean) / size) @ plane.basis
        for name, value in {"mean": mean, "size": size, "basis": plane.basis, "spread": codes.std(0)}.items():
            self.register_buffer(name, value)
        self.inward = _layers(points.shape[1], dim, generator).to(points)
        self.outward = _layers(dim, points.shape[1], generator).to(points)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (n, k) of points (n, D)."""
        centred = (x - self.mean) / self.size
        codes: Tensor = centred @ self.basis / self.spread + self.inward(centred)
        return codes

    def decode(self, z: Tensor) -> Tensor:
        """Return the points (n, D) of codes (n, k)."""
        points: Tensor = self.mean + self.size * ((z * self.spread) @ self.basis.T + self.outward(z))
        return points

    def jacobian(self, z: Tensor) -> Tensor:
        """Return the Jacobians (n, D, k) of the decoded points of codes (n, k)."""
        first, last = self.outward[0], self.outward[2]
        hidden = first(z)
        gate = hidden.sigmoid()
        slopes = gate * (1 + hidden * (1 - gate))  # of SiLU, (n, 128)
        columns: Tensor = self.size * (self.basis * self.spread + last.weight @ (slopes[:, :, None] * first.weight))
        return columns

    def error(self, x: Tensor) -> Tensor:
        """Return the mean square of the residuals of points (n, D), over the variance of the training points."""
        return ((self.decode(self.encode(x)) - x) / self.size).square().mean()


def _layers(inputs: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """Return two layers, of whose weights the last begin at zero."""
    make: Any = nn.utils.skip_init  # without numbers from the global generator
    first, last = make(nn.Linear, inputs, WIDTH), make(nn.Linear, WIDTH, outputs)
    nn.init.normal_(first.weight, std=inputs**-0.5, generator=generator)
    for part in (first.bias, last.weight, last.bias):
        nn.init.zeros_(part)
    return nn.Sequential(first, nn.SiLU(), last)


class TrainedAutoencoder(Decoder):
    """The manifold that `Autoencoder` fits, see there.

    Attributes:
        recipe: What it was made by.
        note: How it was trained, in a few words, for reports.
    """

    name = "autoencoder"

    def __init__(self, network: Network, recipe: Autoencoder, points: Tensor, note: str) -> None:
        super().__init__(network.encode, network.decode, dim=network.basis.shape[1], training_points=points)
        self.network, self.recipe, self.note = network, recipe, note

    def _encoded(self, x: Tensor) -> Tensor:
        """Return the codes (n, k) of the decoded points nearest to points (n, D); where D k is large, the encoder's.

        The search for the nearest points holds Jacobians (n, D, k).
        """
        codes, ambient_dim = super()._encoded(x), x.shape[1]
        if not are_dense(ambient_dim, self.dim, codes.element_size()):
            return codes
        decode = partial(self.decoded, ambient_dim=ambient_dim)
        return nearest_codes(x.to(codes), codes, decode, self.network.jacobian)

    def _jacobian(self, codes: Tensor, ambient_dim: int) -> Tensor:
        return self.network.jacobian(codes)

    def refit(self, dim: int) -> TrainedAutoencoder:
        """Return an autoencoder of the same points with another dimension.

        Raises:
            ManifoldError: See `Autoencoder.fit`.
        """
        return replace(self.recipe, dim=dim).fit(self.training_points)

    def refit_on(self, points: Tensor) -> TrainedAutoencoder:
        """Return an autoencoder of other points (m, D), e.g. of the same points in other units."""
        return self.recipe.fit(points)


@dataclass(frozen=True, kw_only=True)
class Autoencoder:
    """Estimate a manifold by an autoencoder that is trained on the points.

    Encoder and decoder are principal component analysis, to which a network with one hidden layer of 128 units each is
    added. Adam minimises the squared error. Every tenth point is held out, and training stops where the error there no
    longer falls; the best weights are kept. An autoencoder therefore loses no more of the held-out points than
    principal component analysis does. A point is projected to the nearest decoded point, which `nearest_codes` finds
    from the code of the encoder, where a basis takes at most 64 MiB; elsewhere to the decoded point of that code.

    Attributes:
        dim: Intrinsic dimension k; estimated from the points where None or ``"estimate"``, see `dimension.chosen_dim`.
        steps: Most steps of training, with 128 points each.
        seed: Seed of the weights and of the order of the points.

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds import Autoencoder
        >>> angle = torch.linspace(-2, 2, 400)
        >>> arc = torch.stack([angle.cos(), angle.sin()], 1)
        >>> autoencoder = Autoencoder(dim=1, steps=200).fit(arc)
        >>> autoencoder.name, autoencoder.dim
        ('autoencoder', 1)
    """

    dim: int | str | None = None
    steps: int = STEPS
    seed: int = 0

    @neutral_state()
    def fit(self, x: Any) -> TrainedAutoencoder:
        """Return the manifold of points ``(m, *input_shape)``.

        Raises:
            ManifoldError: There are too few points, k is not below D or exceeds the rank of the points, or training
                diverges.
        """
        dim, note = chosen_dim(x, self.dim)
        points = fitting_points(x, dim)
        held_out = torch.arange(len(points), device=points.device) % HELD_OUT == HELD_OUT - 1
        training, others = points[~held_out], points[held_out] if bool(held_out.any()) else points
        generator = seeded(self.seed, "autoencoder")
        _LOG.info("training an autoencoder with k = %d on %d points, at most %d steps", dim, len(training), self.steps)
        network = Network(training, dim, generator=generator)
        taken, error = _train(network, training, others, self.steps, generator)
        trained = f"trained on {len(training)} points in {taken} steps, error {error:.1%} of the variance"
        note = ", ".join(filter(None, [note, trained]))
        return TrainedAutoencoder(network.eval().requires_grad_(False), self, points, note)


def _train(
    network: Network, points: Tensor, held_out: Tensor, steps: int, generator: torch.Generator
) -> tuple[int, float]:
    """Train a network, which gets the weights with the least error of the held-out points.

    Returns:
        The number of steps after which these weights were reached, and their error.

    Raises:
        ManifoldError: The error of the held-out points is not finite.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    best, least, reached = copy.deepcopy(network.state_dict()), _error(network, held_out, 0), 0
    for step in range(1, steps + 1):
        batch = torch.randint(len(points), (min(BATCH, len(points)),), generator=generator).to(points.device)
        loss = network.error(points[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % LOOK and step < steps:
            continue
        error = _error(network, held_out, step)
        if error < BETTER * least:
            best, least, reached = copy.deepcopy(network.state_dict()), error, step
        if step - reached >= PATIENCE * LOOK:
            break
    network.load_state_dict(best)
    return reached, least


def _error(network: Network, points: Tensor, step: int) -> float:
    with torch.no_grad():
        pieces = torch.split(points, 1024)
        error = sum([float(network.error(piece)) * len(piece) for piece in pieces]) / len(points)
    if not error < torch.inf:
        raise ManifoldError(
            f"the autoencoder diverged: its error is {error:g} after {step} steps; scale the points, or remove those "
            "that are far from all others, or use local-pca, which is not trained"
        )
    return error
