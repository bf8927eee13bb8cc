"""Flat boundaries over a flat manifold, with all distances in closed form."""

from __future__ import annotations

import math

import torch
from scipy import stats
from torch import Tensor, nn

from dmmcheck import geometry
from dmmcheck.checks.parts import STRETCH
from dmmcheck.manifolds import Subspace
from dmmcheck.seeding import seeded
from dmmcheck.subject import Subject
from dmmcheck.worlds.base import Exact, World, distance_answers, flat_answers
from dmmcheck.worlds.parameters import LEAST, check_numbers, check_sizes

GAP = 0.5  # inputs keep this far from the boundary along the manifold
UNRELATED = (
    "off-manifold-energy-controlled-builtin",
    "boundary-parallel-controlled-builtin",
    "on-manifold-distance-controlled-builtin",
    "component-flips-controlled-builtin",
    "projection-restores-controlled-builtin",
    "boundary-clings-controlled-builtin",
    "shared-sheet-controlled-builtin",
)
"""Claims that this manifold differs from random ones: false of any manifold unrelated to the classifier."""


class Plane(nn.Module):
    """Two classes on the two sides of a hyperplane through the origin: logits (0, w x)."""

    weight: Tensor  # (D,)

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 2)."""
        above = x @ self.weight
        return torch.stack([torch.zeros_like(above), above], 1)


class Crossed(nn.Module):
    """Two classes that change places beyond a second hyperplane: logits (0, (u x) (1 - w x / height))."""

    along: Tensor  # (D,)
    across: Tensor  # (D,)

    def __init__(self, along: Tensor, across: Tensor, height: float) -> None:
        super().__init__()
        self.register_buffer("along", along)
        self.register_buffer("across", across)
        self.height = height

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 2)."""
        product = (x @ self.along) * (1 - x @ self.across / self.height)
        return torch.stack([torch.zeros_like(product), product], 1)


class Sheets:
    """Two parallel copies of a linear subspace, at a height above and below it: the manifold of `sheets`."""

    name = "two sheets"

    def __init__(self, basis: Tensor, normal: Tensor, height: float) -> None:
        self._flat = Subspace(basis)
        self._normal = normal
        self._height = height
        self.dim = basis.shape[1]

    def project_point(self, x: Tensor) -> Tensor:
        """Return the nearest point of the nearer sheet."""
        normal = self._normal.to(x)
        side = torch.where(x @ normal >= 0, self._height, -self._height)
        return self._flat.project_point(x) + side[:, None] * normal

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return the basis (D, k), the same at all points."""
        return self._flat.tangent_basis(x)


def hyperplane(
    *, ambient_dim: int = 50, dim: int = 8, angle: float = 85.0, samples: int = 256, noise: float = 0.0, seed: int
) -> World:
    """Return a hyperplane whose normal w makes an angle with a linear manifold.

    Inputs lie on a k-dimensional subspace T (or off it by normal noise), at least `GAP` from the boundary along T. With
    w = cos(angle) u + sin(angle) n, u in T and n in N:

        d_free = |w x|,    d_on = d_free / cos(angle),    d_off = d_free / sin(angle),    rho_N = sin(angle)^2.

    At 85 degrees the boundary runs nearly along the manifold, and every stated claim is true. At 0 degrees (the normal
    in T) every one is false, and no step off the manifold changes the label. At 90 degrees the model would be constant
    on the manifold; `sheets` is a world with such a normal.

    Args:
        ambient_dim: D.
        dim: k.
        angle: Degrees in [0, 90) between the boundary's normal and the manifold.
        samples: Number of inputs, and of examples for neighbours.
        noise: Standard deviation of the inputs' normal coordinates.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_sizes(samples=samples, dim=dim, ambient_dim=ambient_dim)
    check_numbers(angle=(angle, 0, 90), noise=(noise, 0, math.inf))
    generator = seeded(seed, "hyperplane")
    basis, along, across = frame(ambient_dim, dim, generator)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    weight = cosine * along + sine * across
    x, x_train = (_inputs(basis, along, samples, noise, generator) for _ in range(2))
    subject = labelled(Plane(weight.float()), x, x_train, Subspace(basis.float(), name="linear"))
    free = (x @ weight).abs()
    exact = Exact(free, _over(free, cosine), _over(free, sine), torch.full_like(free, sine**2))
    truth = distance_answers(subject, exact)
    if not noise:
        truth |= flat_answers(sine**2, ambient_dim, dim)
        truth |= _towards_the_other_class(angle, ambient_dim, dim)
    return World(f"hyperplane at {angle:g} degrees", subject, exact.distance, truth)


def _towards_the_other_class(angle: float, ambient_dim: int, dim: int) -> dict[str, bool]:
    """Return the truth of the claims about directions towards the other class.

    Inputs and examples differ within T alone, and the step on the manifold is -u or u, towards the other class. The
    smallest perturbation points there with its part in T, of which a rotated T keeps about the share k / D. Normal
    steps from the two sides of a plane are opposed, as they are in any subspace.
    """
    known = {"noise-like-stated-builtin": True, "shared-sheet-controlled-builtin": False} if angle > 0 else {}
    if angle >= 60 and 2 <= dim <= ambient_dim / 5:
        known["noise-like-controlled-builtin"] = True
    return known


def haar(*, ambient_dim: int = 200, dim: int = 8, samples: int = 256, seed: int) -> World:
    """Return a linear classifier whose normal is uniformly random: related to no manifold.

    This is a `hyperplane` at the angle between such a normal and a fixed k-dimensional subspace, cos(angle)^2 ~
    Beta(k/2, (D-k)/2). All inputs have the same gradient, so that they are one observation of the manifold, not n.
    Stated claims are true where k is much smaller than D. That this manifold differs from random ones is false,
    whatever the angle.

    Args:
        ambient_dim: D.
        dim: k.
        samples: Number of inputs, and of examples for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_sizes(samples=samples, dim=dim, ambient_dim=ambient_dim)
    share = stats.beta(dim / 2, (ambient_dim - dim) / 2).ppf(float(torch.rand((), generator=seeded(seed, "haar"))))
    angle = math.degrees(math.acos(math.sqrt(share)))
    world = hyperplane(ambient_dim=ambient_dim, dim=dim, angle=angle, samples=samples, seed=seed)
    return World(
        "Haar-random normal", world.subject, world.distance, {**world.truth, **dict.fromkeys(UNRELATED, False)}
    )


def sheets(*, ambient_dim: int = 50, dim: int = 8, height: float = 0.1, samples: int = 256, seed: int) -> World:
    """Return two classes on two parallel sheets, with the boundary half way between them: its normal lies in N.

    d_free = d_off = height, d_on is infinite, and rho_N = 1. The claims about distances and energy are true. Projection
    takes an adversarial example to the sheet of the other class, so that it does not restore the class.

    Args:
        ambient_dim: D.
        dim: k.
        height: Distance of each sheet from the boundary.
        samples: Number of inputs, and of examples for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_sizes(samples=samples, dim=dim, ambient_dim=ambient_dim)
    check_numbers(height=(height, LEAST, math.inf))
    generator = seeded(seed, "sheets")
    basis, _, across = frame(ambient_dim, dim, generator)

    def drawn() -> Tensor:
        coordinates = torch.randn(samples, dim, generator=generator, dtype=torch.float64)
        side = 2.0 * torch.randint(0, 2, (samples, 1), generator=generator) - 1
        return coordinates @ basis.T + side * height * across

    x, x_train = drawn(), drawn()
    subject = labelled(Plane(across.float()), x, x_train, Sheets(basis.float(), across.float(), height))
    free = (x @ across).abs()
    exact = Exact(free, torch.full_like(free, torch.inf), free, torch.ones_like(free))
    truth = distance_answers(subject, exact) | flat_answers(1.0, ambient_dim, dim)
    truth |= {"projection-restores-stated-builtin": False, "shared-sheet-controlled-builtin": False}
    return World("two sheets", subject, exact.distance, truth)


def crossed(*, ambient_dim: int = 50, dim: int = 8, height: float = 0.2, samples: int = 256, seed: int) -> World:
    """Return two classes next to each other on the manifold, which change places at a height above it.

    The boundary is the union of u x = 0 and n x = height, u in T and n in N: d_on = |u x|, d_off = height, d_free =
    min(d_on, d_off). Normal steps of both classes point in the same direction, up. So it is false that the classes lie
    on opposite sides of one sheet, although the claims about distances are true.

    Args:
        ambient_dim: D.
        dim: k.
        height: Distance of the second part of the boundary from the manifold.
        samples: Number of inputs, and of examples for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_sizes(samples=samples, dim=dim, ambient_dim=ambient_dim)
    check_numbers(height=(height, LEAST, math.inf))
    generator = seeded(seed, "crossed")
    basis, along, across = frame(ambient_dim, dim, generator)
    x, x_train = (_inputs(basis, along, samples, 0.0, generator) for _ in range(2))
    subject = labelled(
        Crossed(along.float(), across.float(), height), x, x_train, Subspace(basis.float(), name="linear")
    )
    tangent = (x @ along).abs()
    normal = torch.full_like(tangent, height)
    exact = Exact(torch.minimum(tangent, normal), tangent, normal, (normal < tangent).double())
    truth = distance_answers(subject, exact) | {"shared-sheet-controlled-builtin": False}
    if STRETCH * height < float(tangent.min()):  # perturbations lead up, and projection leads back down
        truth["projection-restores-stated-builtin"] = True
    return World("classes that change places", subject, exact.distance, truth)


def frame(ambient_dim: int, dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return a random subspace (D, k), a unit vector u (D,) in it and one n (D,) orthogonal to it."""
    basis = geometry.random_basis(ambient_dim, dim, generator=generator, dtype=torch.float64)
    along = basis @ torch.randn(dim, generator=generator, dtype=torch.float64)
    across = torch.randn(ambient_dim, generator=generator, dtype=torch.float64)
    across = across - basis @ (basis.T @ across)
    across = across - basis @ (basis.T @ across)
    return basis, along / along.norm(), across / across.norm()


def _inputs(basis: Tensor, along: Tensor, samples: int, noise: float, generator: torch.Generator) -> Tensor:
    """Return normally distributed points (n, D) of the subspace, with noise off it.

    They are `GAP` or more away from the plane u x = 0.
    """
    ambient_dim, dim = basis.shape
    x = torch.randn(samples, dim, generator=generator, dtype=torch.float64) @ basis.T
    x = x + (GAP * torch.where(x @ along >= 0, 1.0, -1.0))[:, None] * along
    if not noise:
        return x
    off = noise * torch.randn(samples, ambient_dim, generator=generator, dtype=torch.float64)
    return x + off - geometry.project_tangent(off, basis)


def labelled(model: nn.Module, x: Tensor, x_train: Tensor, manifold: object) -> Subject:
    """Return a subject of float32 inputs with the labels that the model gives them."""
    x, x_train = x.float(), x_train.float()
    with torch.no_grad():
        y, y_train = (model(points).argmax(1) for points in (x, x_train))
    return Subject(model=model, x=x, y=y, manifold=manifold, x_train=x_train, y_train=y_train, units="input")


def _over(distance: Tensor, cosine: float) -> Tensor:
    """Return the distance over the cosine of an angle, infinite where that is zero."""
    return distance / cosine if cosine > 1e-12 else torch.full_like(distance, torch.inf)
