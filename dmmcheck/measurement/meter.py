"""What a session has spent, each second and each row of the model once, by the part of the work that spent it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from dmmcheck.errors import OutOfTimeError
from dmmcheck.inference.cost import Cost
from dmmcheck.models.tally import TALLY, Tally

SOUNDNESS, SEARCH, NULLS, REFITS, OTHER = "soundness", "search", "nulls", "refits", "other"
PARTS = (SOUNDNESS, SEARCH, NULLS, REFITS, OTHER)
"""Gates of the measurement, searches of the given model and manifold, draws of controls, estimates of other dimensions,
and the rest: drawing the sample, reference models, statistics."""

WHAT = {
    SOUNDNESS: "gates of the measurement",
    SEARCH: "searches",
    NULLS: "draws of controls",
    REFITS: "estimates of other dimensions",
    OTHER: "statistics",
}
"""The parts in the words of a line of progress."""

_PART_OF_KEY = {
    **dict.fromkeys(("search", "attack", "targeted", "boundary-gradient", "input-gradient", "class-gradients"), SEARCH),
    **dict.fromkeys(("null", "null of other models", "draw", "distances"), NULLS),
    "refits": REFITS,
}


class Meter:
    """Charges time and rows of the model to parts; what nested parts spend is not charged to the outer one again.

    Args:
        limit: Seconds from now on after which no measurement may begin; None for no limit.

    Attributes:
        parts: What each part has spent.
        watch: Called with the name of a part whenever work on it begins.

    Example:
        >>> meter = Meter()
        >>> with meter.measuring("nulls"), meter.measuring("search"):
        ...     pass
        >>> meter.total.seconds == sum(cost.seconds for cost in meter.parts.values())
        True
    """

    def __init__(self, limit: float | None = None) -> None:
        self._limit, self._start = limit, time.monotonic()
        self.watch: Callable[[str], None] = lambda part: None
        self.parts: dict[str, Cost] = {name: Cost() for name in PARTS}
        self._tally = Tally()
        self._open: list[str] = []
        self._since = 0.0
        self._charged = Tally()
        # Gradients that measurements within the present one have reported, and that were not counted.
        self._reported = 0

    @property
    def total(self) -> Cost:
        """The cost of all parts of the run together."""
        self._charge()
        spent = Cost()
        for cost in self.parts.values():
            spent = spent.plus(cost)
        return spent

    @contextmanager
    def measuring(self, part: str = "") -> Iterator[None]:
        """Charge the work in this context to a part; where no part is named, to the part around the context.

        Args:
            part: One of `PARTS`, or "".
        """
        self._charge()
        self._open.append(part or (self._open[-1] if self._open else OTHER))
        self.watch(self._open[-1])
        token = TALLY.set(self._tally)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()
            TALLY.reset(token)

    def refuse_late(self) -> None:
        """Refuse to begin a measurement after the limit.

        Raises:
            OutOfTimeError: The limit is over.
        """
        if self._limit is not None and time.monotonic() - self._start > self._limit:
            raise OutOfTimeError(
                f"the {self._limit:g} s of max-time were over before this was measured; set a longer max-time, or fast"
            )

    @property
    def left(self) -> float | None:
        """Seconds until the limit; None where there is none."""
        return None if self._limit is None else self._limit - (time.monotonic() - self._start)

    def add(self, spent: Mapping[str, Cost], seconds: float) -> None:
        """Charge what other processes have spent while this one waited for them.

        Args:
            spent: What they spent together, by part.
            seconds: How long this process waited, which is charged to the parts by their shares of the time.
        """
        whole = sum(cost.seconds for cost in spent.values()) or 1.0
        for name, cost in spent.items():
            waited = replace(cost, seconds=seconds * cost.seconds / whole)
            self.parts[name] = self.parts[name].plus(waited)

    @contextmanager
    def reporting(self) -> Iterator[list[int]]:
        """Charge the gradients that are appended to the list, for a model whose gradients are not counted.

        Those that measurements within this one report are charged beside them.
        """
        before, outer, reported = self._tally.gradients, self._reported, list[int]()
        self._reported = 0
        try:
            yield reported
            if self._tally.gradients - before == self._reported:
                self._tally.gradients += sum(reported)
                self._reported += sum(reported)
        finally:
            self._reported += outer

    def _charge(self) -> None:
        """Charge what was spent since the last charge to the innermost open part."""
        now, tally, charged = time.perf_counter(), self._tally, self._charged
        if self._open:
            spent = Cost(
                gradient_evaluations=tally.gradients - charged.gradients,
                forward_evaluations=tally.forwards - charged.forwards,
                seconds=now - self._since,
            )
            self.parts[self._open[-1]] = self.parts[self._open[-1]].plus(spent)
        self._since, self._charged = now, Tally(tally.forwards, tally.gradients)


def part_of(key: tuple[object, ...]) -> str:
    """Return the part that a cached measurement belongs to; "" where it belongs to the part that asks for it.

    Example:
        >>> part_of(("search",)), part_of(("crossing", ("dimension", 4), "tangent")), part_of(("span",))
        ('search', 'refits', '')
    """
    draw = key[1] if len(key) > 1 else None
    if isinstance(draw, tuple) and draw:
        return REFITS if draw[0] == "dimension" else NULLS
    return _PART_OF_KEY.get(str(key[0]), "")
