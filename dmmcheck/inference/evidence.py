"""Evidence and Claim: plain numbers; torch ends before this module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dmmcheck.inference.types import Direction

Floats = NDArray[np.float64]
Summary = Literal["median", "mean"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One number an input, for one claim.

    Attributes:
        values: (n,) the per-input statistic. Infinite where a distance in it was censored and the rest was not: it
            ranks last (or first). NaN where it could lie on either side: counted against every verdict, never dropped.
        censored: How many values rest on a censored distance.
        summary: The claim is about the ``"median"`` of the statistic, or about the ``"mean"`` of 0/1 values (a rate).
        chance: Where it is given, what the claim is held against in place of its threshold, e.g. 1 / classes; in a
            controlled test beside the control, whichever asks for more.
        draws: (m,) the median (or rate) for each of a few networks, where the claim is about more than one of them:
            the verdict must hold for a new one too. Positive where the claim is about the median.
        note: Said beside the verdict, e.g. where a change point lies.
    """

    values: Floats
    censored: int = 0
    summary: Summary = "median"
    chance: float | None = None
    draws: Floats | None = None
    note: str = ""

    @classmethod
    def of(
        cls,
        values: Any,
        *,
        censored: int = 0,
        summary: Summary = "median",
        chance: float | None = None,
        draws: Floats | None = None,
        note: str = "",
    ) -> Evidence:
        """Evidence from anything array-like with one number an input (torch tensors included)."""
        if hasattr(values, "detach"):
            values = values.detach().cpu().numpy()
        return cls(np.asarray(values, dtype=np.float64).reshape(-1), censored, summary, chance, draws, note)

    @classmethod
    def ratio(cls, numerator: Any, denominator: Any) -> Evidence:
        """Ratio of two distances an input; inf over finite is inf, finite over inf is 0, inf over inf is NaN."""
        a, b = cls.of(numerator).values, cls.of(denominator).values
        with np.errstate(divide="ignore", invalid="ignore"):
            values = a / b
        return cls(values, int(np.sum(np.isinf(a) | np.isinf(b))))

    @classmethod
    def against(cls, own: Any, twins: Sequence[Any]) -> Evidence:
        """Ratio of a positive number an input to its median over twin networks; each twin alone is one draw.

        Args:
            own: (n,) of the model under test.
            twins: (n,) of each twin.
        """
        ratios = [cls.ratio(own, twin) for twin in twins]
        middle = np.median([cls.of(twin).values for twin in twins], axis=0)
        with np.errstate(invalid="ignore"):
            draws = np.array([np.median(ratio.values) for ratio in ratios])
        return replace(cls.ratio(own, middle), draws=draws)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said of a statistic, and the number it is held against.

    Attributes:
        threshold: The claim is that the statistic's median (or rate) lies on the `direction` side of it. In the
            controlled tier the control's value takes its place.
        margin: Controlled tier: the smallest difference from the control that counts as one. See `verdict`.
    """

    threshold: float
    direction: Direction
    margin: float = 0.0
