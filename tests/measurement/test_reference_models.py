"""Reference models are used on the device and in the dtype of the model under test, and named where they do not fit."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import views
from torch import nn

from dmmcheck.config.settings import Settings
from dmmcheck.errors import CheckError, ModelError
from dmmcheck.measurement import reference_models
from dmmcheck.measurement.measure import UNTRAINED
from dmmcheck.run import Run

CHECKS = ["adversarial-training-deepens", "normal-gradient-growth", "two-phases", "wrong-label-training"]
NARROW = nn.Linear(views.D - 1, views.CLASSES)
WIDE = views.network(1, classes=7)
SAMPLES = 16


def of_everything(**changes):
    """A subject with each kind of reference model, in double precision; the model under test has single precision."""

    def double(seed):
        return views.network(seed).double()

    def trainer(x, y, seed):
        assert (x.device, y.device) == (torch.device("cpu"), torch.device("cpu"))
        assert (x.dtype, x.shape[1:]) == (torch.float32, (views.D,))
        return double(seed)

    given = {
        "reference": double(1),
        "factory": double,
        "checkpoints": [(step, double(step)) for step in range(6)],
        "trainer": trainer,
    }
    return views.subject(**{**given, **changes}, samples=SAMPLES)


def found(subject, checks):
    """Findings of a few inputs, soundness taken for granted."""
    run = Run(subject, Settings(samples=subject.x.shape[0]))
    run.soundness, run.pair_soundness = (), {}
    return [
        run.finding(planned)
        for planned in run.planned
        if (planned.check.id in checks and planned.tier != "controlled") or planned.id in checks
    ]


def test_reference_models_in_another_dtype_are_measured_as_if_they_had_that_of_the_model():
    def single(seed):
        return views.network(seed)

    same = of_everything(
        reference=single(1),
        factory=single,
        checkpoints=[(step, single(step)) for step in range(6)],
        trainer=lambda x, y, seed: single(seed),
    )
    one, other = (found(subject, CHECKS) for subject in (of_everything(), same))
    assert [finding.estimate for finding in one] == [finding.estimate for finding in other]
    assert all(finding.estimate is not None for finding in one)


def test_the_reference_models_of_the_user_stay_as_they_are():
    given = views.network(1).double()
    subject = of_everything(reference=given)
    assert subject.reference_classifier(given, "reference model").dtype == torch.float32
    assert {weights.dtype for weights in given.parameters()} == {torch.float64}


def test_the_device_of_the_settings_is_that_of_the_model_and_of_its_reference_models(monkeypatch):
    asked = []
    original = reference_models.Subject.reference_classifier
    monkeypatch.setattr(
        reference_models.Subject,
        "reference_classifier",
        lambda self, model, role: asked.append((role, self.classifier.device)) or original(self, model, role),
    )
    run = Run(of_everything(), Settings(device="cpu", samples=SAMPLES))
    asked.clear()
    made = reference_models.reference_models(run.subject, seed=3)
    for name in made:
        assert made[name]().device == run.subject.classifier.device
    roles = [role for role, _ in asked]
    assert roles == [
        *("reference model",) * 2,
        *(f"model of factory({seed})" for seed in range(3, 3 + len(UNTRAINED))),
        *(f"checkpoint of step {step}" for step in range(6)),
    ]


def test_a_model_that_cannot_be_copied_is_one_clear_error():
    class Single(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("there is only one")

    with pytest.raises(
        ModelError, match=r"the reference model cannot be copied to cpu in torch.float32.*there is only one.*\.to"
    ):
        views.subject(reference=Single(views.D, views.CLASSES).double())


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"reference": "MODEL"}, "the reference model"),
        ({"robust": "MODEL", "reference": None}, "the robust model"),
        ({"checkpoints": [(0, views.network(0)), (30, "MODEL")]}, "the checkpoint of step 30"),
    ],
    ids=["reference", "robust", "checkpoint"],
)
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (WIDE, "has 7 classes, the model under test has 4"),
        (
            NARROW,
            r"raised RuntimeError in forward on an input of shape \(2, 12\).*take the inputs of the model under test",
        ),
    ],
    ids=["classes", "shape"],
)
def test_a_reference_model_that_does_not_fit_is_refused_by_its_name_when_the_subject_is_made(
    changes, name, model, words
):
    changes = copy.copy(changes)
    for key, value in changes.items():
        if value == "MODEL":
            changes[key] = model
        elif value is not None:
            changes[key] = [(step, model if entry == "MODEL" else entry) for step, entry in value]
    with pytest.raises(ModelError, match=f"{name} {words}"):
        of_everything(**changes)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: WIDE, "the {} has 7 classes, the model under test has 4"),
        (lambda: NARROW, r"the {} raised RuntimeError in forward .* the inputs of the model under test"),
        (lambda: None, "the {} is a NoneType, which cannot be called"),
        (lambda: views.network(0).half(), "the {} computes in torch.float16"),
        (lambda: lambda x: x[:, : views.CLASSES] * torch.nan, "the logits of the {} are NaN"),
    ],
    ids=["classes", "shape", "none", "half", "nan"],
)
@pytest.mark.parametrize(
    ("key", "check", "role"),
    [
        ("factory", "normal-gradient-growth", r"model of factory\(0\)"),
        ("trainer", "wrong-label-training", r"model of trainer\(x \(16, 12\), y \(16,\), seed 0\)"),
    ],
    ids=["factory", "trainer"],
)
def test_what_a_function_returns_and_cannot_be_used_fails_its_check_by_its_name(key, check, role, model, words):
    subject = of_everything(**{key: lambda *_: model()})
    with pytest.raises(CheckError, match=words.format(role)):
        found(subject, [check])


@pytest.mark.parametrize(
    ("key", "check", "words"),
    [
        ("factory", "normal-gradient-growth", r"^factory\(0\) raised ZeroDivisionError: division by zero"),
        ("trainer", "wrong-label-training", r"^trainer\(x \(16, 12\), y \(16,\), seed 0\) raised ZeroDivisionError"),
    ],
)
def test_a_function_that_raises_is_named(key, check, words):
    subject = of_everything(**{key: lambda *_: 1 / 0})
    with pytest.raises(CheckError, match=words) as error:
        found(subject, [check])
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_a_factory_without_a_seed_is_called_without():
    subject = of_everything(factory=lambda: views.network(1))
    made = reference_models.reference_models(subject, seed=0)["untrained 5"]()
    assert (made.role, made.classes) == ("model of factory()", views.CLASSES)


def test_a_trainer_gets_images_in_their_own_shape():
    shapes = []

    def trainer(x, y, seed):
        shapes.append((tuple(x.shape), tuple(y.shape)))
        return nn.Sequential(nn.Flatten(), views.network(0))

    flat = views.subject(samples=SAMPLES)
    images = {name: getattr(flat, name).reshape(-1, 3, 4) for name in ("x", "x_train")}
    model = nn.Sequential(nn.Flatten(), flat.model)
    subject = replace(flat, **images, model=model, trainer=trainer)
    made = reference_models.trainer(subject)(torch.zeros(5, views.D), torch.zeros(5, dtype=torch.long), 0)
    assert shapes == [((5, 3, 4), (5,))]
    assert made.input_shape == (3, 4)


def test_training_data_that_the_model_is_wrong_about_are_named_as_such():
    subject = views.subject(samples=48)
    wrong = replace(subject, y_train=(subject.y_train + 1) % views.CLASSES)
    with pytest.raises(
        CheckError, match=r"the training data \(x_train and y_train, .*manifold-data\): the model class"
    ):
        found(wrong, ["dimples-shallow-controlled-training-points"])
