"""Training on adversarial examples labelled with the class they lead to, and the controls of that experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.checks.base import Explanation, check
from dmmcheck.errors import CheckError, DmmError
from dmmcheck.inference import stats
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.manifolds.base import validate_manifold
from dmmcheck.measurement.measure import Measure, View
from dmmcheck.measurement.sample import predict
from dmmcheck.seeding import seeded

SEEDS = 5
STRETCH = 1.5
MOST_EXAMPLES = 4096

_EXPLANATION = Explanation(
    source="Shamir, Melamed, BenShmuel, arXiv 2106.10151; Ilyas et al., arXiv 1905.02175",
    formula=(
        "s_i = [label of the new network at clean input i is right]; the network was trained on x + 1.5 d labelled "
        "with the class that d leads to. Input i is judged by network i mod 5 of five, trained from different seeds; "
        "the verdict must hold for one more of them, too"
    ),
    control=(
        "shuffled: perturbations dealt to other examples; noise: random directions of the same length; "
        "tangent-only: the on-manifold part alone, against which normal-only is held, both as long as the whole; "
        "next-class: targets y + 1 in place of random ones."
    ),
    threshold=(
        "1 / classes, or the largest class's share: chance. In the controlled tier one half of the inputs on which two "
        "networks differ."
    ),
    assumptions=(
        "No label is right, so that a network which ignores the perturbations is below chance. Judged on test inputs "
        "that the first model classifies correctly; the trainer trains to convergence."
    ),
    violation="Perturbations without information about the class: the new network is at chance, or below.",
    reading=(
        "builtin supported, shuffled not: it is the labels' noise and not the perturbations that the network "
        "learned from."
    ),
)


@dataclass(frozen=True)
class Condition:
    """How the training set is made: which classes are aimed at, and what is added to the clean examples."""

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


@check(
    "wrong-label-training",
    tier="mechanism",
    against_chance=True,
    statement="trained on adversarial images with wrong labels, a network still classifies clean ones",
    threshold=0.5,
    direction="greater",
    unit="rate",
    needs=("trainer",),
    explanation=_EXPLANATION,
)
def wrong_label_training(measure: View) -> Evidence:
    """Accuracy on clean test inputs after training on random wrong targets."""
    return _above_chance(measure, "random-targets")


@check(
    "wrong-label-training",
    tier="mechanism",
    against_chance=True,
    variant="next-class",
    statement="also where the wrong label is always the next class",
    threshold=0.5,
    direction="greater",
    unit="rate",
    needs=("trainer",),
)
def wrong_label_next_class(measure: View) -> Evidence:
    """Accuracy on clean test inputs after training on targets y + 1."""
    return _above_chance(measure, "next-class")


@check(
    "wrong-label-training",
    tier="mechanism",
    against_chance=True,
    variant="normal-only",
    statement="also where only the off-manifold part of the perturbation is added",
    threshold=0.5,
    direction="greater",
    unit="rate",
    needs=("trainer",),
)
def wrong_label_normal_only(measure: View) -> Evidence:
    """Accuracy on clean test inputs after training on off-manifold parts alone."""
    return _above_chance(measure, "normal-only")


@check(
    "wrong-label-training",
    tier="controlled",
    variant="shuffled",
    statement="and better than after training on shuffled perturbations",
    threshold=0.5,
    direction="greater",
    unit="rate",
    needs=("trainer",),
)
def wrong_label_beyond_shuffled(measure: View) -> Evidence:
    """Rate of wins over shuffled perturbations, among inputs where one network is right."""
    return _beyond(measure, "random-targets", "shuffled")


@check(
    "wrong-label-training",
    tier="controlled",
    variant="noise",
    statement="and better than after training on random perturbations of the same length",
    threshold=0.5,
    direction="greater",
    unit="rate",
    needs=("trainer",),
)
def wrong_label_beyond_noise(measure: View) -> Evidence:
    """Rate of wins over random perturbations, among inputs where one network is right."""
    return _beyond(measure, "random-targets", "noise")


@check(
    "wrong-label-training",
    tier="controlled",
    variant="tangent-only",
    statement="and the off-manifold part teaches more than the on-manifold part",
    threshold=0.5,
    direction="greater",
    unit="rate",
    needs=("trainer",),
)
def wrong_label_normal_beyond_tangent(measure: View) -> Evidence:
    """Rate of wins of off-manifold over on-manifold parts, among inputs where one network is right."""
    return _beyond(measure, "normal-only", "tangent-only")


def _above_chance(measure: View, condition: str) -> Evidence:
    right = _right(measure, condition)
    labels = measure.measure.sample.y
    chance = max(1 / measure.measure.classifier.classes, float(labels.bincount().max()) / len(labels))
    return Evidence.of(
        _dealt(right)[: measure.n],
        summary="mean",
        chance=chance,
        draws=right.mean(1),
        note=_spread(condition, right),
    )


def _beyond(measure: View, condition: str, control: str) -> Evidence:
    both = _right(measure, condition), _right(measure, control)
    one, other = (_dealt(right)[: measure.n] for right in both)
    wins, losses = (np.sum(a > b, axis=1) for a, b in (both, both[::-1]))  # of each pair of networks
    with np.errstate(invalid="ignore"):
        rates = wins / (wins + losses)
    note = "; ".join(_spread(name, right) for name, right in zip((condition, control), both, strict=True))
    return Evidence.of(one[one != other], summary="mean", draws=rates, note=note)


def _dealt(right: Floats) -> Floats:
    """One network an input, so that inputs are judged independently: input i by network i mod seeds."""
    inputs = np.arange(right.shape[1])
    return right[inputs % len(right), inputs]


def _spread(condition: str, right: Floats) -> str:
    """Mean accuracy over the seeds, with Student's interval for one more of them."""
    shares = right.mean(1)
    low, high = stats.draw_interval(shares, 0.05)
    return f"{condition}: accuracy {shares.mean():.2f} [{max(low, 0):.2f}, {min(high, 1):.2f}] over {len(shares)} seeds"


def _right(measure: View, condition: str) -> Floats:
    """Whether each new network is right at each clean input of the sample, (seeds, n) of 0 and 1."""
    whole = measure.measure
    return measure.once(("wrong-labels", condition), lambda: _train(whole, CONDITIONS[condition], condition))


def _train(measure: Measure, condition: Condition, name: str) -> tuple[Floats, int]:
    x, targets, spent = _training_set(measure, condition)
    trainer = measure.trainer
    if trainer is None:
        raise CheckError("no trainer was given; set `trainer` ((x, y, seed) -> model)")
    rows = []
    for seed in range(SEEDS):
        measure.progress(f"wrong-label-training: {name}, network {seed + 1} of {SEEDS}")
        try:
            predicted = predict(trainer(x, targets, measure.seed + seed), measure.sample.x)
        except DmmError as error:
            raise CheckError(f"{error}") from (error.__cause__ or error)
        rows.append((predicted == measure.sample.y).double().cpu().numpy())
    return np.stack(rows), spent


def _training_set(measure: Measure, condition: Condition) -> tuple[Tensor, Tensor, int]:
    """Perturbed examples (m, D), the classes aimed at (m,), gradient evaluations spent."""
    (x, targets, step), cost = measure.once(
        ("wrong-labels", "steps", condition.targets), lambda: _stretched_steps(measure, condition.targets)
    )
    return x + _part(measure, x, step, condition.part), targets, cost.gradient_evaluations


def _stretched_steps(measure: Measure, kind: str) -> tuple[tuple[Tensor, Tensor, Tensor], int]:
    """Examples (m, D), a wrong class for each (m,), and a step some way into it (m, D), zero where none was found."""
    count = len(measure.examples.x)
    chosen = torch.linspace(0, count - 1, min(MOST_EXAMPLES, count)).round().long().to(measure.examples.y.device)
    x, y = measure.examples.x[chosen], measure.examples.y[chosen]
    targets = _targets(measure, y, kind)
    crossing = boundary_search(
        measure.classifier,
        x,
        y,
        targets=targets,
        effort="quick",
        generator=seeded(measure.seed, "search"),
    )
    step = torch.where(crossing.found[:, None], STRETCH * (crossing.point.to(x) - x), 0.0)
    return (x, targets, step), int(crossing.backwards.sum())


def _targets(measure: Measure, y: Tensor, kind: str) -> Tensor:
    """Never the own class: an example that needs no perturbation would be a clean one with its right label."""
    classes = measure.classifier.classes
    if kind == "next":
        return (y + 1) % classes
    draw = torch.randint(1, classes, y.shape, generator=seeded(measure.seed, "wrong-labels", "targets"))
    return (y + draw.to(y)) % classes


def _part(measure: Measure, x: Tensor, step: Tensor, part: str) -> Tensor:
    """What is added to the examples: the steps (m, D), a part of them, or something that only has their length."""
    generator = seeded(measure.seed, "wrong-labels", part)
    if part == "shuffled":
        return step[torch.randperm(len(step), generator=generator).to(step.device)]
    if part == "noise":
        return _as_long(torch.randn(step.shape, generator=generator, dtype=step.dtype).to(step.device), step)
    if part == "all":
        return step
    tangent = geometry.project_tangent(step, validate_manifold(measure.field.manifold, x).to(step))
    return _as_long(tangent if part == "tangent" else step - tangent, step)


def _as_long(v: Tensor, step: Tensor) -> Tensor:
    """Vectors (m, D) scaled to the lengths of the steps; what has no direction becomes zero."""
    own: Tensor = v.norm(dim=1, keepdim=True)
    length: Tensor = step.norm(dim=1, keepdim=True)
    return torch.where(own > 1e-6 * length, v * (length / own), 0.0)
