"""The models of a subject, each of which another classifier calls: in other units, or in a box."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from torch import Tensor

from dmmcheck.models.base import Classifier
from dmmcheck.models.boxed import BoxedClassifier
from dmmcheck.subject import BASELINE_ROLE, Subject, checkpoint_role, pair_role, training_role

Wrap = Callable[[Any, str], Any]
"""From a model and what messages call it to the classifier that calls it; from None to None."""


def in_box(subject: Subject) -> Subject:
    """Return the subject whose models are never called, or trained, outside its bounds.

    Raises:
        ModelError: A reference model cannot be used.
    """
    bounds = subject.bounds
    assert bounds is not None
    fields = wrapped_models(
        subject, lambda classifier: BoxedClassifier(classifier, bounds), own_inputs=lambda x: x.clamp(*bounds)
    )
    return replace(subject, **fields)


def wrapped_models(
    subject: Subject, wrap: Callable[[Classifier], Classifier], *, own_inputs: Callable[[Tensor], Tensor] = lambda x: x
) -> dict[str, Any]:
    """Return the fields of a subject that hold its models, or make them, with each model wrapped.

    Args:
        subject: The subject.
        wrap: From a model to the classifier that calls it.
        own_inputs: From inputs of the wrapped models to those that a trainer gets.

    Raises:
        ModelError: A reference model cannot be used.
    """

    def wrapped(model: Any, role: str) -> Any:
        if model is None:
            return None
        return own if model is subject.model else wrap(subject.reference_classifier(model, role))

    own = wrap(subject.classifier)
    return {
        "model": own,
        "normalize": None,
        "reference": wrapped(subject.reference, pair_role("reference")),
        "robust": wrapped(subject.robust, pair_role("robust")),
        "baseline_model": wrapped(subject.baseline_model, BASELINE_ROLE),
        "pairs": _pairs(subject, wrapped),
        "alternative": _alternative(subject, wrapped),
        "factory": _factory(subject, wrapped),
        "checkpoints": [(step, wrapped(model, checkpoint_role(step))) for step, model in subject.checkpoints],
        "trainer": _trainer(subject, own_inputs, wrapped),
    }


def _pairs(subject: Subject, wrapped: Wrap) -> Any:
    """Return the pairs of trainings, each model of which gets inputs in its own units."""

    def both(pair: Any, roles: Iterable[str]) -> tuple[Any, ...]:
        return tuple(wrapped(model, role) for model, role in zip(pair, roles, strict=True))

    made, names = subject.pairs, ("standard", "robust")
    if callable(made):
        return lambda seed: both(made(seed), (f"{name} model of pairs({seed})" for name in names))
    return [both(pair, (training_role(name, number) for name in names)) for number, pair in enumerate(made)]


def _alternative(subject: Subject, wrapped: Wrap) -> Any:
    """Return the models of the alternative training: one, a list of them, or a function of a seed."""
    made, role = subject.alternative, "alternative model"
    if subject.alternative_by_seed:
        return lambda seed: wrapped(made(seed), role)
    return [wrapped(one, role) for one in made] if isinstance(made, (list, tuple)) else wrapped(made, role)


def _factory(subject: Subject, wrapped: Wrap) -> Callable[..., Any] | None:
    factory = subject.factory
    if factory is None:
        return None

    @functools.wraps(factory)  # with its signature, which tells whether it takes a seed
    def made(*seed: int) -> Any:
        return wrapped(factory(*seed), "untrained model")

    return made


def _trainer(subject: Subject, own_inputs: Callable[[Tensor], Tensor], wrapped: Wrap) -> Callable[..., Any] | None:
    train = subject.trainer
    if train is None:
        return None
    return lambda x, y, seed: wrapped(train(subject.normalized(own_inputs(x)), y, seed), "trained model")
