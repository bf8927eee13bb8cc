"""Trained networks with manifolds that are unrelated to them, so that stated claims are true by chance alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dmmcheck import geometry
from dmmcheck.errors import SubjectError
from dmmcheck.seeding import seeded
from dmmcheck.subject import Subject
from dmmcheck.worlds.base import World
from dmmcheck.worlds.flat import UNRELATED
from dmmcheck.worlds.parameters import check_numbers, check_sizes
from dmmcheck.worlds.prototypes import Through

HIDDEN = 32
STEPS, RATE = 150, 0.02
RADIUS = 1.0  # radius of the circles whose product the torus is
BY_CHANCE = (
    "off-manifold-energy-stated-builtin",
    "boundary-parallel-stated-builtin",
    "on-manifold-distance-stated-builtin",
    "off-manifold-suffices-stated-builtin",
)
"""Claims that are true of almost any manifold of few dimensions, since a random direction has the share k / D in it."""
DATA = ("noise-like-controlled-builtin",)
"""Claims that are false where the data, too, are unrelated to the tangent spaces."""
LOCAL = tuple(
    f"{check}-controlled-{control}"
    for check in (
        *("off-manifold-energy", "boundary-parallel", "on-manifold-distance"),
        *("component-flips", "projection-restores", "noise-like"),
    )
    for control in ("spectrum", "covariance", "same-class", "other-class")
)
"""The same with other controls: false where the model and the data are unrelated to the tangent spaces."""


class Network(nn.Module):
    """A network of one hidden layer, trained on points and labels with full batches of Adam."""

    def __init__(self, ambient_dim: int, classes: int, *, generator: torch.Generator) -> None:
        super().__init__()
        shapes = ((ambient_dim, HIDDEN), (HIDDEN, classes))
        weights = [torch.randn(shape, generator=generator) / math.sqrt(shape[0]) for shape in shapes]
        self.first, self.second = (nn.Parameter(weight) for weight in weights)
        self.bias = nn.Parameter(0.5 * torch.randn(HIDDEN, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C)."""
        return torch.nn.functional.softplus(x @ self.first + self.bias) @ self.second

    def fit(self, x: Tensor, y: Tensor) -> Network:
        """Train the network, and return it in evaluation mode."""
        optimiser = torch.optim.Adam(self.parameters(), lr=RATE)
        for _ in range(STEPS):
            optimiser.zero_grad()
            cross_entropy(self(x), y).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return self.eval()


class Torus:
    """The product of k circles in a 2k-dimensional subspace, with its own tangent spaces or those of a rotated copy.

    Attributes:
        axes: (D, 2k) orthonormal; circle j lies in columns 2j and 2j + 1.
        turned: (D, 2k) the same for the copy whose tangent spaces are given; `axes` for its own.
    """

    def __init__(self, axes: Tensor, turned: Tensor, *, name: str) -> None:
        self.axes, self.turned, self.name = axes, turned, name
        self.dim = axes.shape[1] // 2

    def project_point(self, x: Tensor) -> Tensor:
        """Return the nearest points of the torus."""
        circles: Tensor = RADIUS * self._circles(x)
        return circles.flatten(1) @ self.axes.to(x).T

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return the bases (n, D, k), one vector along each circle, at a right angle to its radius."""
        radial = self._circles(x)  # (n, k, 2)
        tangent = torch.stack([-radial[..., 1], radial[..., 0]], -1)
        pairs = self.turned.to(x).reshape(-1, self.dim, 2)  # (D, k, 2)
        return torch.einsum("nkc,dkc->ndk", tangent, pairs)

    def _circles(self, x: Tensor) -> Tensor:
        """Return the unit radial vectors (n, k, 2) in the circles' planes."""
        pairs: Tensor = (x @ self.axes.to(x)).reshape(len(x), self.dim, 2)
        radial: Tensor = pairs / pairs.norm(dim=2, keepdim=True)
        return radial


TRAINED_ALIKE = (
    "adversarial-training-deepens-controlled-main-effect",
    "robust-turns-tangential-controlled-builtin",
    "two-phases-controlled-builtin",
)
"""Claims that are false of networks trained alike, in any order."""


def random_subspace(
    *,
    ambient_dim: int = 100,
    dim: int = 8,
    classes: int = 4,
    spread: float = 0.3,
    samples: int = 256,
    image: tuple[int, int] | None = None,
    reference_models: int = 0,
    seed: int,
) -> World:
    """Return a trained network, and a random subspace through each class as the manifold.

    Data are clusters on a k-dimensional subspace T. The manifold consists not of T but of copies of a Haar-random
    subspace of the same dimension through the clusters, so that projection keeps the classes and the measurement is
    sound. The share of a gradient in it has the distribution Beta(k/2, (D-k)/2). So the stated claims are true, as they
    are of any such subspace, and it is false that this one differs from others.

    Args:
        ambient_dim: D.
        dim: k.
        classes: C.
        spread: Standard deviation of the clusters, in units of the distance between them.
        samples: Number of inputs, and of examples to train on and for neighbours.
        image: Shape of the inputs, height times width being D, so that the spectrum-matched control can be drawn.
        reference_models: Number of further networks, trained alike from other initial weights. They are the
            checkpoints, in an arbitrary order, and the first is the standard model of a pair. `two-phases` needs 9 or
            more to be able to reject its claim.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_sizes(
        samples=samples,
        dim=dim,
        ambient_dim=ambient_dim,
        classes=(classes, 2),
        reference_models=(reference_models, 0),
    )
    check_numbers(spread=(spread, 0, math.inf))
    if image is not None and math.prod(image) != ambient_dim:
        raise SubjectError(
            f"a world cannot have image = {image!r}; give a shape with ambient_dim = {ambient_dim} values"
        )
    generator = seeded(seed, "random subspace")
    basis = geometry.random_basis(ambient_dim, dim, generator=generator)
    middles = torch.randn(classes, dim, generator=generator) / math.sqrt(2 * dim)
    x, y, x_train, y_train = _clusters(middles, spread / math.sqrt(dim), samples, generator)
    x, x_train, anchors = (points @ basis.T for points in (x, x_train, middles))
    network = Network(ambient_dim, classes, generator=generator).fit(x_train, y_train)
    other = geometry.random_basis(ambient_dim, dim, generator=generator)
    others = [Network(ambient_dim, classes, generator=generator).fit(x_train, y_train) for _ in range(reference_models)]
    shape = image or (ambient_dim,)
    models = [nn.Sequential(nn.Flatten(), model).eval() if image else model for model in (network, *others)]
    subject = Subject(
        model=models[0],
        x=x.reshape(-1, *shape),
        y=y,
        manifold=Through(other, anchors),
        x_train=x_train.reshape(-1, *shape),
        y_train=y_train,
        units="input",
        reference=models[1] if reference_models else None,
        checkpoints=[(100 * number, model) for number, model in enumerate(models[1:])],
    )
    false = (*UNRELATED, *DATA, *LOCAL, *(TRAINED_ALIKE if reference_models else ()))
    return World(
        "trained network, random subspace", subject, truth=dict.fromkeys(BY_CHANCE, True) | dict.fromkeys(false, False)
    )


def rotated(
    *, ambient_dim: int = 100, dim: int = 4, classes: int = 4, spread: float = 0.3, samples: int = 256, seed: int
) -> World:
    """Return a network trained on a rotated copy of the data, and the tangent spaces of the data before the rotation.

    Data are clusters on a torus, the product of k circles. It is curved, so that tangent spaces differ between inputs
    and all controls apply. The tangent space of each input is the one before the rotation, which is unrelated to the
    network. So stated claims are true by chance, and it is false that these tangent spaces differ from random ones or
    from those of other inputs.

    Args:
        ambient_dim: D, at least 4k.
        dim: k.
        classes: C.
        spread: Standard deviation of the angles, in radians.
        samples: Number of inputs, and of examples to train on and for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_sizes(samples=samples, dim=dim, ambient_dim=ambient_dim, normal_dim=3 * dim, classes=(classes, 2))
    check_numbers(spread=(spread, 0, math.inf))
    generator = seeded(seed, "rotated")
    before, after = (geometry.random_basis(ambient_dim, 2 * dim, generator=generator) for _ in range(2))
    middles = 2 * math.pi * torch.rand(classes, dim, generator=generator)
    angles, y, angles_train, y_train = _clusters(middles, spread, samples, generator)
    x, x_train = (
        RADIUS * torch.stack([torch.cos(a), torch.sin(a)], -1).flatten(1) @ after.T for a in (angles, angles_train)
    )
    network = Network(ambient_dim, classes, generator=generator).fit(x_train, y_train)
    manifold = Torus(after, before, name="torus before rotation")
    subject = Subject(model=network, x=x, y=y, manifold=manifold, x_train=x_train, y_train=y_train, units="input")
    truth = dict.fromkeys(BY_CHANCE, True) | dict.fromkeys((*UNRELATED, *DATA, *LOCAL), False)
    return World("trained network, rotated copy", subject, truth=truth)


def _clusters(
    middles: Tensor, spread: float, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return two samples of points (n, k) around the middles, with the numbers of the middles as labels (n,)."""

    def drawn() -> tuple[Tensor, Tensor]:
        y = torch.randint(0, len(middles), (samples,), generator=generator)
        return middles[y] + spread * torch.randn(samples, middles.shape[1], generator=generator), y

    return *drawn(), *drawn()
