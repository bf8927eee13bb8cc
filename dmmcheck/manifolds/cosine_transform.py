"""The discrete cosine transform (DCT), by SciPy in the memory of the processor and by FFTs of torch elsewhere."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from scipy import fft
from torch import Tensor


def cosine_transform(v: Tensor, axes: tuple[int, ...], *, inverse: bool) -> Tensor:
    """Return the orthonormal DCT-II of a tensor along axes, or its inverse.

    The transform has no gradient, and runs on the device of the tensor.

    Example:
        >>> import torch
        >>> from dmmcheck.manifolds.cosine_transform import cosine_transform
        >>> cosine_transform(torch.ones(1, 4), (1,), inverse=False)[:, :1]
        tensor([[2.0000]])
    """
    v = v.detach()
    if v.device.type == "cpu":
        turned = (fft.idctn if inverse else fft.dctn)(v.numpy(), axes=axes, norm="ortho")
        return torch.from_numpy(np.ascontiguousarray(turned)).to(v)
    return by_torch(v, axes, inverse=inverse)


def by_torch(v: Tensor, axes: tuple[int, ...], *, inverse: bool) -> Tensor:
    """Return the same transform by torch alone.

    SciPy would take the tensor to the memory of the processor and back.
    """
    for axis in axes:
        v = (_inverse_cosine if inverse else _cosine)(v.transpose(axis, -1)).transpose(axis, -1)
    return v


def _cosine(v: Tensor) -> Tensor:
    """Return the orthonormal DCT-II along the last axis.

    Source: Makhoul, A fast cosine transform in one and two dimensions, 1980: the even entries, then the odd ones in
    reverse order, have a Fourier transform that, after a turn of each frequency, is the cosine transform.
    """
    size = v.shape[-1]
    turn, scale = _turns(size, v.device, v.dtype)
    turned = torch.fft.rfft(torch.cat([v[..., ::2], v[..., 1::2].flip(-1)], -1)) * turn
    high = -turned.imag[..., 1 : (size + 1) // 2].flip(-1)
    return torch.cat([turned.real, high], -1) * scale


def _inverse_cosine(v: Tensor) -> Tensor:
    """Return the inverse of `_cosine`, which is its transpose."""
    size = v.shape[-1]
    turn, scale = _turns(size, v.device, v.dtype)
    scaled, count = v / scale, size // 2 + 1
    mirrored = torch.cat([torch.zeros_like(scaled[..., :1]), scaled[..., size + 1 - count :].flip(-1)], -1)
    ordered = torch.fft.irfft(torch.complex(scaled[..., :count], -mirrored) * turn.conj(), n=size)
    result = torch.empty_like(ordered)
    half = (size + 1) // 2
    result[..., ::2], result[..., 1::2] = ordered[..., :half], ordered[..., half:].flip(-1)
    return result


@lru_cache(maxsize=16)
def _turns(size: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the turns exp(-i pi k / 2 N) for k = 0 to N / 2, and the factors (N,) that make them orthonormal."""
    frequency = torch.arange(size // 2 + 1, dtype=torch.float64)  # on the processor: not every device has float64
    turn = torch.polar(torch.ones_like(frequency), -math.pi / (2 * size) * frequency)
    scale = torch.full((size,), math.sqrt(2 / size), dtype=dtype)
    scale[0] = math.sqrt(1 / size)
    return turn.to(torch.complex64 if dtype == torch.float32 else torch.complex128).to(device), scale.to(device)
