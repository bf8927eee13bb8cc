"""Subject: what is under test, validated when it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dmmcheck.data.arrays import check_columns, column_names, pieces
from dmmcheck.data.inputs import inputs_of, standardised
from dmmcheck.data.labels import class_names, labels_of
from dmmcheck.errors import ManifoldError, ModelError, SubjectError, one_error, user_code
from dmmcheck.inference.types import MIN_INPUTS
from dmmcheck.manifolds.adapt import as_manifold
from dmmcheck.manifolds.base import validate_manifold
from dmmcheck.models.base import UNDER_TEST, Classifier, is_differentiable
from dmmcheck.models.callables import as_callable
from dmmcheck.models.conversions import conversion_of
from dmmcheck.models.normalize import Normalization, folded, normalization_of
from dmmcheck.models.process_state import neutral_state
from dmmcheck.models.reference import moved, reference_model
from dmmcheck.models.torch import TorchClassifier, adapt, check_gradient, verify

DATA_X, DATA_Y = "x (the inputs of the key data)", "y (the labels of the key data)"
UNITS = ("input", "standard")
MOST_CHECKPOINTS = 10_000
EXAMINED = "let its attributes and methods return their values when they are read"
TRAINING_DATA = "the training data (x_train and y_train, in settings manifold-data)"


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier, labelled inputs, a manifold estimate, and the reference models that some checks need.

    Attributes:
        model: A ``torch.nn.Module``, a function from ``(n, *input_shape)`` to logits, or a fitted classifier of
            scikit-learn, see `models.torch.adapt`.
        x: Inputs ``(n, *input_shape)``: a floating-point tensor or array, a frame or a sparse matrix. Stored as a
            tensor.
        y: Labels (n,): class numbers in [0, classes), the labels that the model's ``classes_`` names, or one-hot rows.
            Stored as a long tensor of class numbers.
        manifold: An object with ``dim``, ``project_point`` and ``tangent_basis`` (`dmmcheck.manifolds.base.Manifold`);
            or a fitted scikit-learn transformer with an inverse, (encoder, decoder), or points for local PCA, which
            become one.
        bounds: Box (lo, hi) of the inputs, e.g. (0, 1); None for no box. x must lie in it; searches leave it
            unless the setting `boxed` is true.
        reference: The standard model of a pair, where `model` is the adversarially trained one.
        robust: The adversarially trained model of a pair, where `model` is the standard one.
        pairs: Several trainings, for claims about adversarial training: ``[(standard, robust), ...]``, or a function
            ``pairs(seed) -> (standard, robust)``, which is called with the seeds after that of the run, as often as
            alpha needs.
        alternative: A control training: a model as accurate as the robust one and trained otherwise, e.g. with weight
            decay. Or a list of them, as long as `pairs`; or, where `pairs` is a function, a function of the same seed.
        robustly_trained: Whether `model` is adversarially trained; it always is where `reference` is given.
        factory: ``factory(seed) -> model``, untrained; the same seed gives the same model.
        checkpoints: ``[(step, model), ...]`` along training, the first one untrained.
        trainer: ``trainer(x, y, seed) -> model``. x ``(m, *input_shape)`` comes on the device of x_train.
        augment: ``augment(x, seed) -> x``: changes a batch ``(n, *input_shape)`` in a way that must keep the label; the
            same seed gives the same change. For the tier search.
        x_train: Examples ``(m, *input_shape)`` that the manifold was fitted on, in which neighbours are looked up.
        y_train: Their labels (m,).
        groups: One value an input (n,), equal for inputs that belong together, such as those of one patient or one
            video: numbers or texts. One input of each group is measured. Stored as group numbers, a long tensor.
        units: ``"input"``: distances are in the units of x. ``"standard"``: each feature is divided by its standard
            deviation, see `measurement.units`. None: as ``"input"``, and the soundness item ``feature-units`` fails
            where the features of a table differ much in their spread.
        normalize: ``{"mean": ..., "std": ...}``, which the models expect to have been applied to their inputs: a number
            for each channel or feature, or one for all. x stays in its own units, and so do bounds and distances; each
            model, and a trainer, gets ``(x - mean) / std``.
        baseline_model: A model to compare with on the same inputs in the same run, e.g. that of the main branch.
        conversions: What was done to the data and to the model as the user gave them, one phrase each, e.g. for a
            frame or for texts as labels. Those of loading are passed on; those of the subject itself are added.

    Raises:
        SubjectError: Inputs, labels, bounds or reference models cannot be used.
        ModelError: The model, or a reference model, cannot be called on these inputs.
        ManifoldError: The manifold does not fit these inputs.
    """

    model: Any
    x: Any
    y: Any
    manifold: Any
    bounds: tuple[float, float] | None = None
    reference: Any = None
    robust: Any = None
    pairs: Any = ()
    alternative: Any = None
    robustly_trained: bool = False
    factory: Callable[..., Any] | None = None
    checkpoints: Sequence[tuple[int, Any]] = ()
    trainer: Callable[..., Any] | None = None
    augment: Callable[..., Any] | None = None
    x_train: Any = None
    y_train: Any = None
    groups: Any = None
    units: Literal["input", "standard"] | None = None
    normalize: Any = None
    baseline_model: Any = None
    conversions: tuple[str, ...] = ()
    classifier: Classifier = field(init=False, repr=False)

    @neutral_state()
    def __post_init__(self) -> None:
        x, said = inputs_of(self.x, DATA_X)
        if len(x) < MIN_INPUTS:
            raise SubjectError(
                f"{DATA_X} holds {len(x)} inputs, at least {MIN_INPUTS} are needed; pass more of the test split"
            )
        with _examined("bounds"):
            bounds = _checked_bounds(self.bounds, x)
        with _examined("normalize"):
            object.__setattr__(self, "normalize", normalization_of(self.normalize, tuple(x.shape[1:])))
        with one_error(f"the {UNDER_TEST}", EXAMINED, ModelError, where="when it was examined"):
            classifier = self._adapted(x, bounds)
            y, also_said = self._labels(self.y, DATA_Y, len(x))
        _check_range(y, classifier.classes, DATA_Y)
        checked: dict[str, Any] = {"x": x, "y": y, "bounds": bounds, "classifier": classifier}
        plain = self.units != "standard" and self.normalize is None and bounds is None
        noted = (said, also_said, standardised(x) if plain else "", conversion_of(classifier))
        checked["conversions"] = tuple(dict.fromkeys((*self.conversions, *filter(None, noted))))
        if self.units not in {None, *UNITS}:
            raise SubjectError(
                f"units is {self.units!r}, expected one of {', '.join(UNITS)}; leave it out for the default"
            )
        if self.groups is not None:
            with _examined("groups"):
                checked["groups"] = groups_of(self.groups, len(x))
        if self.x_train is None and self.y_train is not None:
            raise SubjectError("y_train is given without x_train; give both, or neither")
        if self.x_train is not None:
            checked |= self._training_data(x, classifier.classes)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        with _examined("the reference models"):
            object.__setattr__(self, "checkpoints", _checkpoints_of(self.checkpoints))
            self._check_reference_models()
        with one_error("the manifold", EXAMINED, ManifoldError, where="when it was examined"):
            object.__setattr__(self, "manifold", as_manifold(self.manifold, self.input_shape))
            validate_manifold(self.manifold, x[:2].reshape(2, -1))

    def _adapted(self, x: Tensor, bounds: tuple[float, float] | None) -> Classifier:
        """Return the model under test as a classifier."""
        owner = getattr(self.model, "__self__", self.model)
        check_columns(self.x, getattr(owner, "feature_names_in_", None), DATA_X)
        classifier = adapt(folded(self.model, self.normalize, x, role=UNDER_TEST, bounds=bounds), x, bounds=bounds)
        if not isinstance(classifier, TorchClassifier):
            verify(classifier, x)
        check_gradient(classifier, x)
        return classifier

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x.shape[1:])

    @property
    def pair(self) -> tuple[Any, Any] | None:
        """The standard and the robust model; None where neither `reference` nor `robust` is given."""
        if self.reference is not None:
            return self.reference, self.model
        return (self.model, self.robust) if self.robust is not None else None

    @property
    def is_robust(self) -> bool:
        """Whether the model under test is declared to be adversarially trained."""
        return self.robustly_trained or self.reference is not None

    @property
    def provides(self) -> frozenset[str]:
        """What this subject has of the things that checks can need; keys of `checks.base.NEEDS`, and `alternative`."""
        has_pairs = callable(self.pairs) or len(self.pairs) > 0
        has = {
            "pair": self.pair is not None or has_pairs,
            "pairs": has_pairs,
            "alternative": self.alternative is not None,
            "factory": self.factory is not None,
            "checkpoints": len(self.checkpoints) > 0,
            "trainer": self.trainer is not None and self.y_train is not None,
            "augment": self.augment is not None,
            "classes": self.classifier.classes > 2,
            "examples": self.y_train is not None,
            "differentiable": is_differentiable(self.classifier),
        }
        return frozenset(name for name, present in has.items() if present)

    def to(self, device: str) -> Subject:
        """Return the same subject with a copy of its model on another device.

        Reference models are moved when they are used.

        Args:
            device: Name of the device, as torch spells it.

        Raises:
            SubjectError: The device cannot be used on this machine.
            ModelError: The model cannot be moved there.
        """
        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise SubjectError(
                f"device {device!r} cannot be used here ({reason}); choose another, e.g. 'cpu'"
            ) from error
        given = as_callable(self.model, self.normalized(self.x), role=UNDER_TEST)
        model = moved(given, device, role=UNDER_TEST)

        def own(one: Any) -> Any:
            return model if one is self.model else one

        checkpoints = tuple((step, own(one)) for step, one in self.checkpoints)
        pairs = self.pairs if callable(self.pairs) else tuple((own(one), own(other)) for one, other in self.pairs)
        return replace(self, model=model, checkpoints=checkpoints, pairs=pairs)

    def reference_classifier(self, model: Any, role: str) -> Classifier:
        """Return a reference model as a classifier on the device and in the dtype of the model under test.

        Args:
            model: The reference model; the model under test itself may be one.
            role: What messages call it.

        Raises:
            ModelError: It cannot be called on the inputs, or has other classes; see `models.reference`.
        """
        if model is self.model:
            return self.classifier
        model = folded(model, self.normalize, self.x, role=role, bounds=self.bounds)
        return reference_model(model, self.x, like=self.classifier, role=role, bounds=self.bounds)

    def normalized(self, x: Tensor) -> Tensor:
        """Return the inputs ``(n, *input_shape)`` as the models expect them, see `normalize`."""
        normalization: Normalization | None = self.normalize
        return x if normalization is None else normalization(x)

    def _labels(self, y: Any, name: str, n: int) -> tuple[Tensor, str]:
        """Return the labels as class numbers, and how they were made.

        Labels of a copy of a subject are class numbers already.
        """
        converted = isinstance(y, Tensor) and any(line.startswith(f"{DATA_Y}:") for line in self.conversions)
        return labels_of(y, name, n, None if converted else class_names(self.model))

    def _training_data(self, x: Tensor, classes: int) -> dict[str, Tensor]:
        try:
            return self._checked_training_data(x, classes)
        except SubjectError as error:
            raise SubjectError(f"{TRAINING_DATA}: {error}") from error.__cause__

    def _checked_training_data(self, x: Tensor, classes: int) -> dict[str, Tensor]:
        examples, _ = inputs_of(self.x_train, "x_train")
        check_columns(self.x_train, column_names(self.x), "x_train")
        if not examples.numel():
            raise SubjectError(
                f"x_train has shape {tuple(examples.shape)} and holds no inputs, at least 1 is needed; pass the data "
                "that the model was trained on, or leave x_train out"
            )
        if examples.shape[1:] != x.shape[1:] and examples[0].numel() != x[0].numel():
            raise SubjectError(
                f"x_train holds inputs of shape {tuple(examples.shape[1:])}, but x holds inputs of shape "
                f"{tuple(x.shape[1:])}; pass training inputs of the shape of x"
            )
        if self.y_train is None:
            return {"x_train": examples}
        labels, _ = self._labels(self.y_train, "y_train", len(examples))
        _check_range(labels, classes, "y_train")
        return {"x_train": examples, "y_train": labels}

    def _check_reference_models(self) -> None:
        if self.reference is not None and self.robust is not None:
            raise SubjectError(
                "both reference and robust are given; keep reference where the model under test is the robust one of a "
                "pair, robust where it is the standard one"
            )
        for name in ("factory", "trainer", "augment"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise SubjectError(f"{name} is a {type(value).__name__}, which cannot be called; pass a function")
        self._check_trainings()
        for name in ("reference", "robust"):
            if getattr(self, name) is not None:
                self.reference_classifier(getattr(self, name), pair_role(name))
        if self.baseline_model is not None:
            self.reference_classifier(self.baseline_model, BASELINE_ROLE)
        for step, model in self.checkpoints:
            self.reference_classifier(model, checkpoint_role(step))

    def _check_trainings(self) -> None:
        if self.robustly_trained and self.robust is not None:
            raise SubjectError(
                "robustly_trained is true and robust is given, which makes the model under test the standard one of a "
                "pair; give reference in place of robust, or leave robustly_trained out"
            )
        pairs = self.pairs
        if not callable(pairs):
            if not isinstance(pairs, Sequence) or not all(_is_pair(entry) for entry in pairs):
                raise SubjectError(
                    f"pairs is {_described(pairs)}, expected [(standard, robust), ...] or a function "
                    "seed -> (standard, robust) whose seed has no default"
                )
            for number, pair in enumerate(pairs):
                for name, model in zip(("standard", "robust"), pair, strict=True):
                    self.reference_classifier(model, training_role(name, number))
        elif isinstance(pairs, nn.Module):
            raise SubjectError("pairs is one model; give [(standard, robust), ...], or one model as robust")
        self._check_alternative()

    def _check_alternative(self) -> None:
        several = self.alternative
        if several is None or self.alternative_by_seed:
            return
        if not isinstance(several, (list, tuple)):
            self.reference_classifier(several, "alternative model")
            return
        expected = "a function of a seed" if callable(self.pairs) else f"{len(self.pairs)} pairs"
        if callable(self.pairs) or len(several) != len(self.pairs):
            raise SubjectError(
                f"alternative holds {len(several)} models and pairs is {expected}; give one model for all pairs, one "
                "for each pair in the same order, or a function of the seed where pairs is one"
            )
        for number, model in enumerate(several):
            self.reference_classifier(model, training_role("alternative", number))

    @property
    def alternative_by_seed(self) -> bool:
        """Whether `alternative` is a function of a seed: any function is, where `pairs` is one."""
        is_model = isinstance(self.alternative, (nn.Module, Classifier))
        return callable(self.pairs) and callable(self.alternative) and not is_model


BASELINE_ROLE = "baseline model"
"""What messages call the model that the one under test is compared with."""


def _examined(name: str) -> AbstractContextManager[None]:
    """Return the guard around a part of the subject while it is read; see `errors.one_error`."""
    return one_error(name, EXAMINED, SubjectError, where="when examined")


def _checkpoints_of(given: Any) -> tuple[tuple[int, Any], ...]:
    """Return the (step, model) pairs of any iterable.

    Raises:
        SubjectError: It never ends, or holds something else, or its steps are no rising whole numbers.
    """
    remedy = "give a list of (step, model) pairs"
    with user_code("checkpoints", remedy, SubjectError, where="when they were iterated over"):
        entries = tuple(islice(given, MOST_CHECKPOINTS + 1))
    if len(entries) > MOST_CHECKPOINTS:
        raise SubjectError(f"checkpoints hold more than {MOST_CHECKPOINTS} entries, or never end; {remedy}")
    wrong = next((entry for entry in entries if not _is_pair(entry)), None)
    if wrong is not None:
        raise SubjectError(f"checkpoints hold a {type(wrong).__name__}, expected (step, model) pairs; {remedy}")
    steps = [step for step, _ in entries]
    junk = next((step for step in steps if not isinstance(step, Integral) or isinstance(step, bool)), None)
    if junk is not None:
        raise SubjectError(f"checkpoints have a step of type {type(junk).__name__}, expected whole numbers; {remedy}")
    if steps != sorted(set(steps)):
        raise SubjectError(
            f"checkpoints have the steps {steps}, expected (step, model) pairs with rising steps; sort them by step"
        )
    return entries


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, (tuple, list)) and len(entry) == 2


def _described(pairs: Any) -> str:
    """Return a few words for a value that was given as pairs."""
    if not isinstance(pairs, Sequence):
        return f"a {type(pairs).__name__}"
    wrong = next(entry for entry in pairs if not _is_pair(entry))
    return f"a list that holds a {type(wrong).__name__}"


def training_role(name: str, number: int) -> str:
    """Return what messages call a model of a pair of trainings; pairs count from 1."""
    return f"{name} model of pair {number + 1}"


def pair_role(name: str) -> str:
    """Return what messages call the second model of a pair, by the field that holds it."""
    return f"{name} model"


def checkpoint_role(step: int) -> str:
    """Return the name by which error messages refer to the checkpoint of a training step."""
    return f"checkpoint of step {step}"


def groups_of(groups: Any, n: int) -> Tensor:
    """Return the group numbers (n,) from one value an input, numbers or texts.

    Raises:
        SubjectError: There is another number of values than of inputs, or there are fewer than 8 groups.
    """
    values = np.asarray(groups.detach().cpu() if isinstance(groups, Tensor) else groups)
    if values.shape != (n,):
        raise SubjectError(
            f"groups have shape {values.shape}, expected ({n},): one value for each input; give equal values to inputs "
            "that belong together"
        )
    try:
        distinct, numbers = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise SubjectError(f"groups cannot be compared ({error}); give numbers, or texts, for all inputs") from error
    if len(distinct) < MIN_INPUTS:
        raise SubjectError(
            f"groups has {len(distinct)} different values, at least {MIN_INPUTS} are needed, since one input of each "
            "group is measured; pass inputs of more groups"
        )
    return torch.as_tensor(numbers.reshape(-1), dtype=torch.long)


def _check_range(y: Tensor, classes: int, name: str) -> None:
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise SubjectError(
            f"{name} holds labels from {low} to {high}, the model has {classes} classes (0 to {classes - 1}); "
            f"map the labels to the model's outputs{_shift(low, high, classes)}"
        )


def _shift(low: int, high: int, classes: int) -> str:
    """Return the advice for labels that seem to count from 1."""
    return ", e.g. y - 1 where they count from 1" if (low, high) == (1, classes) else ""


def _checked_bounds(bounds: Any, x: Tensor) -> tuple[float, float] | None:
    if bounds is None:
        return None
    values = tuple(islice(bounds, 3)) if isinstance(bounds, Iterable) else (bounds,)
    try:
        low, high = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise SubjectError(f"bounds are {bounds!r}, expected two numbers (lo, hi), e.g. (0.0, 1.0)") from error
    if not low < high:
        raise SubjectError(f"bounds are ({low}, {high}), expected lo < hi, e.g. (0.0, 1.0)")
    outside = sum(int(((piece < low) | (piece > high)).sum()) for piece in pieces(x))
    if outside:
        raise SubjectError(
            f"{DATA_X} holds {outside} values outside the bounds [{low}, {high}]: it spans {float(x.min()):g} to "
            f"{float(x.max()):g}; give the bounds in the units of x, or scale x"
        )
    return low, high
