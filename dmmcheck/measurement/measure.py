"""Which quantity, for which inputs: computed on demand, once, in blocks that never depend on who asked first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from dmmcheck.attacks import margins
from dmmcheck.attacks.base import Attack, Crossing
from dmmcheck.attacks.minimal_norm.search import Arm, boundary_search, search_arms
from dmmcheck.errors import CheckError, DmmError
from dmmcheck.inference import stats
from dmmcheck.inference.evidence import Floats
from dmmcheck.inference.types import Cost
from dmmcheck.manifolds.fields import Field, TangentField
from dmmcheck.measurement.sample import Sample, draw_sample, predict
from dmmcheck.models.memory import in_batches
from dmmcheck.models.torch import TorchClassifier
from dmmcheck.seeding import seeded
from dmmcheck.subject import MIN_INPUTS, TRAINING_DATA

ArmName = Literal["free", "tangent", "normal"]
Effort = Literal["quick", "default", "thorough"]
ARMS: tuple[ArmName, ...] = ("free", "tangent", "normal")
BUILTIN = "builtin"
TRAINING = "training"
LABELLED_TWINS = ("standard", "robust")
UNTRAINED = tuple(f"untrained {number}" for number in range(8))  # one network is no look at what untrained ones do
TARGETS = 10  # most classes that targeted searches go through

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples among which neighbours are looked up: x (m, D), y (m,)."""

    x: Tensor
    y: Tensor


class Measure:
    """The measurements of one model on one sample.

    Everything is computed for whole blocks (inputs 0-31, 32-63, 64-127, ...), so that a number never depends on
    which check asked for it, in which order, or in which process.
    """

    def __init__(
        self,
        classifier: TorchClassifier,
        sample: Sample,
        field: TangentField,
        *,
        examples: Examples,
        seed: int,
        attacks: Mapping[str, Attack] | None = None,
        twins: Mapping[str, Callable[[], TorchClassifier]] | None = None,
        steps: Sequence[int] = (),
        trainer: Callable[[Tensor, Tensor, int], TorchClassifier] | None = None,
        progress: Callable[[str], None] = lambda line: None,
        joint: bool = True,
    ) -> None:
        self.classifier = classifier
        self.sample = sample
        self.field = field
        self.examples = examples
        self.seed = seed
        self.looks = stats.looks(len(sample.x))
        self._attacks = dict(attacks or {})
        self._twin_models = dict(twins or {})
        self.steps = tuple(steps)
        self.trainer = trainer
        self.progress = progress
        self._joint = joint
        self._twins: dict[str, Measure] = {}
        self._blocks: dict[tuple[object, ...], list[object]] = {}
        self._costs: dict[tuple[object, ...], list[Cost]] = {}

    def view(self, n: int | None = None) -> View:
        """What a check sees: the first n inputs (a look, or fewer than the first), all where n is None."""
        return View(self, len(self.sample.x) if n is None else n, self.field)

    def twin(self, name: str) -> Measure:
        """The same measurements of a companion model on the same inputs and tangent spaces.

        ``standard`` and ``robust`` are held to the true labels; other twins to their own decisions, since an
        untrained network's errors say nothing of where its boundary is.
        """
        if name not in self._twins:
            try:
                model = self._twin_models[name]()
                if model is self.classifier:
                    return self
                sample = self.sample
                if name not in LABELLED_TWINS:
                    sample = replace(sample, y=predict(model, sample.x))
            except DmmError as error:
                raise CheckError(f"{error}") from (error.__cause__ or error)
            self._twins[name] = Measure(model, sample, self.field, examples=self.examples, seed=self.seed, joint=False)
        return self._twins[name]

    def right(self) -> Measure:
        """The same measurements at the inputs that this model classifies correctly, all where these are few.

        Accuracy is this model's own, over the inputs of the sample.
        """
        sample = self.sample
        right = predict(self.classifier, sample.x) == sample.y
        if bool(right.all()):
            return self
        largest = float(torch.bincount(sample.y).max())
        known = replace(
            sample, accuracy=float(right.double().mean()), majority=largest / len(right), labelled=len(right)
        )
        few = int(right.sum()) < MIN_INPUTS
        kept = known if few else replace(known, x=sample.x[right], y=sample.y[right])
        field = TangentField(self.field.manifold, kept.x)
        return Measure(self.classifier, kept, field, examples=self.examples, seed=self.seed)

    def training(self) -> Measure:
        """The same measurements at training examples, at most as many as there are inputs."""
        if TRAINING not in self._twins:
            limit, examples = len(self.sample.x), self.examples
            try:
                sample = draw_sample(self.classifier, examples.x, examples.y, seed=self.seed, limit=limit)
            except DmmError as error:
                raise CheckError(f"{TRAINING_DATA}: {error}") from (error.__cause__ or error)
            field = TangentField(self.field.manifold, sample.x)
            self._twins[TRAINING] = Measure(
                self.classifier, sample, field, examples=examples, seed=self.seed, joint=False
            )
        return self._twins[TRAINING]

    def blockwise(self, key: tuple[object, ...], n: int, compute: Callable[[slice], tuple[T, int]]) -> list[T]:
        """Results for the blocks that cover the first n inputs; `compute` gives result and gradient evaluations."""
        results, costs = self._blocks.setdefault(key, []), self._costs.setdefault(key, [])
        blocks = self._cover(n)
        for rows in blocks[len(results) :]:
            start = time.perf_counter()
            result, evaluations = compute(rows)
            costs.append(Cost(gradient_evaluations=evaluations, seconds=time.perf_counter() - start))
            results.append(result)
        return results[: len(blocks)]  # type: ignore[return-value]

    def once(self, key: tuple[object, ...], compute: Callable[[], tuple[T, int]]) -> tuple[T, Cost]:
        """A result that does not grow with the inputs in view, with what it took."""
        if key not in self._blocks:
            start = time.perf_counter()
            result, evaluations = compute()
            self._blocks[key] = [result]
            self._costs[key] = [Cost(gradient_evaluations=evaluations, seconds=time.perf_counter() - start)]
        return self._blocks[key][0], self._costs[key][0]  # type: ignore[return-value]

    def cost(self, key: tuple[object, ...], n: int) -> Cost:
        """What the blocks of a key that cover the first n inputs took."""
        return total(self._costs.get(key, [])[: len(self._cover(n))])

    def crossings(self, n: int, arm: ArmName, attack: str = BUILTIN) -> Crossing:
        """Crossings of the first n inputs in one arm; for the model under test all three arms in one go."""
        key = self.crossing_key(arm, attack)
        if attack == BUILTIN and self._joint:
            return joined([block[arm] for block in self.blockwise(key, n, self._search_block)], n)
        if attack == BUILTIN:
            return joined(self.blockwise(key, n, lambda rows: self._arm_block(rows, arm)), n)
        return joined(self.blockwise(key, n, lambda rows: self._attack_block(rows, arm, attack)), n)

    def crossing_key(self, arm: ArmName, attack: str) -> tuple[object, ...]:
        """Under which key the crossings of an arm are kept."""
        return ("search",) if attack == BUILTIN and self._joint else ("attack", attack, arm)

    def targeted(self, n: int, arm: ArmName) -> tuple[tuple[int, ...], list[Crossing]]:
        """Classes (at most 10, the same for all inputs) and the crossing of the first n inputs into each of them."""
        classes = self.target_classes()
        found = [
            joined(self.blockwise(("targeted", arm, label), n, partial(self._targeted_block, arm=arm, label=label)), n)
            for label in classes
        ]
        return classes, found

    def target_classes(self) -> tuple[int, ...]:
        """The classes that targeted searches go through, drawn from the seed where there are more than ten."""
        order = torch.randperm(self.classifier.classes, generator=seeded(self.seed, "targets"))
        return tuple(sorted(order[:TARGETS].tolist()))

    def search_in(self, rows: slice, arm: ArmName, field: Field, effort: Effort) -> Crossing:
        """One arm searched in another field or with another effort; not kept."""
        return boundary_search(
            self.classifier,
            self.sample.x[rows],
            self.sample.y[rows],
            subspace=None if arm == "free" else field.basis(rows),
            normal=arm == "normal",
            effort=effort,
            generator=seeded(self.seed, "search"),
        )

    def _cover(self, n: int) -> list[slice]:
        """The blocks that hold the first n inputs."""
        ends = [look for look in self.looks if look < n]
        ends.append(next(look for look in self.looks if look >= n))
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def _search_block(self, rows: slice) -> tuple[dict[ArmName, Crossing], int]:
        basis = self.field.basis(rows)
        found = search_arms(
            self.classifier,
            self.sample.x[rows],
            self.sample.y[rows],
            [Arm(), Arm(basis), Arm(basis, normal=True)],
            generator=seeded(self.seed, "search"),
        )
        return dict(zip(ARMS, found, strict=True)), sum(gradients(crossing) for crossing in found)

    def _arm_block(self, rows: slice, arm: ArmName) -> tuple[Crossing, int]:
        crossing = self.search_in(rows, arm, self.field, "default")
        return crossing, gradients(crossing)

    def _targeted_block(self, rows: slice, arm: ArmName, label: int) -> tuple[Crossing, int]:
        x, y = self.sample.x[rows], self.sample.y[rows]
        crossing = boundary_search(
            self.classifier,
            x,
            y,
            subspace=None if arm == "free" else self.field.basis(rows),
            normal=arm == "normal",
            targets=torch.full_like(y, label),
            effort="quick",
            generator=seeded(self.seed, "search"),
        )
        return crossing, gradients(crossing)

    def _attack_block(self, rows: slice, arm: ArmName, attack: str) -> tuple[Crossing, int]:
        crossing = self._attacks[attack](
            self.classifier,
            self.sample.x[rows],
            self.sample.y[rows],
            subspace=None if arm == "free" else self.field.basis(rows),
            normal=arm == "normal",
            generator=seeded(self.seed, "attack", attack),
        )
        return crossing, gradients(crossing)


@dataclass(frozen=True, eq=False)
class View:
    """What a check sees: the first n inputs of a measurement, in one tangent field, through one attack.

    All arrays have one row an input, in the same order.
    """

    measure: Measure
    n: int
    field: Field
    attack: str = BUILTIN
    effort: Effort | None = None  # None: the run's own measurements; else searched anew for this view
    order: tuple[int, ...] | None = None  # of the checkpoints, where a control deals them anew
    null: tuple[str, int] | None = None  # which draw of which control the field is
    _used: dict[tuple[object, ...], Cost] | None = None

    @property
    def x(self) -> Tensor:
        """Inputs (n, D), all classified correctly."""
        return self.measure.sample.x[: self.n]

    @property
    def y(self) -> Tensor:
        """Labels (n,)."""
        return self.measure.sample.y[: self.n]

    def crossing(self, arm: ArmName) -> Crossing:
        """Nearest label change anywhere (``"free"``), in x + T (``"tangent"``) or in x + N (``"normal"``)."""
        if self._is_kept(arm):
            if self.field is not self.measure.field and arm != "free":
                raise CheckError(
                    f"the {arm} arm of another tangent field needs a search of its own; "
                    'declare the check with null="search"'
                )
            found = self.measure.crossings(self.n, arm, self.attack)
            key = self.measure.crossing_key(arm, self.attack)
            self._note(key, self.measure.cost(key, self.n))
            return found
        start = time.perf_counter()
        found = self._search(arm)
        spent = Cost(gradient_evaluations=gradients(found), seconds=time.perf_counter() - start)
        self._note(("view", len(self._used or ()), arm), spent)
        return found

    def distance(self, arm: ArmName) -> Floats:
        """L2 distance of `crossing`, in units of x (n,); inf where none was found.

        In a draw of a control it is searched once for all who ask; the points, which may be large, are not kept.
        """
        if self._is_kept(arm) or (self.null is None and self.field is not self.measure.field):
            return _floats(self.crossing(arm).distance)

        def compute() -> tuple[Floats, int]:
            found = self._search(arm)
            return _floats(found.distance), gradients(found)

        return self.once(("distance", self.null, arm, self.effort, self.n), compute)

    def step(self, arm: ArmName = "free") -> Tensor:
        """The smallest perturbation found, (n, D); NaN where none was."""
        crossing = self.crossing(arm)
        step = crossing.point.to(self.x) - self.x
        return torch.where(crossing.found.to(step.device)[:, None], step, torch.nan)

    def boundary_gradient(self) -> Tensor:
        """Margin gradient at the nearest crossing, (n, D): the normal of the boundary; NaN where none was found."""
        key = ("boundary-gradient", self.attack)
        blocks = self.measure.blockwise(key, self.n, self._boundary_gradient_block)
        self._note(key, self.measure.cost(key, self.n))
        return torch.cat(blocks)[: self.n]

    def once(self, key: tuple[object, ...], compute: Callable[[], tuple[T, int]]) -> T:
        """See `Measure.once`."""
        result, cost = self.measure.once(key, compute)
        self._note(key, cost)
        return result

    def margins(self) -> Tensor:
        """Margin of each input, z_y - max_{j != y} z_j, (n,)."""
        classifier, x, y = self.measure.classifier, self.x, self.y
        with classifier.evaluation(), torch.no_grad():
            return in_batches(x, lambda rows: margins.margin_of(classifier.logits(x[rows]), y[rows]))

    def input_gradient(self) -> Tensor:
        """Gradient of the margin at the inputs, (n, D)."""
        sample = self.measure.sample

        def block(rows: slice) -> tuple[Tensor, int]:
            return margin_gradient(self.measure.classifier, sample.x[rows], sample.y[rows]), rows.stop - rows.start

        key = ("input-gradient",)
        blocks = self.measure.blockwise(key, self.n, block)
        self._note(key, self.measure.cost(key, self.n))
        return torch.cat(blocks)[: self.n]

    def tangent_share(self, v: Tensor) -> Floats:
        """Share of the energy of vectors (n, D) in the tangent space of their input, rho_T (n,)."""
        return _floats(self.field.share(v))

    def project_tangent(self, v: Tensor) -> Tensor:
        """Tangent part P_T v of vectors (n, D)."""
        return self.field.project(v)

    def project_point(self, points: Tensor) -> Tensor:
        """Points (m, D) taken to the manifold."""
        return self.measure.field.manifold.project_point(points).to(points)

    def labels(self, points: Tensor) -> Tensor:
        """What the model says of points (m, D)."""
        return predict(self.measure.classifier, points)

    def rivals(self, points: Tensor) -> Tensor:
        """The likeliest class (n,) beside the own one at points (n, D), one an input: across the boundary there."""
        classifier, own = self.measure.classifier, self.y[:, None]
        with classifier.evaluation(), torch.no_grad():
            return in_batches(
                points, lambda rows: classifier.logits(points[rows]).scatter(1, own[rows], -torch.inf).argmax(1)
            )

    def noise(self, purpose: str) -> Tensor:
        """Standard normal vectors (n, D), one an input, the same however many inputs are in view."""
        x = self.measure.sample.x
        generator = seeded(self.measure.seed, "noise", purpose)
        return torch.cat([torch.randn((1, x.shape[1]), generator=generator, dtype=x.dtype) for _ in range(self.n)]).to(
            x.device
        )

    def nearest_other_class(self) -> tuple[Floats, Tensor]:
        """Distance (n,) to the nearest example of another class, and that example (n, D)."""
        examples, x, y = self.measure.examples, self.x, self.y

        def index(rows: slice) -> Tensor:
            apart = torch.cdist(x[rows], examples.x)
            return apart.masked_fill(y[rows, None] == examples.y[None, :], torch.inf).argmin(1)

        nearest = examples.x[in_batches(x, index)]
        distance = (nearest - x).norm(dim=1)
        none = (examples.y[None, :] == y[:, None]).all(1)  # no example of another class
        return _floats(torch.where(none, torch.inf, distance)), nearest

    def targeted(self, arm: ArmName) -> tuple[tuple[int, ...], list[Crossing]]:
        """Classes, and the crossing of each input into each of them (not found into its own), with little effort."""
        classes, found = self.measure.targeted(self.n, arm)
        for label in classes:
            key = ("targeted", arm, label)
            self._note(key, self.measure.cost(key, self.n))
        return classes, found

    def twin(self, name: str) -> View:
        """The same view under a companion: ``standard``, ``robust``, ``untrained 0``, ``checkpoint STEP``."""
        return replace(self, measure=self.measure.twin(name))

    def untrained(self) -> list[View]:
        """The same view under each of eight untrained networks."""
        return [self.twin(name) for name in UNTRAINED]

    def training(self) -> View:
        """As many of the examples that the manifold was fitted on (or all), classified correctly."""
        measure = self.measure.training()
        return replace(self, measure=measure, field=measure.field, null=None, n=min(self.n, len(measure.sample.x)))

    def checkpoints(self) -> list[tuple[int, View]]:
        """(step, the same inputs under the model of that step), in the order of steps unless a control dealt them."""
        steps = self.measure.steps
        dealt = self.order or tuple(range(len(steps)))
        return [(step, self.twin(f"checkpoint {steps[dealt[place]]}")) for place, step in enumerate(steps)]

    def _is_kept(self, arm: ArmName) -> bool:
        """Whether the run's own measurements serve: there the free arm is good enough for little effort, too."""
        return self.effort is None or (arm == "free" and self.effort == "quick")

    def _search(self, arm: ArmName) -> Crossing:
        return self.measure.search_in(slice(0, self.n), arm, self.field, self.effort or "default")

    def spent(self) -> Cost:
        """What the measurements used through this view took, shared ones counted in full."""
        return total(list((self._used or {}).values()))

    def _note(self, key: tuple[object, ...], cost: Cost) -> None:
        if self._used is not None:
            place = (id(self.measure), *key)
            self._used[place] = cost

    def _boundary_gradient_block(self, rows: slice) -> tuple[Tensor, int]:
        crossing = self.measure.crossings(rows.stop, "free", self.attack)
        y = self.measure.sample.y[rows]
        gradient = margin_gradient(self.measure.classifier, crossing.point[rows].to(self.x), y)
        return torch.where(crossing.found[rows].to(y.device)[:, None], gradient, torch.nan), len(y)


def _floats(values: Tensor) -> Floats:
    return values.cpu().numpy().astype(np.float64)


def margin_gradient(classifier: TorchClassifier, points: Tensor, y: Tensor) -> Tensor:
    """Gradient (m, D) of the margin at points (m, D); zero where the model does not depend on them."""
    with classifier.evaluation():
        return in_batches(points, lambda rows: margins.margin_gradient(classifier, points[rows], y[rows])[1])


def joined(blocks: Sequence[Crossing], n: int) -> Crossing:
    """The crossings of consecutive blocks as one, cut to the first n inputs."""
    return Crossing(
        **{part.name: torch.cat([getattr(block, part.name) for block in blocks])[:n] for part in fields(Crossing)}
    )


def gradients(crossing: Crossing) -> int:
    """Gradient evaluations a search took, over all inputs."""
    return int(crossing.backwards.sum())


def total(costs: Sequence[Cost]) -> Cost:
    """The sum of costs."""
    return Cost(
        gradient_evaluations=sum(cost.gradient_evaluations for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
    )
