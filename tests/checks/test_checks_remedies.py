"""Each remedy that a message about the declaration or the settings of a check names is applied, and works.

A case is (words of the message, what provokes it, the remedy applied). There is no case for a check whose own code
raises: the message repeats the words of that error, and names no remedy.
"""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
import torch
import views

import dmmcheck
from dmmcheck.checks import wrong_labels
from dmmcheck.checks.base import registry
from dmmcheck.checks.declaration import NEEDS
from dmmcheck.checks.plan import plan, select
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import CheckError
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement.trainings import pairs

pytestmark = pytest.mark.usefixtures("own_registries")


def declared(id="mine", variant="builtin", **more):
    def ask(view):
        """A statistic."""
        return Evidence.of(view.distance("free"))

    settings = {"statement": "s", "threshold": 0.0, "direction": "greater", **more}
    dmmcheck.check(id, variant=variant, **settings)(ask)
    return (id, variant) in {(item.check.id, item.variant) for item in plan(Settings())}


def taken(id, variant):
    """A second function as a claim of a built-in check."""
    return declared(id, variant=variant)


def documented():
    """The arguments that help(dmmcheck.check) names."""
    with redirect_stdout(io.StringIO()) as text:
        help(dmmcheck.check)
    return {"min_effect", "draw_cost", "requires", "controls"} <= set(re.findall(r"\w+", text.getvalue()))


def controlled(checks):
    name = f"own-{len(checks[0])}"
    dmmcheck.control(name, title="t", checks=checks)(lambda view, generator: view)
    return f"{checks[0]}-controlled-{name}" in {item.id for item in plan(Settings())}


def planned(id, gate=("stated", "mechanism"), **configured):
    return len(plan(Settings(checks={id: CheckSettings(**configured)}, gate=gate))) > 0


def without(name):
    from dmmcheck.registry import CONTROLS

    CONTROLS._things.pop(name, None)
    CONTROLS._sources.pop(name, None)
    return True


RAISED = {
    "id": (
        "check id 'My Check' is malformed; use lower-case words joined by hyphens, e.g. 'my-check'",
        lambda: declared("My Check"),
        lambda: declared("my-check"),
    ),
    "need": (
        "unknown need 'chekpoints'; did you mean 'checkpoints'?; valid: classes, pair, pairs, examples",
        lambda: declared(needs=("chekpoints",)),
        lambda: declared(needs=("checkpoints",)),
    ),
    "control": (
        "unknown control 'rotations'; did you mean 'rotation'?; valid: rotation, spectrum, covariance, same-class",
        lambda: declared(controls=("rotations",)),
        lambda: declared(controls=("rotation",)),
    ),
    "tier": (
        "unknown tier 'controled'; did you mean 'controlled'?; valid: stated, controlled, mechanism",
        lambda: declared(tier="controled"),
        lambda: declared(tier="controlled"),
    ),
    "direction": (
        "unknown direction 'above'; valid: greater, less",
        lambda: declared(direction="above"),
        lambda: declared(direction="greater"),
    ),
    "draw cost": (
        "unknown draw cost 'searched'; did you mean 'search'?; valid: energy, forward, search",
        lambda: declared(draw_cost="searched"),
        lambda: declared(draw_cost="search"),
    ),
    "family": (
        "unknown family 'attacks'; did you mean 'attack'?; valid: model, attack, manifold",
        lambda: declared(requires=("attacks",)),
        lambda: declared(requires=("attack",)),
    ),
    "argument": (
        "check 'mine': unknown argument 'effect'; see help(dmmcheck.check)",
        lambda: declared(effect=0.1),
        lambda: documented() and declared(min_effect=0.1),
    ),
    "taken: another id": (
        "check 'noise-like' has a stated test 'builtin' already (in dmmcheck.checks.parts); choose another id",
        lambda: taken("noise-like", "builtin"),
        lambda: taken("noise-like-of-mine", "builtin"),
    ),
    "taken: another variant": (
        "choose another id or variant",
        lambda: taken("noise-like", "builtin"),
        lambda: taken("noise-like", "mine"),
    ),
    "check of a control": (
        "lists the unknown check 'noiselike'; did you mean 'noise-like'?; valid: off-manifold-energy",
        lambda: controlled(("noiselike",)),
        lambda: without("own-9") and controlled(("noise-like",)),
    ),
    "selected check": (
        "unknown check 'noiselike'; did you mean 'noise-like'?; valid: off-manifold-energy",
        lambda: select(plan(Settings()), checks=["noiselike"]),
        lambda: select(plan(Settings()), checks=["noise-like"]),
    ),
    "selected tier": (
        "unknown tier 'state'; did you mean 'stated'?; valid: stated, controlled, mechanism",
        lambda: select(plan(Settings()), tiers=["state"]),
        lambda: select(plan(Settings()), tiers=["stated"]),
    ),
    "expected failure: gate": (
        "an expected failure is set for 'component-flips', none of whose tiers (controlled) gates; add one to gate",
        lambda: planned("component-flips", expected_failure="#12"),
        lambda: planned("component-flips", expected_failure="#12", gate=("stated", "controlled")),
    ),
    "expected failure: removed": (
        "add one to gate, or remove it",
        lambda: planned("component-flips", expected_failure="#12"),
        lambda: planned("component-flips"),
    ),
    "threshold": (
        "a threshold of 0.7 is set for 'component-flips', which has no stated claim to use it for",
        lambda: planned("component-flips", threshold=0.7),
        lambda: planned("component-flips"),
    ),
    "minimum effect": (
        "a min-effect of 0.2 is set for 'off-manifold-suffices', which is compared with no control; remove it",
        lambda: planned("off-manifold-suffices", min_effect=0.2),
        lambda: planned("off-manifold-suffices"),
    ),
    "trainer": (
        "no trainer was given; set `trainer` ((x, y, seed) -> model)",
        lambda: wrong_labels.wrong_label_training(views.view(views.subject())),
        lambda: len(wrong_labels.wrong_label_training(views.view(with_trainer())).values) == 48,
    ),
}


def with_trainer():
    return views.subject(trainer=lambda x, y, seed: views.network(seed))


@pytest.mark.parametrize("case", RAISED)
def test_the_remedy_of_an_error_works(case):
    words, provoke, mend = RAISED[case]
    with pytest.raises(CheckError, match=re.escape(words)):
        provoke()
    assert mend()


MENDED = {
    "classes": lambda subject: views.subject(classes=3),
    "pair": lambda subject: replace(subject, robust=views.network(1, classes=2)),
    "pair by reference": lambda subject: replace(subject, reference=views.network(1, classes=2)),
    "pairs": lambda subject: replace(subject, pairs=[(subject.model, views.network(1, classes=2))]),
    "augment": lambda subject: replace(subject, augment=lambda x, seed: x + 0.0),
    "examples": lambda subject: views.subject(classes=2),
    "factory": lambda subject: replace(subject, factory=lambda seed: views.network(seed, classes=2)),
    "checkpoints": lambda subject: replace(
        subject, checkpoints=[(step, views.network(step, classes=2)) for step in range(5)]
    ),
    "trainer": lambda subject: replace(
        views.subject(classes=2), trainer=lambda x, y, seed: views.network(seed, classes=2)
    ),
}
FINDINGS = {
    "classes": "every-class-near-stated-builtin",
    "pair": "adversarial-training-deepens-mechanism-depth",
    "pair by reference": "adversarial-training-deepens-mechanism-depth",
    "augment": "augmentation-steady-search-builtin",
    "examples": "dimples-shallow-controlled-training-points",
    "factory": "normal-gradient-growth-mechanism-builtin",
    "checkpoints": "two-phases-mechanism-builtin",
    "trainer": "wrong-label-training-mechanism-builtin",
}


@pytest.mark.parametrize("need", FINDINGS)
def test_what_a_test_needs_can_be_given(need):
    bare = views.subject(classes=2, x_train=None, y_train=None)
    finding = views.finding(bare, FINDINGS[need])
    assert finding.verdict == "not-run"
    assert finding.reason == f"needs {NEEDS[need.partition(' ')[0]]}"
    assert views.finding(MENDED[need](bare), FINDINGS[need]).verdict != "not-run"


def test_a_test_that_needs_gradients_is_not_run_without_them():
    subject = views.subject()
    model = subject.model

    def labels(x):
        return model(torch.as_tensor(x, dtype=torch.float32)).argmax(1).numpy()

    finding = views.finding(replace(subject, model=labels), "boundary-parallel-stated-builtin")
    assert finding.verdict == "not-run"
    assert finding.reason == f"needs {NEEDS['differentiable']}"
    assert views.finding(subject, "boundary-parallel-stated-builtin").verdict != "not-run"


def test_every_need_has_a_case():
    assert {need.partition(" ")[0] for need in MENDED} | {"differentiable"} == set(NEEDS)
    tests = [test for one in registry().values() for test in one.tests]
    assert {need for test in tests for need in (*test.needs, *test.over_trainings().needs)} == set(NEEDS)


@pytest.mark.usefixtures("own_registries")
def test_a_check_of_the_user_can_need_pairs():
    @dmmcheck.check("mine", statement="s", threshold=0.0, direction="greater", needs=("pairs",))
    def mine(view):
        """A statistic."""
        found, note = pairs(view)
        return Evidence.of([pair.robust.distance("free")[0] for pair in found], unit="training", note=note)

    bare = views.subject(classes=2)
    assert views.finding(bare, "mine-stated-builtin").reason == f"needs {NEEDS['pairs']}"
    given = MENDED["pairs"](bare)
    assert views.finding(given, "mine-stated-builtin").verdict == "inconclusive"
    assert "and pairs has 1" in views.finding(given, "mine-stated-builtin").reason


@pytest.mark.parametrize(
    ("answer", "words", "mended"),
    [
        (
            lambda view: view.distance("free"),
            "the check returned a ndarray, expected Evidence; return dmmcheck.Evidence.of(values)",
            lambda view: dmmcheck.Evidence.of(view.distance("free")),
        ),
        (
            lambda view: Evidence.of(view.x),
            "the evidence has the shape (32, 12), expected one number for each input; return one number per input",
            lambda view: Evidence.of(view.x.norm(dim=1)),
        ),
        (
            lambda view: Evidence.of(view.distance("free"), summary="mean"),
            "which is of values 0 and 1 (a rate), and other values; return 0 and 1, or use summary='median'",
            lambda view: Evidence.of(view.distance("free")),
        ),
    ],
    ids=["no evidence", "a row per input", "mean of numbers"],
)
def test_the_remedy_of_an_answer_that_is_refused_works(answer, words, mended):
    def asked(question, id):
        dmmcheck.check(id, statement="s", threshold=0.0, direction="greater")(question)
        return views.finding(views.subject(), f"{id}-stated-builtin")

    with pytest.raises(CheckError, match=re.escape(words)):
        asked(answer, "first")
    assert asked(mended, "second").verdict == "supported"
