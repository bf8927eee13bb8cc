"""Truth from exact statistics, against draws of rotated spaces and the definition of a claim."""

from __future__ import annotations

import math

import pytest
import torch
from made import made

from dmmcheck import geometry
from dmmcheck.worlds.base import Exact, answers, declared, nearest_other_class, rotation_answers


@pytest.mark.parametrize(("ambient_dim", "dim"), [(50, 8), (20, 8)])
@pytest.mark.parametrize("angle", [10.0, 45.0, 65.0, 85.0])
def test_answers_about_rotated_spaces_are_those_of_draws(ambient_dim, dim, angle):
    share = torch.full((4,), math.sin(math.radians(angle)) ** 2, dtype=torch.float64)
    exact = Exact(torch.ones(4), (1 - share) ** -0.5, share**-0.5, share)
    generator = torch.Generator().manual_seed(0)
    normal = torch.eye(ambient_dim, dtype=torch.float64)[:1]
    draws = torch.stack(
        [
            1
            - geometry.energy_share(
                normal, geometry.random_basis(ambient_dim, dim, generator=generator, dtype=torch.float64)
            )
            for _ in range(400)
        ]
    )
    limit = draws.median() + 0.05 * (1 - draws.median())
    extreme = float((draws >= share[0]).double().mean())
    for finding, answer in rotation_answers(exact, ambient_dim, dim).items():
        if finding.startswith(("off-manifold-energy", "boundary-parallel")):
            assert answer == bool(share[0] > limit)
            assert extreme < 0.01 or not answer


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.6] * 10, True), ([0.4] * 10, False), ([0.6] * 8 + [0.4] * 2, None), ([math.nan] * 10, None)],
    ids=["above", "below", "mixed", "unknown"],
)
def test_a_claim_about_a_median_has_an_answer_where_nearly_all_inputs_agree(values, expected):
    finding = "off-manifold-energy-stated-builtin"
    found = answers({finding: torch.tensor(values)})
    assert found == ({} if expected is None else {finding: expected})


def test_the_test_of_a_finding_is_found_by_its_id():
    test = declared("boundary-clings-controlled-builtin")
    assert (test.control, test.claim.direction) == ("rotation", "less")
    with pytest.raises(KeyError):
        declared("no-such-stated-builtin")


def test_the_nearest_example_of_another_class_is_that_of_a_loop():
    subject = made("half way").subject
    expected = [
        min(
            float((x.double() - other.double()).norm())
            for other, label in zip(subject.x_train, subject.y_train, strict=True)
            if label != y
        )
        for x, y in zip(subject.x, subject.y, strict=True)
    ]
    assert nearest_other_class(subject).tolist() == pytest.approx(expected, rel=1e-5)
