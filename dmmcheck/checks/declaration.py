"""What the declaration of a check may hold; everything else is refused where it is declared, and not after a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from dmmcheck.checks.explanation import Explanation
from dmmcheck.config.schema import did_you_mean, effect, number
from dmmcheck.errors import CheckError
from dmmcheck.errors.text import shown
from dmmcheck.inference.types import SEARCH, TIERS, Direction, DrawCost
from dmmcheck.registry import CONTROLS, is_name, wrong_call

if TYPE_CHECKING:
    from dmmcheck.checks.base import Test

FAMILIES = ("model", "attack", "manifold")
"""Families of soundness items that a claim can require."""

BOUNDED = frozenset({"share", "rate"})  # units of statistics between 0 and 1
RANGES: Mapping[str, tuple[float, float]] = {
    "share": (0.0, 1.0),
    "rate": (0.0, 1.0),
    "cosine": (-1.0, 1.0),
    "ratio": (0.0, float("inf")),
}
"""The values that a statistic can have, by its unit; any number in other units."""

NEEDS: Mapping[str, str] = {
    "classes": "at least three classes: with two there is only one other class",
    "pair": "a standard and a robust model: set `reference` (the standard model of a robust one) or `robust`; or "
    "`pairs`, for a claim about adversarial training",
    "pairs": "several standard and robust models: set `pairs` ([(standard, robust), ...], or a function seed -> "
    "(standard, robust))",
    "examples": "the labelled data that the manifold was fitted on: set `x_train` and `y_train` (key `manifold-data`)",
    "factory": "an untrained model: set `factory` (seed -> model)",
    "differentiable": "a model with gradients: this one gives labels or scores that jump, so pass its logits as a "
    "differentiable function",
    "checkpoints": "models along training: set `checkpoints` ([(step, model), ...], the first one untrained)",
    "augment": "a function that changes inputs and must keep the label: set `augment` ((x, seed) -> x)",
    "trainer": "a training function and labelled training data: set `trainer` ((x, y, seed) -> model), `x_train` and "
    "`y_train` (key `manifold-data`)",
}
"""What checks can need beyond a model, data and a manifold, and the fields of a subject that give it."""


def unreachable(unit: str, value: float, name: str) -> str:
    """Return why a threshold or a smallest effect decides a claim in this unit beforehand; "" where it does not.

    Example:
        >>> unreachable("share", 2.0, "threshold")
        'whose statistic is a share, from 0 to 1; give a number from 0 to 1'
        >>> unreachable("L2", 2.0, "threshold")
        ''
    """
    low, high = RANGES.get(unit, (-float("inf"), float("inf")))
    if name == "min-effect" and unit in BOUNDED and value >= high:
        return f"whose statistic is a {unit}, from {low:g} to {high:g}; give a number from 0 to below {high:g}"
    if name == "threshold" and not low <= value <= high:
        wanted = f"from {low:g} to {high:g}" if high < float("inf") else f">= {low:g}"
        return f"whose statistic is a {unit}, {wanted}; give a number {wanted}"
    return ""


def validated(id: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a declaration in their types; one name in place of several is taken as a tuple.

    Args:
        id: The id of the check.
        given: The arguments by name, as `dmmcheck.check` takes them.

    Raises:
        CheckError: An argument has a value that it cannot have.
    """
    if not isinstance(id, str) or not is_name(id):
        raise CheckError(
            f"check id {shown(id)} is malformed; use lower-case words joined by hyphens, e.g. 'my-check', of at most "
            "100 characters"
        )
    known = {name: _read(id, name, value) for name, value in given.items()}
    wrong = unreachable(known["unit"], known["min_effect"], "min-effect")
    if wrong:
        raise CheckError(f"a min effect of {known['min_effect']:g} is declared for {id!r}, {wrong}")
    return known


def _read(id: str, name: str, value: Any) -> Any:
    try:
        return _READERS[name](value)
    except ValueError as error:
        raise CheckError(f"check {id!r}: {name.replace('_', ' ')} is {shown(value)}, expected {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _statement(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty, e.g. 'perturbations are short'")
    return value


def _variant(value: Any) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise ValueError("lower-case words joined by hyphens, e.g. 'builtin'")
    return value


def _names(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (tuple, list, set, frozenset)):
        raise ValueError("a tuple of names, e.g. ('model',)")
    return tuple(dict.fromkeys(_text(name) for name in value))


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _explanation(value: Any) -> Explanation | None:
    if value is not None and not isinstance(value, Explanation):
        raise ValueError("a dmmcheck.Explanation(summary='...'), or None")
    return value


def _worse(value: Any) -> str | None:
    if value is not None and value not in get_args(Direction):
        raise ValueError("'greater', 'less' or None")
    return None if value is None else str(value)


def _number(value: Any) -> float:
    return number(value.item() if hasattr(value, "item") else value)


def _effect(value: Any) -> float:
    return effect(value.item() if hasattr(value, "item") else value)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "statement": _statement,
    "threshold": _number,
    "direction": lambda value: value,  # this and the other words below are looked up by `validate_words`
    "tier": lambda value: value,
    "draw_cost": lambda value: value,
    "variant": _variant,
    "statistic": _text,
    "unit": _text,
    "min_effect": _effect,
    "controls": _names,
    "needs": _names,
    "requires": _names,
    "per_attack": _yes_or_no,
    "against_chance": _yes_or_no,
    "explanation": _explanation,
    "worse": _worse,
}


def validate_question(id: str, ask: Any) -> None:
    """Refuse a question that cannot be called with a view.

    Raises:
        CheckError: It cannot.
    """
    wrong = "it is no function" if not callable(ask) else wrong_call(ask, None)
    if wrong:
        raise CheckError(f"check {id!r}: {shown(ask)} cannot be called with one argument, the view: {wrong}")


def validate_tests(id: str, tests: Iterable[Test]) -> None:
    """Refuse tests with unknown words, or with numbers that decide the tests beforehand.

    Raises:
        CheckError: There is one.
    """
    for test in tests:
        _validate_words(id, test)
        if test.tier == SEARCH and test.search is None:
            raise CheckError(
                f"check {id!r}: the tier 'search' is for what dmmcheck itself tries; use one of "
                f"{', '.join(tier for tier in TIERS if tier != SEARCH)}"
            )
        for name, value in (("threshold", test.claim.threshold), ("min-effect", test.claim.min_effect)):
            wrong = unreachable(test.unit, value, name) if test.search is None and not test.against_chance else ""
            if wrong:
                raise CheckError(f"a {name} of {value:g} is declared for {id!r}, {wrong}")


def _validate_words(id: str, test: Test) -> None:
    for what, given, valid in (
        ("need", test.needs, tuple(NEEDS)),
        ("control", (test.control,) if test.control else (), CONTROLS.names),
        ("tier", (test.tier,), TIERS),
        ("direction", (test.claim.direction,), get_args(Direction)),
        ("draw cost", (test.draw_cost,), get_args(DrawCost)),
        ("family", test.requires, FAMILIES),
    ):
        unknown = [name for name in given if name not in valid]
        if unknown:
            close = did_you_mean(unknown[0], valid) if isinstance(unknown[0], str) else ""
            raise CheckError(f"check {id!r}: unknown {what} {shown(unknown[0])}{close}; valid: {', '.join(valid)}")
