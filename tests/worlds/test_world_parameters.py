"""A parameter that no world has is named in one clear error, and the least sizes work."""

from __future__ import annotations

import inspect
import math
from functools import partial

import pytest

from dmmcheck import worlds
from dmmcheck.errors import SubjectError

MAKERS = {
    **{name: getattr(worlds, name) for name in ("blind", "crossed", "dimpled", "haar", "hyperplane", "neighbours")},
    **{name: getattr(worlds, name) for name in ("pair", "random_subspace", "rotated", "sheets", "sphere", "training")},
    **{name: getattr(worlds, name) for name in ("trainings", "at_limits")},
    "unsound": partial(worlds.unsound, kind="step"),
}
LEAST_DIM = {"at_limits": 3, **dict.fromkeys(("dimpled", "pair", "training", "trainings", "neighbours", "unsound"), 2)}
NORMAL_DIM = {"at_limits": 2, "neighbours": 2, "unsound": 2, "rotated": 3}
TOO_SMALL = {"samples": 7, "dim": 0, "ambient_dim": 8, "classes": 1, "copies": 0, "reference_models": -1, "count": 0}
NOT_NEGATIVE = ("noise", "spread", "jitter", "angle")
POSITIVE = ("depth", "height", "radius", "curvature", "standard", "robust", "alternative")


def parameters(name):
    return set(inspect.signature(MAKERS[name]).parameters)


def refused(name, parameter, value):
    with pytest.raises(SubjectError, match=rf"^a world cannot have {parameter}.* = .*; (give|choose) "):
        MAKERS[name](**{parameter: value}, seed=0)


def test_every_world_is_tried():
    makers = {name for name, one in vars(worlds).items() if inspect.isfunction(one)} - {"at_limits"}
    assert makers - {"turned", "scaled", "stretched", "shuffled"} == set(MAKERS) - {"at_limits"}


@pytest.mark.parametrize("name", MAKERS)
def test_sizes_that_are_too_small_or_no_integers_are_refused(name):
    asked = sorted(parameters(name) & set(TOO_SMALL))
    assert {"samples", "dim", "ambient_dim"} <= set(asked)
    for parameter in asked:
        for value in (TOO_SMALL[parameter], -1, 8.5, True):
            refused(name, parameter, value)


@pytest.mark.parametrize("name", MAKERS)
def test_numbers_beyond_their_limits_are_refused(name):
    for parameter in parameters(name) & {*NOT_NEGATIVE, *POSITIVE}:
        for value in (-1.0, math.nan, math.inf, "1", *((0.0,) if parameter in POSITIVE else ())):
            refused(name, parameter, value)


@pytest.mark.parametrize("name", MAKERS)
def test_the_least_sizes_make_a_world_and_one_dimension_less_is_refused(name):
    dim = LEAST_DIM.get(name, 1)
    ambient_dim = dim + NORMAL_DIM.get(name, 1) * (dim if name == "rotated" else 1)
    least = {"samples": 8, "dim": dim, "ambient_dim": ambient_dim}
    if "classes" in parameters(name):
        least["classes"] = 2
    world = MAKERS[name](**least, seed=0)
    assert tuple(world.subject.x.shape) == (8, ambient_dim)
    for parameter in ("dim", "ambient_dim"):
        with pytest.raises(SubjectError, match=f"^a world cannot have {parameter} = {least[parameter] - 1}; give an "):
            MAKERS[name](**{**least, parameter: least[parameter] - 1}, seed=0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (partial(worlds.unsound, kind="hidden"), "kind = 'hidden'; choose one of saturated, "),
        (partial(worlds.neighbours, layout="ring"), "layout = 'ring'; choose one of simplex, line"),
        (partial(worlds.dimpled, profile="flat"), "profile = 'flat'; choose one of pleats, smooth"),
        (partial(worlds.hyperplane, angle=90), "angle = 90; give a number of at least 0 and below 90"),
        (partial(worlds.dimpled, jitter=0.5), "jitter = 0.5; give a number of at least 0 and below 0.5"),
        (partial(worlds.neighbours, classes=14, dim=4), "dim = 4; give an integer of at least 14"),
        (partial(worlds.training, depths=()), "depths = 0; give an integer of at least 1"),
        (partial(worlds.training, depths=(0.1, -0.1)), r"depths\[1\] = -0.1; give a number of at least 1e-06"),
        (
            partial(worlds.random_subspace, image=(3, 3)),
            r"image = \(3, 3\); give a shape with ambient_dim = 100 ",
        ),
    ],
)
def test_the_error_names_value_limit_and_remedy(make, named):
    with pytest.raises(SubjectError, match=f"^a world cannot have {named}"):
        make(seed=0)


@pytest.mark.parametrize("factor", ["inputs", "logits"])
def test_units_are_positive(factor):
    world = worlds.sheets(samples=8, seed=0)
    with pytest.raises(SubjectError, match=f"^a world cannot have {factor} = 0; give a number of at least 1e-06$"):
        worlds.scaled(world, **{factor: 0})


def test_classes_on_a_line_need_no_more_than_one_dimension():
    world = worlds.neighbours(classes=5, dim=1, ambient_dim=6, layout="line", samples=8, seed=0)
    assert world.subject.x.shape == (8, 6)
