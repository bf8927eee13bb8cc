"""What the figures of a report show of single inputs: a plane through one, and images with their smallest steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dmmcheck.inference.types import ARMS
from dmmcheck.measurement.measure import PAIR
from dmmcheck.measurement.summary import REPORT_NAMES
from dmmcheck.measurement.view import View
from dmmcheck.models.memory import BATCH_VALUES
from dmmcheck.report.model import Portrait, Strip

GRID = 33  # points a side
MARGIN = 1.5  # the plane reaches this many times as far as the crossings
STRIPS = 2
MOST_PIXELS = 64  # a side; larger images are thinned out
CHANNELS = (1, 3)
LEAST_ANGLE = 1e-3  # directions nearer to each other than this span no plane


def portrait_of(view: View, hashes: Sequence[str]) -> Portrait | None:
    """Return the classes in the plane through an input that its crossings on and off the manifold span.

    The input is the one with the median ratio of the two distances. None where no input has both crossings.
    """
    on, off = (torch.as_tensor(view.distance(arm)) for arm in ("tangent", "normal"))
    ratio = on / off
    usable = torch.nonzero(torch.isfinite(ratio) & (ratio > 0)).reshape(-1)
    if not len(usable):
        return None
    row = int(usable[torch.argsort(ratio[usable], stable=True)[len(usable) // 2]])
    u, v = (view.delta(arm)[row] / view.delta(arm)[row].norm() for arm in ("tangent", "normal"))
    if float((u * v).sum().abs()) > 1 - LEAST_ANGLE:
        return None
    extent = (MARGIN * float(on[row]), MARGIN * float(off[row]))
    plane = (view.x[row], u * extent[0], v * extent[1])
    return Portrait(
        input=hashes[row],
        extent=extent,
        classes=_classes(view, *plane),
        others={name: _classes(view.paired_model(name), *plane) for name in _others(view)},
        on=float(on[row]),
        off=float(off[row]),
    )


def _classes(view: View, x: Tensor, u: Tensor, v: Tensor) -> tuple[tuple[int, ...], ...]:
    """Return the model's classes at a grid of points around x (D,), the rows along v and the columns along u."""
    along = torch.linspace(-1, 1, GRID, dtype=x.dtype, device=x.device)
    rows = torch.split(along, max(1, BATCH_VALUES // (GRID * len(x))))
    points = ((x + some[:, None, None] * v + along[None, :, None] * u).reshape(-1, len(x)) for some in rows)
    labels = torch.cat([view.labels(some) for some in points])
    return tuple(map(tuple, labels.reshape(GRID, GRID).tolist()))


def _others(view: View) -> list[str]:
    """Return the models to show beside the one under test: its twin, and the first checkpoint of a training."""
    measurement = view.measurement
    names = [name for name in PAIR if measurement.has_reference_model(name) and not measurement.pairs]
    shown = [name for name in names if measurement.paired_model(name) is not measurement]
    return shown + [f"checkpoint {step}" for step in measurement.steps[:1]]


def strips_of(view: View, hashes: Sequence[str]) -> tuple[Strip, ...]:
    """Return two images with their smallest steps, at the quartiles of d_free; () without images."""
    if not is_image(view.classifier.input_shape):
        return ()
    order = torch.argsort(torch.as_tensor(view.distance("free")), stable=True)
    rows = [int(order[len(order) * (2 * number + 1) // (2 * STRIPS)]) for number in range(STRIPS)]
    return tuple(_strip(view, row, hashes[row]) for row in dict.fromkeys(rows))


def is_image(shape: Sequence[int]) -> bool:
    """Return whether inputs of this shape are images: (height, width), or (1 or 3 channels, height, width)."""
    return len(shape) in {2, 3} and min(shape[-2:]) >= 2 and (len(shape) == 2 or shape[0] in CHANNELS)


def as_image(values: Tensor, shape: Sequence[int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the values (D,) of an image, channels last, thinned out where it is large; and its shape.

    Args:
        values: The values of an input or of a step.
        shape: The shape of an input, for which `is_image` holds.
    """
    image = values.reshape(tuple(shape))
    image = image[None] if image.ndim == 2 else image
    stride = math.ceil(max(image.shape[1:]) / MOST_PIXELS)
    image = image[:, ::stride, ::stride].permute(1, 2, 0)
    image = image[..., 0] if image.shape[2] == 1 else image
    flat = image.detach().cpu().double().reshape(-1)
    return tuple(float(f"{value:.4g}") for value in flat.tolist()), tuple(image.shape)


def _strip(view: View, row: int, name: str) -> Strip:
    image, shape = as_image(view.x[row], view.classifier.input_shape)
    found = {REPORT_NAMES[arm]: view.delta(arm)[row] for arm in ARMS}
    steps = {arm: step for arm, step in found.items() if math.isfinite(float(step.norm()))}
    return Strip(
        input=name,
        shape=shape,
        image=image,
        steps={arm: as_image(step, view.classifier.input_shape)[0] for arm, step in steps.items()},
        lengths={arm: float(step.norm()) for arm, step in steps.items()},
    )
