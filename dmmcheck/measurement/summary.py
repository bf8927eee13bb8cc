"""What a report says about the subject: names, hashes, versions, distances."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata

import numpy as np
import torch
from torch import nn

from dmmcheck.inference.evidence import Floats
from dmmcheck.inference.types import ARMS, ArmName
from dmmcheck.manifolds.fields import fingerprint
from dmmcheck.manifolds.protected import protected
from dmmcheck.measurement.measure import Measure
from dmmcheck.measurement.sample import predict
from dmmcheck.measurement.trainings import first_logits
from dmmcheck.measurement.view import View
from dmmcheck.models.base import ambient_dim
from dmmcheck.report.model import DistanceSummary, ManifoldSummary, SubjectSummary, TrainingStep
from dmmcheck.subject import Subject

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
REPORT_NAMES: dict[ArmName, str] = {"free": "free", "tangent": "on", "normal": "off"}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers depend on."""
    packages = ("torch", "numpy", "scipy", "scikit-learn", "pytest")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def summarise_subject(subject: Subject, measure: Measure) -> SubjectSummary:
    """Return the names, sizes, accuracy and hashes of the model and the manifold estimate."""
    classifier, sample = measure.classifier, measure.sample
    return SubjectSummary(
        model=classifier.name,
        model_hash=_model_hash(measure),
        classes=classifier.classes,
        inputs=len(sample.x),
        input_shape=classifier.input_shape,
        ambient_dim=ambient_dim(classifier),
        accuracy=sample.accuracy,
        manifold=_summarise_manifold(subject, measure),
        conversions=subject.conversions,
    )


def distances_of(measure: Measure, n: int) -> dict[str, DistanceSummary]:
    """Return the distances of the first n inputs in the three arms, under the names of the report."""
    view = View.of(measure, n)
    return {REPORT_NAMES[arm]: summarise_distances(view.distance(arm)) for arm in ARMS}


def summarise_distances(distances: Floats) -> DistanceSummary:
    """Return the median and quantiles; a censored distance ranks as infinite."""
    quantiles = np.quantile(distances, QUANTILES, method="higher")
    return DistanceSummary(
        median=float(np.quantile(distances, 0.5, method="higher")),
        quantiles={f"{level:g}": float(value) for level, value in zip(QUANTILES, quantiles, strict=True)},
        n=len(distances),
        censored=int(np.isinf(distances).sum()),
    )


def trajectory_of(view: View) -> tuple[TrainingStep, ...]:
    """Return the median and quartiles of d_off over the inputs at each checkpoint."""
    steps = []
    for step, model in view.checkpoints():
        low, median, high = np.quantile(model.distance("normal"), [0.25, 0.5, 0.75], method="higher")
        steps.append(TrainingStep(step=step, median=float(median), low=float(low), high=float(high)))
    return tuple(steps)


def _summarise_manifold(subject: Subject, measure: Measure) -> ManifoldSummary:
    manifold, x = measure.field.manifold, measure.sample.x[:64]
    projected = manifold.project_point(x).to(x)
    agreement = (predict(measure.classifier, projected) == predict(measure.classifier, x)).double().mean()
    tangent = fingerprint(measure.field, x[:8])
    note = getattr(manifold, "note", "")
    return ManifoldSummary(
        name=protected(subject.manifold).name,
        dim=measure.field.dim,
        hash=_digest(_bytes(tangent), _bytes(projected)),
        residual_median=float((x - projected).norm(dim=1).quantile(0.5)),
        label_agreement=float(agreement),
        note=note if isinstance(note, str) else "",
    )


def _model_hash(measure: Measure) -> str:
    """Return a hash of the weights where there are any, else of the logits at the first inputs."""
    forward = getattr(measure.classifier, "forward", None)
    if isinstance(forward, nn.Module) and forward.state_dict():
        weights = {name: value for name, value in forward.state_dict().items() if isinstance(value, torch.Tensor)}
        parts = [part for name, value in weights.items() for part in (name.encode(), _bytes(value))]
        return _digest(*parts)
    return _digest(_bytes(first_logits(measure.classifier, measure.sample.x)))


def _bytes(value: torch.Tensor) -> memoryview:
    """Return the bytes of a tensor of any dtype, also of dtypes that numpy lacks, without a copy where it can."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _digest(*parts: bytes | memoryview) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()
