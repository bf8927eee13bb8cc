"""The reference models of a subject, each made when a check asks for it: a pair, checkpoints, untrained networks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor

from dmmcheck.errors import CheckError, user_code
from dmmcheck.measurement.measure import ALTERNATIVE, BASELINE, MOST_PAIRS, PAIR, UNTRAINED, of_pair
from dmmcheck.models.base import Classifier
from dmmcheck.subject import BASELINE_ROLE, Subject, checkpoint_role, pair_role, training_role


def reference_models(subject: Subject, seed: int) -> dict[str, Callable[[], Classifier]]:
    """Return the functions that make the reference models of a subject, by the names that `Measure.paired_model` takes.

    Args:
        subject: What is under test.
        seed: Seed of the first untrained network and of the first pair; the others take the seeds after it.
    """

    def known(model: Any, role: str) -> Callable[[], Classifier]:
        return lambda: subject.reference_classifier(model, role)

    made = _pairs(subject, seed)
    if subject.pair is not None:
        role = pair_role("robust" if subject.reference is None else "reference")
        made |= {name: known(model, role) for name, model in zip(PAIR, subject.pair, strict=True)}
    if subject.baseline_model is not None:
        made[BASELINE] = known(subject.baseline_model, BASELINE_ROLE)
    if subject.factory is not None:
        made |= {name: _untrained(subject, seed + number) for number, name in enumerate(UNTRAINED)}
    return made | {f"checkpoint {step}": known(model, checkpoint_role(step)) for step, model in subject.checkpoints}


def trainer(subject: Subject) -> Callable[[Tensor, Tensor, int], Classifier] | None:
    """Return a function from inputs (m, D), labels (m,) and a seed to a trained model; None without a trainer.

    The subject's trainer gets the inputs in their own shape and in the dtype of the model under test, on the device
    that the training data lie on, since it is written for those.
    """
    train = subject.trainer
    if train is None:
        return None
    device = (subject.x if subject.x_train is None else subject.x_train).device

    def trained(x: Tensor, y: Tensor, seed: int) -> Classifier:
        images = subject.normalized(x.reshape(-1, *subject.input_shape)).to(device)
        what = f"trainer(x {tuple(images.shape)}, y ({len(y)},), seed {seed})"
        return subject.reference_classifier(_called(what, train, images, y.to(device), seed), f"model of {what}")

    return trained


def pair_count(subject: Subject) -> int | None:
    """Return the number of pairs of trainings of a subject; None where a function makes as many as are asked for."""
    return None if callable(subject.pairs) else len(subject.pairs)


def _pairs(subject: Subject, seed: int) -> dict[str, Callable[[], Classifier]]:
    """Return the functions that make the models of each pair.

    The first pair is also the twin of a subject that has no other twin.
    """
    count = pair_count(subject)
    made: dict[str, Callable[[], Classifier]] = {}
    for number in range(MOST_PAIRS if count is None else count):
        models = _models_of_pair(subject, seed, number)
        made |= {of_pair(number, name): make for name, make in models.items()}
        if number == 0:
            made |= models
    if not made and subject.alternative is not None:
        made[ALTERNATIVE] = lambda: subject.reference_classifier(subject.alternative, "alternative model")
    return made


def _models_of_pair(subject: Subject, seed: int, number: int) -> dict[str, Callable[[], Classifier]]:
    """Return the functions that make the models of one pair, by their names in it."""

    @cache
    def pair() -> Any:
        return _pair_of(subject, seed, number)

    def member(position: int, name: str) -> Callable[[], Classifier]:
        return lambda: subject.reference_classifier(pair()[position], training_role(name, number))

    made = {name: member(position, name) for position, name in enumerate(PAIR)}
    if subject.alternative is not None:
        role = training_role(ALTERNATIVE, number)
        made[ALTERNATIVE] = lambda: subject.reference_classifier(_alternative_of(subject, seed, number), role)
    return made


def _pair_of(subject: Subject, seed: int, number: int) -> Any:
    """Return the (standard, robust) models of one pair."""
    if not callable(subject.pairs):
        return subject.pairs[number]
    what = f"pairs({seed + number})"
    made = _called(what, subject.pairs, seed + number)
    if not isinstance(made, (tuple, list)) or len(made) != len(PAIR):
        raise CheckError(f"{what} returned a {type(made).__name__}, expected two models, (standard, robust)")
    return made


def _alternative_of(subject: Subject, seed: int, number: int) -> Any:
    """Return the alternative model of one pair."""
    given = subject.alternative
    if subject.alternative_by_seed:
        return _called(f"alternative({seed + number})", given, seed + number)
    return given[number] if isinstance(given, (list, tuple)) else given


def _untrained(subject: Subject, seed: int) -> Callable[[], Classifier]:
    """Return a function that makes an untrained model; the subject's factory takes the seed, or no argument."""
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
    with user_code(what, "let it return a model", CheckError):
        return function(*arguments)
