"""Training on adversarial examples with the label of the class that they reach, and controls of that experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dmmcheck.attacks.search import boundary_search
from dmmcheck.checks.base import claim, declare
from dmmcheck.checks.parts import STRETCH
from dmmcheck.errors import CheckError, DmmError
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.manifolds.fields import TangentField
from dmmcheck.measurement.measure import MAX_EXAMPLES
from dmmcheck.measurement.sample import predict
from dmmcheck.measurement.trainings import first_logits, trainings_needed
from dmmcheck.measurement.view import View
from dmmcheck.seeding import seeded


@dataclass(frozen=True)
class Condition:
    """How a training set is made: the target classes of the perturbations, and the part of them that is added."""

    targets: str = "random"
    part: str = "all"


CONDITIONS: Mapping[str, Condition] = {
    "random-targets": Condition(),
    "next-class": Condition(targets="next"),
    "shuffled": Condition(part="shuffled"),
    "noise": Condition(part="noise"),
    "normal-only": Condition(part="normal"),
    "tangent-only": Condition(part="tangent"),
}


def wrong_label_training(view: View) -> Evidence:
    """Accuracy on clean test inputs after training on random wrong targets."""
    return _above_chance(view, "random-targets")


def wrong_label_next_class(view: View) -> Evidence:
    """Accuracy on clean test inputs after training on targets y + 1."""
    return _above_chance(view, "next-class")


def wrong_label_normal_only(view: View) -> Evidence:
    """Accuracy on clean test inputs after training on off-manifold parts alone."""
    return _above_chance(view, "normal-only")


def wrong_label_beyond_shuffled(view: View) -> Evidence:
    """Rate of wins over shuffled perturbations, among inputs that one of two networks classifies correctly."""
    return _beyond(view, "random-targets", "shuffled")


def wrong_label_beyond_noise(view: View) -> Evidence:
    """Rate of wins over random perturbations, among inputs that one of two networks classifies correctly."""
    return _beyond(view, "random-targets", "noise")


def wrong_label_normal_beyond_tangent(view: View) -> Evidence:
    """Rate of wins of off- over on-manifold parts, among inputs that one of two networks classifies correctly."""
    return _beyond(view, "normal-only", "tangent-only")


def _above_chance(view: View, condition: str) -> Evidence:
    correct = _correct(view, condition)
    labels = view.whole().y
    chance = max(1 / view.classes, float(labels.bincount().max()) / len(labels))
    return Evidence.of(
        _one_network_each(correct)[: view.n],
        summary="mean",
        chance=chance,
        replicates=tuple(correct[_new(view, condition)]),
        unit="training",
        note=_accuracy(condition, correct),
    )


def _beyond(view: View, condition: str, control: str) -> Evidence:
    both = _correct(view, condition), _correct(view, control)
    one, other = (_one_network_each(correct)[: view.n] for correct in both)
    counted = _new(view, condition, control)
    rows = tuple(a[a != b] for a, b in zip(*(correct[counted] for correct in both), strict=True))  # wins of each pair
    note = "; ".join(_accuracy(name, correct) for name, correct in zip((condition, control), both, strict=True))
    return Evidence.of(one[one != other], summary="mean", replicates=rows, unit="training", note=note)


def _one_network_each(correct: Floats) -> Floats:
    """Return the answer (n,) of one network for each input, network i mod m for input i of m networks."""
    inputs = np.arange(correct.shape[1])
    return correct[inputs % len(correct), inputs]


def _accuracy(condition: str, correct: Floats) -> str:
    """Return a note with the median accuracy of the networks, and the smallest and the largest."""
    shares = correct.mean(1)
    return (
        f"{condition}: accuracy {np.median(shares):.2f}, from {shares.min():.2f} to {shares.max():.2f} "
        f"in {len(shares)} trainings"
    )


def _correct(view: View, condition: str) -> Floats:
    """Return 1 where a trained network classifies a clean input of the sample correctly, else 0, (networks, n)."""
    return np.stack([correct for correct, _ in _networks(view, condition)])


def _new(view: View, *conditions: str) -> list[int]:
    """Return the numbers of the trainings that count.

    A training does not count where one of its networks has the logits of a network that counts already.
    """
    logits = [[first for _, first in _networks(view, condition)] for condition in conditions]
    kept: list[int] = []
    for number in range(len(logits[0])):
        if not any(torch.equal(each[number], each[other]) for each in logits for other in kept):
            kept.append(number)
    return kept


def _networks(view: View, condition: str) -> list[tuple[Floats, Tensor]]:
    """Return the result of `_train` for each network: as many networks as alpha needs where all of them agree."""
    count = trainings_needed(view.alpha)
    made = []
    for number in range(count):
        what = f"wrong-label-training: {condition}, network {number + 1} of {count}"
        train = partial(_train, view.whole(), CONDITIONS[condition], number, what)
        made.append(view.cached(("wrong-labels", condition, number), train))
    return made


def _train(view: View, condition: Condition, number: int, what: str) -> tuple[tuple[Floats, Tensor], int]:
    """Return where a new network classifies a clean input correctly (n,), its first logits, and its cost."""
    x, targets, delta, spent = view.cached(
        ("wrong-labels", "perturbations", condition.targets), lambda: _perturbations(view, condition.targets)
    )
    added = _part(view, x, delta, condition.part)
    trainer = view.measurement.trainer
    if trainer is None:
        raise CheckError("no trainer was given; set `trainer` ((x, y, seed) -> model)")
    view.measurement.progress(what)
    try:
        network = trainer(x + added, targets, view.seed + number)
        predicted = predict(network, view.x)
    except DmmError as error:
        raise CheckError(f"{error}") from (error.__cause__ or error)
    return ((predicted == view.y).double().cpu().numpy(), first_logits(network, view.x)), spent


def _perturbations(view: View, kind: str) -> tuple[tuple[Tensor, Tensor, Tensor, int], int]:
    """Return examples (m, D), a wrong class (m,) and a perturbation (m, D) into it for each, and the gradient count.

    A perturbation is zero where none was found.
    """
    count = len(view.examples.x)
    chosen = torch.linspace(0, count - 1, min(MAX_EXAMPLES, count)).round().long().to(view.examples.y.device)
    x, y = view.examples.x[chosen], view.examples.y[chosen]
    targets = _wrong_classes(view, y, kind)
    crossing = boundary_search(
        view.classifier, x, y, targets=targets, effort="quick", generator=seeded(view.seed, "search")
    )
    delta = torch.where(crossing.found[:, None], STRETCH * (crossing.point.to(x) - x), 0.0)
    spent = int(crossing.backwards.sum())
    return (x, targets, delta, spent), spent


def _wrong_classes(view: View, y: Tensor, kind: str) -> Tensor:
    """Return a class other than y for each label y, so that no training example has its true label."""
    classes = view.classes
    if kind == "next":
        return (y + 1) % classes
    draw = torch.randint(1, classes, y.shape, generator=seeded(view.seed, "wrong-labels", "targets"))
    return (y + draw.to(y)) % classes


def _part(view: View, x: Tensor, delta: Tensor, part: str) -> Tensor:
    """Return the vectors (m, D) that are added to the examples.

    They are the perturbations, a part of them, or other vectors of the same lengths.
    """
    generator = seeded(view.seed, "wrong-labels", part)
    if part == "shuffled":
        return delta[torch.randperm(len(delta), generator=generator).to(delta.device)]
    if part == "noise":
        return _with_norms_of(torch.randn(delta.shape, generator=generator, dtype=delta.dtype).to(delta.device), delta)
    if part == "all":
        return delta
    tangent = TangentField(view.manifold, x).project(delta)
    return _with_norms_of(tangent if part == "tangent" else delta - tangent, delta)


def _with_norms_of(v: Tensor, delta: Tensor) -> Tensor:
    """Return the vectors v (m, D) scaled to the norms of the perturbations; zero where v is (nearly) zero."""
    own: Tensor = v.norm(dim=1, keepdim=True)
    length: Tensor = delta.norm(dim=1, keepdim=True)
    return torch.where(own > 1e-6 * length, v * (length / own), 0.0)


declare(
    "wrong-label-training",
    "trained on adversarial images with wrong labels, a network still classifies clean ones",
    claim(
        wrong_label_training,
        tier="mechanism",
        threshold=0.5,
        direction="greater",
        unit="rate",
        needs=("trainer",),
        one_look=True,
        against_chance=True,
    ),
    claim(
        wrong_label_next_class,
        tier="mechanism",
        variant="next-class",
        statement="also where the wrong label is always the next class",
        threshold=0.5,
        direction="greater",
        unit="rate",
        needs=("trainer",),
        one_look=True,
        against_chance=True,
    ),
    claim(
        wrong_label_normal_only,
        tier="mechanism",
        variant="normal-only",
        statement="also where only the off-manifold part of the perturbation is added",
        threshold=0.5,
        direction="greater",
        unit="rate",
        needs=("trainer",),
        one_look=True,
        against_chance=True,
    ),
    claim(
        wrong_label_beyond_shuffled,
        tier="controlled",
        variant="shuffled",
        statement="and better than after training on shuffled perturbations",
        threshold=0.5,
        direction="greater",
        unit="rate",
        needs=("trainer",),
        one_look=True,
    ),
    claim(
        wrong_label_beyond_noise,
        tier="controlled",
        variant="noise",
        statement="and better than after training on random perturbations of the same length",
        threshold=0.5,
        direction="greater",
        unit="rate",
        needs=("trainer",),
        one_look=True,
    ),
    claim(
        wrong_label_normal_beyond_tangent,
        tier="controlled",
        variant="tangent-only",
        statement="and the off-manifold part teaches more than the on-manifold part",
        threshold=0.5,
        direction="greater",
        unit="rate",
        needs=("trainer",),
        one_look=True,
    ),
)
