"""Controls: what a statistic does where its subject is replaced by one that means nothing, in shared draws.

The unit of a controlled claim is the draw of the manifold, not the input: gradients of different inputs are alike, so n
inputs are not n independent looks at whether this tangent field is special.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from dmmcheck.inference.decide import point_estimate
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.manifolds.fields import PermutedField, RotatedField
from dmmcheck.manifolds.rotations import Haar, Spectrum
from dmmcheck.measurement.measure import View
from dmmcheck.seeding import seeded

FEW_INPUTS = 64  # of tests that look once


@dataclass(frozen=True)
class Budget:
    """How many draws of a null are made: as many as alpha asks for, between bounds that their cost sets.

    A claim is supported where p < alpha. Twice as many draws as can just show p = alpha leave room for none beyond the
    statistic, three times as many for one.

    Attributes:
        times: So many times as many as can just show p = alpha.
        least: Fewest draws.
        most: Most draws; they cannot show a p-value below 1 / (most + 1).
    """

    times: int
    least: int
    most: int

    def draws(self, alpha: float) -> int:
        """How many, at this alpha."""
        return min(self.most, max(self.least, math.ceil(self.times / alpha) - 1))


BUDGETS: Mapping[str, Budget] = {
    "energy": Budget(3, 199, 4999),
    "forward": Budget(3, 39, 1999),
    "search": Budget(2, 39, 99),
}
"""By what a draw costs: no evaluation of the model, a few forward passes, a search."""


@dataclass(frozen=True)
class Null:
    """One way to take the meaning out of a measurement.

    Attributes:
        title: What a report calls it.
        draw: A view without the meaning, from a view with it and a generator.
        unavailable: Why it cannot be drawn for a view, or "".
        weaker: Name of a null that the statistic must be extreme in, too: tangent spaces of other inputs are alike in
            what they have to do with a model, so that a field which means nothing can be far from all of them.
    """

    title: str
    draw: Callable[[View, torch.Generator], View]
    unavailable: Callable[[View], str]
    weaker: str = ""


def _rotated(view: View, generator: torch.Generator) -> View:
    rotation = Haar(view.x.shape[1], generator=generator)
    return replace(view, field=RotatedField(view.measure.field, rotation))


def _spectrum(view: View, generator: torch.Generator) -> View:
    rotation = Spectrum(view.measure.classifier.input_shape, generator=generator)
    return replace(view, field=RotatedField(view.measure.field, rotation))


def _dealt_within_class(view: View, generator: torch.Generator) -> View:
    order = torch.arange(view.n)
    labels = view.y.cpu()
    for label in torch.unique(labels):
        members = torch.nonzero(labels == label).reshape(-1)
        order[members] = members[torch.randperm(len(members), generator=generator)]
    return replace(view, field=PermutedField(view.measure.field, order.to(view.x.device)))


def _dealt_across_classes(view: View, generator: torch.Generator) -> View:
    """Inputs in a circle, class after class in random order; each takes the space of one a largest class away."""
    labels = view.y.cpu()
    class_order = torch.randperm(int(labels.max()) + 1, generator=generator)
    shuffled = torch.randperm(view.n, generator=generator)
    circle = shuffled[torch.argsort(class_order[labels[shuffled]], stable=True)]
    order = torch.empty_like(circle)
    order[circle] = circle.roll(int(torch.bincount(labels).max()))
    return replace(view, field=PermutedField(view.measure.field, order.to(view.x.device)))


def _steps_dealt(view: View, generator: torch.Generator) -> View:
    return replace(view, order=tuple(torch.randperm(len(view.measure.steps), generator=generator).tolist()))


def _always(view: View) -> str:
    del view
    return ""


def _unless_image(view: View) -> str:
    shape = view.measure.classifier.input_shape
    if len(shape) in {2, 3} and min(shape[-2:]) > 1:
        return ""
    return f"inputs of shape {shape} are not images; the spectrum-matched control needs (H, W) or (channels, H, W)"


def _unless_shared(view: View) -> str:
    if not view.measure.field.shared:
        return ""
    return "all inputs share one tangent space, so there is nothing to permute; use a local manifold, e.g. local-pca"


def _unless_one_class_dominates(view: View) -> str:
    largest = int(torch.bincount(view.y.cpu()).max())
    if 2 * largest <= view.n:
        return _unless_shared(view)
    return _unless_shared(view) or f"one class holds {largest} of {view.n} inputs; pass a more balanced sample"


CONTROLS: Mapping[str, Null] = {
    "rotation": Null("rotated tangent spaces", _rotated, _always),
    "spectrum": Null("spectrum-matched spaces", _spectrum, _unless_image),
    "same-class": Null("spaces dealt within class", _dealt_within_class, _unless_shared, "rotation"),
    "other-class": Null("spaces dealt across classes", _dealt_across_classes, _unless_one_class_dominates, "rotation"),
    "order": Null("checkpoints in random order", _steps_dealt, _always),
}
"""C0, C1, the two forms of C2, and the permutation of what is not a tangent space."""


def null_draws(view: View, ask: Callable[[View], Evidence], control: str, draws: int, *, searched: bool) -> Floats:
    """The statistic's median (or rate) under each of `draws` nulls, (draws,); computed once for all who ask."""
    null, seed = CONTROLS[control], view.measure.seed

    def compute() -> tuple[Floats, int]:
        results = np.empty(draws)
        for number in range(draws):
            drawn = replace(null.draw(view, seeded(seed, "control", control, number)), null=(control, number))
            results[number] = point_estimate(ask(replace(drawn, effort="quick" if searched else None)))
        return results, 0

    return view.once(("null", ask, control, draws, view.n, view.attack), compute)
