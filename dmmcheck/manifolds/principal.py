"""Principal directions of weighted groups of points, in float64 without a float64 copy of all points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RESOLUTION = 1e-6  # standard deviations below this share of the largest count as zero in float64
_SLAB_VALUES = 1 << 22  # most values of one float64 piece: 32 MiB
_CACHE_VALUES = 1 << 18  # most values of one that is only summed, which a cache holds: 2 MiB


@dataclass(frozen=True, eq=False)
class Planes:
    """The affine plane of each group of points.

    Attributes:
        mean: (g, D) weighted means.
        basis: (g, D, k) the k leading principal directions, orthonormal, each with its largest entry positive.
            Directions beyond the rank are arbitrary.
        rank: (g,) number of directions whose variance exceeds the rounding.
    """

    mean: Tensor
    basis: Tensor
    rank: Tensor


def principal_planes(points: Tensor, index: Tensor, weight: Tensor, dim: int) -> Planes:
    """Return the planes through the means of groups of points along their k leading principal directions.

    The directions follow from the eigenvectors of the (K, K) inner products of each group, in float64. As many groups
    are taken together as fit in a slab. The D columns of a group that is larger are processed in slabs.

    Args:
        points: (m, D), float32 or float64.
        index: (g, K) row numbers of the points of each group.
        weight: (g, K) their weights, at least zero. If all weights of a group are zero, its rank is zero.
        dim: Number of directions k, at most K.
    """
    share = (weight / weight.sum(1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)).double()
    at_once = max(1, _SLAB_VALUES // (index.shape[1] * points.shape[1]))
    pieces = [
        _planes(points, rows, shares, dim)
        for rows, shares in zip(torch.split(index, at_once), torch.split(share, at_once), strict=True)
    ]
    parts = zip(*((piece.mean, piece.basis, piece.rank) for piece in pieces), strict=True)
    return pieces[0] if len(pieces) == 1 else Planes(*map(torch.cat, parts))


def _planes(points: Tensor, index: Tensor, share: Tensor, dim: int) -> Planes:
    """Return the planes of groups whose weights (g, K) in float64 have the sum one, or are all zero."""
    groups = _Centred(points, index, share)
    gram = torch.zeros_like(share[:, :, None] * share[:, None])
    for _, centred in groups:
        gram += centred @ centred.mT
    energy = gram.diagonal(dim1=1, dim2=2).sum(1) + groups.mean.square().sum(1)
    variance, vectors = (part.flip(-1) for part in torch.linalg.eigh(gram))
    resolved = variance > _rounding(variance, energy, (index.shape[1], points.shape[1]), points.dtype)[:, None]
    scale = torch.where(resolved, variance, torch.inf).sqrt()[:, None, :dim]
    basis = share.new_empty((len(index), points.shape[1], dim))
    for columns, centred in groups:
        basis[:, columns] = centred.mT @ (vectors[:, :, :dim] / scale)
    signed = _signed(torch.linalg.qr(basis).Q)
    basis = points.new_empty(signed.shape).copy_(signed)  # row by row in memory, for any number of groups
    return Planes(groups.mean.to(points), basis, resolved.sum(1))


class _Centred:
    """The points of groups in float64, less the mean of their group and times the roots of their shares.

    They are made in slabs of columns, and kept where one slab holds all columns.

    Args:
        points: (m, D).
        index: (g, K) row numbers of the points of each group.
        share: (g, K) their weights, in float64.

    Attributes:
        mean: (g, D) weighted means, in float64.
    """

    def __init__(self, points: Tensor, index: Tensor, share: Tensor) -> None:
        self._points, self._index, self._root = points, index, share.sqrt()[:, :, None]
        width = max(1, _SLAB_VALUES // index.numel())
        self._slabs = [slice(start, start + width) for start in range(0, points.shape[1], width)]
        self.mean = share.new_empty((len(index), points.shape[1]))
        for columns in self._slabs:
            near = self._near(columns)
            self.mean[:, columns] = (share[:, None] @ near).squeeze(1)
        self._kept = self._moved(near, columns) if len(self._slabs) == 1 else None

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of the columns, each with the values (g, K, columns) of the groups there."""
        for columns in self._slabs:
            yield columns, self._moved(self._near(columns), columns) if self._kept is None else self._kept

    def _near(self, columns: slice) -> Tensor:
        return self._points[:, columns][self._index].double()

    def _moved(self, near: Tensor, columns: slice) -> Tensor:
        return near.sub_(self.mean[:, None, columns]).mul_(self._root)


def principal_plane(points: Tensor, dim: int) -> Planes:
    """Return the plane of all points (m, D) as a single group with equal weights.

    The directions follow from the (m, m) inner products of the points, or from the (D, D) ones of the columns if D is
    smaller, so that no array is larger than the points.
    """
    if len(points) <= points.shape[1]:
        index = torch.arange(len(points), device=points.device)[None]
        return principal_planes(points, index, torch.ones_like(index, dtype=torch.float64), dim)
    mean, scatter = moments(points)
    energy = (scatter.trace() + mean.square().sum())[None]
    variance, vectors = (part.flip(-1)[None] for part in torch.linalg.eigh(scatter))
    rank = (variance > _rounding(variance, energy, points.shape, points.dtype)[:, None]).sum(1)
    return Planes(mean[None].to(points), _signed(vectors[:, :, :dim].to(points).contiguous()), rank)


def moments(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the covariance (D, D) of all points (m, D), in float64.

    The covariance is divided by m. The points are converted in pieces.
    """
    pieces = torch.split(points, max(1, _SLAB_VALUES // points.shape[1]))
    mean = sum((piece.double().sum(0) for piece in pieces), points.new_zeros((), dtype=torch.float64)) / len(points)
    scatter = torch.zeros_like(mean[:, None] * mean)
    for piece in pieces:
        centred = piece.double() - mean
        scatter += centred.T @ centred / len(points)
    return mean, scatter


def mean_and_variance(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the variance (D,) of each feature of points (m, D), in float64 on the CPU.

    The variance is divided by m - 1. Deviations are taken from the first point, and the points are read once. That
    point lies at most sqrt(m) standard deviations from the mean, so that the relative error of the variance is at most
    about m times the rounding error of a sum in float64.
    """
    origin = points[:1].cpu().double()
    total, squared = torch.zeros_like(origin[0]), torch.zeros_like(origin[0])
    for piece in torch.split(points, max(1, _CACHE_VALUES // points.shape[1])):
        away = piece.cpu().double() - origin
        total += away.sum(0)
        squared += away.square_().sum(0)
    mean = total / len(points)
    return origin[0] + mean, (squared - total * mean).clamp_min(0) / (len(points) - 1)


def _rounding(variance: Tensor, energy: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return the variance (g,) that rounding alone can cause.

    Rounding K points in D dimensions to a relative accuracy eps adds a random matrix with a norm of about
    eps rms (sqrt K + sqrt D), where rms is the root mean square of the entries. Inner products in float64 resolve
    standard deviations of 1e-6 of the largest.

    Args:
        variance: Variances (g, ...) along the principal directions, in decreasing order.
        energy: (g,) mean squared norm of the points.
        shape: K and D.
        dtype: The dtype of the points.
    """
    relative = torch.finfo(dtype).eps * (shape[0] ** -0.5 + shape[1] ** -0.5)
    return torch.maximum(relative**2 * energy, RESOLUTION**2 * variance[:, 0])


def _signed(basis: Tensor) -> Tensor:
    """Flip directions in place so that the largest entry of each by absolute value is positive; return them."""
    negative = -basis.amin(1, keepdim=True) > basis.amax(1, keepdim=True)
    return basis.mul_(torch.where(negative, -1.0, 1.0).to(basis))
