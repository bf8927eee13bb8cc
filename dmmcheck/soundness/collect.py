"""The soundness context of a measurement: a fixed part of the sample, the same in every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.search import boundary_search
from dmmcheck.inference.types import ARMS
from dmmcheck.measurement.measure import Measure
from dmmcheck.measurement.training_sets import manifold_points
from dmmcheck.models.base import flat
from dmmcheck.registry import GATES
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import SoundnessContext
from dmmcheck.soundness.registry import assess
from dmmcheck.subject import Subject

SOUNDNESS_INPUTS = 64
FEW_INPUTS = 16  # of a model that only the quick gates ask about
QUICK_GATES = (
    "evaluation-mode",
    "deterministic",
    "batch-independent",
    "finite",
    "not-constant",
    "above-chance",
    "model-in-place",
    "gradients",
    "finite-differences",
)
"""The gates on a model and its gradients, which take one quick search of a few inputs."""


def soundness_inputs(measure: Measure) -> int:
    """Return the number of inputs of the soundness gates.

    It depends neither on which checks run nor on how soon the checks stop.
    """
    return min(SOUNDNESS_INPUTS, len(measure.sample.x))


def assess_measurement(subject: Subject, measure: Measure) -> tuple[Soundness, ...]:
    """Return all soundness items of a measurement."""
    n = soundness_inputs(measure)
    return assess(_context(subject, measure, n, {arm: measure.crossings(n, arm) for arm in ARMS}))


def assess_quickly(subject: Subject, measure: Measure) -> tuple[Soundness, ...]:
    """Return the items on the model and its gradients alone, at few inputs and with one quick free search."""
    n = min(FEW_INPUTS, len(measure.sample.x))
    context = _context(subject, measure, n, {})
    found = context.searched(measure.classifier, "free", slice(0, n), "quick")
    return assess(replace(context, crossings={"free": found}), QUICK_GATES)


def _context(subject: Subject, measure: Measure, n: int, crossings: Mapping[str, Crossing]) -> SoundnessContext:
    """Return the context of the gates: the first n inputs of a measurement and the crossings found there."""
    sample, spaces = measure.sample, measure.field.spaces(slice(0, n))
    return SoundnessContext(
        classifier=measure.classifier,
        was_training=_in_training_mode(subject),
        x=sample.x[:n],
        y=sample.y[:n],
        accuracy=sample.accuracy,
        majority=sample.majority,
        labelled=sample.labelled,
        independence=sample.independence,
        units=subject.units,
        **_training_data(subject, measure),
        x_pool=measure.examples.x,
        y_pool=measure.examples.y,
        bounds=subject.bounds,
        basis=measure.field.basis(slice(0, n)) if spaces is None else None,
        spaces=spaces,
        manifold=subject.manifold,
        training_points=_training_points(subject, measure),
        crossings=crossings,
        search=partial(boundary_search, queries=measure.queries),
        seed=measure.seed,
        effort=measure.effort,
    )


def soundness_content(subject: Subject, measure: Measure) -> tuple[object, ...]:
    """Return what the soundness items depend on beside the measurement; a user's gates count by their functions."""
    sample, points = measure.sample, _training_points(subject, measure)
    own = measure.classifier is subject.classifier
    data = (subject.x_train, subject.y_train) if own else ()
    known = (sample.accuracy, sample.majority, sample.labelled, sample.independence)
    gates = [gate.ask for gate in GATES.values()]
    return known, data, points, subject.bounds, subject.units, _in_training_mode(subject), gates


def _training_points(subject: Subject, measure: Measure) -> Tensor | None:
    """Return the points (m, D) that the manifold was fitted on, where they are known."""
    points = manifold_points(subject)
    points = subject.x_train if points is None else points
    return None if points is None else flat(measure.classifier, points)


def _training_data(subject: Subject, measure: Measure) -> dict[str, Tensor]:
    """Return the subject's training data; {} for the other model of a pair, which was not fitted on these data."""
    if subject.x_train is None or measure.classifier is not subject.classifier:
        return {}
    x_train = {"x_train": flat(measure.classifier, subject.x_train)}
    if subject.y_train is None:
        return x_train
    return {**x_train, "y_train": subject.y_train.to(measure.classifier.device)}


def _in_training_mode(subject: Subject) -> bool:
    """Return whether the model was given in training mode."""
    forward = getattr(subject.classifier, "forward", subject.model)
    return isinstance(forward, nn.Module) and forward.training
