"""Principal directions of weighted points, many groups at a time, in float64 without a float64 copy of the points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RESOLUTION = 1e-6  # smallest standard deviation beside the largest that inner products in float64 tell from zero
_SLAB_VALUES = 1 << 22  # values of one float64 piece, 32 MiB


@dataclass(frozen=True, eq=False)
class Planes:
    """The affine plane of each group of points.

    Attributes:
        mean: (g, D) weighted mean.
        basis: (g, D, k) the k leading principal directions, orthonormal, each with its largest entry positive; of no
            meaning beyond the group's rank.
        rank: (g,) how many directions have a variance that rounding cannot explain.
    """

    mean: Tensor
    basis: Tensor
    rank: Tensor


def principal_planes(points: Tensor, index: Tensor, weight: Tensor, dim: int) -> Planes:
    """The planes of k leading principal directions through the means of groups of points.

    From the eigenvectors of each group's (K, K) inner products, in float64; D is gone through in slabs.

    Args:
        points: (m, D), float32 or float64.
        index: (g, K) the points of each group.
        weight: (g, K) how much each counts, none negative; where all are zero, the rank is zero.
        dim: k <= K.
    """
    share = (weight / weight.sum(1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)).double()
    root = share.sqrt()[:, :, None]
    mean = torch.cat([(share[:, None] @ near).squeeze(1) for _, near in _slabs(points, index)], dim=1)
    gram, energy = torch.zeros_like(root * root.mT), torch.zeros_like(share[:, 0])
    for columns, near in _slabs(points, index):
        centred = root * (near - mean[:, None, columns])
        gram += centred @ centred.mT
        energy += (root * near).square().sum((1, 2))
    variance, vectors = (part.flip(-1) for part in torch.linalg.eigh(gram))
    resolved = variance > _rounding(variance, energy, (index.shape[1], points.shape[1]), points.dtype)[:, None]
    scale = torch.where(resolved, variance, torch.inf).sqrt()[:, None, :dim]
    basis = root.new_empty((len(index), points.shape[1], dim))
    for columns, near in _slabs(points, index):
        basis[:, columns] = (root * (near - mean[:, None, columns])).mT @ (vectors[:, :, :dim] / scale)
    basis = torch.linalg.qr(basis).Q
    return Planes(mean.to(points), _signed(basis).to(points), resolved.sum(1))


def principal_plane(points: Tensor, dim: int) -> Planes:
    """The plane of all points (m, D) together, as a single group.

    From inner products of the points, or of the coordinates where these are fewer: no array is larger than the points.
    """
    if len(points) <= points.shape[1]:
        index = torch.arange(len(points), device=points.device)[None]
        return principal_planes(points, index, torch.ones_like(index, dtype=torch.float64), dim)
    mean = points.mean(0, dtype=torch.float64)
    scatter, energy = torch.zeros_like(mean[:, None] * mean), torch.zeros_like(mean[:1])
    for piece in torch.split(points, max(1, _SLAB_VALUES // points.shape[1])):
        centred = piece.double() - mean
        scatter += centred.T @ centred / len(points)
        energy += piece.double().square().sum() / len(points)
    variance, vectors = (part.flip(-1)[None] for part in torch.linalg.eigh(scatter))
    rank = (variance > _rounding(variance, energy, points.shape, points.dtype)[:, None]).sum(1)
    return Planes(mean[None].to(points), _signed(vectors[:, :, :dim].to(points).contiguous()), rank)


def _slabs(points: Tensor, index: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Columns and the (g, K, columns) float64 values there of each group's points."""
    ambient_dim, width = points.shape[1], max(1, _SLAB_VALUES // index.numel())
    for start in range(0, ambient_dim, width):
        columns = slice(start, min(start + width, ambient_dim))
        yield columns, points[:, columns][index].double()


def _rounding(variance: Tensor, energy: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Variance (g,) that rounding gives rise to.

    Entries of K points in D dimensions, rounded to a relative eps, are off by a random matrix whose norm is about
    eps rms (sqrt K + sqrt D); beside that, inner products in float64 resolve 1e-6 of the largest standard deviation.

    Args:
        variance: (g, ...) falling.
        energy: (g,) mean square norm of the points.
        shape: K and D.
        dtype: Of the points.
    """
    relative = torch.finfo(dtype).eps * (shape[0] ** -0.5 + shape[1] ** -0.5)
    return torch.maximum(relative**2 * energy, RESOLUTION**2 * variance[:, 0])


def _signed(basis: Tensor) -> Tensor:
    """Each direction with its largest entry positive, in place."""
    negative = -basis.amin(1, keepdim=True) > basis.amax(1, keepdim=True)
    return basis.mul_(torch.where(negative, -1.0, 1.0).to(basis))
