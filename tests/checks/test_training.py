"""Gradients relative to untrained networks, and the phases of a trajectory of checkpoints."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import views

from dmmcheck import worlds
from dmmcheck.checks import training
from dmmcheck.measurement.view import View

SMALL = {"ambient_dim": 16, "dim": 3, "samples": 48}


def test_normal_gradient_growth_is_relative_to_the_spread_of_the_margin():
    seen = views.view(views.subject(factory=views.network), 20)

    def parts(under):
        gradient = views.array(under.input_gradient())
        on = np.stack([views.tangent_part(g, basis) for g, basis in zip(gradient, views.bases(seen), strict=True)])
        spread = np.std(View.of(under.measurement).margins().numpy(), ddof=1)
        return np.linalg.norm(gradient - on, axis=1) / spread, np.linalg.norm(on, axis=1) / spread

    own, untrained = parts(seen), [parts(other) for other in seen.untrained()]
    middle = np.median([normal for normal, _ in untrained], axis=0)
    assert training.normal_gradient_growth(seen).values == pytest.approx(own[0] / middle, rel=1e-3)
    shares = np.median([normal / tangent for normal, tangent in untrained], axis=0)
    assert training.normal_gradient_outgrows_tangent(seen).values == pytest.approx(own[0] / own[1] / shares, rel=1e-3)


@pytest.mark.parametrize(
    ("depths", "phases"),
    [
        ((1.0, 0.5, 0.2, 0.1, 0.12, 0.16, 0.2, 0.25, 0.3), 1.6),  # 0.16 at step 500, past the half, over 0.1
        ((1.0, 0.1, 0.3, 0.2, 0.2), 2.0),
        ((0.3, 0.25, 0.2, 0.16, 0.12, 0.1, 0.2, 0.5, 1.0), 0.1 / 0.12),  # reversed: still falling in the second half
        ((0.2,) * 6, 1.0),
    ],
)
def test_two_phases_is_the_smaller_of_fall_and_lasting_rise(depths, phases):
    seen = views.view(worlds.training(depths=depths, seed=0, **SMALL).subject, 48)
    evidence = training.two_phases(seen)
    assert len(evidence.values) == 24
    assert evidence.values == pytest.approx(np.full(24, phases), rel=0.02)
    assert "accuracy there and at the ends" in evidence.note


def test_three_checkpoints_cannot_show_two_phases():
    subject = worlds.training(depths=(1.0, 0.1, 0.3), seed=0, **SMALL).subject
    finding = views.finding(subject, "two-phases-mechanism-builtin")
    assert finding.verdict == "inconclusive"
    assert "3 checkpoints cannot show two phases; give at least 5" in finding.reason


@pytest.mark.parametrize("count", [5, 6, 7])
def test_orders_of_checkpoints_that_do_as_well_are_as_many_as_the_note_says(count):
    steps = np.arange(count) * 100.0

    def phases(distances):
        low, later = training._lowest(distances[:, None], steps)
        return min(distances[0], distances[-1], distances[later]) / distances[low]

    half = training._middle(steps)
    falling_then_rising = np.array([9.0, *np.linspace(3.0, 1.0, half - 1), *np.linspace(5.0, 8.0, count - half)])
    own = phases(falling_then_rising)
    values = [phases(np.array(order)) for order in itertools.permutations(falling_then_rising)]
    orders = round(1 / np.mean(np.array(values) >= own))
    assert f"of {count} checkpoints about {orders} orders differ" in training._orders_note(steps)


@pytest.mark.parametrize(("count", "verdict"), [(7, "inconclusive"), (11, "supported")])
def test_checkpoints_too_few_for_alpha_are_noted(count, verdict):
    half = (count + 1) // 2
    depths = (1.0, *np.linspace(0.2, 0.1, half - 1), *np.linspace(0.3, 0.6, count - half))
    world = worlds.training(depths=depths, ambient_dim=16, dim=3, samples=64, seed=0)
    finding = views.finding(world.subject, "two-phases-controlled-builtin")
    assert finding.verdict == verdict
    assert ("of 7 checkpoints about 35 orders differ" in finding.reason) == (count == 7)
