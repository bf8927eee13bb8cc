"""The tests of a run: their order, their variants, what is selected, and settings that no check uses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import dmmcheck
from dmmcheck.checks.base import registry
from dmmcheck.checks.plan import plan, select
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import CheckError, ConfigError
from dmmcheck.inference.evidence import Evidence

SEARCHES = ["label-steady-on-manifold", "label-steady-off-manifold", "augmentation-steady"]


def ids(items):
    return [item.id for item in items]


def test_tests_come_in_the_order_of_the_registry_and_have_unique_ids():
    planned = plan(Settings())
    assert list(dict.fromkeys(item.check.id for item in planned)) == list(registry())
    assert len(set(ids(planned))) == len(planned)
    assert ids(planned)[:2] == ["off-manifold-energy-stated-builtin", "off-manifold-energy-controlled-builtin"]


def test_each_attack_adds_a_variant_right_after_the_test_that_it_repeats():
    planned = ids(plan(Settings(attacks=("fab", "pgdl2"))))
    start = planned.index("off-manifold-energy-stated-builtin")
    assert planned[start + 1 : start + 3] == ["off-manifold-energy-stated-fab", "off-manifold-energy-stated-pgdl2"]
    assert set(planned) - set(ids(plan(Settings()))) == {
        f"{check}-{name}"
        for check in (
            "off-manifold-energy-stated",
            "off-manifold-energy-controlled",
            "on-manifold-distance-stated",
        )
        for name in ("fab", "pgdl2")
    }


def test_an_own_attack_is_a_variant_of_its_name():
    class MyAttack:
        def __call__(self, model, x, y, *, space, bounds=None, generator):
            raise NotImplementedError

    assert "off-manifold-energy-stated-my-attack" in ids(plan(Settings(attacks=(MyAttack(),))))


def test_tests_of_the_tiers_of_the_gate_are_gating():
    planned = plan(Settings(gate=("controlled",)))
    assert {item.tier for item in planned if item.gating} == {"controlled"}


def test_a_selection_keeps_the_order_and_the_gating_of_the_plan():
    planned = plan(Settings())
    chosen = select(planned, checks=["noise-like", "off-manifold-energy"], tiers=["stated"])
    assert ids(chosen) == ["off-manifold-energy-stated-builtin", "noise-like-stated-builtin"]
    assert set(chosen) <= set(planned)
    rest = select(planned, exclude=["noise-like"])
    assert ids(rest) == [item.id for item in planned if item.check.id != "noise-like" and item.tier != "search"]
    assert select(planned, checks="noise-like") == select(planned, checks=["noise-like"])


def test_searches_run_where_they_are_named_or_gate():
    names = [f"{id}-search-builtin" for id in SEARCHES]
    planned, gating = plan(Settings()), plan(Settings(gate=("stated", "search")))
    assert not any(item.gating for item in planned if item.tier == "search")
    assert not set(names) & set(ids(select(planned)))
    assert ids(select(planned, tiers=["search"])) == ids(select(planned, checks=SEARCHES)) == names
    assert [item.id for item in select(gating) if item.gating and item.tier == "search"] == names


@pytest.mark.parametrize("radius", [0.0, -1.0])
def test_a_radius_that_is_not_positive_is_refused(radius):
    settings = Settings(checks={"label-steady-off-manifold": CheckSettings(threshold=radius)})
    with pytest.raises(CheckError, match=f"threshold of {radius:g} is set for 'label-steady-off-manifold'.*above 0"):
        plan(settings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"checks": ["noise-lik"]},
            "unknown check 'noise-lik'; did you mean 'noise-like'?; valid: off-manifold-energy, ",
        ),
        ({"exclude": ["no-such"]}, "unknown check 'no-such'; valid: off-manifold-energy, "),
        ({"tiers": ["loud"]}, "unknown tier 'loud'; valid: stated, controlled, mechanism"),
    ],
)
def test_unknown_names_are_an_error_that_lists_the_valid_ones(options, words):
    with pytest.raises(CheckError, match=re.escape(words)):
        select(plan(Settings()), **options)


@pytest.mark.parametrize(
    ("id", "configured", "words"),
    [
        ("no-such", CheckSettings(threshold=0.1), "unknown check 'no-such'"),
        (
            "component-flips",
            CheckSettings(threshold=0.1),
            "a threshold of 0.1 is set for 'component-flips', which has no stated claim to use it for "
            "(its tiers: controlled); remove it",
        ),
        (
            "off-manifold-suffices",
            CheckSettings(min_effect=0.1),
            "a min-effect of 0.1 is set for 'off-manifold-suffices', which is compared with no control; remove it",
        ),
        (
            "component-flips",
            CheckSettings(expected_failure="tracked"),
            "an expected failure is set for 'component-flips', none of whose tiers (controlled) gates; add one to gate",
        ),
    ],
)
def test_settings_that_a_check_does_not_use_are_an_error(id, configured, words):
    settings = Settings(checks={id: configured})
    with pytest.raises(CheckError, match=re.escape(words)):
        plan(settings)
    assert plan(Settings())
    if configured.expected_failure:
        assert plan(replace(settings, gate=("stated", "controlled")))


@pytest.mark.usefixtures("own_registries")
def test_a_check_of_the_user_is_planned_at_the_end():
    @dmmcheck.check("mine", statement="s", threshold=0.0, direction="greater")
    def mine(view):
        """A statistic."""
        return Evidence.of(view.distance("free"))

    assert ids(plan(Settings()))[-1] == "mine-stated-builtin"


@pytest.mark.usefixtures("own_registries")
def test_two_tests_of_one_id_are_an_error_until_one_is_renamed():
    def variant(name):
        @dmmcheck.check("off-manifold-energy", variant=name, statement="s", threshold=0.0, direction="greater")
        def mine(view):
            """A statistic."""
            return Evidence.of(view.distance("free"))

    variant("fab")
    assert plan(Settings())
    words = (
        "two tests have the id 'off-manifold-energy-stated-fab': a variant, a control and an attack of one check need"
    )
    with pytest.raises(CheckError, match=re.escape(words)):
        plan(Settings(attacks=("fab",)))

    class MyAttack:
        name = "my-fab"

        def __call__(self, model, x, y, *, space, bounds=None, generator):
            raise NotImplementedError

    renamed = ids(plan(Settings(attacks=(MyAttack(),))))
    assert {"off-manifold-energy-stated-fab", "off-manifold-energy-stated-my-fab"} <= set(renamed)


@pytest.mark.usefixtures("own_registries")
def test_an_attack_cannot_have_the_name_of_a_control():
    dmmcheck.control("mine", title="t", checks=("off-manifold-energy",))(lambda view, generator: view)

    def mine(model, x, y, *, space, bounds=None, generator):
        raise NotImplementedError

    with pytest.raises(ConfigError, match="has the name 'mine', which reports use otherwise"):
        Settings(attacks=(mine,))
