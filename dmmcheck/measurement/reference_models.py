"""The companions of a subject, each made when a check asks for it: twins, checkpoints, untrained and trained models."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from dmmcheck.errors import CheckError
from dmmcheck.measurement.measure import UNTRAINED
from dmmcheck.models.torch import TorchClassifier
from dmmcheck.subject import Subject, checkpoint_role, twin_role


def twins(subject: Subject, seed: int) -> dict[str, Callable[[], TorchClassifier]]:
    """How to get each companion model, by the name that a measurement knows it by."""

    def known(model: Any, role: str) -> Callable[[], TorchClassifier]:
        return lambda: subject.beside(model, role)

    made: dict[str, Callable[[], TorchClassifier]] = {}
    if subject.pair is not None:
        role = twin_role("robust" if subject.reference is None else "reference")
        made |= {name: known(model, role) for name, model in zip(("standard", "robust"), subject.pair, strict=True)}
    if subject.factory is not None:
        made |= {name: _untrained(subject, seed + number) for number, name in enumerate(UNTRAINED)}
    return made | {f"checkpoint {step}": known(model, checkpoint_role(step)) for step, model in subject.checkpoints}


def trainer(subject: Subject) -> Callable[[Tensor, Tensor, int], TorchClassifier] | None:
    """From inputs (m, D), labels (m,) and a seed to a trained model, adapted; None where the subject has no trainer.

    The subject's trainer gets the inputs in their own shape and in the dtype of the model under test, on the device
    that the training data lie on: it is written for those.
    """
    train = subject.trainer
    if train is None:
        return None
    device = (subject.x if subject.x_train is None else subject.x_train).device

    def trained(x: Tensor, y: Tensor, seed: int) -> TorchClassifier:
        images = x.reshape(-1, *subject.input_shape).to(device)
        what = f"trainer(x {tuple(images.shape)}, y ({len(y)},), seed {seed})"
        return subject.beside(_called(what, train, images, y.to(device), seed), f"model of {what}")

    return trained


def _untrained(subject: Subject, seed: int) -> Callable[[], TorchClassifier]:
    """A factory may take the seed or nothing."""
    factory = subject.factory
    assert factory is not None
    try:
        inspect.signature(factory).bind(seed)
        arguments: tuple[int, ...] = (seed,)
    except (TypeError, ValueError):
        arguments = ()
    what = f"factory({', '.join(map(str, arguments))})"
    return lambda: subject.beside(_called(what, factory, *arguments), f"model of {what}")


def _called(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise CheckError(f"{what} raised {type(error).__name__}: {error}") from error
