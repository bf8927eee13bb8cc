"""Whether an attack of the user returned crossings of the inputs, in the search space and in the box."""

from __future__ import annotations

from dataclasses import fields

from torch import Tensor

from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.search_space import SearchSpace
from dmmcheck.errors import CheckError
from dmmcheck.models.boxed import Box, is_inside

OUTSIDE = 0.01  # largest share of a perturbation's length that may lie outside the search space


def check_crossing(crossing: object, x: Tensor, space: SearchSpace, name: str, box: Box | None) -> None:
    """Raise a CheckError unless an attack returned one crossing per input, inside its search space and box."""
    shapes = {part.name: x.shape if part.name == "point" else x.shape[:1] for part in fields(Crossing)}
    given = f"a {type(crossing).__name__}"
    if isinstance(crossing, Crossing):
        wrong = [part for part, shape in shapes.items() if getattr(getattr(crossing, part), "shape", None) != shape]
        if not wrong:
            _check_space(crossing, x, space, name)
            _check_box(crossing, x, box, name)
            return
        given = f"a Crossing whose {wrong[0]} has another shape"
    raise CheckError(
        f"the attack {name} returned {given}, expected a Crossing with points of shape {tuple(x.shape)}; "
        "return dmmcheck.Crossing.at(points, model, x, y)"
    )


def _check_space(crossing: Crossing, x: Tensor, space: SearchSpace, name: str) -> None:
    """Raise a CheckError where a perturbation leaves the search space by more than 1 % of its length."""
    delta = crossing.point.to(x) - x
    outside = (delta - space.project(delta)).norm(dim=1) > OUTSIDE * delta.norm(dim=1)
    count = int((outside & crossing.found.to(x.device)).sum())
    if count:
        raise CheckError(
            f"the attack {name} left its search space for {count} of {len(x)} inputs (limit {OUTSIDE:.0%} of a "
            "perturbation's length); move only by vectors that space.project returned"
        )


def _check_box(crossing: Crossing, x: Tensor, box: Box | None, name: str) -> None:
    """Raise a CheckError where a crossing lies outside the box of a boxed run."""
    count = int((~is_inside(crossing.point.to(x), box) & crossing.found.to(x.device)).sum())
    if count:
        raise CheckError(
            f"the attack {name} left the box for {count} of {len(x)} inputs; return points within the bounds that it "
            "is called with, or leave boxed out"
        )
