"""The text of ``--dmm-explain``: criteria, numbers of draws, and a configuration that can be used as it is printed."""

from __future__ import annotations

import re

import pytest

import dmmcheck
from dmmcheck.checks.base import NEEDS, registry
from dmmcheck.checks.explain import explain, reference, sections
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import load_config
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement.nulls import BUDGETS


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
        assert squeezed(NEEDS[need]) in text
    titles = [title for title, _ in sections(one)]
    order = ["In plain words", "Source", "Statistic", "Control", "Draws", "Threshold", "Needs", "Assumes"]
    assert [title for title in titles if title in order] == [title for title in order if title in titles]
    assert all(f"{title}: " in text for title in titles)


def test_criteria_are_those_of_the_claims():
    text = squeezed(explain(registry()["off-manifold-energy"]))
    assert "rho_N of the smallest perturbation > 0.5" in text
    assert (
        "rho_N of the smallest perturbation > the same under rotated tangent spaces by more than 5% of its distance "
        "to 1, and extreme among its draws" in text
    )
    assert "d_off / d_free < 1.25" in squeezed(explain(registry()["off-manifold-suffices"]))
    assert "> chance" in squeezed(explain(registry()["wrong-label-training"]))
    assert "by more than 5%, and" in squeezed(explain(registry()["on-manifold-distance"]))


def test_the_numbers_of_draws_are_those_of_the_budgets():
    text = squeezed(explain(registry()["on-manifold-distance"]))
    budget = BUDGETS["search"]
    assert f"{budget.multiple} / alpha draws of each control, at least {budget.least} and at most {budget.most}" in text
    assert f"never below 1/{budget.most + 1}" in text


@pytest.mark.parametrize("id", registry())
def test_the_configuration_can_be_used_as_it_is_printed(id, tmp_path):
    text = explain(registry()[id])
    lines = text.partition("Configure in pyproject.toml:")[2].splitlines()
    (tmp_path / "pyproject.toml").write_text("\n".join(line.strip() for line in lines) + "\n", encoding="utf-8")
    settings = load_config(tmp_path).settings.but(gate=("stated", "controlled", "mechanism"))
    planned = [item for item in plan(settings) if item.check.id == id]
    configured = settings.checks[id]
    assert configured.expected_failure
    stated = next((item.test for item in planned if item.tier == "stated"), None)
    assert configured.threshold == (None if stated is None else stated.claim.threshold)
    controlled = [item.test.claim.min_effect for item in planned if item.test.control]
    assert configured.min_effect == (max(controlled) if controlled else None)


def test_the_reference_has_a_section_with_a_table_for_each_check():
    text = reference(registry().values())
    assert re.findall(r"^## `(.+)`$", text, re.MULTILINE) == list(registry())
    rows = [line for line in text.splitlines() if line.startswith(("| stated", "| controlled", "| mechanism"))]
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
