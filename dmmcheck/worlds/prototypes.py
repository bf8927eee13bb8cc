"""Nearest-prototype classifiers, whose boundary lies half way between the classes."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dmmcheck import geometry
from dmmcheck.seeding import seeded
from dmmcheck.worlds.base import Exact, World, answers, distance_answers
from dmmcheck.worlds.flat import labelled
from dmmcheck.worlds.parameters import check_choice, check_numbers, check_sizes

Layout = Literal["simplex", "line"]


class NearestPrototype(nn.Module):
    """Logits: minus half the squared distance to each class's prototype."""

    prototypes: Tensor  # (C, D)

    def __init__(self, prototypes: Tensor) -> None:
        super().__init__()
        self.register_buffer("prototypes", prototypes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, C)."""
        return x @ self.prototypes.T - (x.square().sum(1, keepdim=True) + self.prototypes.square().sum(1)) / 2


class Through:
    """Parallel copies of a linear subspace, one through each of several anchors: a manifold of flat pieces."""

    name = "parallel subspaces"

    def __init__(self, basis: Tensor, anchors: Tensor) -> None:
        self._basis = basis
        self._anchors = anchors
        self.dim = basis.shape[1]

    def project_point(self, x: Tensor) -> Tensor:
        """Return the nearest point of the nearest piece."""
        basis, anchors = self._basis.to(x), self._anchors.to(x)
        rest, levels = (points - geometry.project_tangent(points, basis) for points in (x, anchors))
        return geometry.project_tangent(x, basis) + levels[torch.cdist(rest, levels).argmin(1)]

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return the basis (D, k), the same at all points."""
        return self._basis.to(x)


def neighbours(
    *,
    ambient_dim: int = 50,
    dim: int = 8,
    classes: int = 8,
    angle: float = 60.0,
    spread: float = 0.1,
    layout: Layout = "simplex",
    samples: int = 256,
    seed: int,
) -> World:
    """Return a nearest-prototype classifier, whose boundary lies half way between the classes, off the data.

    Prototypes p_j have the same pairwise distance (``"simplex"``), or lie a unit apart on a line (``"line"``). The
    lines between them make an angle with a linear subspace T. Inputs lie on copies of T through their prototypes: x =
    p_y + spread B c. The region of a class is a polytope with one facet for each other class, so that in x + V, with V
    the whole space, T or N,

        d_V = min over j of (|x - p_j|^2 - |x - p_y|^2) / (2 |P_V (p_j - p_y)|),    rho_N = sin(angle)^2.

    The distance of the boundary is of the order of that between the classes at any angle, so that it does not cling. In
    a simplex all classes are about equally near; on a line of eight, the farthest class is more than five times as far
    as the nearest.

    Args:
        ambient_dim: D.
        dim: k, at least C for a simplex.
        classes: C, at least 2; a simplex needs D - k >= C.
        angle: Degrees in (0, 90) between the lines that join prototypes and the manifold.
        spread: Standard deviation of the inputs' tangent coordinates, in units of the distance between prototypes.
        layout: ``"simplex"`` or ``"line"``.
        samples: Number of inputs, and of examples for neighbours.
        seed: Seed of all randomness.

    Raises:
        SubjectError: A parameter is beyond its limits.
    """
    check_choice("layout", layout, get_args(Layout))
    least = classes if layout == "simplex" else 1
    check_sizes(
        samples=samples, dim=dim, ambient_dim=ambient_dim, least_dim=least, normal_dim=least, classes=(classes, 2)
    )
    check_numbers(angle=(angle, 0, 90), spread=(spread, 0, math.inf))
    generator = seeded(seed, "neighbours")
    axes = geometry.random_basis(ambient_dim, dim + classes, generator=generator, dtype=torch.float64)
    basis, normals = axes[:, :dim], axes[:, dim:]
    prototypes = _prototypes(basis, normals, classes, angle, layout)
    manifold = Through(basis.float(), prototypes.float())

    def drawn() -> Tensor:
        own = prototypes[torch.randint(0, classes, (samples,), generator=generator)]
        return own + spread * torch.randn(samples, dim, generator=generator, dtype=torch.float64) @ basis.T

    x, x_train = drawn(), drawn()
    subject = labelled(NearestPrototype(prototypes.float()), x, x_train, manifold)
    exact = _exact(x, subject.y, prototypes, basis)
    truth = distance_answers(subject, exact)
    truth["shared-sheet-controlled-builtin"] = False  # p_b - p_a and p_a - p_b are opposed in any normal space
    truth |= answers({"every-class-near-stated-builtin": _unevenness(x, subject.y, prototypes, layout)})
    return World(f"nearest of {classes} prototypes, {layout}", subject, exact.distance, truth)


def _prototypes(basis: Tensor, normals: Tensor, classes: int, angle: float, layout: Layout) -> Tensor:
    """Return prototypes (C, D); neighbouring ones have distance 1."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    if layout == "line":
        positions = torch.arange(classes, dtype=torch.float64) - (classes - 1) / 2
        return positions[:, None] * (cosine * basis[:, 0] + sine * normals[:, 0])
    return (cosine * basis[:, :classes] + sine * normals[:, :classes]).T / math.sqrt(2)


def _exact(x: Tensor, y: Tensor, prototypes: Tensor, basis: Tensor) -> Exact:
    """Return the distances to the nearest facet of the polytope around each input's prototype."""
    margin = _margins(x, y, prototypes)  # (n, C)
    apart = prototypes[None] - prototypes[y][:, None]  # (n, C, D)
    along = apart @ basis
    energy = {"free": apart.square().sum(2), "tangent": along.square().sum(2)}
    energy["normal"] = energy["free"] - energy["tangent"]
    arms = {arm: (margin / e.clamp_min(1e-24).sqrt()).masked_fill(e < 1e-20, torch.inf) for arm, e in energy.items()}
    facet = arms["free"].argmin(1, keepdim=True)
    share = (energy["normal"] / energy["free"]).gather(1, facet).squeeze(1)
    free, tangent, normal = (arms[arm].min(1).values for arm in ("free", "tangent", "normal"))
    return Exact(free, tangent, normal, share)


def _margins(x: Tensor, y: Tensor, prototypes: Tensor) -> Tensor:
    """Return the margins (|x - p_j|^2 - |x - p_y|^2) / 2 to each class (n, C); inf to the own class."""
    half = torch.cdist(x, prototypes).square() / 2
    return (half - half.gather(1, y[:, None])).scatter(1, y[:, None], torch.inf)


def _unevenness(x: Tensor, y: Tensor, prototypes: Tensor, layout: Layout) -> Tensor:
    """Return the distance to the farthest class over that to the nearest class (n,); NaN where it is not known.

    On a line the regions are slabs. In a simplex of side 1 the facet of class j is at the distance of the margin t_j,
    and its nearest point belongs to class j where no other margin is below t_j / 2.
    """
    if layout == "line":
        direction = prototypes[1] - prototypes[0]
        classes = len(prototypes)
        position = x @ direction + (classes - 1) / 2
        distance = (torch.arange(classes) - position[:, None]).abs() - 0.5  # (n, C)
    else:
        distance = _margins(x, y, prototypes)
    own = y[:, None]
    nearest, farthest = (
        distance.scatter(1, own, torch.inf).min(1).values,
        distance.scatter(1, own, -torch.inf).max(1).values,
    )
    known = (nearest > farthest / 2) | (layout == "line")
    return torch.where(known, farthest / nearest, torch.nan)
