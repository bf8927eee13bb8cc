"""Lays out for the soundness checks what a measurement stands on: a fixed part of the sample, the same in every run."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.measurement.measure import ARMS, Measure
from dmmcheck.report.model import Soundness
from dmmcheck.soundness import Ground
from dmmcheck.soundness import assess as assess_ground
from dmmcheck.subject import Subject

SOUNDNESS_INPUTS = 64


def part(measure: Measure) -> int:
    """How many inputs soundness looks at; not affected by which checks run or how soon they stop."""
    return min(SOUNDNESS_INPUTS, len(measure.sample.x))


def assess(subject: Subject, measure: Measure) -> tuple[Soundness, ...]:
    """Every soundness item for a subject's measurement."""
    n = part(measure)
    sample = measure.sample
    return assess_ground(
        Ground(
            classifier=measure.classifier,
            was_training=isinstance(subject.model, nn.Module) and subject.model.training,
            x=sample.x[:n],
            y=sample.y[:n],
            accuracy=sample.accuracy,
            majority=sample.majority,
            labelled=sample.labelled,
            x_pool=measure.examples.x,
            y_pool=measure.examples.y,
            bounds=subject.bounds,
            basis=measure.field.basis(slice(0, n)),
            manifold=subject.manifold,
            training_points=_training_points(subject, measure),
            crossings={arm: measure.crossings(n, arm) for arm in ARMS},
            search=boundary_search,
            seed=measure.seed,
        )
    )


def _training_points(subject: Subject, measure: Measure) -> Tensor | None:
    """What the manifold was fitted on, where that can be seen."""
    points: Any = getattr(subject.manifold, "training_points", None)
    points = subject.x_train if points is None else points
    return None if points is None else measure.classifier.flat(points)
