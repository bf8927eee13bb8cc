"""A search that falls short raises its own effort; one that the model misleads does not."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache

import contexts
import pytest
import views

import dmmcheck
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import ModelError, OutOfTimeError
from dmmcheck.judge import draft
from dmmcheck.report import html, json, markdown, terminal
from dmmcheck.report.model import EFFORT_USED, Report, Soundness
from dmmcheck.run import Run
from dmmcheck.soundness import probes
from dmmcheck.soundness.more_effort import OF_THE_SEARCH, assessed_with_enough_effort, shortfalls

CLAIM, PAIR_CLAIM = "off-manifold-energy-stated-builtin", "robust-turns-tangential-mechanism-builtin"


def item(name: str, family: str = "attack", ok: bool | None = False) -> Soundness:
    return Soundness(name=name, family=family, ok=ok, value=None, limit=None, message="")


@cache
def measure(effort: str = "default"):
    return views.view(views.subject(), effort=effort).measurement


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([item("effort"), item("segment"), item("effort")], ("effort", "segment")),
        ([item("disjoint", "manifold"), item("planted-normal")], ("planted-normal",)),
        ([item("effort", ok=None), item("segment", ok=True)], ()),
        ([item("segment"), item("finite-differences")], ()),
        ([item("segment"), item("deterministic", "model")], ()),
        ([item("disjoint", "manifold")], ()),
    ],
    ids=["the search", "the search and the data", "nothing", "masked gradients", "noise", "the data"],
)
def test_only_the_search_itself_falls_short(items: list[Soundness], expected: tuple[str, ...]):
    assert shortfalls(items) == expected


@pytest.mark.parametrize(
    ("start", "suffices", "tried"),
    [
        ("default", "default", ["default"]),
        ("default", "thorough", ["default", "thorough"]),
        ("quick", "default", ["quick", "default"]),
        ("quick", "nothing", ["quick", "default", "thorough"]),
        ("thorough", "nothing", ["thorough"]),
    ],
)
def test_the_effort_is_raised_step_by_step_until_the_search_suffices(start: str, suffices: str, tried: list[str]):
    asked: list[str] = []
    lines: list[str] = []

    def assess(measured):
        asked.append(measured.effort)
        return {"": (item("effort", ok=measured.effort == suffices),)}

    found = assessed_with_enough_effort(measure(start), assess, lines.append)
    assert asked == tried
    assert found.measure.effort == tried[-1]
    assert [line.split(",")[0] for line in lines] == [f"raising the effort of the search to {one}" for one in tried[1:]]
    used = [one.message for one in found.items[""] if one.name == EFFORT_USED]
    why = f"since the search with {start} effort failed the items effort"
    assert used == ([f"the effort of the search was raised to {tried[-1]}, {why}"] if tried[1:] else [])


@pytest.mark.parametrize(
    ("start", "ends", "words"),
    [("default", "default", "is still default"), ("quick", "default", "was raised to default")],
)
def test_the_last_complete_items_stay_where_the_time_is_over(start: str, ends: str, words: str):
    def assess(measured):
        if measured.effort == "thorough":
            raise OutOfTimeError("the time of max-time was over")
        return {"": (item("effort"),)}

    found = assessed_with_enough_effort(measure(start), assess, str)
    assert found.measure.effort == ends
    assert [one.name for one in found.items[""]] == ["effort", EFFORT_USED]
    assert f"the effort of the search {words}, since" in found.items[""][1].message
    assert "the time of max-time was over before more effort was tried" in found.items[""][1].message


def test_an_error_while_the_effort_is_raised_is_raised():
    def assess(measured):
        if measured.effort == "thorough":
            raise ModelError("the model raised")
        return {"": (item("effort"),)}

    with pytest.raises(ModelError, match="the model raised"):
        assessed_with_enough_effort(measure(), assess, str)


def test_a_search_by_labels_alone_keeps_its_effort():
    def labels(x):
        return (x[:, 0] > 0).astype(int)

    x = views.subject().x
    measured = views.view(
        views.subject(model=labels, y=labels(x.numpy()), x_train=x, y_train=labels(x.numpy()))
    ).measurement
    found = assessed_with_enough_effort(measured, lambda one: {"": (item("effort"),)}, print)
    assert found.measure is measured


@pytest.fixture(scope="module")
def raised():
    """The lines and the report of a run whose search with default effort falls short."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        contexts.weaken_the_default_search(monkeypatch)
        monkeypatch.setattr(probes, "PLANTED_INPUTS", 6)
        lines: list[str] = []
        return lines, dmmcheck.run(contexts.waves(), checks=["off-manifold-energy"], progress=lines.append)


def test_a_run_whose_search_falls_short_decides_its_claims_with_more_effort(raised: tuple[list[str], Report]):
    lines, report = raised
    assert sum(line.startswith("raising the effort of the search to thorough, since") for line in lines) == 1
    assert not any(item.ok is False for item in report.soundness)
    assert report.findings[0].verdict == "supported"
    assert report.evidence.settings["effort"] == "thorough"
    assert {one.name for one in report.soundness} > OF_THE_SEARCH


@pytest.mark.parametrize("render", [terminal.render, markdown.render, html.render, json.render])
def test_every_format_says_in_one_line_that_the_effort_was_raised(raised: tuple[list[str], Report], render):
    text = " ".join(render(raised[1]).split())
    assert (
        "the effort of the search was raised to thorough, since the search with default effort failed the items" in text
    )


@pytest.mark.parametrize("need", ["pair", "pairs"])
def test_all_models_that_a_claim_compares_are_searched_with_one_effort(need: str, monkeypatch: pytest.MonkeyPatch):
    own, other = views.network(0), views.network(1)
    given = {"robust": other} if need == "pair" else {"pairs": [(own, other)]}
    run = Run(views.subject(**given), Settings())
    monkeypatch.setattr(run, "_assessed", by_model(run, other))
    test = next(one.test for one in run.planned if need in one.test.needs)
    compared = run._searched_for(test)
    assert compared.effort == compared.paired_model("robust").effort == "thorough"
    assert run.searched.effort == "default"


def by_model(run: Run, weak: object):
    """Soundness items that say that the search of one model falls short with less than thorough effort."""

    def assessed(measured, assess=None):
        is_weak = getattr(measured.classifier, "forward", None) is weak
        return (item("segment", ok=measured.effort == "thorough" or not is_weak),)

    return assessed


def test_a_claim_about_a_pair_says_that_all_models_were_searched_with_more_effort(monkeypatch: pytest.MonkeyPatch):
    other = views.network(1)
    run = Run(views.subject(robust=other), Settings())
    monkeypatch.setattr(run, "_assessed", by_model(run, other))
    found = {one.id: run.finding(one) for one in run.planned if one.id in (PAIR_CLAIM, CLAIM)}
    why = "all models of this claim were searched with thorough effort, since default effort was too little for one"
    assert why in found[PAIR_CLAIM].reason
    assert why not in found[CLAIM].reason


def test_values_per_input_are_those_of_the_effort_of_the_verdict(monkeypatch: pytest.MonkeyPatch):
    other, asked = views.network(1), []
    run = Run(views.subject(robust=other), Settings(evidence=True))
    monkeypatch.setattr(run, "_assessed", by_model(run, other))
    module = sys.modules[Run.__module__]  # the name dmmcheck.run is that of the function
    monkeypatch.setattr(module, "values_of", lambda planned, measured, found: asked.append(measured.effort))
    for id in (CLAIM, PAIR_CLAIM):
        planned = next(one for one in run.planned if one.id == id)
        run._compared(planned, replace(draft(planned, CheckSettings()), values=(1.0,)))
    assert asked == ["default", "thorough"]


def test_a_fast_run_keeps_its_effort(monkeypatch: pytest.MonkeyPatch):
    subject = views.subject()
    run = Run(subject, Settings(fast=True))
    monkeypatch.setattr(run, "_assessed", by_model(run, subject.classifier.forward))
    assert [one.ok for one in run.soundness] == [False]
    assert run.searched.effort == "quick"


def test_a_free_search_that_finds_nothing_in_a_box_asks_for_no_more_effort():
    found = Soundness(name="found-free", family="attack", ok=False, value=0.5, limit=0.95, message="")
    assert shortfalls([found]) == ("found-free",)
    assert shortfalls([found], boxed=True) == ()
