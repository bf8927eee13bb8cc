"""The evidence for a claim, and the claim, as plain numbers and numpy arrays: this package does not use torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dmmcheck.errors import CheckError
from dmmcheck.inference.types import Direction, Unit

Floats = NDArray[np.float64]
Summary = Literal["median", "mean"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One number for each input, as evidence for one claim.

    Attributes:
        values: The statistic of each input (n,). It is infinite (or 0) where one of its distances is censored, so that
            it ranks last (or first), and NaN where it could lie on either side of any limit: a NaN value counts against
            every verdict and is never dropped.
        censored: Number of values that depend on a censored distance.
        summary: What the claim is about: the ``"median"`` of the values, or the ``"mean"`` of 0/1 values (a rate).
        chance: The value expected by chance, e.g. 1 / classes. If it is given, it takes the place of the threshold; in
            a controlled test the limit is the stricter of it and the control.
        replicates: If the claim is about networks of a kind and not about one network: a row of numbers for each
            network, e.g. one number for each input. The claim is then about the median over all networks of this kind
            of each one's median (or rate), see `stats.replicated_interval`.
        note: A remark that is shown beside the verdict, e.g. the position of a change point.
        unit: What the claim is about. ``"input"``: each value is an input, and the claim is about this network.
            ``"training"`` or ``"untrained network"``: each row of `replicates` is one of these or, without
            `replicates`, each value is.

    Raises:
        CheckError: `replicates` holds single numbers in place of rows, or comes without a unit.

    Example:
        >>> from dmmcheck import Evidence
        >>> Evidence.of([0.5, 0.75, 2.0]).values
        array([0.5 , 0.75, 2.  ])
        >>> Evidence.ratio([1.0, float("inf")], [2.0, 2.0]).values
        array([0.5, inf])
    """

    values: Floats
    censored: int = 0
    summary: Summary = "median"
    chance: float | None = None
    replicates: Sequence[Floats] | None = None
    note: str = ""
    unit: Unit = "input"

    def __post_init__(self) -> None:
        if self.replicates is None:
            return
        if any(np.ndim(row) != 1 for row in self.replicates):
            raise CheckError(
                "replicates holds single numbers, expected a row of numbers for each network, e.g. one for each input; "
                'where each network gives one number, pass these as values, with unit="training"'
            )
        if self.unit == "input":
            raise CheckError(
                'replicates comes with the unit "input", which says that each value is an input; say what a row is, '
                'with unit="training" or unit="untrained network"'
            )

    @property
    def replications(self) -> int:
        """How many there are of what the claim is about: rows of `replicates` or, without these, values."""
        return len(self.values) if self.replicates is None else len(self.replicates)

    @classmethod
    def of(
        cls,
        values: Any,
        *,
        censored: int = 0,
        summary: Summary = "median",
        chance: float | None = None,
        replicates: Sequence[Floats] | None = None,
        note: str = "",
        unit: Unit = "input",
        draws: Sequence[Floats] | None = None,
    ) -> Evidence:
        """Evidence from a list, an array or a tensor with one number for each input.

        Args:
            values: The statistic of each input.
            censored: See `Evidence`.
            summary: See `Evidence`.
            chance: See `Evidence`.
            replicates: See `Evidence`.
            note: See `Evidence`.
            unit: See `Evidence`.
            draws: The former name of `replicates`, deprecated.
        """
        if draws is not None:
            warnings.warn("the argument draws of Evidence.of is now replicates", DeprecationWarning, stacklevel=2)
            replicates = draws
        if hasattr(values, "detach"):
            values = values.detach().cpu().numpy()
        numbers = np.asarray(values, dtype=np.float64).reshape(-1)
        return cls(numbers, censored, summary, chance, replicates, note, unit)

    @classmethod
    def ratio(cls, numerator: Any, denominator: Any) -> Evidence:
        """The ratios of two distances of each input: inf / finite is inf, finite / inf is 0, inf / inf is NaN."""
        a, b = cls.of(numerator).values, cls.of(denominator).values
        with np.errstate(divide="ignore", invalid="ignore"):
            values = a / b
        return cls(values, int(np.sum(np.isinf(a) | np.isinf(b))))

    @classmethod
    def against(cls, own: Any, others: Sequence[Any]) -> Evidence:
        """The ratios of a positive number of each input to its median over untrained networks.

        The claim is about untrained networks: each of them is a replicate, with the ratios to its own numbers.

        Args:
            own: The numbers (n,) of the model under test.
            others: The numbers (n,) of each untrained network.
        """
        middle = np.median([cls.of(other).values for other in others], axis=0)
        replicates = tuple(cls.ratio(own, other).values for other in others)
        return replace(cls.ratio(own, middle), replicates=replicates, unit="untrained network")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The claim that the median (or rate) of a statistic is greater, or less, than a threshold.

    Attributes:
        threshold: The threshold. In the controlled tier the control's value takes its place.
        direction: ``"greater"`` or ``"less"``.
        min_effect: In the controlled tier, the smallest difference from the control that counts; see `decide`.
    """

    threshold: float
    direction: Direction
    min_effect: float = 0.0
