"""How the manifold estimate turns from point to point, and how its dimension compares with that of the points."""

from __future__ import annotations

import importlib
import importlib.util
import math

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError, one_error
from dmmcheck.manifolds.base import checked_basis
from dmmcheck.manifolds.dimension import estimated
from dmmcheck.manifolds.neighbours import nearest
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import SoundnessContext, info, median
from dmmcheck.soundness.registry import gate

COMPARED = 16  # inputs whose tangent space is compared with that at a neighbour
MOST_POINTS = 2048  # from which the dimension is estimated


@gate("manifold")
def tangent_angles(context: SoundnessContext) -> Soundness:
    """Report the angle between the tangent spaces at an input and at the nearest data point, beside random spaces."""
    if context.basis is None:
        return info("tangent-angles", f"{context.why_no_bases}; no angles are measured")
    if context.basis.ndim == 2:
        return info("tangent-angles", "all inputs share one tangent space", 0.0)
    points = context.x_pool if context.training_points is None else context.training_points.to(context.x)
    basis = context.basis[:COMPARED]
    others = _nearest_others(context.x[: len(basis)], points)
    try:
        angle = _angle(basis, checked_basis(context.manifold, others).detach().to(basis))
    except ManifoldError as error:  # it need not answer anywhere but at the inputs
        return info(
            "tangent-angles", f"no angles are measured between an input and the nearest point of the data: {error}"
        )
    generator = context.random("tangent-angles")
    random = [geometry.random_basis(*basis.shape[1:], generator=generator) for _ in range(2)]
    return info(
        "tangent-angles",
        f"the tangent spaces at an input and at the nearest point of the data are {angle:.3g} degrees apart (median "
        f"principal angle of {len(basis)} inputs), two random spaces {_angle(random[0][None], random[1][None]):.3g}",
        angle,
    )


def _nearest_others(x: Tensor, points: Tensor) -> Tensor:
    """Return the nearest of points (m, D) to each input (n, D), other than the input itself."""
    _, rows = nearest(x, points, min(2, len(points)))
    first, last = points[rows[:, 0]], points[rows[:, -1]]
    return torch.where((first == x).all(1, keepdim=True), last, first)


def _angle(one: Tensor, other: Tensor) -> float:
    """Return the median principal angle between subspaces, (n, D, k) each, in degrees."""
    cosines = torch.linalg.svdvals(one.mT.double() @ other.double()).clamp(max=1)
    return median(torch.rad2deg(cosines.acos()).flatten())


@gate("manifold")
def intrinsic_dimension(context: SoundnessContext) -> Soundness:
    """Report the dimension k of the manifold estimate beside two estimates from the training points."""
    name, k = "intrinsic-dimension", context.manifold.dim
    if context.training_points is None:
        return info(name, f"k is {k}; the points that the manifold was fitted on are not known, nor is their dimension")
    points = context.training_points[:: -(-len(context.training_points) // MOST_POINTS)]
    try:
        found = estimated(points)
    except ManifoldError as error:
        return info(name, f"k is {k}; {error}")
    mean = (found.two_nn + found.likelihood) / 2
    said = f"k is {k}; of {len(points)} points, {found.note}{_second_opinion(points)}"
    return info(name, said, mean if math.isfinite(mean) else None)


def _second_opinion(points: Tensor) -> str:
    """Return scikit-dimension's estimates by the same two methods; "" where the package is not installed.

    The estimates are made at the package's own scales.
    """
    if importlib.util.find_spec("skdim") is None:
        return ""
    array = torch.unique(points, dim=0).cpu().double().numpy()
    try:
        with one_error("scikit-dimension", "", ManifoldError):
            methods = importlib.import_module("skdim.id")
            two_nn, likelihood = (float(getattr(methods, one)().fit(array).dimension_) for one in ("TwoNN", "MLE"))
    except ManifoldError as error:
        return f"; {error}"
    return f"; scikit-dimension estimates {two_nn:.1f} by TwoNN and {likelihood:.1f} by maximum likelihood"
