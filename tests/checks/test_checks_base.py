"""What a declaration means: limits by unit and direction, names of version 0.1, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import dmmcheck
from dmmcheck.checks import base
from dmmcheck.checks.base import Test, check, claim, declare, registry
from dmmcheck.checks.declaration import FAMILIES, NEEDS
from dmmcheck.errors import CheckError
from dmmcheck.inference.evidence import Claim, Evidence
from dmmcheck.registry import CHECKS, CONTROLS

pytestmark = pytest.mark.usefixtures("own_registries")


def limit(unit: str, direction: str, min_effect: float, control: float) -> float:
    claimed = Claim(threshold=0.0, direction=direction, min_effect=min_effect)
    test = Test(
        tier="controlled", variant="v", statement="s", statistic="t", unit=unit, claim=claimed, ask=lambda view: None
    )
    return test.limit(control)


@pytest.mark.parametrize(
    ("unit", "direction", "min_effect", "control", "expected"),
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
def test_the_limit_is_the_control_moved_in_the_claims_direction(unit, direction, min_effect, control, expected):
    assert limit(unit, direction, min_effect, control) == pytest.approx(expected)


def declared(id: str, **more: object) -> None:
    settings = {"statement": "s", "threshold": 0.0, "direction": "greater", **more}

    @check(id, **settings)
    def ask(view):
        """A statistic."""
        return Evidence.of([])


@pytest.mark.parametrize(
    ("id", "more", "words"),
    [
        ("Upper", {}, "malformed; use lower-case words joined by hyphens"),
        ("a--b", {}, "malformed"),
        ("fine", {"needs": ("money",)}, "unknown need 'money'; valid: classes, pair, pairs, examples"),
        ("fine", {"controls": ("order of nothing",)}, "unknown control 'order of nothing'; valid: rotation, spectrum"),
        ("fine", {"controls": ("rotatoin",)}, "'rotatoin'; did you mean 'rotation'?; valid: rotation"),
        ("fine", {"tier": "loud"}, "unknown tier 'loud'; valid: stated, controlled, mechanism"),
        ("fine", {"direction": "above"}, "unknown direction 'above'; valid: greater, less"),
        ("fine", {"draw_cost": "free"}, "unknown draw cost 'free'; valid: energy, forward, search"),
        (
            "fine",
            {"requires": ("modle",)},
            "unknown family 'modle'; did you mean 'model'?; valid: model, attack, manifold",
        ),
        ("fine", {"margn": 0.1}, "check 'fine': unknown argument 'margn'; see help(dmmcheck.check)"),
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


def test_every_controlled_claim_of_the_built_in_checks_has_shared_draws_or_a_pairing_of_its_own():
    """Without shared draws a claim that the manifold differs from others would be supported for any manifold."""
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
def test_every_built_in_check_has_words_units_and_known_needs(one):
    assert one.statement
    assert one.source == one.explanation.source != ""
    assert set(one.needs) <= set(NEEDS)
    assert all(test.statistic and test.statement and test.unit for test in one.tests)
    assert all(set(test.requires) <= set(FAMILIES) for test in one.tests)
    assert all(test.control in {"", *CONTROLS} for test in one.tests)


@pytest.mark.parametrize(
    ("old", "new", "value", "read"),
    [
        ("margin", "min_effect", 0.25, lambda test: test.claim.min_effect),
        ("null", "draw_cost", "search", lambda test: test.draw_cost),
        ("grounds", "requires", ("model",), lambda test: test.requires),
    ],
    ids=["margin", "null", "grounds"],
)
def test_arguments_of_version_0_1_work_and_warn(old, new, value, read):
    with pytest.warns(DeprecationWarning, match=f"^the argument {old} of check is now {new}$") as caught:
        declared("old-one", controls=("rotation",), **{old: value})
    assert caught[0].filename == __file__
    declared("new-one", controls=("rotation",), **{new: value})
    found = [read(next(test for test in registry()[id].tests if test.control)) for id in ("old-one", "new-one")]
    assert found == [value, value]


def test_evidence_of_draws_works_and_warns():
    with pytest.warns(DeprecationWarning, match=r"^the argument draws of Evidence.of is now replicates$"):
        evidence = dmmcheck.Evidence.of([1.0], draws=[[0.5], [0.7]], unit="training")
    assert list(evidence.replicates) == [[0.5], [0.7]]


def test_the_cost_of_a_draw_and_the_minimum_effect_are_those_of_the_controlled_tests_alone():
    def ask(view):
        """A statistic."""

    stated, controlled = claim(
        ask, threshold=0.0, direction="less", min_effect=0.1, draw_cost="search", controls=("rotation",)
    )
    assert (stated.draw_cost, stated.claim.min_effect, stated.statistic) == ("energy", 0.0, "A statistic")
    assert (controlled.draw_cost, controlled.claim.min_effect, controlled.tier) == ("search", 0.1, "controlled")
    (alone,) = claim(ask, tier="controlled", threshold=0.0, direction="less", controls=("rotation",))
    assert alone.control == "rotation"


def test_a_test_of_another_attack_has_its_name_as_the_variant():
    stated = registry()["off-manifold-energy"].tests[0]
    assert stated.per_attack
    assert stated.through("fab") == replace(stated, attack="fab", variant="fab")


def test_claims_of_one_check_can_be_declared_one_after_the_other():
    declared("mine")
    declared("mine", variant="second")
    assert [test.variant for test in registry()["mine"].tests] == ["builtin", "second"]
    assert registry()["mine"].tiers == ("stated",)


def test_the_same_function_can_be_declared_again_and_another_one_cannot_take_its_place():
    def one(view):
        """One."""

    def other(view):
        """Another."""

    settings = {"threshold": 0.0, "direction": "less"}
    declare("mine", "first", claim(one, **settings))
    declare("mine", "first", claim(one, **{**settings, "threshold": 1.0}))
    assert [test.claim.threshold for test in registry()["mine"].tests] == [1.0]
    with pytest.raises(
        CheckError, match=r"has a stated test 'builtin' already \(in test_checks_base\); choose another id"
    ):
        declare("mine", "second", claim(other, **settings))


def test_a_claim_without_a_statement_has_that_of_the_check():
    def ask(view):
        """A statistic."""

    settings = {"threshold": 0.0, "direction": "less"}
    declare("mine", "first", claim(ask, **settings), claim(ask, variant="v", statement="second", **settings))
    assert [test.statement for test in registry()["mine"].tests] == ["first", "second"]


def test_a_check_of_the_user_comes_after_the_built_in_ones():
    declared("aaa")
    assert list(registry())[-1] == "aaa"
    assert next(iter(registry())) == "off-manifold-energy"
    assert list(registry()) == list(CHECKS)


def test_every_renamed_argument_is_one_of_check():
    words = re.findall(r"\w+", base.check.__doc__ or "")
    assert set(base.RENAMED) | set(base.RENAMED.values()) <= set(words)
