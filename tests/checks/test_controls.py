"""Null draws against their closed forms, and what each control leaves as it was."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import views
from scipy import stats as scipy_stats

import dmmcheck
from dmmcheck import worlds
from dmmcheck.checks import base, energy, training
from dmmcheck.config.settings import Settings
from dmmcheck.inference import stats
from dmmcheck.inference.evidence import Evidence
from dmmcheck.manifolds.fields import RotatedField
from dmmcheck.manifolds.rotations import Haar, Spectrum
from dmmcheck.measurement.nulls import BUDGETS, CONTROLS, null_draws
from dmmcheck.run import Run
from dmmcheck.seeding import seeded
from dmmcheck.subject import Subject

SMALL = {"ambient_dim": 16, "dim": 3, "samples": 64}


def drawn(control, seen, number=0):
    return CONTROLS[control].draw(seen, seeded(0, "control", control, number))


def test_rotated_energy_of_one_gradient_is_beta_distributed():
    seen = views.view(worlds.hyperplane(angle=40, seed=0, **SMALL).subject, 32)
    null = null_draws(seen, energy.off_manifold_energy, "rotation", 400, searched=False)
    assert scipy_stats.kstest(null, scipy_stats.beta(13 / 2, 3 / 2).cdf).pvalue > 1e-3
    assert null.std() > 0.05  # shared: the draw, not the input, is the unit


def test_searched_draws_of_a_flat_boundary_follow_the_same_law():
    from dmmcheck.checks import distance

    seen = replace(views.view(worlds.hyperplane(angle=40, seed=0, **SMALL).subject, 16), effort="quick")
    null = null_draws(seen, distance.on_manifold_distance_controlled, "rotation", 60, searched=True)
    assert scipy_stats.kstest(null**-2, scipy_stats.beta(3 / 2, 13 / 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("control", ["rotation", "spectrum", "same-class", "other-class"])
@pytest.mark.parametrize("local", [False, True], ids=["shared", "local"])
def test_a_null_field_answers_through_vectors_as_through_its_bases(control, local):
    seen = views.view(views.subject(manifold=views.Local() if local else None))
    if control == "spectrum":
        field = RotatedField(seen.field, Spectrum((3, 4), generator=torch.Generator().manual_seed(1)))
    else:
        field = drawn(control, seen).field
    v = torch.randn(seen.n, views.D, generator=torch.Generator().manual_seed(2))
    basis = field.basis(slice(0, seen.n))
    basis = basis.expand(seen.n, *basis.shape[-2:])
    assert torch.allclose(basis.mT @ basis, torch.eye(views.K).expand(seen.n, -1, -1), atol=1e-5)
    on = (basis @ (basis.mT @ v[:, :, None]))[..., 0]
    assert torch.allclose(field.project(v), on, atol=1e-5)
    assert torch.allclose(field.share(v), on.square().sum(1) / v.square().sum(1), atol=1e-5)


def test_one_rotation_turns_all_inputs_together():
    seen = views.view(views.subject(manifold=views.Local()))
    before, after = (array(field.basis(slice(0, seen.n))) for field in (seen.field, drawn("rotation", seen).field))
    angles = [np.linalg.svd(a.T @ b)[1] for a, b in zip(before, np.roll(before, 1, 0), strict=True)]
    turned = [np.linalg.svd(a.T @ b)[1] for a, b in zip(after, np.roll(after, 1, 0), strict=True)]
    assert np.allclose(angles, turned, atol=1e-4)


def array(x):
    return x.double().numpy()


def matches(own, dealt):
    """For each dealt space the inputs whose own space it is."""
    apart = np.abs(own[None] - dealt[:, None]).max(axis=(2, 3))
    return [set(np.flatnonzero(row < 1e-6)) for row in apart]


def test_spaces_dealt_within_class_stay_in_the_class_and_are_all_used():
    seen = views.view(views.subject(manifold=views.Local()))
    everyone = slice(0, seen.n)
    givers = matches(*(array(field.basis(everyone)) for field in (seen.field, drawn("same-class", seen).field)))
    assert all(len(giver) == 1 for giver in givers)
    order = [giver.pop() for giver in givers]
    assert sorted(order) == list(range(seen.n))
    assert seen.y[order].tolist() == seen.y.tolist()
    assert order != list(range(seen.n))


def test_spaces_dealt_across_classes_never_stay_in_the_class():
    seen = views.view(views.subject(manifold=views.Local(), samples=200))
    balanced = balanced_view(seen)
    for number in range(20):
        field = drawn("other-class", balanced, number).field
        everyone = slice(0, balanced.n)
        givers = matches(*(array(one.basis(everyone)) for one in (balanced.field, field)))
        order = [giver.pop() for giver in givers]
        assert sorted(order) == list(range(balanced.n))
        assert not (balanced.y[order] == balanced.y).any()


def balanced_view(seen):
    counts = torch.bincount(seen.y)
    assert int(counts.max()) * 2 <= seen.n, "the sample of this test must have no dominant class"
    return seen


@pytest.mark.parametrize(
    ("control", "subject", "words"),
    [
        ("spectrum", views.subject(), "not images"),
        ("same-class", views.subject(), "nothing to permute"),
        ("other-class", views.subject(), "nothing to permute"),
    ],
    ids=["flat inputs", "shared space, same class", "shared space, other class"],
)
def test_a_control_that_cannot_be_drawn_says_why(control, subject, words):
    assert words in CONTROLS[control].unavailable(views.view(subject))


def test_one_dominant_class_leaves_no_spaces_to_deal_across():
    subject = views.subject(manifold=views.Local(), classes=2)
    common = int(torch.bincount(subject.y).argmax())
    rare = torch.nonzero(subject.y != common).reshape(-1)[:3]
    kept = torch.cat([torch.nonzero(subject.y == common).reshape(-1), rare])
    skewed = Subject(model=subject.model, x=subject.x[kept], y=subject.y[kept], manifold=views.Local())
    assert "more balanced" in CONTROLS["other-class"].unavailable(views.view(skewed))


def test_rotation_is_always_there():
    assert CONTROLS["rotation"].unavailable(views.view(views.subject())) == ""


def test_draws_are_the_same_whoever_asks_and_made_once(monkeypatch):
    subject = views.subject()
    asked = []

    def ask(view):
        asked.append(view)
        return energy.off_manifold_energy(view)

    seen = views.view(subject, 32)
    first = null_draws(seen, ask, "rotation", 20, searched=False)
    again = null_draws(seen, ask, "rotation", 20, searched=False)
    fresh = null_draws(views.view(subject, 32), energy.off_manifold_energy, "rotation", 20, searched=False)
    assert len(asked) == 20
    assert np.array_equal(first, again)
    assert np.array_equal(first, fresh)


def test_a_view_of_fewer_inputs_has_draws_of_its_own():
    seen = views.view(views.subject())
    few, many = (
        null_draws(seen.measure.view(n), energy.off_manifold_energy, "rotation", 20, searched=False) for n in (16, 48)
    )
    assert not np.allclose(few, many)


class Turned:
    """Tangent spaces of inputs, none of which has to do with the model, but each close to the next one's."""

    name = "turned"
    dim = views.K

    def __init__(self, seed: int) -> None:
        self.rotation = Haar(views.D, generator=torch.Generator().manual_seed(seed))

    def project_point(self, x):
        return x

    def tangent_basis(self, x):
        basis = views.Local().tangent_basis(x)
        columns = basis.mT.reshape(-1, views.D)
        return self.rotation.apply(columns).reshape(len(x), views.K, views.D).mT.contiguous()


def test_dealt_spaces_are_special_only_where_the_field_is():
    """A field without meaning is far from all its dealt versions now and then; so C2 asks for C0, too."""
    smaller = []
    for seed in range(5):
        run = Run(views.subject(seed=seed, manifold=Turned(seed), samples=32), Settings())
        run.soundness = ()
        planned = next(one for one in run.planned if one.id == "off-manifold-energy-controlled-same-class")
        finding, seen = run.finding(planned), run.measure.view()
        p_values = [
            stats.rank_p_value(
                finding.estimate,
                null_draws(seen, energy.off_manifold_energy, control, 199, searched=False),
                "greater",
            )
            for control in ("same-class", "rotation")
        ]
        assert finding.p_value == max(p_values)
        smaller.append(p_values[0] < p_values[1])
    assert any(smaller)  # else this would not tell the two apart


@pytest.mark.parametrize("cost", BUDGETS)
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.01, 0.0036, 1e-3, 1e-6])
def test_draws_are_enough_for_alpha_or_as_many_as_their_cost_allows(cost, alpha):
    draws, most = BUDGETS[cost].draws(alpha), BUDGETS[cost].most
    assert BUDGETS[cost].least <= draws <= most
    beyond = {"energy": 1, "forward": 1, "search": 0}[cost]  # draws that may be, where the claim holds
    assert (1 + beyond) / (draws + 1) < alpha or draws == most


def test_every_test_has_draws_of_a_known_cost():
    assert {test.null for one in base.registry().values() for test in one.tests} == set(BUDGETS)


def judged(subject, id, **settings):
    """One finding, soundness taken for granted."""
    run = Run(subject, Settings(**settings))
    run.soundness, run.pair_soundness = (), {}
    return run.finding(next(one for one in run.planned if one.id == id))


def test_a_claim_whose_draws_only_evaluate_the_model_can_be_supported_where_it_gates():
    subject = worlds.hyperplane(angle=89, ambient_dim=32, dim=30, samples=64, seed=0).subject
    finding = judged(subject, "component-flips-controlled-builtin", gate=("stated", "controlled"))
    assert finding.gating
    assert 1 - finding.confidence < 1 / 100
    assert (finding.verdict, finding.estimate) == ("supported", 1.0)
    assert finding.p_value < 1 - finding.confidence


def test_four_thousand_draws_that_are_too_few_say_so():
    subject = worlds.hyperplane(angle=89, ambient_dim=16, dim=3, samples=64, seed=0).subject
    finding = judged(subject, "off-manifold-energy-controlled-builtin", alpha=1e-4)
    assert finding.verdict == "inconclusive"
    assert finding.reason.endswith("; 4999 draws cannot show p < 0.0002, alpha here is 5e-05")  # one of two looks


@pytest.mark.parametrize(("unit", "verdict"), [("ratio", "supported"), ("difference", "inconclusive")])
def test_only_ratios_go_beyond_the_ranks_of_searched_draws(monkeypatch, unit, verdict):
    monkeypatch.setattr(base, "_REGISTRY", dict(base.registry()))

    @dmmcheck.check(
        "costs-more",
        tier="controlled",
        statement="s",
        threshold=1.0,
        direction="greater",
        unit=unit,
        controls=("rotation",),
        null="search",
    )
    def costs_more(measure):
        """The distance on the manifold."""
        return Evidence.of(measure.distance("tangent"))

    subject = worlds.hyperplane(angle=89, ambient_dim=16, dim=8, samples=64, seed=0).subject
    finding = judged(subject, "costs-more-controlled-builtin", alpha=0.004)
    assert finding.verdict == verdict, finding
    assert ("99 draws cannot show p < 0.01, alpha here is 0.004" in finding.reason) == (unit == "difference")


@pytest.mark.parametrize("count", [5, 6, 7])
def test_orders_of_checkpoints_that_do_as_well_are_as_many_as_is_said_where_inputs_agree(count):
    steps = np.arange(count) * 100.0

    def phases(distances):
        low, later = training._lowest(distances[:, None], steps)
        return min(distances[0], distances[-1], distances[later]) / distances[low]

    half = training._middle(steps)
    falling_then_rising = np.array([9.0, *np.linspace(3.0, 1.0, half - 1), *np.linspace(5.0, 8.0, count - half)])
    own = phases(falling_then_rising)
    values = [phases(np.array(order)) for order in itertools.permutations(falling_then_rising)]
    orders = round(1 / np.mean(np.array(values) >= own))
    assert f"of {count} checkpoints about {orders} orders differ" in training._few(steps)


@pytest.mark.parametrize(("count", "verdict"), [(7, "inconclusive"), (11, "supported")])
def test_checkpoints_too_few_for_alpha_are_said(count, verdict):
    half = (count + 1) // 2
    depths = (1.0, *np.linspace(0.2, 0.1, half - 1), *np.linspace(0.3, 0.6, count - half))
    world = worlds.training(depths=depths, ambient_dim=16, dim=3, samples=64, seed=0)
    finding = judged(world.subject, "two-phases-controlled-builtin")
    assert finding.verdict == verdict
    assert ("of 7 checkpoints about 35 orders differ" in finding.reason) == (count == 7)
