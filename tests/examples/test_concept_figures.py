"""The figures on concepts: their numbers against known answers, and files that do not change between runs."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from examples import concept_figures as concepts


def test_distances_of_a_dimple_lie_on_the_boundary_and_in_order():
    found = concepts.distances(concepts.MEASURED)
    curve = concepts.boundary(np.linspace(0, 4, 400_001))
    for name in ("free", "tangent", "normal"):
        assert np.linalg.norm(curve - getattr(found, name), axis=1).min() < 1e-4
    assert found.length("free") == pytest.approx(np.linalg.norm(curve - found.origin, axis=1).min(), abs=1e-5)
    assert found.length("free") < found.length("normal") < found.length("tangent")


def test_normal_distance_of_a_dimple_is_its_depth_there():
    found = concepts.distances(concepts.MEASURED)
    depth = concepts.DEPTH * math.cos(math.pi * concepts.MEASURED / concepts.SPACING)
    assert found.length("normal") == pytest.approx(abs(depth), abs=1e-4)


def test_tangent_and_normal_steps_are_at_right_angles():
    found = concepts.distances(concepts.MEASURED)
    assert (found.tangent - found.origin) @ (found.normal - found.origin) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("degrees", "off"), [(0, 0.0), (30, 0.25), (60, 0.75), (90, 1.0)])
def test_energy_shares_follow_the_angle_and_sum_to_one(degrees, off):
    on, found = concepts.shares(math.radians(degrees))
    assert found == pytest.approx(off)
    assert on + found == pytest.approx(1)


@pytest.mark.parametrize("dim", concepts.DIMENSIONS)
def test_chance_law_is_that_of_random_directions(dim):
    law = concepts.off_manifold_share(dim)
    assert law.mean() == pytest.approx(1 - dim / concepts.AMBIENT)
    generator = torch.Generator().manual_seed(dim)
    squares = torch.randn(4000, concepts.AMBIENT, generator=generator, dtype=torch.float64).square()
    drawn = squares[:, dim:].sum(1) / squares.sum(1)
    assert drawn.mean().item() == pytest.approx(law.mean(), abs=5 * law.std() / math.sqrt(4000))
    assert drawn.std().item() == pytest.approx(law.std(), rel=0.1)
    assert law.sf(0.5) > 0.999999  # chance alone is beyond the threshold


def test_the_three_intervals_have_the_three_verdicts():
    words = [concepts.verdict(lower, upper) for lower, _, upper in concepts.INTERVALS]
    assert words == ["supported", "refuted", "inconclusive"]
    assert all(lower < estimate < upper for lower, estimate, upper in concepts.INTERVALS)


def test_rounded_inputs_hide_the_gradient_and_not_the_boundary():
    network = concepts.tiny_network()
    distance, margin, gradient = concepts.along_ray(network)
    _, masked, none = concepts.along_ray(concepts.Quantised(network))
    assert gradient.min() > 0.1
    assert none.max() == 0
    assert margin[0] > 0 > margin[-1]
    assert masked[0] > 0 > masked[-1]
    crossings = [distance[(values <= 0).argmax()] for values in (margin, masked)]
    assert abs(crossings[0] - crossings[1]) < 1 / concepts.LEVELS


def test_the_tiny_network_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    concepts.tiny_network(epochs=1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_every_figure_is_written_small_and_the_same_twice(tmp_path: Path, capsys):
    for folder in ("first", "second"):
        assert concepts.main(["--out", str(tmp_path / folder)]) == 0
    names = [Path(name).name for name in capsys.readouterr().out.splitlines()]
    assert names[:5] == [f"{name}.svg" for name in concepts.FIGURES]
    for name in names[:5]:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second
        assert b"<svg" in first[:500]
        assert b"<dc:date>" not in first
        assert len(first) < 200_000


def test_a_missing_matplotlib_is_one_sentence(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert concepts.main(["--out", str(tmp_path)]) == 1
    assert "pip install 'dmmcheck[docs]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["drawing", "concept_figures", "line_in_the_plane"])
def test_an_example_can_be_imported_without_matplotlib(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    spec = importlib.util.find_spec(f"examples.{name}")
    again = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, again)
    spec.loader.exec_module(again)
    with pytest.raises(ModuleNotFoundError, match="pip install"), getattr(again, "drawing", again).style():
        pass
