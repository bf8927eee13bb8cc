"""The protocol of a manifold estimate, and the validation of objects that should satisfy it."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.data.arrays import plain, unknown_values
from dmmcheck.errors import ManifoldError, SubjectError, one_error
from dmmcheck.manifolds.operators import TangentSpaces
from dmmcheck.manifolds.protected import MISSING, attribute, call, protected
from dmmcheck.seeding import seeded

PROJECTION_LIMIT = 1e-2  # of an operator: largest change by a second projection, relative to the first
ORTHONORMAL_LIMIT = 1e-4  # largest entry of |B^T B - 1|
REPEAT_LIMIT = 1e-4  # largest change between two projections of the same points, relative to the largest value
DEFAULT_DIM = 16


@runtime_checkable
class Manifold(Protocol):
    """An estimate of the data manifold: any object with these three members.

    Four more members are optional: ``name: str``, its name in a report; ``training_points: Tensor`` (m, D), the points
    that it was fitted on; ``refit(dim)``, which returns the same kind of estimate with another dimension; and
    ``tangent_spaces(x)``, for bases that are too large to be stored: it returns `operators.TangentSpaces`, which
    project vectors, or None where `tangent_basis` is to be used. A manifold that always returns spaces needs no
    tangent_basis.
    """

    @property
    def dim(self) -> int:
        """Intrinsic dimension k."""
        ...

    def project_point(self, x: Tensor) -> Tensor:
        """Return the points (n, D) of the manifold near points x (n, D)."""
        ...

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Return orthonormal bases (n, D, k) of tangent spaces at or near points x (n, D), or one (D, k) for all."""
        ...


def default_dim(x: Any) -> int:
    """Return the dimension k where none is given and none can be estimated: 16, or half of D where that is less.

    Half of D leaves as many dimensions off the manifold.

    Args:
        x: Points ``(m, *input_shape)`` of any kind.
    """
    shape = getattr(x, "shape", None) or np.shape(x)
    return max(1, min(DEFAULT_DIM, int(np.prod(shape[1:])) // 2))


def fitting_points(x: Any, dim: int) -> Tensor:
    """Return the points to fit a manifold on, as a tensor (m, D) in float32 or float64.

    Args:
        x: Points ``(m, *input_shape)``: a tensor, array, frame, sparse matrix or nested list.
        dim: Dimension k of the manifold.

    Raises:
        ManifoldError: The points are not finite floating-point numbers, fewer than k + 1, or k is not in [1, D).
    """
    what = "the array of points to fit a manifold on"
    remedy = f"it is a {type(x).__name__}; pass an array (m, *input_shape), without labels"
    try:
        with one_error(what, remedy, ManifoldError, where="when it was converted to a tensor"):
            array, _ = plain(x, what)
            points = array.detach() if isinstance(array, Tensor) else torch.as_tensor(array)
    except SubjectError as error:
        raise ManifoldError(str(error)) from error
    if points.ndim < 2 or not points.is_floating_point():
        raise ManifoldError(
            f"the points to fit a manifold on have shape {tuple(points.shape)} and dtype {points.dtype}; "
            "pass floating-point numbers (m, *input_shape), in the units of the inputs"
        )
    if not points.numel():
        raise ManifoldError(
            f"the points to fit a manifold on have shape {tuple(points.shape)} and hold no values; pass the training "
            "inputs, at least k + 1 of them"
        )
    points = points.reshape(len(points), -1)
    points = points.clone() if points.is_inference() else points
    if points.device.type == "mps":  # this device has no float64
        points = points.cpu()
    if points.dtype not in {torch.float32, torch.float64}:
        points = points.float()
    bad = unknown_values(points)
    if bad:
        raise ManifoldError(f"the points to fit a manifold on hold {bad} NaN or infinite values; remove them")
    if not isinstance(dim, Integral) or not 1 <= dim < points.shape[1]:
        raise ManifoldError(
            f"dim is {dim!r}, inputs have D = {points.shape[1]}; choose a whole number of at least 1 and below D"
        )
    if len(points) <= dim:
        raise ManifoldError(
            f"dim is {dim}, which needs at least {dim + 1} points, {len(points)} were given; "
            "give more points or a smaller dim"
        )
    return points


def validate_manifold(manifold: Any, x: Tensor) -> Tensor | TangentSpaces:
    """Check that an object satisfies the `Manifold` protocol, and return its tangent spaces.

    Args:
        manifold: The object.
        x: Points (n, D).

    Returns:
        Bases (n, D, k), or one basis (D, k) for all points; or spaces that are known by their projection.

    Raises:
        ManifoldError: A member is missing, a method raises or returns another shape, k is not below D, values are not
            finite, a basis is not orthonormal to 1e-4, a projection onto tangent spaces is not orthogonal, or two
            projections of the same points differ.
    """
    with_spaces = callable(attribute(manifold, "tangent_spaces"))
    needed = ("project_point",) if with_spaces else ("project_point", "tangent_basis")
    missing = [name for name in needed if not callable(attribute(manifold, name))]
    if missing:
        raise ManifoldError(_incomplete(manifold, missing))
    found = checked_spaces(manifold, x)
    tangent: Tensor | TangentSpaces = checked_basis(manifold, x) if found is None else found
    _check_projection(manifold, x[:2])
    return tangent


def checked_spaces(manifold: Any, x: Tensor) -> TangentSpaces | None:
    """Return the tangent spaces of a manifold at points x (n, D) without bases, checked; None where it has bases.

    Raises:
        ManifoldError: The manifold raises, or the projection is not finite, idempotent and symmetric.
    """
    spaces = protected(manifold).tangent_spaces(x)
    if spaces is None:
        return None
    _checked_dim(manifold, x.shape[1])
    worst = projection_residual(spaces, x, generator=seeded(0, "projection onto tangent spaces"))
    if not worst <= PROJECTION_LIMIT:
        raise ManifoldError(
            f"the projection onto the manifold's tangent spaces differs from an orthogonal one by {worst:.2g} (limit "
            f"{PROJECTION_LIMIT:g}); return P v with a symmetric P for which P P v = P v"
        )
    return spaces


def projection_residual(spaces: TangentSpaces, x: Tensor, *, generator: torch.Generator) -> float:
    """Return how far projections at x (n, D) are from P P v = P v and u.(P v) = (P u).v, for two random vectors."""
    u, v = torch.randn((2, x.shape[1]), generator=generator, dtype=torch.float64).to(x)
    inside, other = spaces.project(u.expand_as(x)), spaces.project(v.expand_as(x))
    size = inside.norm(dim=1)
    again = (spaces.project(inside) - inside).norm(dim=1) / size
    turned = (inside @ v - other @ u).abs() / (size * other.norm(dim=1))
    return float(torch.maximum(again, turned).max())


def checked_basis(manifold: Any, x: Tensor, *, is_known: bool = False) -> Tensor:
    """Return the tangent bases of a manifold at points x (n, D), checked as in `validate_manifold`.

    Args:
        manifold: The manifold.
        x: The points.
        is_known: Whether its bases at these points were checked before: then their shape and lengths alone are.

    Raises:
        ManifoldError: The manifold raises, or its bases are not finite, not orthonormal, or of another shape.
    """
    basis = call(manifold, "tangent_basis", x)
    dim = _checked_dim(manifold, x.shape[1])  # after the call: some manifolds know k only once they have seen a point
    shaped = _of_shape(basis, len(x), x.shape[1], dim)
    is_unit = is_known and bool(((torch.linalg.vector_norm(shaped, dim=-2) - 1).abs() <= ORTHONORMAL_LIMIT).all())
    return shaped if is_unit else _orthonormal(shaped)


def _checked_dim(manifold: Any, ambient_dim: int) -> int:
    dim: Any = attribute(manifold, "dim")
    if dim is MISSING:
        raise ManifoldError(_incomplete(manifold, ["dim"]))
    if not isinstance(dim, Integral) or not 1 <= int(dim) < ambient_dim:
        raise ManifoldError(
            f"the manifold has dimension k = {dim!r}, inputs have D = {ambient_dim}; "
            "set dim to a whole number of at least 1 and below D"
        )
    return int(dim)


def _check_projection(manifold: Any, x: Tensor) -> None:
    projected, again = (protected(manifold).project_point(x) for _ in range(2))
    change = float((projected - again).abs().max() / projected.abs().max().clamp_min(torch.finfo(x.dtype).tiny))
    if not change <= REPEAT_LIMIT:
        raise ManifoldError(
            f"project_point called twice differs by {change:.2g} of the largest value (limit {REPEAT_LIMIT:g}); "
            "draw no random numbers in it, e.g. use the mean of a variational encoder"
        )


def _incomplete(manifold: Any, missing: list[str]) -> str:
    fit = "; did you forget .fit(x_train)?" if callable(attribute(manifold, "fit")) else ""
    return (
        f"the manifold is a {type(manifold).__name__} without {', '.join(missing)}{fit}; "
        "pass an object with dim, project_point and tangent_basis, or a fitted manifold of dmmcheck.manifolds"
    )


def _of_shape(basis: Any, n: int, ambient_dim: int, dim: int) -> Tensor:
    if not isinstance(basis, Tensor):
        raise ManifoldError(f"tangent_basis returned a {type(basis).__name__}; return a torch tensor")
    if not basis.is_floating_point():
        raise ManifoldError(f"tangent_basis returned dtype {basis.dtype}; return a floating-point tensor")
    if tuple(basis.shape) not in {(ambient_dim, dim), (n, ambient_dim, dim)}:
        raise ManifoldError(
            f"tangent_basis returned shape {tuple(basis.shape)} for {n} points with D = {ambient_dim} and k = {dim}; "
            f"return ({n}, {ambient_dim}, {dim}), or one basis ({ambient_dim}, {dim}) for all"
        )
    return basis


def _orthonormal(basis: Tensor) -> Tensor:
    if unknown_values(basis):
        raise ManifoldError(
            "tangent_basis returned NaN or infinite values; return finite ones, and check the points it was fitted on "
            "for NaN and duplicates"
        )
    worst = geometry.orthonormal_residual(basis)
    if worst > ORTHONORMAL_LIMIT:
        raise ManifoldError(
            f"tangent_basis is off orthonormal by {worst:.2g} (limit {ORTHONORMAL_LIMIT:g}); "
            "return torch.linalg.qr(basis).Q"
        )
    return basis
