"""When a run raises the effort of its own search: where the search falls short, and nothing else is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from dmmcheck.errors import DmmError, is_out_of_time
from dmmcheck.inference.types import SearchEffort
from dmmcheck.measurement.measure import Measure
from dmmcheck.models.base import is_differentiable
from dmmcheck.models.boxed import box_of
from dmmcheck.report.model import EFFORT_USED, Soundness
from dmmcheck.soundness.context import info

OF_THE_SEARCH = frozenset(
    {
        *("effort", "nesting", "found-free", "segment", "random-rays", "transfer", "independent-attack"),
        *("planted-tangent", "planted-normal"),
    }
)
"""Items that fail where the search has missed a nearer boundary, which a search with more effort may find."""
HIGHER: Mapping[SearchEffort, SearchEffort] = {"quick": "default", "default": "thorough"}

Items = dict[str, tuple[Soundness, ...]]


@dataclass(frozen=True, eq=False)
class Assessed:
    """Measurements, and the soundness items of the models that they are about, by the words for each model."""

    measure: Measure
    items: Items


def shortfalls(items: Iterable[Soundness], *, boxed: bool = False) -> tuple[str, ...]:
    """Return the names of the failed items on the search, in order.

    There are none where an item on the model or on gradients has failed as well.

    More effort cannot mend such an item: where gradients are masked, a model has no verdict with any effort.

    In a box, the free search regularly finds no point of another class, which more effort does not change either.

    Example:
        >>> from dmmcheck.report.model import Soundness
        >>> segment, gradients = (
        ...     Soundness(name=name, family="attack", ok=False, value=0.5, limit=0.1, message="")
        ...     for name in ("segment", "gradients")
        ... )
        >>> shortfalls([segment]), shortfalls([segment, gradients])
        (('segment',), ())
    """
    failed = [item.name for item in items if item.ok is False and item.family in {"model", "attack"}]
    return tuple(dict.fromkeys(failed)) if set(failed) <= OF_THE_SEARCH - ({"found-free"} if boxed else set()) else ()


def assessed_with_enough_effort(
    measure: Measure, assess: Callable[[Measure], Items], progress: Callable[[str], None]
) -> Assessed:
    """Assess measurements, and raise the effort of the search step by step while only the search falls short.

    Where the highest effort falls short as well, the items are those of that effort. A search by labels alone keeps
    its effort, since the setting ``queries`` says how many calls of the model it may take.

    Args:
        measure: The measurements with the effort of the settings.
        assess: From measurements to the soundness items of each model that they are about.
        progress: Called with a line of text before the effort is raised.
    """
    start, why, items = measure.effort, "", assess(measure)
    while True:
        boxed = box_of(measure.classifier) is not None
        missed = shortfalls((item for some in items.values() for item in some), boxed=boxed)
        if not missed or measure.effort not in HIGHER or not is_differentiable(measure.classifier):
            break
        effort = HIGHER[measure.effort]
        why = why or f"since the search with {start} effort failed the items {', '.join(missed)}"
        progress(f"raising the effort of the search to {effort}, {why}")
        higher = measure.with_effort(effort)
        try:
            items = assess(higher)
        except DmmError as error:
            if not is_out_of_time(error):
                raise
            why += "; the time of max-time was over before more effort was tried"
            break
        measure = higher
    if why:
        what = "is still" if measure.effort == start else "was raised to"
        used = info(EFFORT_USED, f"the effort of the search {what} {measure.effort}, {why}")
        items = {role: (*some, replace(used, family="attack")) for role, some in items.items()}
    return Assessed(measure, items)
