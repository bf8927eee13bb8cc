"""Manifolds in closed form, on which estimates can be tested: affine, sphere, torus, and Swiss roll.

Each lies in a few coordinates u (n, q), which an orthonormal frame places anywhere in R^D.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError

TURNS = (1.5 * math.pi, 4.5 * math.pi)  # the range of the angle of a Swiss roll, as in scikit-learn
HEIGHT = 21.0  # of a Swiss roll, as in scikit-learn
GRID = 2000  # angles at which the search for the nearest point of a Swiss roll starts
NEWTON_STEPS = 20
TORUS_RADII = (2.0, 1.0)


class Shape(Protocol):
    """A manifold in a few coordinates."""

    @property
    def name(self) -> str:
        """The name in a report."""
        ...

    @property
    def dim(self) -> int:
        """Intrinsic dimension k."""
        ...

    @property
    def coordinates(self) -> int:
        """Number q of coordinates."""
        ...

    def nearest(self, u: Tensor) -> Tensor:
        """Return the points (n, q) of the shape that are nearest to points u (n, q)."""
        ...

    def tangent(self, u: Tensor) -> Tensor:
        """Return the orthonormal bases (n, q, k) of the tangent spaces at points u (n, q) of the shape."""
        ...

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return random points (count, q) of the shape in float64."""
        ...


@dataclass(frozen=True, eq=False)
class Embedded:
    """A shape in R^D, as a manifold: ``origin + u frame^T`` for the points u of the shape.

    Attributes:
        shape: The shape.
        frame: Orthonormal columns (D, q), in float64.
        origin: (D,), where the coordinates are zero.
    """

    shape: Shape
    frame: Tensor
    origin: Tensor

    @property
    def name(self) -> str:
        """The name in a report."""
        return self.shape.name

    @property
    def dim(self) -> int:
        """Intrinsic dimension k."""
        return self.shape.dim

    def project_point(self, x: Tensor) -> Tensor:
        """Return the points (n, D) of the manifold that are nearest to points x (n, D)."""
        nearest = self.shape.nearest(self._coordinates(x))
        return (self.origin + nearest @ self.frame.T).to(x)

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return the orthonormal bases (n, D, k) of the tangent spaces at the projections of points x (n, D)."""
        return (self.frame @ self.shape.tangent(self.shape.nearest(self._coordinates(x)))).to(x)

    def sample(self, count: int, *, noise: float = 0.0, generator: torch.Generator) -> Tensor:
        """Return random points (count, D) in float64.

        Args:
            count: Number of points.
            noise: Standard deviation of normal noise, which is added to all D coordinates.
            generator: Source of the points.
        """
        points = self.origin + self.shape.draw(count, generator) @ self.frame.T
        return points + noise * torch.randn(points.shape, generator=generator, dtype=torch.float64)

    def _coordinates(self, x: Tensor) -> Tensor:
        """Return the coordinates (n, q) of points (n, D), in float64 on the CPU."""
        return (x.detach().cpu().double() - self.origin) @ self.frame


@dataclass(frozen=True)
class Flat:
    """All of R^k, with random points in the cube [-1, 1]^k."""

    dim: int
    name: str = "affine"

    @property
    def coordinates(self) -> int:
        """See `Shape.coordinates`."""
        return self.dim

    def nearest(self, u: Tensor) -> Tensor:
        """See `Shape.nearest`."""
        return u

    def tangent(self, u: Tensor) -> Tensor:
        """See `Shape.tangent`."""
        return torch.eye(self.dim, dtype=u.dtype).expand(len(u), -1, -1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See `Shape.draw`."""
        return 2 * torch.rand(count, self.dim, generator=generator, dtype=torch.float64) - 1


@dataclass(frozen=True)
class Sphere:
    """The sphere of k dimensions in R^(k+1) around zero, with uniform random points."""

    dim: int
    radius: float = 1.0
    name: str = "sphere"

    @property
    def coordinates(self) -> int:
        """See `Shape.coordinates`."""
        return self.dim + 1

    def nearest(self, u: Tensor) -> Tensor:
        """See `Shape.nearest`; zero, to which all points are equally near, has the first axis."""
        length = u.norm(dim=1, keepdim=True)
        axis = torch.eye(1, u.shape[1], dtype=u.dtype)
        direction: Tensor = torch.where(length > 0, u / length, axis)
        return self.radius * direction

    def tangent(self, u: Tensor) -> Tensor:
        """See `Shape.tangent`: the reflection that maps the first axis to u or -u maps the others to the tangent."""
        mirror = u / u.norm(dim=1, keepdim=True)
        mirror[:, 0] += torch.where(mirror[:, 0] < 0, -1.0, 1.0)
        scaled = mirror / mirror.square().sum(1, keepdim=True)
        reflection: Tensor = torch.eye(u.shape[1], dtype=u.dtype) - 2 * mirror[:, :, None] * scaled[:, None]
        return reflection[:, :, 1:]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See `Shape.draw`."""
        return self.nearest(torch.randn(count, self.coordinates, generator=generator, dtype=torch.float64))


@dataclass(frozen=True)
class Torus:
    """A torus around the third axis of R^3; its random points have uniform angles.

    Attributes:
        major: Radius of the circle that its tube follows.
        minor: Radius of the tube.
    """

    major: float
    minor: float
    name: str = "torus"
    dim: int = 2
    coordinates: int = 3

    def nearest(self, u: Tensor) -> Tensor:
        """See `Shape.nearest`."""
        return self._points(*self._angles(u))

    def tangent(self, u: Tensor) -> Tensor:
        """See `Shape.tangent`: the directions of the two angles."""
        around, tube = self._angles(u)
        zero = torch.zeros_like(around)
        along = torch.stack([-around.sin(), around.cos(), zero], 1)
        across = torch.stack([-tube.sin() * around.cos(), -tube.sin() * around.sin(), tube.cos()], 1)
        return torch.stack([along, across], 2)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See `Shape.draw`."""
        angles = 2 * math.pi * torch.rand(2, count, generator=generator, dtype=torch.float64)
        return self._points(angles[0], angles[1])

    def _angles(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the angle around the axis (n,), and the angle in the tube (n,)."""
        return torch.atan2(u[:, 1], u[:, 0]), torch.atan2(u[:, 2], u[:, :2].norm(dim=1) - self.major)

    def _points(self, around: Tensor, tube: Tensor) -> Tensor:
        radius = self.major + self.minor * tube.cos()
        return torch.stack([radius * around.cos(), radius * around.sin(), self.minor * tube.sin()], 1)


@dataclass(frozen=True)
class Roll:
    """The Swiss roll (t cos t, h, t sin t) of scikit-learn, t from 1.5 pi to 4.5 pi, for all heights h.

    Random points have uniform t, and uniform heights from 0 to 21.
    """

    name: str = "swiss-roll"
    dim: int = 2
    coordinates: int = 3

    def nearest(self, u: Tensor) -> Tensor:
        """See `Shape.nearest`: the best angle of a grid, which Newton's method takes to rounding."""
        t = self._angle(u)
        return torch.stack([t * t.cos(), u[:, 1], t * t.sin()], 1)

    def tangent(self, u: Tensor) -> Tensor:
        """See `Shape.tangent`."""
        t = self._angle(u)
        zero, one = torch.zeros_like(t), torch.ones_like(t)
        along = torch.stack([t.cos() - t * t.sin(), zero, t.sin() + t * t.cos()], 1)
        across = torch.stack([zero, one, zero], 1)
        return torch.stack([along / along.norm(dim=1, keepdim=True), across], 2)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """See `Shape.draw`."""
        shares = torch.rand(2, count, generator=generator, dtype=torch.float64)
        t = TURNS[0] + (TURNS[1] - TURNS[0]) * shares[0]
        return torch.stack([t * t.cos(), HEIGHT * shares[1], t * t.sin()], 1)

    def _angle(self, u: Tensor) -> Tensor:
        """Return the angle t (n,) of the nearest point: the minimum of t^2 - 2 t rho cos(t - alpha)."""
        rho, alpha = u[:, [0, 2]].norm(dim=1), torch.atan2(u[:, 2], u[:, 0])
        grid = torch.linspace(*TURNS, GRID, dtype=u.dtype)
        lost = grid.square() - 2 * grid * rho[:, None] * (grid - alpha[:, None]).cos()
        start = grid[lost.argmin(1)]
        t, spacing = start, float(grid[1] - grid[0])
        for _ in range(NEWTON_STEPS):
            sine, cosine = rho * (t - alpha).sin(), rho * (t - alpha).cos()
            slope, bend = t - cosine + t * sine, 1 + 2 * sine + t * cosine
            step = torch.where(bend > 0, slope / bend, spacing * slope.sign())
            t = (t - step).clamp(start - spacing, start + spacing).clamp(*TURNS)
        return t


def affine(dim: int, ambient_dim: int, *, generator: torch.Generator) -> Embedded:
    """Return a random affine subspace of dimension k in R^D.

    Raises:
        ManifoldError: k is not in [1, D).

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds import analytic
        >>> plane = analytic.affine(2, 5, generator=torch.Generator().manual_seed(0))
        >>> x = plane.sample(4, generator=torch.Generator().manual_seed(1))
        >>> bool(torch.allclose(plane.project_point(x), x))
        True
    """
    return _embedded(Flat(dim), ambient_dim, generator)


def sphere(dim: int, ambient_dim: int, *, radius: float = 1.0, generator: torch.Generator) -> Embedded:
    """Return a sphere of dimension k in R^D.

    Raises:
        ManifoldError: k is not in [1, D), or the radius is not positive.
    """
    _positive("radius", radius)
    return _embedded(Sphere(dim, radius), ambient_dim, generator)


def torus(ambient_dim: int, *, radii: tuple[float, float] = TORUS_RADII, generator: torch.Generator) -> Embedded:
    """Return a torus, of dimension 2, in R^D.

    Args:
        ambient_dim: D, at least 3.
        radii: Radius of the circle that the tube follows, and that of the tube, which is smaller.
        generator: Source of the position.

    Raises:
        ManifoldError: D is below 3, or the radii do not fall.
    """
    _positive("the radius of the tube", radii[1])
    if not radii[1] < radii[0]:
        raise ManifoldError(f"the radii of the torus are {radii}; give the larger one first, e.g. {TORUS_RADII}")
    return _embedded(Torus(*radii), ambient_dim, generator)


def swiss_roll(ambient_dim: int, *, generator: torch.Generator) -> Embedded:
    """Return a Swiss roll, of dimension 2, in R^D.

    Raises:
        ManifoldError: D is below 3.
    """
    return _embedded(Roll(), ambient_dim, generator)


def _positive(what: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ManifoldError(f"{what} is {value}; give a number above 0")


def _embedded(shape: Shape, ambient_dim: int, generator: torch.Generator) -> Embedded:
    """Return a shape at a random place in R^D."""
    least = max(shape.coordinates, shape.dim + 1)
    if shape.dim < 1 or ambient_dim < least:
        raise ManifoldError(
            f"the {shape.name} of dimension {shape.dim} cannot lie in {ambient_dim} dimensions; choose a dimension of "
            f"at least 1, and an ambient dimension of at least {max(least, 2)}"
        )
    frame = geometry.random_basis(ambient_dim, shape.coordinates, generator=generator, dtype=torch.float64)
    origin = torch.randn(ambient_dim, generator=generator, dtype=torch.float64)
    return Embedded(shape, frame, origin)
