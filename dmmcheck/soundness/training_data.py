"""Whether the training data look to the model like the inputs under test: labels, layout and scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dmmcheck.models.base import called
from dmmcheck.models.memory import in_batches
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import CHANCE_ALPHA, SoundnessContext, bounded, info, judged, percent
from dmmcheck.soundness.registry import gate

EXAMPLES = 4096  # most training examples that the model is asked about, evenly spaced
FIRST_EXAMPLES = 1024  # that it is asked about first
MARGIN = 0.05  # accuracy may be so much lower on the training data; it is usually higher there
SCALE = 3.0  # units and offsets that differ by less may be chance: the spread of 8 inputs is known to within a third
CHANNELS = (1, 3, 4)
SHOWN = 3  # examples that the message names


@dataclass(frozen=True)
class Change:
    """A change of the training data with which the model recognises them, and what to do then."""

    accuracy: float
    remedy: str


@gate("manifold")
def training_scale(context: SoundnessContext) -> Soundness:
    """Features have the same spread and the same mean in the training data as in the inputs, within a factor of 3."""
    name, points = "training-scale", context.x_train if context.x_train is not None else context.training_points
    if points is None:
        return info(name, "no training data are known that could be compared with the inputs")
    ratio, offset = _compared(context.x, points)
    worst = max(ratio, 1 / ratio, offset)
    return bounded(
        name,
        worst,
        most=SCALE,
        finding=f"features spread {ratio:.3g} times as widely in the training data as in the inputs, and their means "
        f"lie {offset:.2g} standard deviations apart, in the median (limit {SCALE:g})",
        remedy="give both with the same preprocessing, for example the same division by 255",
    )


@gate("manifold")
def training_data(context: SoundnessContext) -> Soundness:
    """The model's accuracy is not much lower on the training data than on the inputs (exact test of Fisher).

    The model is asked about 1,024 training examples first, and about more of them where its accuracy there is too low.
    """
    name = "training-data"
    if context.x_train is None or context.y_train is None:
        return info(name, "the model's accuracy on the training data is not known; give x_train and y_train")
    limit = context.accuracy - MARGIN
    for most in (FIRST_EXAMPLES, EXAMPLES):
        rows = torch.linspace(0, len(context.x_train) - 1, min(most, len(context.x_train))).round().long()
        x, y = context.x_train[rows], context.y_train[rows]
        predicted = _predicted(context, x)
        correct, n = int((predicted == y).sum()), len(y)
        share = correct / n
        if share >= limit or n == len(context.x_train):
            break
    expected = round(context.accuracy * context.labelled)
    table = [[correct, n - correct], [expected, context.labelled - expected]]
    from scipy.stats import fisher_exact  # noqa: PLC0415  # takes a second to load

    p = float(fisher_exact(table, alternative="less").pvalue)
    ok = share >= limit or p > CHANCE_ALPHA
    return judged(
        name,
        ok,
        share,
        limit,
        finding=f"the model's accuracy is {percent(share)} on {n} training examples and {percent(context.accuracy)} on "
        f"the inputs (limit: {MARGIN * 100:.0f} points lower; p = {p:.2g}, limit {CHANCE_ALPHA:g})",
        remedy="" if ok else _remedy(context, x, y, rows, predicted),
    )


def _remedy(context: SoundnessContext, x: Tensor, y: Tensor, rows: Tensor, predicted: Tensor) -> str:
    """Return a remedy: to undo the change that restores the accuracy best, or else to look at the labels."""
    changes = [*_rearranged(context, x, y), *_renumbered(context, y, predicted)]
    best = max(changes, key=lambda change: change.accuracy, default=None)
    if best is not None and best.accuracy >= context.accuracy - MARGIN:
        return f"{best.remedy}, which gives {percent(best.accuracy)}"
    wrong = ", ".join(str(int(row)) for row in rows[(predicted != y).cpu()][:SHOWN])
    return (
        "some of its labels are wrong, or it has another preprocessing than the inputs: correct them, looking first at "
        f"rows {wrong}"
    )


def _renumbered(context: SoundnessContext, y: Tensor, predicted: Tensor) -> Iterator[Change]:
    """Yield the class numbering with the best agreement of labels and model, where it is not the present one."""
    classes = context.classifier.classes
    counts = torch.bincount((y * classes + predicted).cpu(), minlength=classes**2).reshape(classes, classes)
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  # takes long to load

    given, meant = linear_sum_assignment(counts.numpy(), maximize=True)
    shift = {int(number) for number in (given - meant) % classes}
    if shift == {0}:
        return
    how = f"are shifted by {shift.pop()}" if len(shift) == 1 else "are in another order"
    accuracy = float(counts[given, meant].sum()) / len(y)
    yield Change(accuracy, f"the class numbers of the training data {how}: number its classes as those of the inputs")


def _rearranged(context: SoundnessContext, x: Tensor, y: Tensor) -> Iterator[Change]:
    """Yield the training data in other layouts and scales."""
    shape = tuple(context.classifier.input_shape)
    for points, remedy in _layouts(x, shape):
        yield Change(float((_predicted(context, points) == y).double().mean()), remedy)


def _layouts(x: Tensor, shape: tuple[int, ...]) -> Iterator[tuple[Tensor, str]]:
    """Yield the points (m, D) as they would be if the data had been stored in another way, and what to do then."""
    yield x / 255, "divide the training data by 255"
    yield x * 255, "multiply the training data by 255"
    if len(shape) != 3:  # not an image with channels
        return
    images = x.reshape(-1, *shape)
    axis = 1 if shape[0] in CHANNELS else 3
    if images.shape[axis] == CHANNELS[1]:
        reverse = "reverse the channels of the training data (they look like BGR beside RGB)"
        yield images.flip(axis).flatten(1), reverse
    if shape[0] in CHANNELS:
        stored = x.reshape(-1, shape[1], shape[2], shape[0]).permute(0, 3, 1, 2)
        yield stored.flatten(1), "give the training data channels first, as (m, C, H, W)"
    if shape[2] in CHANNELS:
        stored = x.reshape(-1, shape[2], shape[0], shape[1]).permute(0, 2, 3, 1)
        yield stored.flatten(1), "give the training data channels last, as (m, H, W, C)"


def _predicted(context: SoundnessContext, x: Tensor) -> Tensor:
    with torch.no_grad():
        return in_batches(x, lambda rows: called(context.classifier, x[rows].clone()).argmax(1))


def _compared(x: Tensor, points: Tensor) -> tuple[float, float]:
    """Return the spread of points (m, D) over that of x (n, D), and the distance of their means.

    Both are medians over the features.
    """
    rows = torch.linspace(0, len(points) - 1, min(EXAMPLES, len(points))).round().long()
    x, points = x.double(), points[rows.to(points.device)].to(x.device).double()
    own, other = x.std(0), points.std(0)
    varies = (own > 0) & (other > 0)
    if not bool(varies.any()):
        return 1.0, 0.0
    ratio = float((other / own)[varies].median())
    offset = ((x.mean(0) - points.mean(0)).abs() / torch.maximum(own, other))[varies]
    return ratio, float(offset.median())
