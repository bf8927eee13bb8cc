"""What an attack is, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dmmcheck.attacks.margins import logit_margin
from dmmcheck.attacks.search_space import SearchSpace
from dmmcheck.errors import AttackError
from dmmcheck.models.base import Classifier, called


@dataclass(frozen=True, eq=False)
class Crossing:
    """Nearest label change found from each input.

    Attributes:
        point: (n, D) the crossing, on the far side of the boundary; the input itself where none was found.
        distance: (n,) L2 length of the perturbation, in units of x: an upper bound of the true distance. It is inf
            where nothing was found (censored at `radius`), and 0 only where the input is already misclassified.
        found: (n,) bool.
        radius: (n,) how far the search looked: where nothing was found, the distance exceeds what a search of this
            kind finds within the radius.
        forwards: (n,) forward passes spent on each input.
        backwards: (n,) gradient evaluations spent on each input.
        margin: (n,) logit margin at the crossing, negative where found: how far beyond the boundary it is, in units of
            the logits. The built-in search makes it as large as the rounding of the logits, if 0.1 % of the distance
            suffices for that.
        kkt_cosine: (n,) cosine between the perturbation and minus the projected margin gradient at the crossing; 1 at a
            stationary point of the distance, NaN where unknown, as in a search of brief effort.

    Example:
        >>> import torch
        >>> from dmmcheck import Crossing
        >>> from dmmcheck.models.torch import adapt
        >>> x, y = torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([0, 0])
        >>> model = adapt(lambda x: torch.stack([x[:, 0], -x[:, 0]], 1), x)  # class 0 where x_0 > 0
        >>> Crossing.at(torch.tensor([[-1.0, 4.0], [0.5, 1.0]]), model, x, y).distance
        tensor([4., inf])
    """

    point: Tensor
    distance: Tensor
    found: Tensor
    radius: Tensor
    forwards: Tensor
    backwards: Tensor
    margin: Tensor
    kkt_cosine: Tensor

    @staticmethod
    def at(
        points: Tensor,
        model: Classifier,
        x: Tensor,
        y: Tensor,
        *,
        radius: Tensor | None = None,
        forwards: int = 0,
        backwards: int = 0,
    ) -> Crossing:
        """Return the crossings at given points, each confirmed by a forward pass, as an attack has to return them.

        Args:
            points: (n, D) where the attack found another label; any values for inputs where it found none.
            model: The classifier, in evaluation mode.
            x: Inputs (n, D).
            y: Labels (n,).
            radius: (n,) how far the attack looked; the distance of the points where None.
            forwards: Forward passes that the attack spent on each input.
            backwards: Gradient evaluations that the attack spent on each input.

        Returns:
            The distance of a point is inf where the model calls it y, and 0 where the model does not call the input y.

        Raises:
            AttackError: The points are not of the shape of x.
        """
        if points.shape != x.shape:
            raise AttackError(
                f"the points have shape {tuple(points.shape)}, the inputs {tuple(x.shape)}; "
                "return one flat point for each input"
            )
        return _confirmed(points.detach(), model, x, y, radius=radius, passes=(forwards + 2, backwards))


def _confirmed(
    points: Tensor, model: Classifier, x: Tensor, y: Tensor, *, radius: Tensor | None, passes: tuple[int, int]
) -> Crossing:
    """See `Crossing.at`; passes are the forward and backward passes of an input."""
    with torch.no_grad():
        before, margin = logit_margin(called(model, x), y), logit_margin(called(model, points), y)
    misclassified = before < 0
    found = misclassified | ((margin < 0) & torch.isfinite(points).all(1))
    point = torch.where((found & ~misclassified)[:, None], points, x)
    distance = (point - x).norm(dim=1)
    searched = (points - x).norm(dim=1).nan_to_num(nan=0.0, posinf=0.0)
    return Crossing(
        point=point,
        distance=torch.where(found, distance, torch.inf),
        found=found,
        radius=searched if radius is None else radius,
        forwards=torch.full_like(y, passes[0]),
        backwards=torch.full_like(y, passes[1]),
        margin=torch.where(misclassified, before, torch.where(found, margin, torch.nan)),
        kkt_cosine=torch.full_like(distance, torch.nan),
    )


@runtime_checkable
class Attack(Protocol):
    """Anything that looks for the nearest label change inside a search space.

    The search space is an argument, so that the searches on and off the manifold are one algorithm. An attack is an
    element of the setting `attacks`: the object itself, or a reference ``pkg.mod:attr``. The report calls an object by
    its attribute `name`, or else by the name of its class or function. It calls a reference by its last part, since a
    run is planned before its code is loaded. All names are in lower case with hyphens.
    """

    def __call__(
        self,
        model: Classifier,
        x: Tensor,
        y: Tensor,
        *,
        space: SearchSpace,
        bounds: tuple[float, float] | None = None,
        generator: torch.Generator,
    ) -> Crossing:
        """Look for the label change nearest to each input within x + space.

        Args:
            model: The classifier under test, in evaluation mode.
            x: Inputs (n, D), all of which the model classifies as y.
            y: Labels (n,).
            space: Where perturbations may lie: ``space.project(v)`` projects vectors (n, D), row by row.
            bounds: Box (lo, hi) that points must lie in, given in a boxed run only: two numbers, or two tensors (D,)
                in standard units. None for no box.
            generator: Source of all random numbers.
        """
        ...
