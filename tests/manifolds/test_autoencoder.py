"""The autoencoder that is trained on the points: what it loses, what its training depends on, and how it fails."""

from __future__ import annotations

import logging

import pytest
import torch

from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import PCA, Autoencoder
from dmmcheck.seeding import seeded

GENERATOR = torch.Generator().manual_seed(0)
ANGLE = 3 * torch.rand(300, generator=GENERATOR, dtype=torch.float64)
ARC = 100 + 5 * torch.stack([ANGLE.cos(), ANGLE.sin(), 0 * ANGLE], 1)


@pytest.fixture(scope="module")
def trained():
    return Autoencoder(dim=1, steps=200).fit(ARC)


def lost(manifold) -> float:
    held_out = ARC[9::10]
    return float((manifold.project_point(held_out) - held_out).square().mean())


def test_it_loses_less_than_principal_components(trained):
    assert lost(trained) < 0.2 * lost(PCA(dim=1).fit(ARC))
    assert trained.note.startswith("trained on 270 points in ")


def test_it_begins_with_principal_components():
    training = ARC[torch.arange(300) % 10 != 9]
    begun = Autoencoder(dim=1, steps=1).fit(ARC)
    assert lost(begun) <= lost(PCA(dim=1).fit(training)) * (1 + 1e-9)


def test_training_has_its_own_random_numbers(trained):
    before = torch.get_rng_state()
    again = Autoencoder(dim=1, steps=200).fit(ARC)
    torch.testing.assert_close(torch.get_rng_state(), before)
    torch.testing.assert_close(again.project_point(ARC), trained.project_point(ARC), rtol=0, atol=0)
    other = Autoencoder(dim=1, steps=200, seed=1).fit(ARC)
    assert float((other.project_point(ARC) - trained.project_point(ARC)).abs().max()) > 1e-6


def test_training_stops_where_held_out_points_gain_nothing(monkeypatch):
    monkeypatch.setattr("dmmcheck.manifolds.autoencoder.LOOK", 5)
    monkeypatch.setattr("dmmcheck.manifolds.autoencoder.BETTER", 0.0)
    note = Autoencoder(dim=1, steps=10**9).fit(ARC).note
    assert "in 0 steps" in note


def test_one_line_says_what_is_trained(caplog):
    with caplog.at_level(logging.INFO, logger="dmmcheck"):
        Autoencoder(dim=1, steps=1).fit(ARC)
    assert [record.getMessage() for record in caplog.records] == [
        "training an autoencoder with k = 1 on 270 points, at most 1 steps"
    ]


def test_a_training_that_diverges_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("dmmcheck.manifolds.autoencoder.RATE", 1e200)
    with pytest.raises(ManifoldError, match=r"diverged: its error is (nan|inf) after 50 steps; scale the points"):
        Autoencoder(dim=1).fit(ARC)


def test_few_points_are_all_trained_on():
    assert "trained on 5 points" in Autoencoder(steps=1).fit(ARC[:5]).note


def test_the_jacobian_of_the_network_is_that_of_autograd():
    points = torch.randn(40, 5, generator=seeded(4, "points"), dtype=torch.float64)
    network = Autoencoder(dim=2, steps=50).fit(points).network
    codes = network.encode(points[:3])
    expected = torch.stack([torch.autograd.functional.jacobian(network.decode, code[None])[0, :, 0] for code in codes])
    assert torch.allclose(network.jacobian(codes), expected, rtol=1e-10)
