"""The text of ``--dmm-explain``: criteria, numbers of draws, and a configuration that can be used as it is printed."""

from __future__ import annotations

import re

import pytest

import dmmcheck
from dmmcheck.checks.base import registry
from dmmcheck.checks.declaration import NEEDS
from dmmcheck.checks.explain import _limit, explain, reference, sections
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import load_config
from dmmcheck.inference.evidence import Evidence
from dmmcheck.inference.types import TIERS
from dmmcheck.measurement.nulls import BUDGETS, FIRST_DRAWS, INPUTS_A_DRAW


def squeezed(text):
    return " ".join(text.split())


@pytest.mark.parametrize("id", registry())
def test_a_check_is_explained_in_full(id):
    one = registry()[id]
    text = squeezed(explain(one))
    assert text.startswith(id)
    assert one.statement in text
    for test in one.tests:
        twin = " (one twin)" if test.trainings else ""
        assert f"{test.tier} {test.variant}{twin}: {test.statement}" in text
        assert test.statistic in text
        if test.trainings:
            assert f"{test.tier} {test.variant} (with pairs): {test.trainings.statement}" in text
    for need in one.needs:
        assert re.search(rf"(Every test|The t\w+ [\w, -]+) needs {re.escape(squeezed(NEEDS[need]))}\.", text)
    titles = [title for title, _ in sections(one)]
    order = ["In plain words", "Source", "Statistic", "Columns", "Control", "Draws", "Threshold", "Needs", "Assumes"]
    assert [title for title in titles if title in order] == [title for title in order if title in titles]
    assert all(f"{title}: " in text for title in titles)


def test_criteria_are_those_of_the_claims():
    text = squeezed(explain(registry()["off-manifold-energy"]))
    assert "rho_N of the smallest perturbation > 0.5" in text
    assert (
        "rho_N of the smallest perturbation > c + 0.05 (1 - c), where c is its median over draws of rotated tangent "
        "spaces; and p < alpha" in text
    )
    assert "d_off / d_free < 1.25" in squeezed(explain(registry()["off-manifold-suffices"]))
    assert "> chance" in squeezed(explain(registry()["wrong-label-training"]))
    assert "d_on / d_free > 1.05 c, where" in squeezed(explain(registry()["on-manifold-distance"]))
    assert "< c / 1.05, where" in squeezed(explain(registry()["boundary-clings"]))
    assert "< c - 0.05, where" in squeezed(explain(registry()["shared-sheet"]))
    assert "> c, where" in squeezed(explain(registry()["two-phases"]))


@pytest.mark.parametrize("test", [test for one in registry().values() for test in one.tests if test.control])
def test_the_limit_in_words_is_the_limit_of_the_claim(test):
    """The formula, evaluated: `1.05 c` is a product."""
    formula = re.sub(r"([\d.]) (\(|c)", r"\1 * \2", _limit(test))
    assert eval(formula, {"c": 0.6}) == pytest.approx(test.limit(0.6))


def columns(id):
    return squeezed(explain(registry()[id])).partition("Columns: ")[2].partition(" Control: ")[0]


def test_the_columns_are_explained_by_their_formulas():
    assert columns("on-manifold-distance") == (
        "`estimate` is the median of s = d_on / d_off. `beside chance` is the median of t = d_on / d_free, divided by "
        "c, where c is the median of that number over the draws of a control."
    )
    assert columns("component-flips") == (
        "`estimate` is the rate of the off-manifold part among inputs that one part flips, at equal norm. `beside "
        "chance` is the same number, minus c, where c is the median of that number over the draws of a control."
    )
    assert columns("off-manifold-suffices").endswith("is empty, since no control of this claim is drawn at random.")


def test_each_row_of_a_check_has_its_own_formulas():
    text = columns("adversarial-training-deepens")
    depth, main = text.split("In the row `mechanism main-effect`, ")
    assert depth.startswith("In the row `mechanism depth`, `estimate` is the median of s = d_off of the robust model")
    assert "is empty" in depth
    assert "`beside chance` is the same number, divided by c" in main


def test_needs_name_the_tests_that_have_them():
    def needs(id):
        return squeezed(dict(sections(registry()[id]))["Needs"])

    assert needs("boundary-clings").startswith("The tier mechanism needs an untrained model")
    assert needs("dimples-shallow").startswith("The tier controlled needs the labelled data")
    assert needs("two-phases").startswith("Every test needs models along training")


@pytest.mark.usefixtures("own_registries")
def test_one_test_of_a_tier_that_needs_something_is_named():
    @dmmcheck.check("mine", statement="perturbations are short", threshold=1.0, direction="less")
    @dmmcheck.check(
        "mine", statement="they stay short", threshold=1.0, direction="less", variant="later", needs=("factory",)
    )
    def mine(view):
        """d_free."""

    text = dict(sections(registry()["mine"]))["Needs"]
    assert text.startswith("The test stated later needs an untrained model")


def test_a_formula_with_bars_stays_in_its_cell():
    assert r"d_off / (\|x\| / sqrt(D)) < c / 1.05" in reference([registry()["boundary-clings"]])


def test_the_numbers_of_draws_are_those_of_the_budgets():
    text = squeezed(explain(registry()["on-manifold-distance"]))
    budget = BUDGETS["search"]
    assert f"{FIRST_DRAWS} draws of each control, each searched briefly at {INPUTS_A_DRAW} of at most" in text
    assert f"{budget.multiple} / alpha draws, at least {budget.least} and at most {budget.most}" in text
    assert f"never below 1/{budget.most + 1}" in text


@pytest.mark.parametrize("id", registry())
def test_the_configuration_can_be_used_as_it_is_printed(id, tmp_path):
    text = explain(registry()[id])
    lines = text.partition("Configure in pyproject.toml:")[2].splitlines()
    (tmp_path / "pyproject.toml").write_text("\n".join(line.strip() for line in lines) + "\n", encoding="utf-8")
    settings = load_config(tmp_path).settings.but(gate=("stated", "controlled", "mechanism", "search"))
    planned = [item for item in plan(settings) if item.check.id == id]
    configured = settings.checks[id]
    assert configured.expected_failure
    stated = next((item.test for item in planned if item.tier == "stated"), None)
    if not any(item.test.has_radius for item in planned):
        assert configured.threshold == (None if stated is None else stated.claim.threshold)
    controlled = [item.test.claim.min_effect for item in planned if item.test.control]
    assert configured.min_effect == (max(controlled) if controlled else None)


def test_the_reference_has_a_section_with_a_table_for_each_check():
    text = reference(registry().values())
    assert re.findall(r"^## `(.+)`$", text, re.MULTILINE) == list(registry())
    rows = [line for line in text.splitlines() if line.startswith(tuple(f"| {tier} |" for tier in TIERS))]
    tests = [test for one in registry().values() for test in one.tests]
    assert len(rows) == len(tests) + sum(test.trainings is not None for test in tests)


@pytest.mark.usefixtures("own_registries")
def test_a_check_of_the_user_without_an_explanation_has_its_statement_and_criterion():
    @dmmcheck.check("mine", statement="perturbations are short", threshold=1.0, direction="less")
    def mine(view):
        """d_free."""
        return Evidence.of(view.distance("free"))

    text = explain(registry()["mine"])
    assert "Statement: perturbations are short" in text
    assert "stated builtin: perturbations are short: d_free < 1" in text
    assert "Source" not in text
