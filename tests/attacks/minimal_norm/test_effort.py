"""More effort finds nothing farther, and what is finished costs no more."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from search_cases import distances, rng

from dmmcheck.attacks.minimal_norm.effort import EFFORTS, Effort, Stage
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.inference.types import EffortName, SearchEffort


@pytest.mark.parametrize(("less", "more"), [("brief", "thorough"), ("quick", "thorough"), ("thorough", "exhaustive")])
def test_more_effort_is_no_worse(less, more):
    few, many = (distances(effort=effort) for effort in (less, more))
    assert bool((many <= few * 1.01).all())


def test_exhaustive_is_at_least_as_good_as_thorough_over_many_inputs():
    # a boundary with many folds, where candidates differ: sums of cosines with random wave vectors
    waves = torch.randn(12, 6, generator=rng(1), dtype=torch.float64)
    phases = 6 * torch.rand(12, generator=rng(2), dtype=torch.float64)

    def model(p):
        return torch.stack([1.5 + (p @ waves.T + phases).cos().sum(1), 0 * p[:, 0]], 1)

    x = torch.randn(64, 6, generator=rng(3), dtype=torch.float64)
    x = x[model(x).argmax(1) == 0]
    thorough, exhaustive = (
        boundary_search(model, x, torch.zeros(len(x), dtype=torch.long), effort=effort, generator=rng()).distance
        for effort in ("thorough", "exhaustive")
    )
    assert len(x) > 20
    assert bool((exhaustive <= thorough * 1.02).all())
    assert float(exhaustive.mean()) <= float(thorough.mean()) * (1 + 1e-4)


def test_the_efforts_of_the_setting_stand_between_two_others_and_each_does_more_than_the_one_before():
    assert tuple(EFFORTS) == get_args(SearchEffort) == ("brief", *get_args(EffortName), "exhaustive")
    steps = [effort.ddn_steps for effort in EFFORTS.values()]
    candidates = [effort.candidates for effort in EFFORTS.values()]
    assert steps == sorted(steps)
    assert candidates == sorted(candidates)


def test_the_steps_of_an_effort_are_those_of_its_stages():
    stages = (Stage(candidates=3, max_ratio=1.5, steps=2), Stage(candidates=1, max_ratio=1.0, steps=5))
    effort = Effort(
        nearest_classes=1,
        candidates=3,
        max_ratio=2.0,
        look_ahead=False,
        hlrf_steps=1,
        optimality_tol=0.9,
        stages=stages,
    )
    assert effort.ddn_steps == 7


def test_inputs_leave_the_refinement_once_their_crossing_is_a_nearest_point(monkeypatch):
    # beside a plane, the first steps end in the answer; over the bumps beside it they do not
    def model(p):
        bumps = torch.where(p[:, 1] > 0, 0.3 * torch.sin(7 * p[:, 2:]).sum(1), 0.0)
        return torch.stack([1 - p[:, 0] + bumps, 0 * p[:, 0]], 1)

    x = 0.1 * torch.randn(32, 6, generator=rng(), dtype=torch.float64)
    x[:, 1] = torch.tensor([-5.0, 5.0]).repeat(16)
    flat, bumpy = slice(0, None, 2), slice(1, None, 2)

    def found():
        return boundary_search(model, x, torch.zeros(32, dtype=torch.long), generator=rng())

    leaving = found()
    monkeypatch.setitem(EFFORTS, "default", replace(EFFORTS["default"], optimality_tol=2.0))
    staying = found()
    torch.testing.assert_close(leaving.distance[flat], 1 - x[flat, 0], rtol=1e-3, atol=0)
    torch.testing.assert_close(leaving.distance[bumpy], staying.distance[bumpy], rtol=1e-2, atol=0)
    steps = EFFORTS["default"].stages[0].steps
    assert int((staying.backwards - leaving.backwards)[flat].min()) >= EFFORTS["default"].ddn_steps - steps
    assert bool((leaving.backwards <= staying.backwards).all())
