"""Whole runs, from subject to verdict, in worlds whose answers are known."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache, reduce

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import dmmcheck
from dmmcheck import worlds
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings
from dmmcheck.inference.types import ARMS
from dmmcheck.measurement import nulls
from dmmcheck.models.base import flat
from dmmcheck.run import Run

pytestmark = pytest.mark.usefixtures("few_plants")
SAMPLES, MASKED_SAMPLES = 48, 96  # with fewer inputs, gates cannot tell that a ripple masks the gradients
SOUND = [name for name in worlds.WORLDS if name not in worlds.KINDS]
VARIANTS = {
    *("robust and standard", "reversed phases", "constant depth", "rising", "classes on a line", "rotated copy"),
    *("at the limit of cost", "at the limit of a rate", "trained alike", "trained against attacks"),
    *("quantised", "rounded", "step"),
}
"""Worlds that differ from another one in a parameter, or train many networks; their whole runs are heavy tests."""


def marked(*names):
    """Names of worlds as parameters; those of variants are heavy."""
    return [pytest.param(name, marks=[pytest.mark.heavy] * (name in VARIANTS)) for name in names]


def measured(world, *, samples=512, seed=0):
    """Distances (n,) by arm of the first inputs of a world, and the exact ones in the same order."""
    measure = Run(world.subject, Settings(samples=samples, seed=seed)).measure
    points = flat(world.subject.classifier, world.subject.x)
    rows = {row.numpy().tobytes(): number for number, row in enumerate(points)}
    order = [rows[row.numpy().tobytes()] for row in measure.sample.x]
    found = {arm: measure.crossings(len(order), arm).distance.double() for arm in ARMS}
    return found, {arm: world.distance[arm][order] for arm in ARMS}


SMALL = [
    (*shape, angle) for shape in ((2, 1), (50, 1), (50, 16), (784, 1), (784, 16)) for angle in (0.5, 20.0, 45.0, 70.0)
]


@pytest.mark.parametrize(
    ("ambient_dim", "dim", "angle"),
    [
        *SMALL,
        (784, 16, 89.5),
        *(pytest.param(150528, *shape, marks=pytest.mark.heavy) for shape in ((1, 70.0), (16, 0.5), (16, 89.5))),
    ],
)
def test_hyperplane_distances_are_the_closed_form(ambient_dim, dim, angle):
    found, exact = measured(worlds.hyperplane(ambient_dim=ambient_dim, dim=dim, angle=angle, samples=8, seed=1))
    for arm in ARMS:
        torch.testing.assert_close(found[arm], exact[arm], rtol=1e-3, atol=0)


@given(
    angle=st.floats(0.5, 89.5),
    shape=st.sampled_from([(2, 1), (20, 3), (50, 16)]),
    noise=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_hyperplane_distances_at_any_angle(angle, shape, noise, seed):
    ambient_dim, dim = shape
    world = worlds.hyperplane(ambient_dim=ambient_dim, dim=dim, angle=angle, noise=noise, samples=16, seed=seed)
    found, exact = measured(world)
    near = exact["free"] > 1e-3  # with noise an input may lie on the boundary, where float32 cannot resolve a distance
    for arm in ARMS:
        torch.testing.assert_close(found[arm][near], exact[arm][near], rtol=1e-3, atol=0)


@pytest.mark.parametrize("curvature", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("angle", [10.0, 45.0, 85.0])
def test_sphere_distances_are_the_closed_form(angle, curvature):
    found, exact = measured(worlds.sphere(angle=angle, curvature=curvature, samples=32, seed=1))
    for arm in ARMS:
        torch.testing.assert_close(found[arm], exact[arm], rtol=1e-2, atol=0)


@pytest.mark.parametrize("name", ["sphere", "half way", "shallow dimples", "rotated copy"])
def test_distances_depend_neither_on_the_order_of_inputs_nor_on_the_batch_they_are_measured_in(name):
    world = worlds.WORLDS[name](seed=4, samples=80)

    def distances(world, samples):
        measure = Run(world.subject, Settings(samples=samples)).measure
        rows = [row.numpy().tobytes() for row in measure.sample.x]
        found = {arm: measure.crossings(len(rows), arm).distance.tolist() for arm in ARMS}
        return {(row, arm): found[arm][number] for number, row in enumerate(rows) for arm in ARMS}

    whole = distances(world, 512)  # blocks of 32 and 48
    assert distances(worlds.shuffled(world, seed=1), 512) == whole
    part = distances(world, 45)  # one block of 45: another batch around the same inputs
    assert part == pytest.approx({key: whole[key] for key in part}, rel=1e-5)


MEMORY = """
import resource, torch
import sklearn.neighbors
from dmmcheck import worlds
from dmmcheck.config.settings import Settings
from dmmcheck.inference.types import ARMS
from dmmcheck.models.base import flat
from dmmcheck.run import Run
torch.zeros(1).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
world = worlds.hyperplane(ambient_dim=150528, dim=64, angle=60.0, samples=8, seed=0)
measure = Run(world.subject, Settings()).measure
assert all(bool(measure.crossings(8, arm).found.all()) for arm in ("free", "tangent", "normal"))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6)
"""


@pytest.mark.heavy
def test_a_measurement_at_imagenet_size_stays_under_the_memory_of_a_few_bases():
    printed = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True).stdout
    assert float(printed) < 1.5  # GB above the bare process; a (D, D) array alone would take 90


EQUAL = {
    "model with itself": {
        "adversarial-training-deepens-mechanism-depth",
        "adversarial-training-deepens-mechanism-main-effect",
        "robust-turns-tangential-mechanism-builtin",
    },
    "constant depth": {
        "boundary-clings-mechanism-builtin",
        "normal-gradient-growth-mechanism-builtin",
        "normal-gradient-growth-mechanism-against-tangent",
    },
}
"""Claims whose statistic equals its threshold: they are false, but no number of inputs decides them."""


@cache
def judged(name, **options):
    """A world, and its findings by id."""
    world = worlds.WORLDS[name](seed=0, samples=SAMPLES if name in SOUND else MASKED_SAMPLES)
    return world, {finding.id: finding for finding in dmmcheck.run(world.subject, **options).findings}


@pytest.mark.parametrize("name", marked(*SOUND))
def test_no_verdict_is_the_opposite_of_the_truth(name):
    world, findings = judged(name, tiers=("stated", "mechanism"))
    assert findings
    for id, finding in findings.items():
        if id in world.truth:
            assert finding.verdict != ("refuted" if world.truth[id] else "supported"), finding


@pytest.mark.parametrize("name", marked(*(name for name in SOUND if name != "smooth dimples")))
def test_stated_claims_are_decided_as_the_truth_is(name):
    world, findings = judged(name, tiers=("stated", "mechanism"))
    undecided = {
        id: finding.reason
        for id, finding in findings.items()
        if id in world.truth and finding.verdict != ("supported" if world.truth[id] else "refuted")
    }
    assert set(undecided) == EQUAL.get(name, set()), undecided


@pytest.mark.parametrize("kind", marked(*worlds.KINDS))
def test_an_unsound_measurement_never_ends_in_a_verdict(kind):
    _, findings = judged(kind)
    assert all(finding.verdict in {"inconclusive", "not-run"} for finding in findings.values())
    inconclusive = [finding for finding in findings.values() if finding.verdict == "inconclusive"]
    assert len(inconclusive) >= 15
    assert all(finding.reason.startswith("unsound: ") for finding in inconclusive)


WHY = {
    "untrained": "accuracy .* where always naming one class gives",
    "constant": "logits vary between inputs by 0",
    "stochastic": "logits of the same inputs differ by .* between calls",
    "saturated": "the gradient of loss or margin vanishes in 100%",
    "quantised": "the gradient of loss or margin vanishes in 100%",
    "step": "the gradient of loss or margin vanishes in 100%",
    "rounded": "the gradient of loss or margin vanishes in 100%",
    "ripple": "gradients and finite differences differ by",
}


@pytest.mark.parametrize("kind", marked(*WHY))
def test_an_unsound_measurement_says_why(kind):
    _, findings = judged(kind)
    assert re.search(WHY[kind], findings["off-manifold-energy-stated-builtin"].reason)


def test_an_unrelated_manifold_has_an_answer_to_every_controlled_claim():
    """So that the calibration study covers all of them where the manifold is unrelated to the classifier."""
    known = {
        id
        for world in (
            worlds.random_subspace(image=(4, 8), ambient_dim=32, dim=4, reference_models=9, samples=16, seed=0),
            worlds.rotated(ambient_dim=32, dim=4, samples=16, seed=0),
        )
        for id, truth in world.truth.items()
        if truth is False
    }
    asked = {item.id for item in plan(Settings()) if item.tier == "controlled" and item.test.control}
    assert asked == {id for id in known if "-controlled-" in id}


@pytest.mark.heavy
def test_networks_trained_alike_are_a_pair_and_checkpoints_on_images():
    world = worlds.random_subspace(image=(4, 8), ambient_dim=32, dim=4, reference_models=9, samples=64, seed=0)
    assert world.subject.input_shape == (4, 8)
    answers = verdicts(world, controlled=lambda item: item.id in world.truth)
    ran = {id: verdict for id, verdict in answers.items() if id in world.truth and verdict != "not-run"}
    assert all(verdict != "supported" for id, verdict in ran.items() if not world.truth[id])
    assert {id for id, truth in world.truth.items() if truth} <= {id for id, v in ran.items() if v == "supported"}
    assert {"two-phases-controlled-builtin", "off-manifold-energy-controlled-spectrum"} <= set(ran)


@pytest.mark.parametrize("name", marked("random subspace", "rotated copy"))
def test_an_unrelated_manifold_supports_stated_claims_and_not_controlled_ones(name):
    world = worlds.WORLDS[name](seed=0, samples=64)
    findings = {finding.id: finding for finding in dmmcheck.run(world.subject).findings}
    for id, truth in world.truth.items():
        if truth:
            assert findings[id].verdict == "supported", findings[id]
        else:
            assert findings[id].verdict != "supported", findings[id]
    assert sum(world.truth.values()) == 4
    assert len(world.truth) >= 11


ENERGY = ("off-manifold-energy", "boundary-parallel")


@pytest.mark.parametrize("name", ["normal nearly in N", "normal in T", "deep dimples"])
def test_controlled_claims_on_energy_follow_the_truth(name):
    world = worlds.WORLDS[name](seed=0, samples=SAMPLES)
    report = dmmcheck.run(world.subject, checks=[*ENERGY, "on-manifold-distance"], tiers=["controlled"])
    for finding in report.findings:
        if finding.id in world.truth:
            assert finding.verdict == ("supported" if world.truth[finding.id] else "refuted"), finding
    assert {f"{check}-controlled-builtin" for check in ENERGY} <= set(world.truth)


DRAWS = 24


@pytest.mark.heavy
def test_a_haar_random_classifier_is_seldom_taken_for_one_related_to_the_manifold():
    # 24 draws of the world and one check; benchmarks/calibration.py has 200 draws of all of them
    (planned,) = (item for item in plan(Settings()) if item.id == "off-manifold-energy-controlled-builtin")
    verdicts = []
    for seed in range(DRAWS):
        world = worlds.haar(ambient_dim=50, dim=8, samples=48, seed=seed)
        session = Run(world.subject, Settings(seed=seed, effort="quick"))  # a plane is found with any effort
        session.soundness = ()  # nothing is masked here, and the gates would take most of the time
        verdicts.append(session.finding(planned).verdict)
    assert stats.binomtest(verdicts.count("supported"), DRAWS, 0.05, alternative="greater").pvalue > 0.01
    assert "refuted" in verdicts  # the claim can come out false


DEPTH, MAIN_EFFECT = (f"adversarial-training-deepens-mechanism-{variant}" for variant in ("depth", "main-effect"))


DEEPENS = {
    "standard and robust": {"supported"},
    "robust and standard": {"refuted"},
    "model with itself": {"refuted", "inconclusive"},
}


@pytest.mark.parametrize("name", marked(*DEEPENS))
def test_adversarial_training_deepens(name):
    _, findings = judged(name, tiers=("stated", "mechanism"))
    assert {findings[id].verdict for id in (DEPTH, MAIN_EFFECT)} <= DEEPENS[name]


def test_three_checkpoints_are_too_few_for_two_phases():
    world = worlds.training(depths=(1.0, 0.1, 0.3), samples=64, seed=0)
    (finding,) = dmmcheck.run(world.subject, checks=["two-phases"], tiers=["mechanism"]).findings
    assert finding.verdict == "inconclusive"
    assert "3 checkpoints cannot show two phases; give at least 5" in finding.reason


TRANSFORMS = {
    "turned": lambda world: worlds.turned(world, seed=1),
    "scaled": lambda world: worlds.scaled(world, inputs=0.01, logits=100.0),
    "shuffled": lambda world: worlds.shuffled(world, seed=1),
}


def transformed(world):
    """A world turned, scaled and shuffled."""
    return reduce(lambda world, transform: transform(world), TRANSFORMS.values(), world)


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.heavy) for name in ("normal nearly in N", "standard and robust")),
        "half way",
        "saturated",
    ],
)
def test_a_turned_scaled_and_shuffled_world_has_the_same_verdicts_gates_included(name):
    world, findings = judged(name, tiers=("stated", "mechanism"))
    report = dmmcheck.run(transformed(world).subject, tiers=("stated", "mechanism"))
    assert {finding.id: finding.verdict for finding in report.findings} == {
        id: finding.verdict for id, finding in findings.items()
    }


def verdicts(world, *, controlled):
    """Verdicts by finding, soundness taken for granted; of controlled claims only some."""
    session = Run(world.subject, Settings(samples=64))
    session.soundness, session.pair_soundness = (), {}
    return {
        item.id: session.finding(item).verdict
        for item in session.planned
        if item.tier in {"stated", "mechanism"} or (item.tier == "controlled" and controlled(item))
    }


def is_clear(item, world):
    """Other coordinates have other rotated spaces, which leaves only clear verdicts as they are."""
    return item.check.id in ENERGY and item.id in world.truth


@pytest.mark.parametrize(
    "name",
    marked(
        *("normal in N", "normal in T", "sphere", "shallow dimples", "deep dimples", "blind off-manifold"),
        *("classes on a line", "classes that change places", "robust and standard", "two phases", "reversed phases"),
    ),
)
def test_verdicts_stay_in_other_coordinates_units_and_order(name):
    world = worlds.WORLDS[name](seed=1, samples=64)
    before, after = (
        verdicts(one, controlled=lambda item: is_clear(item, world)) for one in (world, transformed(world))
    )
    assert after == before
    assert sum(verdict in {"supported", "refuted"} for verdict in before.values()) >= 5


def test_controlled_verdicts_stay_in_other_units_and_order(monkeypatch):
    # draws are what takes long, and a hundred of them show this as well as the two hundred of a run
    monkeypatch.setitem(nulls.BUDGETS, "energy", nulls.DrawBudget(3, 99, 99))
    world = worlds.hyperplane(angle=5, ambient_dim=16, dim=4, samples=40, seed=1)

    def affordable(item):
        return item.test.draw_cost != "search" or item.id == "on-manifold-distance-controlled-builtin"

    before, *after = (
        verdicts(one, controlled=affordable)
        for one in (world, TRANSFORMS["scaled"](world), TRANSFORMS["shuffled"](world))
    )
    assert after == [before, before]
    assert sum(verdict == "refuted" for id, verdict in before.items() if "-controlled-" in id) >= 4
