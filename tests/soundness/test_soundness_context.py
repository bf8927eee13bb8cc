"""The input of the gates, and the items they make."""

from __future__ import annotations

import math
from dataclasses import replace

import contexts
import pytest
import torch

from dmmcheck.attacks.search_space import Everywhere
from dmmcheck.soundness import bounded, info, judged
from dmmcheck.soundness.context import median, percent, ratio


@pytest.mark.parametrize(
    ("limits", "value", "ok"),
    [
        ({"most": 1.0}, 1.0, True),
        ({"most": 1.0}, 1.1, False),
        ({"least": 1.0}, 1.0, True),
        ({"least": 1.0}, 0.9, False),
        ({"most": 1.0}, math.nan, False),
        ({"least": 1.0}, math.nan, False),
    ],
)
def test_a_bounded_item_fails_beyond_its_limit_and_for_nan(limits, value, ok):
    item = bounded("name", value, **limits, finding="found", remedy="mend")
    assert (item.ok, item.limit) == (ok, 1.0)
    assert item.message == ("found" if ok else "found; mend")


def test_a_bounded_item_without_a_limit_is_refused():
    with pytest.raises(ValueError, match="the item 'name' has no limit; give most or least"):
        bounded("name", 1.0, finding="found", remedy="mend")


def test_an_informational_item_has_no_verdict_and_a_judged_one_that_of_its_gate():
    assert (info("name", "m", 2.0).ok, info("name", "m", 2.0).value) == (None, 2.0)
    assert judged("name", False, 1.0, None, finding="found", remedy="mend").message == "found; mend"
    assert judged("name", True, 1.0, None, finding="found", remedy="mend").message == "found"


def test_medians_leave_out_nan_and_keep_infinities():
    assert median(torch.tensor([1.0, math.nan, 3.0, math.inf])) == 3.0
    assert math.isnan(median(torch.tensor([math.nan])))


def test_ratios_of_infinite_distances_are_one_or_zero():
    a, b = torch.tensor([1.0, math.inf, 2.0]), torch.tensor([2.0, math.inf, math.inf])
    assert ratio(a, b).tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize(("value", "text"), [(0.0, "0%"), (0.004, "0.4%"), (0.25, "25%"), (1.0, "100%")])
def test_percentages_have_two_digits_at_most(value, text):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        (0.947, 0.95, "94.7%"),
        (0.9496, 0.95, "94.96%"),
        (0.0104, 0.01, "1.04%"),
        (0.95, 0.95, "95%"),
        (0.5, 0.95, "50%"),
        (math.nan, 0.05, "nan%"),
    ],
)
def test_a_percentage_is_never_rounded_to_a_limit_that_it_differs_from(value, limit, text):
    assert percent(value, limit) == text


def test_search_spaces_and_distances_are_those_of_the_arms():
    context = contexts.plain()
    v = torch.randn(context.x.shape, generator=torch.Generator().manual_seed(0))
    tangent = v @ context.basis @ context.basis.T
    assert isinstance(context.space("free"), Everywhere)
    torch.testing.assert_close(context.space("tangent").project(v), tangent)
    torch.testing.assert_close(context.space("normal").project(v), v - tangent)
    assert torch.equal(context.distance("free", 5), context.crossings["free"].distance[:5])


def test_another_search_with_the_same_effort_finds_the_crossings_of_the_context():
    context = contexts.plain()
    with context.classifier.evaluation():
        again = context.searched(context.classifier, "tangent", slice(8), "default")
    torch.testing.assert_close(again.distance, context.distance("tangent", 8), rtol=1e-2, atol=0)


def test_random_streams_are_the_same_for_a_name_and_differ_between_names():
    context = contexts.plain()
    draws = [torch.rand(3, generator=context.random(*names)) for names in (("a",), ("a",), ("b",), ("a", "b"))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])


def test_the_typical_length_is_the_smaller_of_search_and_segment():
    context = contexts.plain()
    nearest = torch.minimum(context.distance("free"), context.segments.distance)
    assert float(context.length) == float(nearest.median())
    unfound = replace(contexts.lost(context, "free"), y_pool=torch.zeros_like(context.y_pool))
    assert float(unfound.length) > 0
