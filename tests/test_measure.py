"""One measurement: blocks computed once, whoever asks; twins; costs; what a view shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dmmcheck import geometry, worlds
from dmmcheck.config.settings import Settings
from dmmcheck.errors import CheckError
from dmmcheck.manifolds.fields import RotatedField
from dmmcheck.manifolds.rotations import Haar
from dmmcheck.measurement.measure import LABELLED_TWINS, UNTRAINED, joined, margin_gradient
from dmmcheck.models.torch import adapt
from dmmcheck.run import Run

SAMPLES = 100  # looks at 32, 64 and 100
ARMS = ("free", "tangent", "normal")


class Counting(nn.Module):
    """A model that counts how often it is called."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x)


@pytest.fixture
def world():
    return worlds.sphere(ambient_dim=12, dim=3, samples=SAMPLES, seed=0)


@pytest.fixture
def counting(world):
    return Counting(world.subject.model)


@pytest.fixture
def measure(world, counting):
    return Run(replace(world.subject, model=counting), Settings()).measure


def test_the_looks_are_the_ends_of_the_blocks(measure):
    assert measure.looks == (32, 64, 100)
    assert [rows.stop for rows in measure._cover(100)] == [32, 64, 100]
    assert [rows.stop for rows in measure._cover(33)] == [32, 64]
    assert [rows.stop for rows in measure._cover(8)] == [32]


def test_what_is_measured_is_not_measured_again(measure, counting):
    measure.view(64).distance("free")
    spent = counting.calls
    for n in (8, 32, 64):
        for arm in ARMS:
            measure.view(n).distance(arm)
    assert counting.calls == spent
    measure.view(65).distance("free")
    assert counting.calls > spent


@pytest.mark.parametrize("ask", [lambda view: view.boundary_gradient(), lambda view: view.input_gradient()])
def test_gradients_are_taken_once(measure, counting, ask):
    whole = ask(measure.view())
    spent = counting.calls
    assert torch.equal(ask(measure.view(40)), whole[:40])
    assert counting.calls == spent


@pytest.mark.parametrize("order", [(100, 32, 64), (5, 70, 100), (64, 100, 3)])
def test_a_number_does_not_depend_on_who_asked_first(world, order):
    reference = Run(world.subject, Settings()).measure.view()
    measure = Run(world.subject, Settings()).measure
    for n in order:
        view = measure.view(n)
        for arm in ARMS:
            assert np.array_equal(view.distance(arm), reference.distance(arm)[:n])
        assert torch.equal(view.boundary_gradient(), reference.boundary_gradient()[:n])


def test_the_three_arms_of_the_model_under_test_are_nested(measure):
    free, on, off = (measure.view().distance(arm) for arm in ARMS)
    assert bool((free <= np.minimum(on, off)).all())


def test_a_step_leads_to_the_crossing_and_is_nan_where_there_is_none():
    world = worlds.hyperplane(ambient_dim=12, dim=3, angle=0.0, samples=SAMPLES, seed=0)
    view = Run(world.subject, Settings()).measure.view()
    assert bool(torch.isnan(view.step("normal")).all())  # the normal lies in T
    assert bool(np.isinf(view.distance("normal")).all())
    step = view.step("free")
    torch.testing.assert_close(step.norm(dim=1).double(), torch.from_numpy(view.distance("free")), rtol=1e-5, atol=0)
    assert bool((view.labels(view.x + step) != view.y).all())


def test_the_boundary_gradient_is_the_normal_of_the_sphere(world, measure):
    view = measure.view()
    radial = view.x + view.step() - world.subject.model.centre
    cosine = torch.cosine_similarity(view.boundary_gradient(), radial, dim=1)
    torch.testing.assert_close(cosine.abs(), torch.ones(SAMPLES), rtol=0, atol=1e-4)


def test_margins_and_gradients_are_those_of_the_logits(world, measure):
    view = measure.view()
    with torch.no_grad():
        logits = world.subject.model(view.x)
    expected = torch.where(view.y == 1, logits[:, 1], -logits[:, 1])
    torch.testing.assert_close(view.margins(), expected)
    ball = world.subject.model
    sign = torch.where(view.y == 1, 1.0, -1.0)[:, None]
    torch.testing.assert_close(view.input_gradient(), sign * (view.x - ball.centre) / ball.radius)


def test_the_gradient_of_a_model_that_ignores_its_input_is_zero():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    constant = adapt(lambda points: torch.tensor([[1.0, 0.0]]).repeat(len(points), 1), x)
    assert torch.equal(margin_gradient(constant, x, torch.zeros(4, dtype=torch.long)), torch.zeros(4, 3))


def test_shares_and_parts_are_those_of_the_manifold(world, measure):
    view, basis = measure.view(), world.subject.manifold.basis
    v = view.noise("test")
    assert np.allclose(view.tangent_share(v), geometry.energy_share(v, basis).numpy())
    torch.testing.assert_close(view.project_tangent(v), v @ basis @ basis.T)


def test_noise_is_the_same_however_many_inputs_are_in_view_and_differs_by_purpose(measure):
    assert torch.equal(measure.view(10).noise("a"), measure.view().noise("a")[:10])
    assert not torch.equal(measure.view(10).noise("a"), measure.view(10).noise("b"))


def test_the_nearest_example_of_another_class_is_found_among_the_examples(world, measure):
    view = measure.view(40)
    distance, nearest = view.nearest_other_class()
    for x, y, found, point in zip(view.x, view.y, distance, nearest, strict=True):
        others = world.subject.x_train[world.subject.y_train != y]
        apart = (others - x).norm(dim=1)
        assert found == pytest.approx(float(apart.min()), rel=1e-5)
        assert torch.equal(point, others[apart.argmin()])


def test_without_an_example_of_another_class_there_is_none_near(world):
    subject = replace(world.subject, y_train=torch.zeros_like(world.subject.y_train))
    view = Run(subject, Settings()).measure.view()
    distance, _ = view.nearest_other_class()
    assert np.array_equal(np.isinf(distance), (view.y == 0).numpy())


def test_targeted_crossings_reach_their_class_and_cost_nothing_twice():
    world = worlds.neighbours(ambient_dim=30, dim=4, classes=4, samples=40, seed=0)
    counting = Counting(world.subject.model)
    view = Run(replace(world.subject, model=counting), Settings()).measure.view()
    classes, found = view.targeted("free")
    spent = counting.calls
    assert classes == (0, 1, 2, 3)
    for label, crossing in zip(classes, found, strict=True):
        reached = view.labels(crossing.point) == label
        assert bool(reached[crossing.found & (view.y != label)].all())
    counting.calls = 0
    view.targeted("free")
    assert counting.calls == 0
    assert spent > 0


def test_at_most_ten_classes_are_aimed_at_the_same_ones_for_a_seed():
    world = worlds.neighbours(ambient_dim=40, dim=14, classes=14, samples=40, seed=0)
    chosen = [Run(world.subject, Settings(seed=seed)).measure.target_classes() for seed in (0, 0, 1)]
    assert len(set(chosen[0])) == 10
    assert chosen[0] == chosen[1] != chosen[2]
    assert max(chosen[0]) < 14


@pytest.mark.parametrize("name", LABELLED_TWINS)
def test_a_twin_of_a_pair_is_held_to_the_true_labels(name):
    world = worlds.pair(ambient_dim=12, dim=3, samples=40, seed=0)
    wrong = nn.Sequential(world.subject.robust, Swap())
    measure = Run(replace(world.subject, robust=wrong), Settings()).measure
    twin = measure.twin(name)
    assert torch.equal(twin.sample.y, measure.sample.y)
    if name == "standard":
        assert twin is measure  # nothing is measured twice
    else:
        assert bool((twin.view().distance("free") == 0).all())  # all misclassified


class Swap(nn.Module):
    """The two classes exchanged."""

    def forward(self, z):
        return z.flip(1)


def test_other_twins_are_held_to_their_own_decisions():
    world = worlds.training(ambient_dim=12, dim=3, samples=40, seed=0)
    swapped = nn.Sequential(world.subject.model, Swap())
    measure = Run(replace(world.subject, factory=lambda seed: swapped), Settings()).measure
    twin = measure.twin(UNTRAINED[0])
    assert torch.equal(twin.sample.y, 1 - measure.sample.y)
    assert np.allclose(twin.view().distance("normal"), measure.view().distance("normal"), rtol=1e-3)


def test_twins_are_made_once_and_checkpoints_come_in_the_order_of_steps():
    made = []
    world = worlds.training(depths=(0.4, 0.3, 0.2), ambient_dim=12, dim=3, samples=40, seed=0)

    def factory(seed):
        made.append(seed)
        return world.subject.factory(seed)

    measure = Run(replace(world.subject, factory=factory), Settings(seed=5)).measure
    assert [measure.twin(name) is measure.twin(name) for name in UNTRAINED] == [True] * 8
    assert made == list(range(5, 13))
    view = measure.view()
    checkpoints = view.checkpoints()
    assert [step for step, _ in checkpoints] == [0, 100, 200]
    medians = [float(np.median(twin.distance("normal"))) for _, twin in checkpoints]
    assert medians[0] / medians[2] == pytest.approx(2.0, rel=1e-3)
    dealt = replace(view, order=(2, 0, 1)).checkpoints()
    assert [step for step, _ in dealt] == [0, 100, 200]
    assert [float(np.median(twin.distance("normal"))) for _, twin in dealt] == [medians[2], medians[0], medians[1]]


def test_costs_are_those_of_the_blocks_used_each_once(measure):
    view = replace(measure.view(64), _used={})
    for _ in range(3):
        view.distance("free")
        view.distance("normal")
    blocks = measure.blockwise(("search",), 64, None)
    expected = sum(int(crossing.backwards.sum()) for block in blocks for crossing in block.values())
    assert view.spent().gradient_evaluations == expected > 0
    assert view.spent().seconds > 0
    nothing = replace(measure.view(64), _used={})
    assert nothing.spent().gradient_evaluations == 0


def test_searches_of_a_view_of_its_own_all_count(measure):
    view = replace(measure.view(8), effort="thorough", _used={})
    each = []
    for _ in range(2):
        each.append(int(view.crossing("normal").backwards.sum()))
        assert view.spent().gradient_evaluations == sum(each)


def test_a_field_of_a_null_is_searched_only_with_an_effort_of_its_own(measure):
    rotation = Haar(12, generator=torch.Generator().manual_seed(0))
    view = replace(measure.view(16), field=RotatedField(measure.field, rotation))
    with pytest.raises(CheckError, match="the tangent arm of another tangent field needs a search of its own; declare"):
        view.distance("tangent")
    assert np.array_equal(view.distance("free"), measure.view(16).distance("free"))
    turned = replace(view, effort="quick")
    assert not np.allclose(turned.distance("tangent"), measure.view(16).distance("tangent"))


def test_a_draw_of_a_control_is_searched_once_for_all_who_ask(measure, counting):
    rotation = Haar(12, generator=torch.Generator().manual_seed(0))

    def view():
        field = RotatedField(measure.field, rotation)  # another object each time, the same spaces
        return replace(measure.view(16), field=field, effort="quick", null=("rotation", 0), _used={})

    first, again = view(), view()
    found = first.distance("tangent")
    calls = counting.calls
    assert np.array_equal(again.distance("tangent"), found)
    assert counting.calls == calls
    assert again.spent() == first.spent()
    assert first.spent().gradient_evaluations > 0
    assert np.array_equal(_distances(replace(view(), null=None)), found)
    assert counting.calls > calls
    other = replace(view(), null=("rotation", 1), field=measure.field)
    assert not np.array_equal(other.distance("tangent"), found)
    assert len(replace(view(), n=15).distance("tangent")) == 15


def _distances(view):
    return view.crossing("tangent").distance.double().numpy()


def test_once_is_once(measure):
    calls = []

    def compute():
        calls.append(1)
        return "result", 7

    view = replace(measure.view(), _used={})
    assert [view.once(("key",), compute) for _ in range(3)] == ["result"] * 3
    assert calls == [1]
    assert view.spent().gradient_evaluations == 7


def test_the_right_inputs_of_a_model_are_those_it_classifies_correctly(world):
    measure = Run(world.subject, Settings()).measure
    assert measure.right() is measure
    whole = measure.sample
    place = torch.arange(SAMPLES)
    measure.sample = replace(whole, y=torch.where(place < 50, whole.y, 1 - whole.y))
    assert torch.equal(measure.right().sample.x, whole.x[:50])
    assert measure.right().sample.accuracy == 50 / SAMPLES  # its own, not that of the model under test
    assert measure.right().sample.labelled == SAMPLES
    measure.sample = replace(whole, y=torch.where(place < 7, whole.y, 1 - whole.y))
    assert torch.equal(measure.right().sample.x, whole.x)  # seven are too few to look at
    assert measure.right().sample.accuracy == 7 / SAMPLES


def test_crossings_join_in_order(measure):
    blocks = [block["free"] for block in measure.blockwise(("search",), 100, measure._search_block)]
    whole = joined(blocks, 70)
    assert torch.equal(whole.distance, torch.cat([block.distance for block in blocks])[:70])
    assert whole.point.shape == (70, 12)
