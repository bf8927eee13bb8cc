"""Projections of vectors onto subspaces. The normal part of a vector is computed as v minus its tangent part."""

from __future__ import annotations

import torch
from torch import Tensor


def coordinates(v: Tensor, basis: Tensor) -> Tensor:
    """Return the coordinates (n, k) of vectors v (n, D) in a basis, (D, k) shared or (n, D, k)."""
    if basis.ndim == 2:
        return v @ basis
    return torch.bmm(v[:, None, :], basis).squeeze(1)


def combine(c: Tensor, basis: Tensor) -> Tensor:
    """Return the vectors (n, D) whose coordinates in a basis, (D, k) shared or (n, D, k), are c (n, k)."""
    if basis.ndim == 2:
        return c @ basis.T
    return torch.bmm(c[:, None, :], basis.mT).squeeze(1)  # several times as fast as basis @ c


def project_tangent(v: Tensor, basis: Tensor) -> Tensor:
    """Return the orthogonal projection (n, D) of vectors v (n, D) onto the span of an orthonormal basis."""
    return combine(coordinates(v, basis), basis)


def split(v: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts (n, D) of vectors v (n, D) inside the span of an orthonormal basis, and orthogonal to it.

    Args:
        v: Vectors (n, D).
        basis: Orthonormal columns, (D, k) shared by all vectors or (n, D, k).

    Example:
        >>> import torch
        >>> from dmmcheck.geometry import split
        >>> tangent, normal = split(torch.tensor([[1.0, 2.0, 3.0]]), torch.eye(3)[:, :2])
        >>> tangent, normal
        (tensor([[1., 2., 0.]]), tensor([[0., 0., 3.]]))
    """
    tangent = project_tangent(v, basis)
    return tangent, v - tangent


def energy_share(v: Tensor, basis: Tensor) -> Tensor:
    """Return the share (n,) of the energy of vectors v (n, D) in an orthonormal basis's span; NaN for a zero vector.

    With the orthogonal projection P_T onto the span, rho_T = |P_T v|^2 / |v|^2.

    Args:
        v: Vectors (n, D).
        basis: Orthonormal columns, (D, k) shared by all vectors or (n, D, k).
    """
    return coordinates(unit_vectors(v), basis).square().sum(1)


def unit_vectors(v: Tensor) -> Tensor:
    """Return vectors (..., D) scaled to length one; NaN where a vector is zero."""
    v = v / v.abs().amax(-1, keepdim=True)  # the squares of very small or large entries would underflow or overflow
    return v / v.norm(dim=-1, keepdim=True)  # type: ignore[no-any-return]


def tangent_cosines(v: Tensor, w: Tensor, basis: Tensor) -> Tensor:
    """Return the cosines (m, n) of the tangent parts of m vectors at each of n points with another vector of the point.

    With the orthogonal projection P_T onto the span, cos(P_T v, w) = <P_T v, P_T w> / (|P_T v| |w|). Only coordinates
    are computed, for all vectors of a point at once. A cosine is NaN where a vector or its tangent part is zero.

    Args:
        v: Vectors (m, n, D).
        w: Other vectors (n, D).
        basis: Orthonormal columns, (D, k) shared by all points or (n, D, k).
    """
    w = unit_vectors(w)
    if basis.ndim == 2:
        c, of_w = v @ basis, w @ basis
    else:  # in one product, since the bases are larger than the vectors
        together = torch.bmm(torch.cat([v, w[None]]).transpose(0, 1), basis).transpose(0, 1)
        c, of_w = together[:-1], together[-1]
    return (unit_vectors(c) * of_w).sum(2)


def orthonormal_residual(basis: Tensor) -> float:
    """Return the largest entry of |B^T B - 1| over a basis B (D, k), or over all bases (n, D, k)."""
    gram = basis.transpose(-1, -2) @ basis
    return float((gram - torch.eye(basis.shape[-1], dtype=basis.dtype, device=basis.device)).abs().max())


def random_basis(
    ambient_dim: int,
    dim: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return the orthonormal basis (D, k) of a random subspace, uniformly distributed (Haar).

    Args:
        ambient_dim: D.
        dim: k, at most D.
        generator: Source of the subspace, on the CPU.
        dtype: The dtype of the result.
        device: The device of the result.
    """
    gaussian = torch.randn((ambient_dim, dim), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    basis: Tensor = (q * torch.sign(torch.diagonal(r))).to(device, dtype)
    return basis
