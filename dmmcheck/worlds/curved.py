"""Spherical boundaries around a flat manifold."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dmmcheck import geometry
from dmmcheck.manifolds import Subspace
from dmmcheck.seeding import seeded
from dmmcheck.worlds.base import Exact, World, distance_answers
from dmmcheck.worlds.flat import frame, labelled
from dmmcheck.worlds.parameters import LEAST, check_numbers, check_sizes

FLIPS = "component-flips-controlled-builtin"
NEAREST, FARTHEST = 0.1, 0.3  # distances of the inputs from the boundary within T, as shares of its radius


class Ball(nn.Module):
    """Inside or outside of a sphere: logits (0, (|x - centre|^2 - radius^2) / (2 radius))."""

    centre: Tensor  # (D,)

    def __init__(self, centre: Tensor, radius: float) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 2)."""
        outside = ((x - self.centre).square().sum(1) - self.radius**2) / (2 * self.radius)
        return torch.stack([torch.zeros_like(outside), outside], 1)


class Blind(nn.Module):
    """A classifier of the projection to the span of a basis, so that it ignores the other directions."""

    basis: Tensor  # (D, k)

    def __init__(self, basis: Tensor, inner: nn.Module) -> None:
        super().__init__()
        self.register_buffer("basis", basis)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the inner classifier at the projected points."""
        return self.inner(geometry.project_tangent(x, self.basis))  # type: ignore[no-any-return]


def sphere(
    *, ambient_dim: int = 50, dim: int = 8, angle: float = 80.0, curvature: float = 0.2, samples: int = 256, seed: int
) -> World:
    """Return a spherical boundary that cuts a linear manifold at an angle.

    The radius is r = 1 / curvature. The centre c = h n lies off the manifold at the height h = r sin(angle), n in N, so
    that the boundary within T is a sphere of radius R = r cos(angle) around the origin, where its normal makes the
    angle with T. Inputs lie on T between 10 % and 30 % of R inside or outside of it. For x on T

        d_free = ||x - c| - r|,    d_on = ||x| - R|,    d_off = |h - sqrt(r^2 - |x|^2)| (infinite where |x| > r),
        rho_N = h^2 / (h^2 + |x|^2).

    Args:
        ambient_dim: D.
        dim: k.
        angle: Degrees in [0, 90) between the boundary's normal and the manifold, where they meet.
        curvature: 1 / r.
        samples: Number of inputs, and of examples for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_sizes(samples=samples, dim=dim, ambient_dim=ambient_dim)
    check_numbers(angle=(angle, 0, 90), curvature=(curvature, LEAST, math.inf))
    generator = seeded(seed, "sphere")
    basis, _, across = frame(ambient_dim, dim, generator)
    radius = 1 / curvature
    height, within = radius * math.sin(math.radians(angle)), radius * math.cos(math.radians(angle))
    x, x_train = (_shells(basis, within, samples, generator) for _ in range(2))
    model = Ball((height * across).float(), radius)
    subject = labelled(model, x, x_train, Subspace(basis.float(), name="linear"))
    length = x.norm(dim=1)
    height_above = (radius**2 - length**2).clamp_min(0).sqrt()  # of the sphere over x, from its centre
    exact = Exact(
        free=((length**2 + height**2).sqrt() - radius).abs(),
        tangent=(length - within).abs(),
        normal=torch.where(length <= radius, (height - height_above).abs(), torch.inf),
        share=height**2 / (height**2 + length**2),
    )
    return World(f"sphere at {angle:g} degrees", subject, exact.distance, distance_answers(subject, exact))


def blind(
    *, ambient_dim: int = 50, dim: int = 8, radius: float = 1.0, samples: int = 256, noise: float = 0.0, seed: int
) -> World:
    """Return a nonlinear classifier of the projection to the manifold, which ignores all directions off the manifold.

    The classes are the inside and the outside of a sphere within T: d_free = d_on = ||P_T x| - radius|, d_off is
    infinite, and rho_N = 0. Every stated claim about distance and energy is false, and projecting an adversarial
    example changes nothing.

    Args:
        ambient_dim: D.
        dim: k.
        radius: Radius of the sphere.
        samples: Number of inputs, and of examples for neighbours.
        noise: Standard deviation of the inputs off the manifold.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_sizes(samples=samples, dim=dim, ambient_dim=ambient_dim)
    check_numbers(radius=(radius, LEAST, math.inf), noise=(noise, 0, math.inf))
    generator = seeded(seed, "blind")
    basis, _, _ = frame(ambient_dim, dim, generator)
    x, x_train = (_shells(basis, radius, samples, generator) for _ in range(2))
    off = noise * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    x = x + off - geometry.project_tangent(off, basis)
    model = Blind(basis.float(), Ball(torch.zeros(ambient_dim), radius))
    subject = labelled(model, x, x_train, Subspace(basis.float(), name="linear"))
    free = ((x @ basis).norm(dim=1) - radius).abs()
    exact = Exact(free, free, torch.full_like(free, torch.inf), torch.zeros_like(free))
    truth = distance_answers(subject, exact)
    parts = ("projection-restores-stated-builtin", "projection-restores-controlled-builtin", FLIPS)
    truth |= dict.fromkeys(parts, False)  # the off-manifold part of a perturbation is zero
    return World("blind off the manifold", subject, exact.distance, truth)


def _shells(basis: Tensor, radius: float, samples: int, generator: torch.Generator) -> Tensor:
    """Return points (n, D) of the subspace in random directions, inside or outside of a sphere around the origin."""
    direction = torch.randn(samples, basis.shape[1], generator=generator, dtype=torch.float64)
    share = NEAREST + (FARTHEST - NEAREST) * torch.rand(samples, generator=generator, dtype=torch.float64)
    side = 2.0 * torch.randint(0, 2, (samples,), generator=generator) - 1
    length: Tensor = radius * (1 + side * share)
    coordinates: Tensor = direction / direction.norm(dim=1, keepdim=True) * length[:, None]
    return coordinates @ basis.T
