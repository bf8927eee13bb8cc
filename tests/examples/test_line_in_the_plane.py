"""The experiment in two dimensions: heights against known boundaries, the two phases, the tables and the figure."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from examples import line_in_the_plane as line
from examples.line_in_the_plane import POINTS, Run

PAPER = {20: 0.125, 30: 0.027, 50: 0.016, 100: 0.035}  # medians of the digitised heights


@pytest.fixture(scope="module")
def short() -> list[Run]:
    """Three trainings of a few epochs, for tables and figures."""
    return [line.run(seed, epochs=(0, 5, 10)) for seed in range(3)]


def run_of(medians: list[float], last: list[float] | None = None) -> Run:
    """A run with these median heights, made of equal heights; `last` are the five heights at the end."""
    heights = torch.tensor(medians, dtype=torch.float64)[:, None].repeat(1, 5)
    if last is not None:
        heights[-1] = torch.tensor(last)
    return Run(0, tuple(range(len(medians))), heights, (5,) * len(medians))


def wave(x):
    return 0.3 * torch.sin(7 * x[:, 0]) - (x[:, 1] - line.LINE)


def disc(x):
    return 0.4**2 - (x - torch.tensor([0.5, 0.6], dtype=x.dtype)).square().sum(1)


def stripes(x):
    return torch.sin(9 * x[:, 1] + 2 * x[:, 0]) * torch.cos(3 * x[:, 0])


def brute_force(logit, point: torch.Tensor, cells: int = 400_000) -> float:
    """The change of sign that is nearest to `point`, from one dense scan."""
    heights = torch.linspace(-1, 1, cells + 1, dtype=torch.float64)
    signs = logit(torch.stack([point[0].expand_as(heights), point[1] + heights], 1)) > 0
    changes = heights[1:][signs[1:] != signs[:-1]]
    return float(changes[changes.abs().argmin()]) if len(changes) else math.inf


def test_height_of_a_known_curve():
    found = line.boundary_heights(wave, POINTS)
    torch.testing.assert_close(found, 0.3 * torch.sin(7 * POINTS[:, 0]), atol=1e-9, rtol=0)


@pytest.mark.parametrize("logit", [wave, disc, stripes])
def test_heights_agree_with_a_brute_force_scan(logit):
    found = line.boundary_heights(logit, POINTS)
    expected = torch.tensor([brute_force(logit, point) for point in POINTS], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_of_two_boundaries_the_nearer_one_counts():
    between = POINTS[:1]
    found = line.boundary_heights(lambda x: (x[:, 1] - 0.3) * (0.6 - x[:, 1]), between)
    assert found.item() == pytest.approx(0.1)
    found = line.boundary_heights(lambda x: (x[:, 1] - 0.45) * (0.9 - x[:, 1]), between)
    assert found.item() == pytest.approx(-0.05)


@pytest.mark.parametrize("boundary", [1.6, -0.6])
def test_a_boundary_outside_the_window_is_none(boundary):
    assert line.boundary_heights(lambda x: x[:, 1] - boundary, POINTS).tolist() == [math.inf] * 5


def test_weights_are_a_function_of_the_seed_alone():
    state = torch.random.get_rng_state()
    first, again, other = line.untrained(3), line.untrained(3), line.untrained(4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first(POINTS), again(POINTS))
    assert not torch.equal(first(POINTS), other(POINTS))


def test_weights_have_the_stated_scale():
    weights = torch.cat([parameters.flatten() for parameters in line.untrained(0).parameters()])
    assert weights.std().item() == pytest.approx(line.SCALE, rel=0.15)
    default = line.untrained(0, scale=None).layers[0].weight
    assert default.abs().max().item() <= 1 / math.sqrt(2)


def test_training_pauses_at_the_epochs_and_changes_the_network():
    network = line.untrained(0)
    logits = [network(POINTS).detach() for _ in line.training(network, (0, 3, 4))]
    assert len(logits) == 3
    assert torch.equal(logits[0], line.untrained(0)(POINTS))
    assert not torch.equal(logits[1], logits[2])


def test_the_boundary_clings_and_then_dimples():
    found = line.run(5)
    assert found.clings
    assert found.dimples
    assert found.alternates
    assert found.right[-1] == 5
    assert min(found.medians) < 0.05 < found.medians[-1]


def test_from_the_default_initialisation_it_does_not():
    found = line.run(5, scale=None)
    assert found.right[-1] == 5
    assert not found.dimples


@pytest.mark.parametrize(
    ("medians", "clings", "dimples"),
    [
        ([0.6, 0.1, 0.2], True, True),
        ([0.6, 0.1, 0.12], True, False),
        ([0.6, 0.3, 0.6], False, True),
        ([math.inf, 0.5, 0.9], False, True),
        ([math.inf, 0.2, math.inf], True, False),
        ([math.inf, math.inf, math.inf], False, False),
        ([0.1, 0.1, 0.1], False, False),
    ],
)
def test_what_counts_as_falling_and_rising(medians, clings, dimples):
    found = run_of(medians)
    assert (found.clings, found.dimples) == (clings, dimples)


@pytest.mark.parametrize(
    ("last", "alternates"),
    [
        ([0.1, -0.2, 0.1, -0.1, 0.3], True),
        ([-0.1, 0.2, -0.1, 0.1, -0.3], True),
        ([0.1, 0.2, 0.1, -0.1, 0.3], False),
        ([0.1, -0.2, 0.1, -0.1, math.inf], False),
    ],
)
def test_which_sides_alternate(last, alternates):
    assert run_of([0.5, 0.1, 0.2], last).alternates == alternates


def test_the_typical_run_is_the_middle_one():
    runs = [run_of([1.0, 0.1, end]) for end in (0.4, 0.2, math.inf, 0.3, 0.1)]
    assert line.typical(runs) is runs[3]


def test_digitised_medians_are_those_of_the_paper_table():
    medians = {epoch: float(np.median(np.abs(heights))) for epoch, heights in line.DIGITISED.items()}
    assert medians == pytest.approx(PAPER)


def test_heights_table_has_a_row_per_epoch_and_the_digitised_rows(short):
    lines = line.heights_table(short[0]).splitlines()[2:]
    assert [row.split()[0] for row in lines] == ["seed"] * 3 + ["authors"] * 4
    assert [row.split()[1] for row in lines[3:]] == ["20", "30", "50", "100"]
    assert lines[4].split()[2:] == ["-0.027", "-0.004", "-0.059", "-0.012", "+0.078", "0.027"]


def test_seeds_table_counts_every_seed():
    runs = [run_of([0.6, 0.1, 0.2]), run_of([0.6, 0.5, 0.6]), run_of([math.inf, math.inf, math.inf])]
    last = line.seeds_table(runs).splitlines()[-1]
    assert last.split()[:4] == ["all", "0.600", "0.500", "0.600"]
    assert "1 of 3   1 of 3" in last
    assert last.endswith("3 of 3")
    assert "none" in line.seeds_table(runs).splitlines()[-2]


def test_the_text_says_how_many_seeds_fall_and_rise():
    runs = [run_of([0.6, 0.1, 0.2], [0.2, -0.2, 0.2, -0.2, 0.2]), run_of([0.6, 0.5, 0.6])]
    text = line.text(runs, runs[1:])
    assert "1 of 2 seeds fall and then rise." in text
    assert "0 of 1 seeds fall and then rise." in text
    assert "digitised from their animation" in text


def test_the_command_prints_and_draws_the_same_twice(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(line, "EPOCHS", (0, 5, 10))
    monkeypatch.setattr(line, "DRAWN", (0, 2, 5, 8, 10))
    outputs = []
    for name in ("first.svg", "second.svg"):
        assert line.main(["--seeds", "1", "--out", str(tmp_path / name)]) == 0
        outputs.append(capsys.readouterr().out)
    first, second = ((tmp_path / name).read_bytes() for name in ("first.svg", "second.svg"))
    assert first == second
    assert b"<svg" in first[:500]
    assert len(first) < 200_000
    assert outputs[0] == outputs[1].replace("second.svg", "first.svg")


def test_a_missing_matplotlib_is_one_sentence(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert line.main(["--out", str(tmp_path / "none.svg")]) == 1
    assert "pip install 'dmmcheck[docs]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
