"""Whatever a part of the user's does, one error names the part and the call; the table is `faults.json`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dmmcheck
from dmmcheck.loading.datasets import labelled

TABLE = json.loads(Path(__file__).with_name("faults.json").read_text(encoding="utf-8"))
RAISED = [(part, kind) for part in TABLE["parts"] for kind in TABLE["raised"]]
RETURNED = [tuple(row) for row in TABLE["returned"]]
X, Y = torch.randn(16, 6, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 2
PLANE = torch.eye(6)[:, :2]


class Unshowable(Exception):  # noqa: N818  # the name is read in the message
    """An exception whose own text raises."""

    def __str__(self):
        raise OSError("no text")


JUNK = {
    "None": None,
    "text": "text",
    "texts": ["a", "b"],
    "object": object(),
    "no rows": torch.zeros(0, 2),
    "too deep": torch.zeros(2, 1, 2),
    "integers": torch.zeros(6, 2, dtype=torch.long),
    "whole numbers": torch.zeros(2, 2, dtype=torch.long),
    "half": torch.zeros(2, 2, dtype=torch.float16),
    "complex": torch.zeros(2, 2, dtype=torch.complex64),
    "NaN": torch.full((2, 6), torch.nan),
    "one number": [3],
    "negative": -1,
}
STREAMS = {
    "endless": itertools.count,
    "mixed steps": lambda: iter([(0, linear()), ("last", linear())]),
    "unhashable steps": lambda: iter([([0], linear())]),
    "true steps": lambda: iter([(False, linear())]),
}


def linear():
    return nn.Linear(6, 2)


def of(name, fault):
    """An object whose attribute, method or property of this name does what the fault does when it is called."""
    return type("Own", (), {name: lambda *given: fault()})()


def plane(**members):
    """A manifold, some of whose members are replaced."""
    methods = {"dim": 2, "project_point": lambda self, x: x @ PLANE @ PLANE.T, "tangent_basis": lambda self, x: PLANE}
    return type("Plane", (), methods | members)()


def classifier(**members):
    """A classifier, some of whose members are replaced."""
    fixed = {"name": "own", "classes": 2, "input_shape": (6,), "device": torch.device("cpu"), "dtype": torch.float32}
    return type("Own", (dmmcheck.Classifier,), {**fixed, "logits": lambda self, x: x[:, :2], **members})()


class Parts(nn.Linear):
    """A module whose parameters cannot be listed."""

    def __init__(self, fault):
        super().__init__(6, 2)
        self.fault = fault

    def parameters(self, recurse=True):
        return self.fault()


class Numbers(Mapping):
    """What normalize takes, as a mapping of the user's."""

    def __init__(self, fault):
        self.fault = fault

    def __getitem__(self, key):
        return self.fault()

    def __iter__(self):
        return iter(("mean", "std"))

    def __len__(self):
        return 2


def dataset(**members):
    return type("Dataset", (), members)()


def subject(**changes):
    return dmmcheck.Subject(**{"model": linear(), "x": X, "y": Y, "manifold": plane(), **changes})


def own_model(fault):
    return lambda x: fault()


BUILD = {
    "model": lambda fault: subject(model=own_model(fault)),
    "output of the model": lambda fault: subject(
        model=lambda x: type("Out", (), {"logits": property(lambda s: fault())})()
    ),
    "parameters of the model": lambda fault: subject(model=Parts(fault)),
    "logits of a classifier": lambda fault: subject(model=classifier(logits=lambda self, x: fault())),
    "evaluation of a classifier": lambda fault: subject(model=classifier(evaluation=lambda self: fault())),
    "classes of a classifier": lambda fault: subject(model=classifier(classes=property(lambda self: fault()))),
    "device of a classifier": lambda fault: subject(model=classifier(device=property(lambda self: fault()))),
    "inputs": lambda fault: subject(x=of("to_numpy", fault)),
    "labels": lambda fault: subject(y=of("to_numpy", fault)),
    "training inputs": lambda fault: subject(x_train=of("to_numpy", fault)),
    "training labels": lambda fault: subject(x_train=X, y_train=of("to_numpy", fault)),
    "groups": lambda fault: subject(groups=of("__array__", lambda: np.asarray(fault()))),
    "bounds": lambda fault: subject(bounds=of("__iter__", lambda: iter(fault()))),
    "normalize": lambda fault: subject(normalize=Numbers(fault)),
    "checkpoints": lambda fault: subject(checkpoints=of("__iter__", lambda: iter(fault()))),
    "model of a checkpoint": lambda fault: subject(checkpoints=[(0, linear()), (3, own_model(fault))]),
    "reference": lambda fault: subject(reference=own_model(fault)),
    "robust": lambda fault: subject(robust=own_model(fault)),
    "baseline model": lambda fault: subject(baseline_model=own_model(fault)),
    "project_point": lambda fault: subject(manifold=plane(project_point=lambda self, x: fault())),
    "tangent_basis": lambda fault: subject(manifold=plane(tangent_basis=lambda self, x: fault())),
    "dim": lambda fault: subject(manifold=plane(dim=property(lambda self: fault()))),
    "encoder": lambda fault: subject(manifold=(lambda x: fault(), lambda z: z @ PLANE.T)),
    "decoder": lambda fault: subject(manifold=(lambda x: x @ PLANE, lambda z: fault())),
    "item of a dataset": lambda fault: labelled(
        dataset(__len__=lambda self: 9, __getitem__=lambda self, index: fault()), "data"
    ),
    "length of a dataset": lambda fault: labelled(
        dataset(__len__=lambda self: fault(), __getitem__=lambda self, index: (X[index], 0)), "data"
    ),
    "iterator of a dataset": lambda fault: labelled(dataset(__iter__=lambda self: fault()), "data"),
}


def raising(kind):
    """A fault that raises an exception of this kind."""
    made = Unshowable() if kind == "Unshowable" else getattr(__import__("builtins"), kind)("what went wrong")

    def fault():
        raise made

    return fault


def returning(what):
    """A fault that returns junk."""
    return STREAMS[what] if what in STREAMS else lambda: JUNK[what]


@pytest.mark.parametrize(("part", "kind"), RAISED, ids=[f"{part}: {kind}" for part, kind in RAISED])
def test_what_a_part_raises_becomes_one_error_that_names_part_and_call(part, kind):
    name, *words = TABLE["parts"][part]
    with pytest.raises(dmmcheck.DmmError) as error:
        BUILD[part](raising(kind))
    text = str(error.value)
    assert type(error.value).__name__ == name
    for word in (*words, kind, TABLE["raised"][kind], "; "):
        assert word in text
    assert kind == "Unshowable" or "what went wrong" in text


@pytest.mark.parametrize(("part", "what", "words"), RETURNED, ids=[f"{part}: {what}" for part, what, _ in RETURNED])
def test_what_a_part_returns_becomes_one_error_where_it_is_of_no_use(part, what, words):
    with pytest.raises(dmmcheck.DmmError) as error:
        BUILD[part](returning(what))
    assert words in str(error.value)


def test_the_parts_work_where_nothing_is_wrong():
    assert subject().input_shape == (6,)
    assert subject(model=classifier()).classifier.classes == 2


def test_the_table_has_many_rows_and_each_part_is_in_it():
    assert len({*RAISED}) + len({row[:2] for row in RETURNED}) >= 200
    assert set(BUILD) == set(TABLE["parts"])


@pytest.mark.parametrize("what", [KeyboardInterrupt])
def test_an_interruption_by_the_keyboard_passes(what):
    with pytest.raises(KeyboardInterrupt):
        BUILD["model"](raising(what.__name__))
