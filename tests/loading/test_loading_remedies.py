"""What the messages about code, data and weights advise is done word by word, and loading then succeeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from dmmcheck.errors import DmmError
from dmmcheck.loading.attacks import load_attacks
from dmmcheck.loading.build import build_subject
from dmmcheck.loading.checkpoints import checkpoints_from
from dmmcheck.loading.datasets import labelled
from dmmcheck.loading.references import load, resolve

X, Y = torch.linspace(0, 1, 96).reshape(16, 6), torch.arange(16) % 2
CODE = """
class Strong:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, *args, **kwargs):
        return self.steps


def predict(x):
    return x


def follow(model, x, y, *, space, bounds=None, generator):
    return x


def make():
    return 3


def nothing():
    pass


strong = Strong(3)
value = 3
"""


@dataclass(frozen=True)
class Case:
    """Something that is loaded wrongly, and then as the message advises.

    Attributes:
        load: Loads from a folder; the second argument is `bad` or `good`.
        bad: What the message is about.
        advice: The words of the message that say what to do.
        good: The same after doing that.
        holds: Whether what is then loaded is right.
    """

    load: Callable[[Path, Any], Any]
    bad: Any
    advice: str
    good: Any
    holds: Callable[[Any], bool]


class Plane:
    """The first two coordinates."""

    dim = 2

    def tangent_basis(self, x):
        return torch.eye(6)[:, :2].to(x)

    def project_point(self, x):
        return torch.cat([x[:, :2], torch.zeros_like(x[:, 2:])], dim=1)


class Pairs(Dataset):
    """A dataset of whatever pairs it is given."""

    def __init__(self, *pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


def classify(x):
    return torch.stack([x.sum(1), x[:, 0]], dim=1)


def referenced(root: Path, reference: str) -> Any:
    return load(reference, f"data = {reference!r}", root=root)


def value_of(root: Path, reference: str) -> Any:
    return resolve(referenced(root, reference), f"data = {reference!r}", may_be_function=False)


def data(root: Path, value: Any) -> Any:
    return labelled(value, "data")


def weights(root: Path, given: tuple[str, Any]) -> Any:
    """The steps of the files that match a pattern, loaded into a model."""
    pattern, model = given
    return [step for step, _ in checkpoints_from(pattern, lambda: model, "checkpoints", root=root)]


def renamed(root: Path, names: tuple[str, ...]) -> Any:
    """The steps of files with these names."""
    folder = root / "-".join(names)
    folder.mkdir()
    for name in names:
        torch.save(nn.Linear(6, 2).state_dict(), folder / name)
    return weights(folder, ("*", nn.Linear(6, 2)))


def saved(root: Path, content: Any) -> Any:
    """Save the content as a file of weights, and load the checkpoints from it."""
    torch.save(content, root / "step-1.ckpt")
    return weights(root, ("*.ckpt", nn.Linear(6, 2)))


def subject(root: Path, parts: dict[str, Any]) -> Any:
    given = {"model": classify, "data": (X, Y), "manifold": Plane(), **parts}
    return build_subject({name: part for name, part in given.items() if part is not None}, root=root)


def attack(root: Path, reference: str) -> Any:
    return load_attacks([reference], root=root)


def is_data(found: Any) -> bool:
    return bool((torch.as_tensor(found.inputs) == X).all() and (torch.as_tensor(found.labels) == Y).all())


TWO, ONE = [0, 2], [1]
CASES = {
    "form": Case(referenced, "shop_code", "form pkg.mod:attr or path.py:attr", "shop_code:value", lambda v: v == 3),
    "colon": Case(
        referenced, "shop_code.value", "did you mean 'shop_code:value'?", "shop_code:value", lambda v: v == 3
    ),
    "in-it": Case(referenced, "shop_code:size", "name an attribute that it has", "shop_code:value", lambda v: v == 3),
    "near-name": Case(referenced, "shop_code:vale", "did you mean 'value'", "shop_code:value", lambda v: v == 3),
    "module": Case(referenced, "shop_cod:value", "did you mean 'shop_code'?", "shop_code:value", lambda v: v == 3),
    "correct": Case(referenced, "depot:value", "correct the name", "shop_code:value", lambda v: v == 3),
    "install": Case(referenced, "depot:pi", "or install its package", "math:pi", lambda v: v > 3),  # installed already
    "file": Case(referenced, "code.py:value", "a path relative to", "sub/code.py:value", lambda v: v == 5),
    "arguments": Case(value_of, "shop_code:predict", "name a value", "shop_code:value", lambda v: v == 3),
    "function": Case(
        value_of, "shop_code:Strong", "or a function without required arguments", "shop_code:make", lambda v: v == 3
    ),
    "none": Case(value_of, "shop_code:nothing", "return or assign the object", "shop_code:make", lambda v: v == 3),
    "labels": Case(data, X, "give (x, y) arrays, tensors or frames", (X.numpy(), Y.numpy()), is_data),
    "three": Case(data, (X, Y, Y), "or a torch Dataset or DataLoader of (input, label)", TensorDataset(X, Y), is_data),
    "kind": Case(data, {"x": X}, "give (x, y) arrays, tensors or frames", (X, Y), is_data),
    "empty": Case(data, Pairs(), "give the test split", TensorDataset(X, Y), is_data),
    "pair": Case(
        data, Pairs(*((x,) for x in X)), "DataLoader of (input, label)", Pairs(*zip(X, Y, strict=True)), is_data
    ),
    "transform": Case(
        data,
        Pairs(*(("image.png", int(y)) for y in Y)),
        "give the dataset a transform, e.g. ToTensor()",
        Pairs(*((x.numpy(), int(y)) for x, y in zip(X, Y, strict=True))),
        is_data,
    ),
    "shapes": Case(
        data,
        Pairs((X[0], 0), (X[1, :3], 1)),
        "a transform that brings all inputs to one shape",
        Pairs((X[0, :3], 0), (X[1, :3], 1)),
        lambda found: found.inputs.shape == (2, 3),
    ),
    "pattern": Case(
        weights,
        ("step-*.pt", nn.Linear(6, 2)),
        "give a pattern relative to",
        ("runs/step-*.pt", nn.Linear(6, 2)),
        lambda steps: steps == TWO,
    ),
    "module-of-torch": Case(
        weights,
        ("runs/*.pt", classify),
        "return a torch.nn.Module",
        ("runs/*.pt", nn.Linear(6, 2)),
        lambda steps: steps == TWO,
    ),
    "architecture": Case(
        weights,
        ("runs/*.pt", nn.Linear(3, 2)),
        "return a model of the same architecture from factory",
        ("runs/*.pt", nn.Linear(6, 2)),
        lambda steps: steps == TWO,
    ),
    "step": Case(
        renamed, ("best.pt",), "name files like step-00100.pt", ("step-00100.pt",), lambda steps: steps == [100]
    ),
    "same-step": Case(
        weights,
        ("twice/*", nn.Linear(6, 2)),
        "narrow the pattern",
        ("twice/a-*", nn.Linear(6, 2)),
        lambda steps: steps == ONE,
    ),
    "code": Case(
        saved, nn.Linear(6, 2), "save model.state_dict()", nn.Linear(6, 2).state_dict(), lambda steps: steps == ONE
    ),
    "content": Case(saved, [1.0], "save model.state_dict()", nn.Linear(6, 2).state_dict(), lambda steps: steps == ONE),
    "manifold": Case(
        subject,
        {"manifold": None, "manifold-options": {"dim": 1}},
        "set a built-in one, e.g. manifold = 'local-pca'",
        {"manifold": "local-pca", "manifold-options": {"dim": 1, "neighbours": 8}, "manifold-data": X},
        lambda made: made.manifold.dim == 1,
    ),
    "own-manifold": Case(
        subject, {"manifold-options": {"dim": 2}}, "remove them", {}, lambda made: made.manifold.dim == 2
    ),
    "built-in-manifold": Case(
        subject,
        {"manifold-options": {"dim": 1}},
        "or set a built-in manifold (pca, local-pca, class-pca, kernel-pca, autoencoder, decoder, generator)",
        {"manifold-options": {"dim": 1}, "manifold": "pca", "manifold-data": X},
        lambda made: made.manifold.dim == 1,
    ),
    "factory": Case(
        subject,
        {"checkpoints": "runs/*.pt"},
        "set factory too",
        {"checkpoints": "runs/*.pt", "factory": lambda seed: nn.Linear(6, 2)},
        lambda made: [step for step, _ in made.checkpoints] == TWO,
    ),
    "attack": Case(
        attack, "shop_code:value", "name an attack object or function", "shop_code:strong", lambda v: "strong" in v
    ),
    "attack-signature": Case(
        attack,
        "shop_code:predict",
        "cannot be called with (model, x, y, *, space, bounds=None, generator): too many positional arguments; "
        "give it this signature",
        "shop_code:follow",
        lambda v: "follow" in v,
    ),
}
# The advice "pip install safetensors" is not applied, since a test installs nothing; test_checkpoints reads its words.


@pytest.fixture
def root(tmp_path):
    (tmp_path / "shop_code.py").write_text(CODE)
    for name in ("runs/step-0.pt", "runs/step-2.pt", "twice/a-1.pt", "twice/b-1.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save(nn.Linear(6, 2).state_dict(), tmp_path / name)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "code.py").write_text("value = 5\n")
    return tmp_path


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_advice_of_the_message_works(root, case):
    with pytest.raises(DmmError) as error:
        case.load(root, case.bad)
    assert case.advice in str(error.value)
    assert case.holds(case.load(root, case.good))


def test_checkpoints_may_be_code_instead_of_a_pattern(root):
    with pytest.raises(DmmError, match=r"no file matches; give a pattern relative to .*, or pkg\.mod:attr"):
        weights(root, ("none/*.pt", nn.Linear(6, 2)))
    models = [(0, nn.Linear(6, 2)), (5, nn.Linear(6, 2))]
    assert list(subject(root, {"checkpoints": models}).checkpoints) == models
