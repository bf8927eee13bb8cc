"""What a check sees of a measurement: the first n inputs, one tangent field, the perturbations of one attack."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.margins import logit_margin
from dmmcheck.errors import CheckError
from dmmcheck.inference.cost import Cost
from dmmcheck.inference.evidence import Floats
from dmmcheck.inference.types import ARMS, BUILTIN, ArmName, SearchEffort
from dmmcheck.manifolds.base import Manifold
from dmmcheck.manifolds.fields import Field, PermutedField, RotatedField, SharedField, TangentField, projected_together
from dmmcheck.manifolds.neighbours import distance_matrix
from dmmcheck.manifolds.rotations import Rotation
from dmmcheck.manifolds.span import varying
from dmmcheck.measurement.crossings import gradients, joined, perturbations
from dmmcheck.measurement.measure import UNTRAINED, LabelledPool, Measure, total
from dmmcheck.measurement.sample import predict
from dmmcheck.measurement.trainings import distinct, untrained_needed
from dmmcheck.models.base import Classifier, called, evaluating
from dmmcheck.models.memory import in_batches
from dmmcheck.seeding import seeded

T = TypeVar("T")

TANGENT_SPACES = "tangent spaces"
ESTIMATE_BLOCK = 32  # inputs that are searched at once for a manifold estimate of its own

RENAMED = {
    "measure": "measurement",
    "once": "cached",
    "rivals": "largest_other_class",
    "step": "delta",
    "twin": "paired_model",
}
"""Names of version 0.1 and their replacements; the old names still work, with a DeprecationWarning."""


@dataclass(frozen=True, eq=False)
class View:
    """What a check sees: the first n inputs of a measurement, one tangent field, the perturbations of one attack.

    All arrays have one row per input, in the same order. Distances are L2, in units of x.

    Attributes:
        measurement: The measurements of one model on one sample.
        n: How many inputs are in view.
        field: Tangent spaces of the inputs: the measured ones or, in a draw of a control, those of the draw.
        attack: Name of the attack that finds the perturbations.
        effort: Effort of the searches made for this view; None where it shows the cached searches of the measurement.
        order: Order of the checkpoints, where a control permutes them.
        draw: Name of the control and number of the draw, where the view is a draw of a control.
        is_estimate: Whether the tangent spaces stand for a manifold estimate of their own: points are projected onto
            them, and whole crossings are cached.
        alpha: Error rate of the decision that the view is made for, which says how many networks a claim about networks
            needs.
    """

    measurement: Measure
    n: int
    field: Field
    attack: str = BUILTIN
    effort: SearchEffort | None = None
    order: tuple[int, ...] | None = None
    draw: tuple[str, int] | None = None
    is_estimate: bool = False
    alpha: float = 0.05
    _used: dict[tuple[object, ...], Cost] | None = None

    @classmethod
    def of(cls, measurement: Measure, n: int | None = None) -> View:
        """Return a view of the first n inputs of a measurement; of all inputs where n is None."""
        return cls(measurement, len(measurement.sample.x) if n is None else n, measurement.field)

    def __getattr__(self, name: str) -> Any:
        if name not in RENAMED:
            raise AttributeError(f"View has no attribute {name!r}")
        warnings.warn(f"View.{name} is now View.{RENAMED[name]}", DeprecationWarning, stacklevel=2)
        return getattr(self, RENAMED[name])

    @property
    def x(self) -> Tensor:
        """Inputs (n, D), all classified correctly."""
        return self.measurement.sample.x[: self.n]

    @property
    def y(self) -> Tensor:
        """Labels (n,)."""
        return self.measurement.sample.y[: self.n]

    @property
    def examples(self) -> LabelledPool:
        """Labelled examples, x (m, D) and y (m,): the training data where the subject has them, else all inputs."""
        return self.measurement.examples

    @property
    def classifier(self) -> Classifier:
        """The model that is measured."""
        return self.measurement.classifier

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.classifier.classes

    @property
    def manifold(self) -> Manifold:
        """The manifold estimate."""
        own = self.field if isinstance(self.field, TangentField) else self.measurement.field
        return own.manifold

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.measurement.seed

    def whole(self) -> View:
        """Return a view of all inputs of the measurement, which is otherwise the same as this one."""
        return replace(self, n=len(self.measurement.sample.x))

    def crossing(self, arm: ArmName) -> Crossing:
        """Return the nearest label change anywhere (``"free"``), in x + T (``"tangent"``) or in x + N (``"normal"``).

        Other claims read the same tensors: copy what you want to write to.

        Raises:
            CheckError: The view is a draw of a control, and the check did not declare that it searches in draws.
        """
        if arm != "free":
            self._note_tangent_spaces()
        if self._is_cached(arm):
            if self.field is not self.measurement.field and arm != "free":
                raise CheckError(
                    f"the {arm} arm was not searched in the tangent spaces of this draw of a control; "
                    'declare the check with draw_cost="search"'
                )
            found = self.measurement.crossings(self.n, arm, self.attack)
            for key in self.measurement.crossing_keys(arm, self.attack):
                self._note_blocks(key)
            return found
        if self.is_estimate:
            blocks = [slice(at, min(at + ESTIMATE_BLOCK, self.n)) for at in range(0, self.n, ESTIMATE_BLOCK)]
            return joined([self._estimated(arm, rows) for rows in blocks], self.n)
        start = time.perf_counter()
        found = self._search(arm, slice(0, self.n))
        spent = Cost(gradient_evaluations=gradients(found), seconds=time.perf_counter() - start)
        self._note(("view", len(self._used or ()), arm), spent)
        return found

    def distance(self, arm: ArmName) -> Floats:
        """Return the L2 distance (n,) to `crossing`, in units of x; inf where none was found.

        In a draw of a control one search serves all checks. Only its distances are cached, since points may be large.
        """
        if arm != "free":
            self._note_tangent_spaces()
        plain = self.draw is None and self.field is not self.measurement.field
        if self._is_cached(arm) or plain or self.is_estimate:
            return _floats(self.crossing(arm).distance)

        def compute() -> tuple[Floats, int]:
            found = self._search(arm, slice(0, self.n))
            return _floats(found.distance), gradients(found)

        return self.cached(self.distance_key(arm), compute)

    def distance_key(self, arm: ArmName) -> tuple[object, ...]:
        """Return the key under which the distances of a draw of a control are cached."""
        return ("distance", self.draw, arm, self.effort, self.n)

    def searched_arms(self) -> tuple[tuple[str, ArmName], ...]:
        """Return the models and arms whose distances were asked of this view, a draw with a record of its own.

        A model is given by its name as a reference model, and the model of the view by "".
        """
        models = {"": self.measurement, **self.measurement.measured_models()}
        return tuple(
            (name, arm)
            for name, measurement in models.items()
            for arm in ARMS[1:]
            if (id(measurement), *self.distance_key(arm)) in (self._used or {})
        )

    def delta(self, arm: ArmName = "free") -> Tensor:
        """Return the smallest perturbation found, (n, D); NaN where none was found."""
        crossing = self.crossing(arm)
        if self._is_cached(arm):
            return self.measurement.perturbations(self.n, arm, self.attack)
        return perturbations(crossing, self.x)

    def boundary_gradient(self) -> Tensor:
        """Return the margin gradient (n, D), normal to the boundary, at the nearest crossing; NaN where none is."""
        gradient = self.measurement.boundary_gradients(self.n, self.attack)
        self._note_blocks(("boundary-gradient", self.attack))
        return gradient

    def input_gradient(self) -> Tensor:
        """Return the gradient of the logit margin at the inputs, (n, D)."""
        gradient = self.measurement.input_gradients(self.n)
        self._note_blocks(("input-gradient",))
        return gradient

    def cached(self, key: tuple[object, ...], compute: Callable[[], tuple[T, int]]) -> T:
        """Return the result that is cached under a key for all views of the measurement.

        Args:
            key: What is computed; include `n` where the result depends on the number of inputs.
            compute: Gives the result and the number of gradient evaluations; called where nothing is cached yet.
        """
        result, cost = self.measurement.cached(key, compute)
        self._note(key, cost)
        return result

    def margins(self) -> Tensor:
        """Return the logit margin of each input, z_y - max_{j != y} z_j, (n,)."""
        return self.cached(("margins", self.n), lambda: (self._margins(), 0)).clone()

    def _margins(self) -> Tensor:
        classifier, x, y = self.classifier, self.x, self.y
        with evaluating(classifier), torch.no_grad():
            return in_batches(x, lambda rows: logit_margin(called(classifier, x[rows]), y[rows]))

    def tangent_share(self, v: Tensor) -> Floats:
        """Return the share of the energy of vectors (n, D) in their input's tangent space, |P_T v|^2 / |v|^2 (n,)."""
        self._note_tangent_spaces()
        return _floats(self.field.share(v))

    def project_tangent(self, v: Tensor) -> Tensor:
        """Return the tangent part P_T v of vectors (n, D), or of m vectors of each input, (m, n, D).

        Of several vectors together it takes less time than of one after the other, where bases are too large to be
        kept.
        """
        self._note_tangent_spaces()
        return self.field.project(v) if v.ndim == 2 else projected_together(self.field, v)

    def tangent_cosines(self, v: Sequence[Tensor], w: Tensor) -> Tensor:
        """Return the cosines (m, n) of the tangent parts of m tensors of vectors (n, D) with vectors w (n, D).

        They take less time than the tangent parts. They are NaN where a vector or its tangent part is zero.
        """
        self._note_tangent_spaces()
        return self.field.cosines(torch.stack([*v]), w)

    def project_point(self, points: Tensor) -> Tensor:
        """Return the points (m, D) projected onto the manifold estimate.

        A rotated field that stands for an estimate has no projection of its own. There a point belongs to the input of
        its row, and is projected onto the rotated tangent space through the projection of that input.
        """
        self._note_tangent_spaces()
        if not self.is_estimate or isinstance(self.field, TangentField):
            return self.manifold.project_point(points).to(points)
        base = self.manifold.project_point(self.x).to(points)
        return base + self.field.project(points - base)

    def labels(self, points: Tensor) -> Tensor:
        """Return the model's labels (m,) of points (m, D)."""
        return predict(self.classifier, points)

    def largest_other_class(self, points: Tensor) -> Tensor:
        """Return the class (n,) with the largest logit at points (n, D), the own class of the input left out."""
        classifier, own = self.classifier, self.y[:, None]
        with evaluating(classifier), torch.no_grad():
            return in_batches(
                points, lambda rows: called(classifier, points[rows]).scatter(1, own[rows], -torch.inf).argmax(1)
            )

    def noise(self, purpose: str) -> Tensor:
        """Return the standard normal vectors (n, D), one per input, which do not depend on how many inputs are in view.

        The numbers of features that vary in the examples come from a stream of their own, so that constant features
        change none of them.
        """
        return self.cached(("noise", purpose, self.n), lambda: (self._noise(purpose), 0))

    def _noise(self, purpose: str) -> Tensor:
        examples, x = self.examples.x, self.measurement.sample.x
        varies = varying(examples).cpu()
        noise = torch.empty((self.n, x.shape[1]), dtype=x.dtype)
        for where, names in ((varies, ()), (~varies, ("constant features",))):
            generator, count = seeded(self.seed, "noise", purpose, *names), int(where.sum())
            for row in noise:
                row[where] = torch.randn(count, generator=generator, dtype=x.dtype)
        return noise.to(x.device)

    def nearest_other_class(self) -> tuple[Floats, Tensor]:
        """Return the distance (n,) to the nearest example of another class, or inf; and that example (n, D)."""
        key = ("nearest other class",)
        blocks = self.measurement.cached_blocks(key, self.n, lambda rows: (self._nearest_other_class(rows), 0))
        self._note_blocks(key)
        distance, index = (torch.cat(parts)[: self.n] for parts in zip(*blocks, strict=True))
        return _floats(distance), self.examples.x[index]

    def _nearest_other_class(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return the distance (r,) of some inputs to the nearest example of another class, or inf; and its row (r,)."""
        examples, x = self.examples, self.measurement.sample.x[rows]
        is_other = self.measurement.sample.y[rows, None] != examples.y[None, :]
        index = in_batches(
            x,
            lambda some: distance_matrix(x[some], examples.x).masked_fill(~is_other[some], torch.inf).argmin(1),
        )
        distance = (examples.x[index] - x).norm(dim=1)
        return torch.where(is_other.any(1), distance, torch.inf), index

    def targeted(self, arm: ArmName) -> tuple[tuple[int, ...], list[Crossing]]:
        """Return the target classes, and the crossings of all inputs into each; their searches have less effort.

        The class that a nearest crossing of the first inputs reaches has this crossing, and no search of its own.

        Other claims read the same tensors: copy what you want to write to.
        """
        classes, found = self.measurement.targeted(self.n, arm)
        for label in classes:
            self._note_blocks(("targeted", arm, label))
        if self._used is not None:
            for key, cost in self.measurement.reused_costs(self.n, arm).items():
                self._used.setdefault((id(self.measurement), *key), cost)
        return classes, found

    def paired_model(self, name: str) -> View:
        """Return the same view of a reference model.

        Args:
            name: ``standard``, ``robust``, ``untrained 0``, ``untrained 1``, ..., or ``checkpoint STEP``.

        Raises:
            CheckError: The reference model cannot be made or used.
        """
        return replace(self, measurement=self.measurement.paired_model(name))

    def untrained(self) -> list[View]:
        """Return this view of untrained networks, as many as alpha needs; networks that are alike count once."""
        return distinct(self.paired_model(name) for name in UNTRAINED[: untrained_needed(self.alpha)])

    def training(self) -> View:
        """Return a view of as many correctly classified training examples as inputs; of all where there are fewer."""
        trained = self.measurement.training()
        return replace(self, measurement=trained, field=trained.field, draw=None, n=min(self.n, len(trained.sample.x)))

    def checkpoints(self) -> list[tuple[int, View]]:
        """Return pairs of a training step and this view of the model at that step, in rising order of the steps.

        In a draw of a control that permutes the checkpoints, the models are those of other steps.
        """
        steps = self.measurement.steps
        order = self.order or tuple(range(len(steps)))
        return [
            (step, self.paired_model(f"checkpoint {steps[order[position]]}")) for position, step in enumerate(steps)
        ]

    def rotated(self, rotation: Rotation) -> View:
        """Return the same view with the tangent spaces rotated, one rotation for all inputs: P -> R P R^T.

        Args:
            rotation: An orthogonal operator: any object with ``apply`` and ``inverse`` on vectors (n, D).
        """
        return replace(self, field=RotatedField(self.measurement.field, rotation))

    def spanned(self, basis: Tensor) -> View:
        """Return the same view with one tangent space for all inputs, given by an orthonormal basis (D, k)."""
        return replace(self, field=SharedField(basis.to(self.x)))

    def permuted(self, order: Tensor) -> View:
        """Return the same view, in which input i has the tangent space of input order[i].

        Args:
            order: Numbers (n,) of the inputs in view, each once.
        """
        return replace(self, field=PermutedField(self.measurement.field, order.to(self.x.device)))

    def spent(self) -> Cost:
        """Return the cost of the measurements that were used through this view; shared ones count in full."""
        return total(list((self._used or {}).values()))

    @property
    def uses_tangent_spaces(self) -> bool:
        """Whether anything that was asked of this view depends on the tangent spaces."""
        return any(key[-1] == TANGENT_SPACES for key in self._used or {})

    @property
    def estimate_key(self) -> tuple[str, int] | None:
        """What tells cached results of this manifold estimate from those of others."""
        return self.draw if self.is_estimate else None

    def _note_tangent_spaces(self) -> None:
        self._note((TANGENT_SPACES,), Cost())

    def _is_cached(self, arm: ArmName) -> bool:
        """Return whether the view shows the cached search, which with less effort is so in the free arm alone."""
        return self.effort is None or (arm == "free" and self.effort in {"brief", "quick"})

    def _search(self, arm: ArmName, rows: slice) -> Crossing:
        return self.measurement.search_in(rows, arm, self.field, self.effort or self.measurement.effort)

    def _estimated(self, arm: ArmName, rows: slice) -> Crossing:
        """Return the crossings of some inputs for another manifold estimate; views of any size share them."""

        def compute() -> tuple[Crossing, int]:
            crossing = self._search(arm, rows)
            return crossing, gradients(crossing)

        return self.cached(("crossing", self.draw, arm, self.effort, rows.start, rows.stop), compute)

    def _note(self, key: tuple[object, ...], cost: Cost) -> None:
        if self._used is not None:
            entry = (id(self.measurement), *key)
            self._used[entry] = cost

    def _note_blocks(self, key: tuple[object, ...]) -> None:
        if self._used is not None:
            self._note(key, self.measurement.cost(key, self.n))


def find_together(draws: Sequence[View], arm: ArmName) -> None:
    """Search one arm of several draws of a control by one search, which takes less time than one search for each draw.

    Args:
        draws: Views of draws of one control: of the same measurement, inputs and effort.
        arm: ``"tangent"`` or ``"normal"``.
    """
    first = draws[0]
    names = (draws[0].draw or ("",))[:1] + tuple(view.draw[1] for view in draws if view.draw is not None)

    def compute() -> tuple[list[Floats], int]:
        effort = first.effort or first.measurement.effort
        found = first.measurement.search_fields(first.n, arm, [view.field for view in draws], effort)
        return [_floats(crossing.distance) for crossing in found], sum(map(gradients, found))

    distances = first.cached(("distances", names, arm, first.effort, first.n), compute)
    for view, distance in zip(draws, distances, strict=True):
        view.measurement.keep(view.distance_key(arm), distance)


def _floats(values: Tensor) -> Floats:
    return values.cpu().numpy().astype(np.float64)
