"""What a declaration means: limits by unit and direction, and what is refused at the door."""

from __future__ import annotations

import pytest

from dmmcheck.checks import base
from dmmcheck.checks.base import Test, check, registry
from dmmcheck.errors import CheckError
from dmmcheck.inference.evidence import Claim, Evidence
from dmmcheck.measurement.nulls import CONTROLS


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Checks that a test registers are gone after it."""
    monkeypatch.setattr(base, "_REGISTRY", registry())


def limit(unit: str, direction: str, margin: float, control: float) -> float:
    claim = Claim(threshold=0.0, direction=direction, margin=margin)
    test = Test(
        tier="controlled", variant="v", statement="s", statistic="t", unit=unit, claim=claim, ask=lambda view: None
    )
    return test.limit(control)


@pytest.mark.parametrize(
    ("unit", "direction", "margin", "control", "expected"),
    [
        ("share", "greater", 0.05, 0.80, 0.81),  # a twentieth of what is missing from 1
        ("share", "less", 0.05, 0.80, 0.76),  # a twentieth of what is there
        ("share", "greater", 0.05, 1.0, 1.001),  # rounding at 1 decides nothing
        ("rate", "greater", 0.05, 0.5, 0.525),
        ("rate", "less", 0.05, 0.0, -0.001),
        ("share", "greater", 0.0, 0.8, 0.8),
        ("ratio", "greater", 0.05, 2.0, 2.1),
        ("ratio", "less", 0.05, 2.1, 2.0),
        ("cosine", "less", 0.05, -0.9, -0.95),
        ("difference", "greater", 0.1, 0.3, 0.4),
    ],
)
def test_the_limit_is_the_control_moved_in_the_claims_direction(unit, direction, margin, control, expected):
    assert limit(unit, direction, margin, control) == pytest.approx(expected)


def declared(id: str, **more: object) -> None:
    settings = {"statement": "s", "threshold": 0.0, "direction": "greater", **more}

    @check(id, **settings)
    def ask(measure):
        return Evidence.of([])


@pytest.mark.parametrize(
    ("id", "more", "words"),
    [
        ("Upper", {}, "malformed; use lower-case words joined by hyphens"),
        ("a--b", {}, "malformed"),
        ("fine", {"needs": ("money",)}, "unknown need 'money'; valid: classes, pair, examples"),
        ("fine", {"controls": ("rotations",)}, "unknown control 'rotations'; valid: rotation, spectrum"),
        ("fine", {"tier": "loud"}, "unknown tier 'loud'"),
        ("noise-like", {}, "has a stated test 'builtin' already"),
    ],
)
def test_a_wrong_declaration_says_what_is_valid(id, more, words):
    with pytest.raises(CheckError) as caught:
        declared(id, **more)
    assert words in str(caught.value)


def test_each_control_adds_a_test_and_the_first_keeps_the_plain_name():
    declared("mine", controls=("rotation", "order"))
    tests = [(test.tier, test.variant, test.control) for test in registry()["mine"].tests]
    assert tests == [
        ("stated", "builtin", ""),
        ("controlled", "builtin", "rotation"),
        ("controlled", "order", "order"),
    ]


def test_declared_controls_are_those_that_can_be_drawn():
    assert set(base.CONTROL_NAMES) == set(CONTROLS)


def test_every_controlled_claim_of_the_built_in_checks_has_shared_draws_or_a_pairing_of_its_own():
    """Without a null of shared draws a claim of a special manifold is 'supported' for any manifold."""
    without = {
        (one.id, test.variant)
        for one in registry().values()
        for test in one.tests
        if test.tier == "controlled" and not test.control
    }
    assert without == {
        ("dimples-shallow", "training-points"),
        ("wrong-label-training", "shuffled"),
        ("wrong-label-training", "noise"),
        ("wrong-label-training", "tangent-only"),
    }


@pytest.mark.parametrize("one", registry().values(), ids=registry())
def test_every_built_in_check_explains_itself_in_full(one):
    text = one.explanation
    for part in ("source", "formula", "control", "threshold", "assumptions", "violation", "reading"):
        assert getattr(text, part), part
    assert all(test.statistic and test.statement for test in one.tests)
    assert all(test.unit for test in one.tests)
