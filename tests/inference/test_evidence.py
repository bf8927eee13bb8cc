"""Evidence from arrays of any kind: ratios of censored distances, and networks as replicates."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from dmmcheck.errors import CheckError
from dmmcheck.inference.evidence import Claim, Evidence


@pytest.mark.parametrize(
    "values",
    [
        [1, 2.5, math.inf],
        (1, 2.5, math.inf),
        np.array([[1.0], [2.5], [np.inf]], dtype=np.float32),
        torch.tensor([1.0, 2.5, math.inf]),
        torch.tensor([1.0, 2.5, math.inf], requires_grad=True),
    ],
    ids=["list", "tuple", "column", "tensor", "tensor-with-gradient"],
)
def test_values_of_any_kind_become_one_number_for_each_input(values):
    evidence = Evidence.of(values)
    assert evidence.values.dtype == np.float64
    assert evidence.values.tolist() == [1, 2.5, math.inf]


def test_everything_beside_the_values_is_kept():
    replicates = (np.array([0.0, 1.0]), np.array([1.0]))
    evidence = Evidence.of(
        [1.0], censored=3, summary="mean", chance=0.1, replicates=replicates, note="at step 3", unit="training"
    )
    assert (evidence.unit, evidence.replications) == ("training", 2)
    assert (Evidence.of([1.0, 2.0, 3.0]).unit, Evidence.of([1.0, 2.0, 3.0]).replications) == ("input", 3)
    assert (evidence.censored, evidence.summary, evidence.chance, evidence.note) == (3, "mean", 0.1, "at step 3")
    assert [row.tolist() for row in evidence.replicates] == [[0.0, 1.0], [1.0]]
    assert (Evidence.of([1.0]).summary, Evidence.of([1.0]).chance, Evidence.of([1.0]).replicates) == (
        "median",
        None,
        None,
    )


def test_the_former_name_of_replicates_warns_and_works():
    with pytest.warns(DeprecationWarning, match="the argument draws of Evidence.of is now replicates") as warned:
        evidence = Evidence.of([1.0], draws=[np.array([0.5])], unit="training")
    assert [row.tolist() for row in evidence.replicates] == [[0.5]]
    assert warned[0].filename == __file__


def test_a_ratio_of_censored_distances_is_on_its_side_or_undefined():
    evidence = Evidence.ratio([1.0, np.inf, 1.0, np.inf], [2.0, 2.0, np.inf, np.inf])
    assert evidence.values[:3].tolist() == [0.5, np.inf, 0.0]
    assert math.isnan(evidence.values[3])
    assert evidence.censored == 3


def test_a_ratio_takes_tensors():
    evidence = Evidence.ratio(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]))
    assert (evidence.values.tolist(), evidence.censored) == ([0.5, 2.0], 0)


def test_other_networks_are_compared_by_their_median_and_each_is_a_replicate():
    own, others = [4.0, 6.0, 8.0], [[1.0, 1.0, 1.0], [2.0, 3.0, 4.0], [4.0, 6.0, 8.0]]
    evidence = Evidence.against(own, others)
    assert evidence.values.tolist() == [2.0, 2.0, 2.0]
    assert [row.tolist() for row in evidence.replicates] == [[4.0, 6.0, 8.0], [2.0, 2.0, 2.0], [1.0, 1.0, 1.0]]
    assert (evidence.unit, evidence.replications) == ("untrained network", 3)


@pytest.mark.parametrize(
    ("replicates", "unit", "words"),
    [
        ([0.5, 0.7], "training", "single numbers, expected a row of numbers .* pass these as values, with unit="),
        ([[0.5], [0.7]], "input", 'comes with the unit "input".*say what a row is, with unit="training"'),
    ],
)
def test_replicates_are_rows_and_say_what_they_are(replicates, unit, words):
    with pytest.raises(CheckError, match=words):
        Evidence.of([1.0], replicates=replicates, unit=unit)


def test_a_claim_counts_any_difference_unless_told():
    assert Claim(threshold=1.0, direction="less").min_effect == 0


class Silent:
    def __repr__(self):
        raise KeyError("no")


NUMBERS = "expected one number for each input"
REFUSED = [
    *(
        ((value,), {}, NUMBERS)
        for value in (None, "abc", [1, "a"], {1: 2}, 1 + 2j, [10**400], Silent(), [[1, 2], [3, 4]])
    ),
    (([1, 2],), {"summary": "mode"}, "summary of the evidence is 'mode', expected 'median' or 'mean'"),
    (([1, 2],), {"summary": None}, "expected 'median' or 'mean'"),
    (([0.5, 1],), {"summary": "mean"}, "which is of values 0 and 1"),
    *((([1, 2],), {"censored": count}, "expected a whole number >= 0") for count in (-1, "a", 1.5, True, None)),
    *((([1, 2],), {"chance": level}, "chance of the evidence is .*, expected a finite") for level in ("a", math.nan)),
    *((([1, 2],), {"note": note}, "note of the evidence is .*, expected a text") for note in (5, None)),
    *((([1, 2],), {"unit": unit}, "unit of the evidence is .*, expected 'input'") for unit in ("foo", None)),
    *(
        (([1],), {"replicates": rows, "unit": "training"}, "replicates|one number")
        for rows in (5, "ab", ["ab"], [None])
    ),
]


@pytest.mark.parametrize(("args", "given", "words"), REFUSED, ids=range(len(REFUSED)))
def test_evidence_is_refused_where_it_is_made(args, given, words):
    with pytest.raises(CheckError, match=words) as error:
        Evidence.of(*args, **given)
    assert len(str(error.value)) < 400


def test_evidence_made_by_hand_has_an_array():
    with pytest.raises(CheckError, match=r"use dmmcheck\.Evidence\.of\(values\)"):
        Evidence([1, 2])


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0],
        iter([1, 2]),
        np.array([[1], [2]], dtype=np.int8),
        torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
        torch.tensor([1.0, 2.0]).to_sparse(),
        torch.tensor([1.0, 2.0], requires_grad=True),
    ],
    ids=["list", "iterator", "column", "bfloat16", "sparse", "grad"],
)
def test_evidence_takes_numbers_of_any_kind(values):
    assert Evidence.of(values).values.tolist() == [1.0, 2.0]


def test_a_masked_value_is_not_known():
    values = Evidence.of(np.ma.array([1.0, 7.0], mask=[False, True])).values
    assert values[0] == 1.0
    assert np.isnan(values[1])


@pytest.mark.parametrize("others", [[], 5, [[1, 2, 3]]])
def test_evidence_against_networks_needs_their_numbers(others):
    with pytest.raises(CheckError, match="as many numbers for each as for the model under test"):
        Evidence.against([1, 2], others)


def test_a_ratio_needs_as_many_numbers_of_each():
    with pytest.raises(CheckError, match="a ratio of 2 and 3 numbers"):
        Evidence.ratio([1, 2], [1, 2, 3])


def test_what_is_no_number_is_named():
    for given, words in (
        (None, r"the evidence is None, .*\(TypeError: None\)"),
        (1j, r"\(TypeError: complex numbers\)"),
    ):
        with pytest.raises(CheckError, match=words):
            Evidence.of(given)
    with pytest.raises(CheckError, match=r"\(TypeError: complex numbers\)"):
        Evidence.of(torch.tensor([1j, 2.0]))
    with pytest.raises(CheckError, match=r"the evidence has the shape \(1, 2, 2\), expected one number"):
        Evidence.of(np.zeros((1, 2, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble, np.int64])
def test_evidence_made_by_hand_has_double_precision(dtype):
    with pytest.raises(CheckError, match="expected a float64 array"):
        Evidence(np.ones(3, dtype=dtype))
    for shape in ((3, 1), ()):
        with pytest.raises(CheckError, match="expected a float64 array"):
            Evidence(np.ones(shape))


def test_one_number_is_evidence_and_so_are_rows_of_one():
    assert Evidence.of(2.5).values.tolist() == [2.5]
    assert Evidence.of(np.ones((1, 1, 4))).values.tolist() == [1.0] * 4
    assert Evidence.of([]).values.tolist() == Evidence.of(np.ones((0, 3))).values.tolist() == []
    for many in (np.ones(300), np.ones((300, 1)), np.ones((1, 300))):
        assert Evidence.of(many).values.tolist() == [1.0] * 300


def test_counts_and_levels_may_be_numbers_of_numpy():
    evidence = Evidence.of([1.0], censored=np.int32(0), chance=np.float32(0.5))
    assert (evidence.censored, evidence.chance) == (0, 0.5)
    for chance in (math.inf, -math.inf):
        with pytest.raises(CheckError, match="expected a finite number, or None"):
            Evidence.of([1.0], chance=chance)


def test_the_mean_is_of_zeros_and_ones_and_values_that_are_not_known():
    assert Evidence.of([0, 1, math.nan], summary="mean").summary == "mean"
    for other in (2.0, -1.0, 0.5, math.inf):
        with pytest.raises(CheckError, match="which is of values 0 and 1"):
            Evidence.of([0, 1, other], summary="mean")
        assert Evidence.of([0, 1, other]).summary == "median"


def test_evidence_is_the_same_only_as_itself_and_cannot_be_changed():
    one, other = Evidence.of([1.0, 2.0]), Evidence.of([1.0, 2.0])
    assert one == one  # noqa: PLR0124
    assert one != other
    for thing in (one, Claim(threshold=0.0, direction="less")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            thing.threshold = 1.0


def test_a_ratio_counts_the_inputs_with_a_censored_distance_once():
    evidence = Evidence.ratio([math.inf, math.inf, 1.0, 0.0, 6.0], [math.inf, 1.0, math.inf, 4.0, 4.0])
    assert evidence.censored == 3
    assert evidence.values.tolist()[1:] == [math.inf, 0.0, 0.0, 1.5]


def test_networks_with_as_many_numbers_each_are_compared_one_by_one():
    evidence = Evidence.against([3.0, 8.0], [[1.0, 2.0]])
    assert (evidence.values.tolist(), evidence.replicates[0].tolist()) == ([3.0, 4.0], [3.0, 4.0])
    with pytest.raises(CheckError, match=r"the untrained networks have 2, 3 numbers, expected .* under test \(2\)"):
        Evidence.against([1, 2], [[1, 2], [1, 2, 3]])
    with pytest.raises(CheckError, match="the untrained networks have no numbers"):
        Evidence.against([1, 2], [])
    with pytest.raises(CheckError, match=r"the untrained networks have 3, 3 numbers"):
        Evidence.against([1, 2], [[1, 2, 3], [1, 2, 3]])


@pytest.mark.parametrize(
    "bound",
    [np.array([0.5, 3.0]), np.array([2.0]), [2.0, 3.0], np.array([2, 3])],
    ids=["below", "few", "list", "whole"],
)
def test_an_upper_bound_is_an_array_that_no_value_exceeds(bound):
    evidence = Evidence.of([1.0, 2.0])
    with pytest.raises(
        CheckError, match=r"at_most of the evidence is .* expected one number for each value, not below"
    ):
        dataclasses.replace(evidence, at_most=bound)
    assert dataclasses.replace(evidence, at_most=np.array([1.0, np.nan])).at_most is not None


def test_the_upper_bound_of_a_rate_is_a_rate():
    assert Evidence.of([0, 1], summary="mean", at_most=[1, 1]).at_most.tolist() == [1, 1]
    with pytest.raises(CheckError, match="at_most of the evidence"):
        Evidence.of([0, 1], summary="mean", at_most=[0.5, 1])
