"""Pure functions on vectors and subspaces. No (D, D) array exists: the normal space is "minus the tangent part"."""

from __future__ import annotations

import torch
from torch import Tensor


def coordinates(v: Tensor, basis: Tensor) -> Tensor:
    """Coordinates (n, k) of vectors v (n, D) in a basis, (D, k) shared or (n, D, k)."""
    if basis.ndim == 2:
        return v @ basis
    return torch.bmm(v[:, None, :], basis).squeeze(1)


def combine(c: Tensor, basis: Tensor) -> Tensor:
    """Vectors (n, D) with coordinates c (n, k) in a basis, (D, k) shared or (n, D, k)."""
    if basis.ndim == 2:
        return c @ basis.T
    return torch.bmm(basis, c[:, :, None]).squeeze(2)


def project_tangent(v: Tensor, basis: Tensor) -> Tensor:
    """Orthogonal projection (n, D) of vectors v (n, D) onto the span of an orthonormal basis."""
    return combine(coordinates(v, basis), basis)


def split(v: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Part of v (n, D) along the span of an orthonormal basis, and the rest."""
    tangent = project_tangent(v, basis)
    return tangent, v - tangent


def energy_share(v: Tensor, basis: Tensor) -> Tensor:
    """Share of the energy of v (n, D) along the span, rho_T = |P_T v|^2 / |v|^2 (n,); NaN for a zero vector."""
    v = v / v.abs().amax(1, keepdim=True)  # squares of very small or large entries would leave the range
    return coordinates(v / v.norm(dim=1, keepdim=True), basis).square().sum(1)


def orthonormal_residual(basis: Tensor) -> float:
    """Largest entry of |B^T B - 1| over all bases, (D, k) or (n, D, k)."""
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
    """Orthonormal basis (D, k) of a uniformly random subspace (Haar)."""
    gaussian = torch.randn((ambient_dim, dim), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    basis: Tensor = (q * torch.sign(torch.diagonal(r))).to(device, dtype)
    return basis
