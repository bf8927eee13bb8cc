"""The evidence for a claim, and the claim, as plain numbers and numpy arrays: this package does not use torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dmmcheck.errors import CheckError
from dmmcheck.errors.text import shown, told
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
        at_most: If the statistic of each input is known only to lie between its value and a larger number: that number
            (n,). A verdict on a threshold then holds whatever lies between. Comparisons with a control and with a
            baseline are of the values alone.

    Raises:
        CheckError: A field has a value that it cannot have, or `replicates` comes without a unit.

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
    at_most: Floats | None = None

    def __post_init__(self) -> None:
        _refuse_junk(self)
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
        at_most: Any = None,
        draws: Sequence[Floats] | None = None,
    ) -> Evidence:
        """Return evidence from a list, an array or a tensor with one number for each input.

        Args:
            values: The statistic of each input.
            censored: See `Evidence`.
            summary: See `Evidence`.
            chance: See `Evidence`.
            replicates: See `Evidence`.
            note: See `Evidence`.
            unit: See `Evidence`.
            at_most: See `Evidence`; a list, an array or a tensor like the values.
            draws: The former name of `replicates`, deprecated.
        """
        if draws is not None:
            warnings.warn("the argument draws of Evidence.of is now replicates", DeprecationWarning, stacklevel=2)
            replicates = draws
        if isinstance(replicates, Iterable) and not isinstance(replicates, (str, bytes)):
            replicates = tuple(_row(row) if np.ndim(row) else row for row in replicates)
        bound = None if at_most is None else _row(at_most)
        return cls(_row(values), censored, summary, chance, replicates, note, unit, bound)

    @classmethod
    def ratio(cls, numerator: Any, denominator: Any) -> Evidence:
        """Return the ratio of two distances of each input; inf / finite is inf, finite / inf is 0, inf / inf is NaN."""
        a, b = cls.of(numerator).values, cls.of(denominator).values
        if len(a) != len(b):
            raise CheckError(f"a ratio of {len(a)} and {len(b)} numbers, expected as many of each; give one an input")
        with np.errstate(divide="ignore", invalid="ignore"):
            values = a / b
        return cls(values, int(np.sum(np.isinf(a) | np.isinf(b))))

    @classmethod
    def against(cls, own: Any, others: Sequence[Any]) -> Evidence:
        """Return the ratios of a positive number of each input to its median over untrained networks.

        The claim is about untrained networks: each of them is a replicate, with the ratios to its own numbers.

        Args:
            own: The numbers (n,) of the model under test.
            others: The numbers (n,) of each untrained network.
        """
        numbers = [cls.of(other).values for other in (others if isinstance(others, Iterable) else ())]
        if not numbers or len({len(row) for row in (cls.of(own).values, *numbers)}) > 1:
            counts = ", ".join(str(len(row)) for row in numbers) or "no"
            raise CheckError(
                f"the untrained networks have {counts} numbers, expected at least one network, and as many numbers for "
                f"each as for the model under test ({len(cls.of(own).values)})"
            )
        middle = np.median(numbers, axis=0)
        replicates = tuple(cls.ratio(own, other).values for other in others)
        return replace(cls.ratio(own, middle), replicates=replicates, unit="untrained network")


def _row(values: Any) -> Floats:
    """Return one number for each input, from a list, an array or a tensor.

    Raises:
        CheckError: They are no numbers; a masked array has numbers that are missing.
    """
    given = values
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
            values = values.to_dense() if values.is_sparse else values
            values = values.numpy() if values.is_complex() else values.double().numpy()
        if np.ma.is_masked(values):
            values = np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)  # a value that is not known
        if values is None or np.iscomplexobj(values):
            raise TypeError("None" if values is None else "complex numbers")
        numbers = np.asarray(list(values) if isinstance(values, Iterator) else values, dtype=np.float64)
        if numbers.size > max(numbers.shape, default=1):
            raise CheckError(
                f"the evidence has the shape {numbers.shape}, expected one number for each input; return one number "
                "per input"
            )
        return numbers.reshape(-1)
    except (TypeError, ValueError, OverflowError, NotImplementedError, RuntimeError) as error:
        raise CheckError(
            f"the evidence is {shown(given)}, expected one number for each input ({told(error)}); return "
            "dmmcheck.Evidence.of(values) with a list, an array or a tensor of numbers"
        ) from error


def _refuse_junk(evidence: Evidence) -> None:
    """Refuse evidence with an invalid value in one of its fields.

    Raises:
        CheckError: There is one.
    """
    values, count = evidence.values, evidence.censored
    is_array = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype == np.float64
    is_count = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
    is_level = evidence.chance is None or (
        isinstance(evidence.chance, (int, float, np.number)) and bool(np.isfinite(float(evidence.chance)))
    )
    fields = (
        (
            "values",
            values,
            is_array,
            "a float64 array with one number for each input; use dmmcheck.Evidence.of(values)",
        ),
        ("censored", count, is_count and count >= 0, "a whole number >= 0"),
        ("summary", evidence.summary, evidence.summary in get_args(Summary), "'median' or 'mean'"),
        ("chance", evidence.chance, is_level, "a finite number, or None"),
        ("note", evidence.note, isinstance(evidence.note, str), "a text"),
        ("unit", evidence.unit, evidence.unit in get_args(Unit), " or ".join(map(repr, get_args(Unit)))),
        ("replicates", evidence.replicates, _is_rows(evidence.replicates), "a row of numbers for each network"),
        (
            "at_most",
            evidence.at_most,
            is_array and _is_above(evidence),
            "one number for each value, not below it, and without replicates; use Evidence.of(values, at_most=...)",
        ),
    )
    for name, value, is_right, expected in fields:
        if not is_right:
            raise CheckError(f"{name} of the evidence is {shown(value)}, expected {expected}")
    if evidence.summary == "mean" and not np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
        raise CheckError(
            "the evidence has the summary 'mean', which is of values 0 and 1 (a rate), and other values; return 0 and "
            "1, or use summary='median'"
        )


def _is_above(evidence: Evidence) -> bool:
    """Return whether the values have no upper bounds, or one for each value that is not below the value."""
    bound = evidence.at_most
    if bound is None:
        return True
    is_array = isinstance(bound, np.ndarray) and bound.dtype == np.float64 and bound.shape == evidence.values.shape
    if not is_array or evidence.replicates is not None or bool((bound < evidence.values).any()):
        return False
    return evidence.summary != "mean" or bool(np.isin(bound[~np.isnan(bound)], (0.0, 1.0)).all())


def _is_rows(replicates: Any) -> bool:
    return replicates is None or (isinstance(replicates, Sequence) and not isinstance(replicates, (str, bytes)))


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
