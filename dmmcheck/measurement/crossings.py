"""Crossings of several blocks of inputs as one, and what follows from crossings without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing


def joined(blocks: Sequence[Crossing], n: int) -> Crossing:
    """Return the crossings of consecutive blocks as one `Crossing`, cut to the first n inputs."""
    if len(blocks) == 1:  # without a copy
        return Crossing(**{part.name: getattr(blocks[0], part.name)[:n] for part in fields(Crossing)})
    return Crossing(
        **{part.name: torch.cat([getattr(block, part.name) for block in blocks])[:n] for part in fields(Crossing)}
    )


def joined_in_place(blocks: Sequence[Crossing], n: int) -> Crossing:
    """Return the same as `joined`; the points of the blocks become views of those returned, to be in memory once."""
    sizes = [len(block.point) for block in blocks]
    whole = joined(blocks, sum(sizes))
    for block, point in zip(blocks, torch.split(whole.point, sizes), strict=True):
        object.__setattr__(block, "point", point)  # the same values
    return joined([whole], n)


def replaced(crossing: Crossing, rows: Tensor, others: Crossing) -> Crossing:
    """Return crossings in which those of some inputs, given by an index (m,), are replaced by others."""

    def column(name: str) -> Tensor:
        values: Tensor = getattr(crossing, name).clone()
        values[rows.to(values.device)] = getattr(others, name).to(values)
        return values

    return Crossing(**{part.name: column(part.name) for part in fields(Crossing)})


def perturbations(crossing: Crossing, x: Tensor) -> Tensor:
    """Return the perturbations (n, D) from inputs x (n, D) to their crossings; NaN where none was found."""
    return torch.where(crossing.found.to(x.device)[:, None], crossing.point.to(x) - x, torch.nan)


def gradients(crossing: Crossing) -> int:
    """Return the number of gradient evaluations of a search, over all inputs."""
    return int(crossing.backwards.sum())
