"""Whether distances over the features of an input mean something: their units, and features that the model ignores."""

from __future__ import annotations

import torch
from torch import Tensor

from dmmcheck.attacks.margins import margin_gradient
from dmmcheck.manifolds.principal import mean_and_variance
from dmmcheck.measurement.units import constant_features
from dmmcheck.models.base import called, is_differentiable
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import SoundnessContext, bounded, info, percent
from dmmcheck.soundness.registry import gate

LOUD = 10.0  # times the median spread: a feature beyond it decides the distances of up to a hundred others
QUIET = 100.0  # times below the median spread: data near a flat manifold have quiet features, but hardly quieter ones
TAIL, MANY = 0.05, 20  # of many features, this share may be quieter: pixels at the border are
IGNORED = 1e-3  # a feature is ignored where it moves the margin by less than this share of what the strongest one does
IGNORED_VARIANCE = 0.2  # ignored features with this share of the variance lengthen distances to other inputs by 12 %
LARGE_PART = 0.25  # of the features: fewer ignored ones are a property of the model, and a note
PROBED = 64  # labelled examples at which the model's gradient is taken, beside the inputs


@gate("manifold")
def feature_units(context: SoundnessContext) -> Soundness:
    """The features of a table have comparable spreads, or the units were chosen."""
    name = "feature-units"
    if context.units == "standard":
        return info(
            name,
            'distances are in standard deviations of each feature (units = "standard"); the model gets its own units, '
            "and bounds are used in a boxed run only",
        )
    if context.units == "input":
        return info(name, 'distances are in the units of the inputs, as units = "input" asks')
    if len(context.classifier.input_shape) != 1 or context.bounds is not None:
        return info(name, "distances are in the units of the inputs, which have one range or the shape of images")
    spread = _spread(_data(context))
    if len(spread) < 2:  # nothing to compare
        return info(name, "at most one feature varies")
    middle = spread.median()
    loud = float(spread.max() / middle)
    quiet = float(middle / (spread.quantile(TAIL) if len(spread) >= MANY else spread.min()))
    return bounded(
        name,
        max(loud, quiet * LOUD / QUIET),
        most=LOUD,
        finding=f"the loudest feature spreads {loud:.3g} times as widely as the median one (limit {LOUD:g}), and that "
        f"one {quiet:.3g} times as widely as the quietest (limit {QUIET:g})",
        remedy='the units of the features decide the distances: set units = "standard" to divide each by its standard '
        'deviation, or units = "input" if they share a unit',
    )


@gate("manifold")
def constant(context: SoundnessContext) -> Soundness:
    """Report how many features do not vary in the data."""
    fixed = constant_features(_data(context))
    count = int(fixed.sum())
    return info("constant-features", f"{count} of {len(fixed)} features are constant in the data", float(count))


@gate("manifold")
def ignored(context: SoundnessContext) -> Soundness:
    """Features that the model ignores carry little of the variance of the data."""
    name = "ignored-features"
    if not is_differentiable(context.classifier):
        return info(name, "the model has no gradient, so which features it ignores is not known")
    variance = mean_and_variance(_data(context))[1]
    influence = _slope(context).cpu().double() * variance.sqrt()
    if not bool(influence.any()):
        return info(name, "the model's gradient vanishes, so which features it ignores is not known")
    unused = (influence <= IGNORED * influence.max()) & (variance > 0)
    share = float(variance[unused].sum() / variance.sum())
    count, varying = int(unused.sum()), int((variance > 0).sum())
    if count < LARGE_PART * varying:
        return info(
            name,
            f"the model ignores {count} of {varying} features that vary, which carry {percent(share)} of the variance",
            share,
        )
    return bounded(
        name,
        share,
        most=IGNORED_VARIANCE,
        finding=f"the model ignores {count} of {varying} features that vary, which carry {percent(share)} of the "
        f"variance of the data (limit {percent(IGNORED_VARIANCE)}) and lengthen the distances between inputs",
        remedy="leave them out of data and manifold-data, and put constants in their places inside the model",
    )


def _data(context: SoundnessContext) -> Tensor:
    """Return the data (m, D) that spreads are taken over: training data where they are known, else the inputs."""
    for points in (context.x_train, context.training_points):
        if points is not None and len(points) > 1:
            return points
    return context.x


def _spread(points: Tensor) -> Tensor:
    """Return the spread of each feature that varies, beside the commonest value of the feature.

    It is the root mean square of the deviations from this value, taken where there are deviations.

    A pixel that is seldom bright spreads as widely as one that often is, though its standard deviation is small.
    """
    points = points.cpu().double()
    away = points - points.median(0).values
    count = (away != 0).sum(0).clamp_min(1)
    return (away.square().sum(0) / count).sqrt()[~constant_features(points)]


def _slope(context: SoundnessContext) -> Tensor:
    """Return the root mean square (D,) of the margin's gradient over the inputs and some examples."""
    step = max(1, len(context.x_pool) // PROBED)
    examples = context.x_pool[::step][:PROBED]
    with torch.no_grad():
        predicted = called(context.classifier, examples.clone()).argmax(1)
    gradients = torch.cat([context.margin_gradient[1], margin_gradient(context.classifier, examples, predicted)[1]])
    return gradients.square().mean(0).sqrt()
