"""The codes whose decoded points are nearest to given points, found from the codes that an encoder gives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 20  # most steps, where the search begins at an encoder's code
ENOUGH = 1e-6  # largest share of the code's length at which a step ends the search of a point, see `_enough`
DAMPING = 1e-3  # at the first step, as a share of the mean square of the Jacobian's columns
LESS, MORE = 0.1, 10.0  # factors of the damping after a step that shortens the distance, and after another one
HIGHEST = 1e6  # a higher damping ends the search of a point
_VALUES = 1 << 22  # most values of the Jacobians that are held at a time


def nearest_codes(
    x: Tensor,
    codes: Tensor,
    decode: Callable[[Tensor], Tensor],
    jacobian: Callable[[Tensor], Tensor],
    *,
    steps: int = STEPS,
) -> Tensor:
    """Return the codes (n, k) at which the L2 distance of the decoded points to points is a local minimum.

    Steps are those of the Levenberg-Marquardt method, each point with its own damping; a step is taken only where it
    shortens the distance, up to rounding, so that no decoded point is farther than that of the code where the search
    began. The codes of a point do not depend on the other points.

    Args:
        x: Points (n, D).
        codes: Codes (n, k) where the search begins.
        decode: From codes (n, k) to points (n, D).
        jacobian: From codes (n, k) to Jacobians (n, D, k) of the decoded points.
        steps: Most steps.

    Source: Marquardt, An algorithm for least-squares estimation of nonlinear parameters, SIAM J. Appl. Math. 11, 1963.
    """
    size = max(1, _VALUES // (x.shape[1] * codes.shape[1]))
    pieces = zip(torch.split(x, size), torch.split(codes, size), strict=True)
    return torch.cat([_nearest(some, start, decode, jacobian, steps) for some, start in pieces])


def _nearest(
    x: Tensor, codes: Tensor, decode: Callable[[Tensor], Tensor], jacobian: Callable[[Tensor], Tensor], steps: int
) -> Tensor:
    """Return the nearest codes for a slice of points, of few enough points that their Jacobians fit in memory."""
    codes, damping = codes.clone(), torch.full((len(codes),), DAMPING).to(codes)
    offset = x - decode(codes)
    active = torch.arange(len(codes), device=codes.device)
    for _ in range(steps):
        if not len(active):
            break
        at, rest, damped = codes[active], offset[active], damping[active]
        step = _step(jacobian(at), rest, damped)
        moved = x[active] - decode(at + step)
        better = moved.norm(dim=1) < rest.norm(dim=1) * (1 + _rounding(at.dtype))
        codes[active] = torch.where(better[:, None], at + step, at)
        offset[active] = torch.where(better[:, None], moved, rest)
        damping[active] = damped * torch.where(better, LESS, MORE).to(damped)
        is_long = step.norm(dim=1) > _enough(at.dtype) * at.norm(dim=1).clamp_min(torch.finfo(at.dtype).tiny)
        active = active[is_long & (damping[active] < HIGHEST)]
    return codes


def _enough(dtype: torch.dtype) -> float:
    """Return the share of a code's length at which a step ends the search of a point.

    A step whose share is below the square root of the rounding error changes the distance by less than rounding does.
    """
    share: float = min(ENOUGH, torch.finfo(dtype).eps ** 0.5)
    return share


def _rounding(dtype: torch.dtype) -> float:
    """Return the share of a distance by which rounding errors of a decoder may lengthen the distance.

    Near its minimum the distance hardly changes with the code. Where rounding decided which steps are taken there, the
    code of a point would depend on the other points in a call of the decoder.
    """
    share: float = torch.finfo(dtype).eps ** (2 / 3)
    return share


def _step(jacobian: Tensor, offset: Tensor, damping: Tensor) -> Tensor:
    """Return the steps (n, k) of the codes towards points at offsets (n, D) from their decoded points."""
    squares = jacobian.transpose(1, 2) @ jacobian
    diagonal = squares.diagonal(dim1=1, dim2=2)
    weight = damping[:, None] * diagonal.mean(1, keepdim=True).clamp_min(torch.finfo(diagonal.dtype).tiny)
    damped = squares + torch.diag_embed(weight.expand_as(diagonal))
    towards = (jacobian.transpose(1, 2) @ offset[:, :, None])[:, :, 0]
    solved: Tensor = torch.linalg.solve_ex(damped, towards).result
    return torch.where(solved.isfinite().all(1, keepdim=True), solved, torch.zeros_like(solved))
