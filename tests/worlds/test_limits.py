"""Worlds at the limits of claims: exact distances, and statistics that lie on either side of a limit equally often."""

from __future__ import annotations

import pytest
import torch
from made import searched
from scipy import stats

from dmmcheck import worlds
from dmmcheck.inference.types import ARMS
from dmmcheck.worlds import limits
from dmmcheck.worlds.base import declared, nearest_other_class


@pytest.mark.parametrize("angle", limits.BY_ANGLE)
def test_distances_are_the_closed_form(angle):
    world = worlds.at_limits(angle=angle, seed=3, samples=48)
    for arm, crossing in searched(world).items():
        torch.testing.assert_close(crossing.distance.double(), world.distance[arm], rtol=3e-4, atol=0)


@pytest.mark.parametrize("angle", limits.BY_ANGLE)
def test_inputs_lie_on_either_side_of_each_limit_equally_often(angle):
    world = worlds.at_limits(angle=angle, samples=3000, ambient_dim=12, dim=4, seed=4)
    free, tangent, normal = (world.distance[arm] for arm in ARMS)
    apart = nearest_other_class(world.subject)
    values = {
        "off-manifold-energy-stated-builtin": (free / normal) ** 2,
        "boundary-parallel-stated-builtin": (free / normal) ** 2,
        "on-manifold-distance-stated-builtin": tangent / normal,
        "off-manifold-suffices-stated-builtin": normal / free,
        limits.CLINGS: normal / (apart / 2),
        limits.SHALLOW: normal / apart,
        "projection-restores-stated-builtin": (1.5 * (free / tangent) ** 2 < 1).double(),
    }
    for id in world.at_limit - {limits.NEAR}:
        above = int((values[id] > declared(id).claim.threshold).sum())
        assert stats.binomtest(above, len(free)).pvalue > 1e-3, id
    assert {*limits.BY_ANGLE[angle], limits.NEAR, limits.CLINGS, limits.SHALLOW} == world.at_limit
    assert not world.at_limit & world.truth.keys()


def test_the_third_class_is_five_times_as_far_in_the_median():
    drawn = limits._drawn(4000, limits.LEVEL, torch.Generator().manual_seed(5))
    above = int((drawn.far / drawn.near > 5).sum())
    assert stats.binomtest(above, 4000).pvalue > 1e-3
    assert float(drawn.far.max()) < limits.CELL / 2


def test_copies_have_the_distances_of_their_cell():
    world = worlds.at_limits(samples=60, copies=6, noise=0.3, seed=6, ambient_dim=12, dim=4)
    for arm in ARMS:
        cells = world.distance[arm].reshape(6, 10)
        assert torch.equal(cells, cells[:1].expand(6, 10))
    assert len(world.subject.x.unique(dim=0)) == 60
    torch.testing.assert_close(searched(world)["free"].distance.double(), world.distance["free"], rtol=3e-4, atol=0)
