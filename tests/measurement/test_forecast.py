"""The share of the work that is done and the time left follow from expected gradients and the speed of the run."""

from __future__ import annotations

import pytest

import dmmcheck
from dmmcheck import worlds
from dmmcheck.checks.expected import DRAWS, GATES, GRADIENTS, expected_gradients
from dmmcheck.checks.plan import plan
from dmmcheck.config.settings import Settings
from dmmcheck.measurement.forecast import Forecast
from dmmcheck.measurement.nulls import INPUTS_A_DRAW

EXPECTED = {"": 2000, "a": 3000, "b": 5000}


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("dmmcheck.measurement.forecast.time.monotonic", lambda: now[0])
    return now


def test_the_lines_say_what_is_measured_the_share_done_and_the_time_left(clock):
    lines = []
    forecast = Forecast(EXPECTED, 0.01, lines.append)
    forecast.announce()
    forecast.begin("a", 0)
    forecast.update("searches", 1000, 5.0)  # 10 % at the pace of the probe
    clock[0] += 1
    forecast.update("searches", 4000, 20.0)  # 40 % at the pace of the run, 5 ms a gradient
    forecast.update("searches", 4001, 20.0)  # too soon
    forecast.end("a", 5000)
    forecast.begin("b", 9000)
    clock[0] += 1
    forecast.update("draws of controls", 9500, 95.0)  # 5,000 + 500 of 10,000 at 10 ms
    assert lines == [
        "about 10,000 gradients expected, 1.7 min (100 a second on this model)",
        "a: searches, 10% done, about 1.5 min left",
        "a: searches, 40% done, about 30 s left",
        "b: draws of controls, 55% done, about 45 s left",
    ]


def test_what_other_processes_have_measured_is_done(clock):
    lines = []
    forecast = Forecast(EXPECTED, 0.01, lines.append)
    forecast.skip(["b"])
    forecast.begin("b", 7000)
    forecast.update("statistics", 7000, 14.0)
    forecast.end("b", 7000)
    forecast.begin("a", 7000)
    clock[0] += 1
    forecast.update("searches", 8500, 17.0)
    assert lines == ["b: statistics, 70% done, about 6.0 s left", "a: searches, 85% done, about 3.0 s left"]


def test_work_beyond_what_was_expected_is_not_all_before_it_ends():
    forecast = Forecast(EXPECTED, 0.01, print)
    forecast.begin("b", 0)
    share, left = forecast.remaining(97_000, 9.7)
    assert share == pytest.approx(97_000 / (97_000 + 9_700 + 3000))  # a has not begun
    assert left == pytest.approx(1.27)
    forecast.end("b", 97_000)
    assert forecast.remaining(97_000, 9.7)[0] == pytest.approx(0.97)
    forecast.begin("a", 97_000)
    forecast.end("a", 97_000)  # measured already
    forecast.end("a", 98_000)
    assert forecast.remaining(97_000, 9.7) == (1.0, 0)


def test_expected_gradients_count_inputs_arms_and_draws():
    planned = [one for one in plan(Settings()) if one.check.id == "on-manifold-distance"]
    quick = expected_gradients(planned, inputs=512, classes=10, effort="quick")
    few = expected_gradients(planned, inputs=32, classes=10, effort="quick")
    controlled = "on-manifold-distance-controlled-builtin"
    assert quick["on-manifold-distance-stated-builtin"] == 2 * few["on-manifold-distance-stated-builtin"]  # 64 and 32
    assert quick[""] - few[""] == 32 * GATES + ((64 - 32) * 3 + (512 - 64) * 2) * GRADIENTS["quick"]
    assert quick[controlled] == 64 * 2 + DRAWS * INPUTS_A_DRAW * GRADIENTS["brief"]
    assert few[controlled] == 32 * 2 + DRAWS * INPUTS_A_DRAW * GRADIENTS["brief"]
    assert sum(expected_gradients(planned, inputs=512, classes=10, effort="thorough").values()) > sum(quick.values())


def test_other_models_are_expected_once_for_all_tests_that_need_them():
    planned = [one for one in plan(Settings()) if "checkpoints" in one.test.needs]
    given = {"inputs": 200, "classes": 10, "effort": "default"}
    without, with_them = (expected_gradients(planned, checkpoints=count, **given) for count in (0, 5))
    assert sum(with_them.values()) - sum(without.values()) == 5 * 64 * GRADIENTS["default"]


def test_the_expectation_is_right_within_a_factor_of_four_on_a_world():
    lines = []
    world = worlds.sphere(ambient_dim=12, dim=3, samples=32, seed=0)
    report = dmmcheck.run(world.subject, checks=["on-manifold-distance"], progress=lines.append)
    expected = int(lines[0].split()[1].replace(",", ""))
    assert expected / 4 < report.cost.total.gradient_evaluations < expected * 4
    assert any("done, about" in line for line in lines[1:])
