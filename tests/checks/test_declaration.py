"""What a declaration of a check, a control, a gate or a report format refuses, and what it takes."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import dmmcheck
from dmmcheck.checks.base import registry
from dmmcheck.checks.declaration import unreachable
from dmmcheck.errors import CheckError, DmmError, RegistryError

pytestmark = pytest.mark.usefixtures("own_registries")
FUNCTION = "cannot be called with one argument, the view"
NAME = "expected lower-case words joined by hyphens"
HUGE = 10**400


def ask(view, power=1):
    """The distance to the boundary."""
    return dmmcheck.Evidence.of(view.distance("free") ** power)


def declare(id="mine", function=ask, **given):
    dmmcheck.check(id, **{"statement": "s", "threshold": 0.0, "direction": "greater", **given})(function)
    return registry()[id].tests


REFUSED = [
    *(({"id": id}, "is malformed; use lower-case words") for id in (5, None, "", "A", "a b", "a" * 101, "a\nb")),
    *(({"variant": name}, NAME) for name in (5, None, "", "a b", "a\n::error::b", "É")),
    *(({"statement": text}, "statement is .*, expected a text that is not empty") for text in (None, "", " ", 5)),
    *(({"statistic": text}, "statistic is .*, expected a text") for text in (None, 5)),
    *(({"unit": text}, "unit is .*, expected a text") for text in (None, 5)),
    *(
        ({"threshold": value}, "threshold is .*, expected a finite number")
        for value in (math.nan, math.inf, -math.inf, "1", None, True, HUGE, [1], 1j)
    ),
    *(({"threshold": value, "unit": "share"}, "from 0 to 1; give a number from 0 to 1") for value in (2.0, -5.0, 1.01)),
    *(({"threshold": value, "unit": "cosine"}, "a cosine, from -1 to 1") for value in (2.0, -5.0)),
    ({"threshold": -0.1, "unit": "ratio"}, "a ratio, >= 0; give a number >= 0"),
    *(
        ({"min_effect": value}, "min effect is .*, expected a finite number >= 0")
        for value in (-1, math.nan, math.inf, "a", None, HUGE)
    ),
    *(({"min_effect": value, "unit": "rate"}, "give a number from 0 to below 1") for value in (1, 5)),
    *(({"direction": word}, "unknown direction .*; valid: greater, less") for word in ("up", None, 5, ["greater"])),
    *(({"tier": word}, "unknown tier .*; valid: stated") for word in ("up", None, 5, [])),
    ({"tier": "search"}, "is for what dmmcheck itself tries; use one of stated, controlled, mechanism"),
    *(({"draw_cost": word}, "unknown draw cost .*; valid: energy") for word in ("up", None, 5)),
    *(
        ({name: value}, "expected a tuple of names")
        for name in ("needs", "requires", "controls")
        for value in (None, 5)
    ),
    *(({name: ("up",)}, "unknown .* 'up'.*; valid: ") for name in ("needs", "requires", "controls")),
    *(({name: (5,)}, "expected a text") for name in ("needs", "requires", "controls")),
    *(({name: "yes"}, "expected True or False") for name in ("per_attack", "against_chance")),
    *(({"explanation": value}, "expected a dmmcheck.Explanation") for value in ("text", 5)),
    *(({"worse": value}, "expected 'greater', 'less' or None") for value in ("up", 5)),
    *(({"function": function}, FUNCTION) for function in (5, None, "ask", lambda: 1, lambda a, b: 1)),
    ({"grounds": ("x",)}, "unknown family 'x'"),
    ({"margin": 1, "min_effect": 2}, "both min_effect and margin, its old name; remove margin"),
    ({"effect": 1}, "unknown argument 'effect'"),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("given", "words"), REFUSED, ids=[f"{number}" for number in range(len(REFUSED))])
def test_a_declaration_is_refused_where_it_is_made(given, words):
    with pytest.raises(CheckError, match=words) as error:
        declare(**given)
    assert len(str(error.value)) < 400
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["needs", "requires", "controls"])
def test_one_name_is_taken_as_a_tuple(name):
    value = {"needs": "pair", "requires": "model", "controls": "rotation"}[name]
    assert declare("one", **{name: value})[-1] == declare("one", **{name: (value,)})[-1]


@pytest.mark.parametrize("value", [np.float64(0.5), np.array(0.5), 1])
def test_a_threshold_is_a_number_of_any_library(value):
    (test,) = declare(threshold=value)
    assert type(test.claim.threshold) is float


def test_a_partial_is_a_check_with_the_docstring_of_its_function():
    (test,) = declare(function=functools.partial(ask, power=2))
    assert test.statistic == "The distance to the boundary"
    declare(function=functools.partial(ask, power=2))  # the same again, as a reloaded module does
    with pytest.raises(CheckError, match="choose another id or variant"):
        declare(function=functools.partial(ask, power=3))


@pytest.mark.parametrize(
    ("unit", "value", "name", "is_refused"),
    [
        ("share", 0.0, "threshold", False),
        ("share", 1.0, "threshold", False),
        ("share", 1.0, "min-effect", True),
        ("ratio", 50.0, "min-effect", False),
        ("ratio", 0.0, "threshold", False),
        ("L2", -5.0, "threshold", False),
    ],
)
def test_what_a_statistic_cannot_reach_depends_on_its_unit(unit, value, name, is_refused):
    assert bool(unreachable(unit, value, name)) is is_refused


def bounded(context, least=2):
    return dmmcheck.soundness.bounded(
        "enough", context.classifier.classes, least=least, finding="found", remedy="add classes"
    )


def counts(report, word="planned"):
    return f"{report.summary.planned} {word}"


def control(view, generator):
    return view


JUNK = (5, None, "text", lambda: 1, lambda a, b, c: 1)
REGISTER = {
    "gate": (dmmcheck.gate("model"), "one argument, the context"),
    "format": (dmmcheck.report_format(".own"), "cannot be called with a report"),
    "control": (dmmcheck.control("own", title="t"), "a view and a generator"),
}


@pytest.mark.parametrize("function", JUNK, ids=range(len(JUNK)))
@pytest.mark.parametrize("kind", REGISTER)
def test_what_cannot_be_called_is_not_registered(kind, function):
    register, words = REGISTER[kind]
    with pytest.raises(RegistryError, match=words):
        register(function)


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("gate", functools.partial(bounded, least=3)),
        ("format", functools.partial(counts, word="tests")),
        ("control", functools.partial(control)),
    ],
)
def test_a_partial_is_registered_by_the_name_of_its_function(kind, function):
    register, _ = REGISTER[kind]
    assert register(function) is function
    assert register(function) is function


def test_another_partial_of_one_function_is_another_gate():
    dmmcheck.gate("model")(functools.partial(bounded, least=3))
    with pytest.raises(RegistryError, match="the gate 'bounded' exists already"):
        dmmcheck.gate("model")(functools.partial(bounded, least=4))


@pytest.mark.parametrize("name", [5, None, "", "A", "a\nb"])
def test_a_control_has_a_name(name):
    with pytest.raises(RegistryError, match=r"the name of a control is .*; use lower-case words"):
        dmmcheck.control(name, title="t")


@pytest.mark.parametrize("family", [5, None, "models", []])
def test_a_gate_has_a_family(family):
    with pytest.raises(DmmError, match=r"the family of a gate is .*; valid: model, attack, manifold"):
        dmmcheck.gate(family)


@pytest.mark.parametrize("suffix", [5, None, ""])
def test_a_format_has_a_suffix(suffix):
    with pytest.raises(RegistryError, match="the suffix of a report format is"):
        dmmcheck.report_format(suffix)
