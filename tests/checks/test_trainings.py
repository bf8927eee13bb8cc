"""Claims about adversarial training: decided over pairs of networks, and advisory for one twin."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import views
from scipy import stats as scipy_stats

from dmmcheck import worlds
from dmmcheck.checks import adversarial_training
from dmmcheck.config.settings import CheckSettings, Settings
from dmmcheck.errors import CheckError, ConfigError
from dmmcheck.inference.decide import decide
from dmmcheck.inference.evidence import Evidence
from dmmcheck.measurement import nulls
from dmmcheck.measurement.trainings import Pair, pairs_needed
from dmmcheck.run import Run
from dmmcheck.soundness.context import widening
from dmmcheck.worlds import dimples

pytestmark = pytest.mark.usefixtures("few_plants")
DEPTH = "adversarial-training-deepens-mechanism-depth"
MAIN_EFFECT = "adversarial-training-deepens-mechanism-main-effect"
TURN = "robust-turns-tangential-mechanism-builtin"
CONTROLLED = "adversarial-training-deepens-controlled-main-effect"
CLAIMS = (DEPTH, MAIN_EFFECT, TURN)
SMALL = {"ambient_dim": 16, "dim": 3, "samples": 32}
SHEET = dimples._sheet(16, 3, jitter=0.2, samples=32, noise=0.0, seed=0)
QUICK = {"effort": "quick"}
"""Settings of runs whose searches need no more: the boundary of a sheet is flat near each input."""


def network(depth: float, seed: int, spread: float = 0.2) -> torch.nn.Module:
    """A network of one recipe: its dimples have this depth on average, and each training another one."""
    return SHEET.model(depth * float(np.exp(np.random.default_rng(seed).normal(0, spread))))


def subject(standard=0.1, robust=0.3, count=None, **more):
    """A standard network, and pairs: a list of so many, or a function of a seed."""

    def pairs(seed):
        return network(standard, 2 * seed), network(robust, 2 * seed + 1)

    given = pairs if count is None else [pairs(seed) for seed in range(count)]
    return replace(SHEET.subject(network(standard, 1000)), **{"pairs": given, **more})


@pytest.mark.parametrize(
    ("standard", "robust", "expected"), [(0.1, 0.3, "supported"), (0.3, 0.1, "refuted"), (0.1, 0.1, "inconclusive")]
)
def test_as_many_pairs_as_alpha_needs_decide_what_holds_for_all_of_them(standard, robust, expected):
    made = []
    of = subject(standard, robust)

    def counted(seed):
        made.append(seed)
        return of.pairs(seed)

    run = Run(replace(of, pairs=counted), Settings(seed=3))
    needed = pairs_needed(run.gating_alpha)
    findings = views.judged(replace(of, pairs=counted), *CLAIMS, seed=3, **QUICK)
    assert {id: finding.verdict for id, finding in findings.items()} == dict.fromkeys(CLAIMS, expected)
    assert made == list(range(3, 3 + needed))
    assert needed in {9, 10}
    assert all(finding.gating and finding.n == needed for finding in findings.values())
    assert findings[DEPTH].statement == "adversarial training deepens the dimples"


def near(seed: int) -> torch.nn.Module:
    """A network that agrees with that of `views.subject` at most inputs."""
    model, generator = views.network(0), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.2 * torch.randn(weights.shape, generator=generator))
    return model


def test_a_pair_counts_with_the_median_over_the_inputs_that_both_of_its_networks_classify_correctly():
    networks = [(near(1), near(2)), (near(3), near(4))]
    of = views.subject(samples=80, pairs=networks)
    seen = views.view(of, 64)
    evidence = adversarial_training.deepening_over_trainings(seen)
    expected = []
    for number in range(2):
        models = [seen.paired_model(f"pair {number} {name}") for name in ("robust", "standard")]
        both = np.all([(model.labels(seen.x) == seen.y).numpy() for model in models], axis=0)
        assert 8 <= both.sum() < 64
        expected.append(np.median(models[0].distance("normal")[both] / models[1].distance("normal")[both]))
    assert evidence.values == pytest.approx(expected)
    assert (evidence.unit, evidence.replications) == ("training", 2)


def test_a_pair_with_few_inputs_in_common_counts_against_every_verdict():
    wrong = views.Scaled(views.network(0), factor=-1.0)
    seen = views.view(views.subject(pairs=[(views.network(0), wrong)]), 48)
    assert np.isnan(adversarial_training.deepening_over_trainings(seen).values).all()


def test_fewer_pairs_than_alpha_needs_are_not_measured_and_the_reason_says_how_many_it_takes():
    said = []
    run = Run(subject(count=5), Settings(), said.append)
    run.soundness = ()
    for planned in run.planned:
        if planned.id in CLAIMS:
            finding = run.finding(planned)
            assert (finding.verdict, finding.estimate) == ("inconclusive", None)
            assert re.search(r"needs (9|10) pairs of networks that all agree, and pairs has 5; nothing", finding.reason)
            assert "give more pairs, or a function seed -> (standard, robust)" in finding.reason
    assert not any("pair 1" in line for line in said)
    assert not run.measure._others


def test_the_number_of_pairs_is_said_before_the_first_is_made():
    said = []
    of = subject()

    def pairs(seed):
        said.append(f"made {seed}")
        return of.pairs(seed)

    run = Run(replace(of, pairs=pairs), Settings(**QUICK), said.append)
    run.soundness, run.trainings_soundness = (), {}
    run.finding(next(one for one in run.planned if one.id == DEPTH))
    needed = pairs_needed(run.gating_alpha)
    assert said[0].startswith(f"pair 1 of {needed} (alpha ")
    assert f"needs {needed} pairs that agree" in said[0]
    assert said[1] == "made 0"


def test_a_network_that_is_in_two_pairs_counts_once():
    shared = network(0.1, 0)
    pairs = [(shared, network(0.3, seed)) for seed in range(12)]
    finding = views.finding(subject(pairs=pairs), DEPTH, **QUICK)
    assert finding.verdict == "inconclusive"
    assert "trainings, and there are 1" in finding.reason
    assert "pairs 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 do not count" in finding.reason
    assert "train both networks of each pair anew" in finding.reason


@pytest.mark.parametrize(
    ("alternative", "expected"), [(0.1, "supported"), (0.3, "inconclusive"), (0.9, "refuted")], ids=str
)
def test_robust_pairs_must_exceed_the_alternative_training_too(alternative, expected):
    of = subject(alternative=lambda seed: network(alternative, 5000 + seed))
    finding = views.finding(of, DEPTH, **QUICK)
    assert finding.verdict == expected
    assert finding.statement == "adversarial training deepens the dimples, and more than by the alternative training"
    assert "median over pairs" in finding.reason


@pytest.mark.parametrize("kind", ["one model", "a list"])
def test_an_alternative_can_be_one_model_or_a_list_beside_a_list_of_pairs(kind):
    others = [network(0.1, 7000 + seed) for seed in range(10)]
    of = subject(count=10, alternative=others[0] if kind == "one model" else others)
    finding = views.finding(of, DEPTH, **QUICK)
    assert (finding.verdict, finding.n) == ("supported", 10)


def test_one_twin_must_exceed_its_alternative_and_stays_advisory():
    of = replace(subject(pairs=()), robust=SHEET.model(0.3))
    found = {depth: views.finding(replace(of, alternative=SHEET.model(depth)), DEPTH).verdict for depth in (0.1, 0.6)}
    assert found == {0.1: "supported", 0.6: "refuted"}


def test_one_twin_is_about_this_twin_and_never_gates_and_says_how_many_pairs_would(monkeypatch):
    monkeypatch.setitem(nulls.BUDGETS, "search", nulls.DrawBudget(2, 20, 20))  # what is said depends on no draw
    world = worlds.pair(standard=0.1, robust=0.3, seed=0, **SMALL)
    every = ("stated", "controlled", "mechanism", "beyond-chance")
    findings = views.judged(world.subject, *CLAIMS, CONTROLLED, gate=every, **QUICK)
    assert not any(finding.gating for finding in findings.values())
    assert findings[DEPTH].statement == "this robust twin's dimples are deeper"
    assert all("this robust twin's" in finding.statement for finding in findings.values())
    with_pairs = Run(subject(), Settings(gate=every))
    needed = pairs_needed(with_pairs.gating_alpha)
    assert "one twin says nothing about adversarial training" in findings[DEPTH].reason
    assert f"give `pairs` ({needed} of them)" in findings[DEPTH].reason


def test_a_failure_cannot_be_expected_of_a_claim_about_one_twin():
    settings = Settings(checks={"robust-turns-tangential": CheckSettings(expected_failure="tracked")})
    twin = worlds.pair(seed=0, **SMALL).subject
    with pytest.raises(ConfigError, match=r"'robust-turns-tangential', none of whose claims gates.*; give pairs, or"):
        Run(twin, settings)
    assert Run(subject(), settings)
    assert Run(replace(twin, robust=None), settings)  # not run, as before


def test_the_alpha_of_a_run_is_shared_with_claims_about_training_only_where_there_are_pairs():
    twin, several, alone = (
        Run(one, Settings()) for one in (worlds.pair(seed=0, **SMALL).subject, subject(), subject(pairs=()))
    )
    assert twin.gating_alpha == alone.gating_alpha
    gating = round(0.05 / alone.gating_alpha)
    assert several.gating_alpha == pytest.approx(0.05 / (gating + 3))


@pytest.mark.usefixtures("fewer_gates")
@pytest.mark.parametrize("name", ["robust", "alternative"])
def test_an_unsound_model_of_the_first_pair_is_named(name):
    of = subject()
    chance = torch.nn.Linear(16, 2).to(of.x.dtype)
    for weights in chance.parameters():
        torch.nn.init.zeros_(weights)  # a constant model

    def pairs(seed):
        return network(0.1, seed), chance if name == "robust" else network(0.3, seed + 1)

    run = Run(replace(of, pairs=pairs, alternative=chance), Settings(**QUICK))
    finding = run.finding(next(one for one in run.planned if one.id == DEPTH))
    assert finding.verdict == "inconclusive"
    assert f"{name} model of pair 1: " in finding.reason


def test_pairs_decide_where_the_search_falls_short_and_as_many_are_made_as_the_wider_interval_needs():
    said = []
    run = Run(subject(), Settings(samples=16, **QUICK), said.append)
    run.soundness, run.trainings_soundness = (widening("effort", 0.05, 0.02, "the search falls short"),), {}
    finding = run.finding(next(one for one in run.planned if one.id == DEPTH))
    assert (finding.verdict, finding.search_error is None) == ("supported", False)
    assert finding.n == pairs_needed(run.gating_alpha / 2) > pairs_needed(run.gating_alpha)
    assert said[0].startswith(f"pair 1 of {finding.n} (")


class Masked(torch.nn.Module):
    """A network whose logits jump, so that its gradients vanish."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return (20 * self.inner(x)).round() / 20 + 0 * self.inner(x)


@pytest.mark.usefixtures("fewer_gates")
@pytest.mark.parametrize("is_list", [False, True])
def test_a_masked_model_of_a_later_pair_is_named_without_a_search_in_its_subspaces(is_list):
    said = []

    def pairs(seed):
        robust = network(0.3, 2 * seed + 1)
        return network(0.1, 2 * seed), Masked(robust) if seed == 4 else robust

    run = Run(subject(pairs=[pairs(seed) for seed in range(12)] if is_list else pairs), Settings(**QUICK), said.append)
    run.soundness = ()
    finding = run.finding(next(one for one in run.planned if one.id == DEPTH))
    assert finding.verdict == "inconclusive"
    assert re.match(r"unsound: robust model of pair 5: the gradient of loss or margin vanishes in 100%", finding.reason)
    used = 12 if is_list else pairs_needed(run.gating_alpha)
    assert f"the soundness of pair {used} of {used}" in said
    assert len(run.trainings_soundness) == 2 * used
    searched = run.measure.paired_model("pair 4 robust")._blocks
    assert not any("normal" in map(str, key) for key in searched)


def test_a_test_says_what_it_counts():
    tests = {planned.id: planned.test for planned in Run(subject(), Settings()).planned}
    evidence = Evidence.of([2.0] * 9, unit="training")
    assert tests[DEPTH].replication(evidence) == ("training", 9)
    assert tests["off-manifold-energy-stated-builtin"].replication(Evidence.of([1.0] * 32)) == ("input", 32)
    controlled = tests["off-manifold-energy-controlled-builtin"]
    assert controlled.replication(Evidence.of([1.0] * 32), draws=199) == ("draw", 199)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (
            views.network,
            r"pairs\(0\) returned a Sequential, expected two models, \(standard, robust\)",
        ),
        (lambda seed: 1 / 0, r"pairs\(0\) raised ZeroDivisionError"),
        (lambda seed: (views.network(1), views.network(2, classes=3)), r"the robust model of pair 1 has 3 classes"),
    ],
)
def test_a_function_that_makes_no_pair_is_named(pairs, words):
    with pytest.raises(CheckError, match=words):
        views.finding(views.subject(pairs=pairs), DEPTH)


@dataclass
class Network:
    """What a check asks of a network, in closed form: distances are a depth times the lengths of the inputs."""

    depth: float
    lengths: np.ndarray
    share: float = 0.1

    x = y = torch.zeros(64)
    n = 64

    def cached(self, key, compute):
        return compute()[0]

    def labels(self, x):
        return self.y

    def distance(self, arm):
        return self.depth * self.lengths if arm == "normal" else self.lengths

    def delta(self, arm):
        return None

    def tangent_share(self, delta):
        return self.share + 0.001 * self.lengths


def skewed(rng):
    """Depths and shares of networks of one recipe, far from normal: most are alike, and some are much deeper."""
    return float(np.exp(rng.exponential() ** 2)), float(rng.beta(0.5, 2.0))


QUESTIONS = {
    DEPTH: (adversarial_training.deepening_over_trainings, 1.0),
    MAIN_EFFECT: (adversarial_training.main_effect_over_trainings, 1.0),
    TURN: (adversarial_training.turn_over_trainings, 0.0),
}


def share_decided(monkeypatch, question, limit, *, alpha, deeper=1.0, runs=400):
    """The share of runs with each verdict, over pairs of networks that differ by `deeper` apart from their recipe."""
    rng = np.random.default_rng(1)
    counts = {"supported": 0, "refuted": 0, "inconclusive": 0}

    def trained(view):
        made = []
        for _ in range(pairs_needed(alpha)):
            (standard, before), (robust, after) = skewed(rng), skewed(rng)
            lengths = rng.lognormal(size=64)
            turned = after + (deeper > 1)
            made.append(Pair(Network(standard, lengths, before), Network(deeper * robust, lengths, turned)))
        return made, ""

    monkeypatch.setattr(adversarial_training, "pairs", trained)
    for _ in range(runs):
        counts[decide(question(None), limit=limit, direction="greater", alpha=alpha).verdict] += 1
    return {verdict: count / runs for verdict, count in counts.items()}


@pytest.mark.parametrize("id", QUESTIONS)
@pytest.mark.parametrize(("alpha", "runs"), [(0.05, 600), (0.05 / 12, 400)])
def test_pairs_trained_alike_are_decided_in_at_most_alpha_of_runs(monkeypatch, id, alpha, runs):
    shares = share_decided(monkeypatch, *QUESTIONS[id], alpha=alpha, runs=runs)
    wrong = round(runs * (1 - shares["inconclusive"]))
    assert wrong <= runs * 0.05
    assert scipy_stats.binomtest(wrong, runs, alpha, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize("id", QUESTIONS)
def test_robust_pairs_are_supported_with_the_number_of_pairs_asked_for(monkeypatch, id):
    assert share_decided(monkeypatch, *QUESTIONS[id], alpha=0.05 / 12, deeper=1e30)["supported"] > 0.95
