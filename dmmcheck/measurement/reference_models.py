"""The reference models of a subject, each made when a check asks for it: a pair, checkpoints, untrained networks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from dmmcheck.errors import CheckError
from dmmcheck.measurement.measure import PAIR, UNTRAINED
from dmmcheck.models.base import Classifier
from dmmcheck.subject import Subject, checkpoint_role, pair_role


def reference_models(subject: Subject, seed: int) -> dict[str, Callable[[], Classifier]]:
    """Functions that make the reference models of a subject, by the names that `Measure.paired_model` takes.

    Args:
        subject: What is under test.
        seed: Seed of the first untrained network; the others take the seeds after it.
    """

    def known(model: Any, role: str) -> Callable[[], Classifier]:
        return lambda: subject.reference_classifier(model, role)

    made: dict[str, Callable[[], Classifier]] = {}
    if subject.pair is not None:
        role = pair_role("robust" if subject.reference is None else "reference")
        made |= {name: known(model, role) for name, model in zip(PAIR, subject.pair, strict=True)}
    if subject.factory is not None:
        made |= {name: _untrained(subject, seed + number) for number, name in enumerate(UNTRAINED)}
    return made | {f"checkpoint {step}": known(model, checkpoint_role(step)) for step, model in subject.checkpoints}


def trainer(subject: Subject) -> Callable[[Tensor, Tensor, int], Classifier] | None:
    """A function from inputs (m, D), labels (m,) and a seed to a trained model; None where the subject has no trainer.

    The subject's trainer gets the inputs in their own shape and in the dtype of the model under test, on the device
    that the training data lie on, since it is written for those.
    """
    train = subject.trainer
    if train is None:
        return None
    device = (subject.x if subject.x_train is None else subject.x_train).device

    def trained(x: Tensor, y: Tensor, seed: int) -> Classifier:
        images = x.reshape(-1, *subject.input_shape).to(device)
        what = f"trainer(x {tuple(images.shape)}, y ({len(y)},), seed {seed})"
        return subject.reference_classifier(_called(what, train, images, y.to(device), seed), f"model of {what}")

    return trained


def _untrained(subject: Subject, seed: int) -> Callable[[], Classifier]:
    """A function that makes an untrained model; the subject's factory takes the seed, or no argument."""
    factory = subject.factory
    assert factory is not None
    try:
        inspect.signature(factory).bind(seed)
        arguments: tuple[int, ...] = (seed,)
    except (TypeError, ValueError):
        arguments = ()
    what = f"factory({', '.join(map(str, arguments))})"
    return lambda: subject.reference_classifier(_called(what, factory, *arguments), f"model of {what}")


def _called(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise CheckError(f"{what} raised {type(error).__name__}: {error}") from error
