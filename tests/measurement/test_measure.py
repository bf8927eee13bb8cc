"""One measurement: blocks that are computed once whichever check asks, reference models, attacks, efforts and costs."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import views
from torch import nn

import dmmcheck
from dmmcheck import worlds
from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.minimal_norm.oracle import MarginOracle
from dmmcheck.config.settings import Settings
from dmmcheck.errors import AttackError, CheckError
from dmmcheck.inference.types import ARMS
from dmmcheck.measurement.crossings import joined, joined_in_place
from dmmcheck.measurement.measure import PAIR, UNTRAINED, margin_gradient
from dmmcheck.measurement.store import Store
from dmmcheck.measurement.view import View
from dmmcheck.models.torch import adapt
from dmmcheck.run import SOUNDNESS_KEY, Run

SAMPLES = 100  # looks at 32, 64 and 100


class Swap(nn.Module):
    """The two classes exchanged."""

    def forward(self, z):
        return z.flip(1)


@pytest.fixture
def world():
    return worlds.sphere(ambient_dim=12, dim=3, samples=SAMPLES, seed=0)


@pytest.fixture
def counting(world):
    return views.Counting(world.subject.model)


@pytest.fixture
def measure(world, counting):
    return Run(replace(world.subject, model=counting), Settings()).measure


def test_the_looks_are_the_ends_of_the_blocks(measure):
    assert measure.looks == (32, 64, 100)
    for key in (("search",), ("targeted", "free", 0)):
        assert [rows.stop for rows in measure._cover(100, key)] == [32, 64, 100]
        assert [rows.stop for rows in measure._cover(33, key)] == [32, 64]
        assert [rows.stop for rows in measure._cover(8, key)] == [32]


def test_searches_of_many_inputs_have_more_blocks_than_looks(measure, monkeypatch):
    measure.looks = (32, 64, 128, 256, 400)
    others = [rows.stop for rows in measure._cover(400, ("targeted", "free", 0))]
    assert others == [32, 64, 128, 256, 400]
    for key in (("search",), ("search", "tangent")):
        blocks = measure._cover(400, key)
        assert [rows.stop for rows in blocks] == [32, 64, 128, 192, 256, 320, 384, 400]
        assert [rows.start for rows in blocks] == [0, *(rows.stop for rows in blocks[:-1])]
        assert [measure._cover(n, key) for n in (65, 129)] == [blocks[:3], blocks[:5]]
    for asked, answer in (("is_differentiable", False), ("waits", True)):  # a few calls for all inputs of a block
        with monkeypatch.context() as patch:
            patch.setattr(f"dmmcheck.measurement.measure.{asked}", lambda value, answer=answer: answer)
            assert [rows.stop for rows in measure._cover(400, ("search",))] == others
    measure.looks = (400,)
    assert measure._cover(400, ("search",)) == [slice(0, 400)]  # the first inputs are searched together


def test_what_is_measured_is_not_measured_again(measure, counting):
    View.of(measure, 64).distance("free")
    spent = counting.calls
    for n in (8, 32, 64):
        for arm in ARMS:
            View.of(measure, n).distance(arm)
    assert counting.calls == spent
    View.of(measure, 65).distance("free")
    assert counting.calls > spent


@pytest.mark.parametrize("ask", [lambda view: view.boundary_gradient(), lambda view: view.input_gradient()])
def test_gradients_are_taken_once(measure, counting, ask):
    whole = ask(View.of(measure))
    spent = counting.calls
    assert torch.equal(ask(View.of(measure, 40)), whole[:40])
    assert counting.calls == spent


@pytest.mark.parametrize("order", [(100, 32, 64), (5, 70, 100), (64, 100, 3)])
def test_a_number_does_not_depend_on_who_asked_first(world, order):
    reference = View.of(Run(world.subject, Settings()).measure)
    measure = Run(world.subject, Settings()).measure
    for n in order:
        view = View.of(measure, n)
        for arm in ARMS:
            assert np.array_equal(view.distance(arm), reference.distance(arm)[:n])
        assert torch.equal(view.boundary_gradient(), reference.boundary_gradient()[:n])


def test_the_three_arms_of_the_model_under_test_are_nested(measure):
    free, on, off = (View.of(measure).distance(arm) for arm in ARMS)
    assert bool((free <= np.minimum(on, off)).all())


def test_the_gradient_of_a_model_that_ignores_its_input_is_zero():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    constant = adapt(lambda points: torch.tensor([[1.0, 0.0]]).repeat(len(points), 1), x)
    assert torch.equal(margin_gradient(constant, x, torch.zeros(4, dtype=torch.long)), torch.zeros(4, 3))


def test_at_most_ten_classes_are_targets_the_same_ones_for_a_seed():
    world = worlds.neighbours(ambient_dim=40, dim=14, classes=14, samples=40, seed=0)
    chosen = [Run(world.subject, Settings(seed=seed)).measure.target_classes() for seed in (0, 0, 1)]
    assert len(set(chosen[0])) == 10
    assert chosen[0] == chosen[1] != chosen[2]
    assert max(chosen[0]) < 14


@pytest.mark.parametrize("name", PAIR)
def test_the_models_of_a_pair_are_measured_at_the_true_labels(name):
    world = worlds.pair(ambient_dim=12, dim=3, samples=40, seed=0)
    wrong = nn.Sequential(world.subject.robust, Swap())
    measure = Run(replace(world.subject, robust=wrong), Settings()).measure
    paired = measure.paired_model(name)
    assert torch.equal(paired.sample.y, measure.sample.y)
    if name == "standard":
        assert paired is measure  # nothing is measured twice
    else:
        assert bool((View.of(paired).distance("free") == 0).all())  # all misclassified


def test_other_reference_models_are_measured_at_their_own_predictions():
    world = worlds.training(ambient_dim=12, dim=3, samples=40, seed=0)
    swapped = nn.Sequential(world.subject.model, Swap())
    measure = Run(replace(world.subject, factory=lambda seed: swapped), Settings()).measure
    untrained = measure.paired_model(UNTRAINED[0])
    assert torch.equal(untrained.sample.y, 1 - measure.sample.y)
    assert np.allclose(View.of(untrained).distance("normal"), View.of(measure).distance("normal"), rtol=1e-3)


def test_reference_models_are_made_once_from_seeds_after_that_of_the_run():
    made = []
    world = worlds.training(depths=(0.4, 0.3, 0.2), ambient_dim=12, dim=3, samples=40, seed=0)

    def factory(seed):
        made.append(seed)
        return world.subject.factory(seed)

    measure = Run(replace(world.subject, factory=factory), Settings(seed=5)).measure
    assert [measure.paired_model(name) is measure.paired_model(name) for name in UNTRAINED[:8]] == [True] * 8
    assert made == list(range(5, 13))


def test_a_result_is_cached_under_its_key(measure):
    calls = []

    def compute():
        calls.append(1)
        return "result", 7

    found = [measure.cached(("key",), compute) for _ in range(3)]
    assert [result for result, _ in found] == ["result"] * 3
    assert [cost.gradient_evaluations for _, cost in found] == [7] * 3
    assert calls == [1]


def test_the_correctly_classified_inputs_are_those_of_the_measured_model(world):
    measure = Run(world.subject, Settings()).measure
    assert measure.correctly_classified() is measure
    whole = measure.sample
    number = torch.arange(SAMPLES)
    measure.sample = replace(whole, y=torch.where(number < 50, whole.y, 1 - whole.y))
    assert torch.equal(measure.correctly_classified().sample.x, whole.x[:50])
    assert measure.correctly_classified().sample.accuracy == 50 / SAMPLES  # not that of the model under test
    assert measure.correctly_classified().sample.labelled == SAMPLES
    measure.sample = replace(whole, y=torch.where(number < 7, whole.y, 1 - whole.y))
    assert torch.equal(measure.correctly_classified().sample.x, whole.x)  # seven are too few to measure
    assert measure.correctly_classified().sample.accuracy == 7 / SAMPLES


def test_crossings_join_in_order(measure):
    blocks = [block["free"] for block in measure.cached_blocks(("search",), 100, measure._search_block)]
    whole = joined(blocks, 70)
    assert torch.equal(whole.distance, torch.cat([block.distance for block in blocks])[:70])
    assert whole.point.shape == (70, 12)


def test_tangent_spaces_of_later_inputs_are_searched_where_a_claim_asks_for_them():
    measure = Run(views.subject(samples=SAMPLES), Settings()).measure
    measure.crossings(SAMPLES, "normal")
    blocks = measure.cached_blocks(("search",), SAMPLES, None)
    assert [set(block) for block in blocks] == [set(ARMS), set(ARMS), {"free", "normal"}]
    keys = (("search",), ("class-gradients",))
    before = sum(measure.cost(key, SAMPLES).gradient_evaluations for key in keys)
    view = replace(View.of(measure, SAMPLES), _used={})
    found = view.crossing("tangent")
    alone = measure.search_in(slice(64, SAMPLES), "tangent", measure.field, measure.effort)
    assert torch.equal(found.distance[64:], alone.distance)
    assert view.spent().gradient_evaluations == before + int(alone.backwards.sum())
    assert torch.equal(view.crossing("free").distance[64:], blocks[2]["free"].distance)  # as before it was asked for


@pytest.mark.parametrize("session", [False, True], ids=["store", "other process"])
def test_later_tangent_spaces_are_kept_and_shared(tmp_path, session):
    given = views.subject(samples=160)
    found, calls = [], []
    for folder in (tmp_path, tmp_path, None):
        counted = views.Counting(given.model)
        measure = Run(replace(given, model=counted), Settings()).measure
        setattr(measure, "_session" if session else "_store", None if folder is None else Store(folder))
        counted.calls = 0
        found.append([measure.crossings(160, arm).distance for arm in ("normal", "tangent", "free")])
        calls.append(counted.calls)
    assert calls[1] < 5 < calls[0]  # what a measurement depends on takes a few calls
    for first, again, unshared in zip(*found, strict=True):
        assert torch.equal(first, again)
        torch.testing.assert_close(first, unshared)


def test_the_processes_of_a_run_know_of_each_other_what_is_assessed(tmp_path):
    runs = [Run(views.subject(samples=64), Settings()) for _ in range(2)]
    for run in runs:
        run.measure._session = Store(tmp_path)
    assert not runs[1].measure.is_known(SOUNDNESS_KEY)
    assert runs[0].soundness
    assert runs[1].measure.is_known(SOUNDNESS_KEY)


def test_a_model_without_gradients_is_searched_in_all_arms_together():
    def labels(x):
        return (np.asarray(x).sum(1) > 0).astype(int)

    given = views.subject(samples=SAMPLES)
    y, y_train = (torch.from_numpy(labels(x)) for x in (given.x, given.x_train))
    measure = Run(replace(given, model=labels, y=y, y_train=y_train), Settings(effort="quick")).measure
    measure.crossings(SAMPLES, "free")
    blocks = measure.cached_blocks(("search",), SAMPLES, None)
    assert [set(block) for block in blocks] == [set(ARMS)] * len(measure.looks)
    assert measure.looks[-1] > 80  # beyond the first 64 inputs


@pytest.mark.parametrize("first", ["draws", "targeted", "all arms"])
def test_gradients_at_the_first_inputs_are_taken_once_for_all_searches(monkeypatch, first):
    asked, at_inputs = [], MarginOracle.at_inputs

    def counted(oracle, inputs, own, count):
        asked.append(len(inputs))
        return at_inputs(oracle, inputs, own, count)

    monkeypatch.setattr(MarginOracle, "at_inputs", counted)
    measure = Run(views.subject(samples=SAMPLES), Settings()).measure
    searches = {
        "draws": lambda: measure.search_fields(16, "tangent", [measure.field] * 2, "brief"),
        "targeted": lambda: measure.targeted(32, "free"),
        "all arms": lambda: measure.crossings(32, "tangent"),
        "part": lambda: measure.part(slice(16, 32)).search_in(slice(0, 16), "normal", measure.field, "brief"),
    }
    for search in (searches.pop(first), *searches.values()):
        search()
        assert asked == [32]
    measure.crossings(SAMPLES, "normal")
    assert asked == [32, 32, SAMPLES - 64]  # later inputs have one search


def test_gradients_at_inputs_of_many_features_are_not_kept(monkeypatch):
    needed = 64 * views.D * (views.CLASSES - 1)
    monkeypatch.setattr("dmmcheck.measurement.measure.MOST_GRADIENTS", needed - 1)
    measure = Run(views.subject(samples=SAMPLES), Settings()).measure
    assert measure._known_at(slice(0, 16)) is None
    monkeypatch.setattr("dmmcheck.measurement.measure.MOST_GRADIENTS", needed)
    assert len(measure._known_at(slice(0, 16)).logits) == 16
    assert measure._known_at(slice(64, SAMPLES)) is None  # one search alone begins with those of later inputs


def test_crossings_do_not_depend_on_the_order_in_which_they_are_asked_for():
    asked = [(32, "tangent"), (SAMPLES, "tangent"), (64, "normal"), (SAMPLES, "free"), (64, "tangent")]
    found = []
    for order in (asked, asked[::-1]):
        measure = Run(views.subject(samples=SAMPLES), Settings()).measure
        found.append({(n, arm): measure.crossings(n, arm).distance for n, arm in order})
    for n, arm in asked:
        assert torch.equal(found[0][n, arm], found[1][n, arm])
        assert torch.equal(found[0][n, arm], measure.crossings(SAMPLES, arm).distance[:n])


def test_a_quick_search_takes_fewer_gradient_evaluations_than_a_default_one_and_that_fewer_than_a_thorough_one():
    spent, medians = {}, {}
    for effort in ("quick", "default", "thorough"):
        seen = replace(views.view(views.subject(), 32, effort=effort), _used={})
        medians[effort] = float(np.median(seen.distance("free")))
        spent[effort] = seen.spent().gradient_evaluations
        assert seen.measurement.effort == effort
    assert 0 < spent["quick"] < spent["default"] < spent["thorough"]
    assert medians["thorough"] <= medians["quick"] * (1 + 1e-6)


def test_reference_models_and_training_examples_are_searched_with_the_effort_of_the_run():
    measure = views.view(views.subject(robust=views.network(1), factory=views.network), effort="quick").measurement
    others = (measure.paired_model("robust"), measure.paired_model(UNTRAINED[0]), measure.training())
    assert [other.effort for other in others] == ["quick"] * 3


class Radial:
    """An own attack: walks along the margin gradient, in the search space, to the first changed label."""

    name = "radial"

    def __init__(self):
        self.given = []

    def __call__(self, model, x, y, *, space, bounds=None, generator):
        self.given.append((model, tuple(x.shape), bounds, generator))
        direction = space.project(-margin_gradient(model, x, y))
        points = x
        for length in torch.linspace(0.05, 4, 80).tolist():
            tried = x + length * direction / direction.norm(dim=1, keepdim=True)
            changed = model.logits(tried).argmax(1) != y
            still = (model.logits(points).argmax(1) == y) & changed
            points = torch.where(still[:, None], tried, points)
        return Crossing.at(points, model, x, y, backwards=1)


@pytest.mark.parametrize("arm", ARMS)
def test_an_own_attack_is_called_once_for_each_block_and_stays_in_the_search_space(arm):
    attack = Radial()
    measure = views.view(views.subject(), attacks=(attack,)).measurement
    crossing = measure.crossings(48, arm, "radial")
    assert [shape for _, shape, _, _ in attack.given] == [(32, views.D), (16, views.D)]
    measure.crossings(20, arm, "radial")
    assert len(attack.given) == 2
    assert int(crossing.found.sum()) > 24
    v = (crossing.point - measure.sample.x)[crossing.found]
    basis = measure.field.basis(slice(0, 48))
    outside = {"free": 0 * v, "tangent": v - v @ basis @ basis.T, "normal": v @ basis @ basis.T}[arm]
    torch.testing.assert_close(outside, torch.zeros_like(v), rtol=0, atol=1e-5)


def failing(message):
    def attack(model, x, y, *, space, bounds=None, generator):
        raise ZeroDivisionError(message)

    return attack


def returning(made):
    def attack(model, x, y, *, space, bounds=None, generator):
        return made(model, x, y)

    return attack


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (
            failing("by nothing"),
            "the attack attack raised ZeroDivisionError: by nothing; leave it out of attacks",
        ),
        (
            returning(lambda model, x, y: None),
            "returned a NoneType, expected a Crossing with points of shape (32, 12);",
        ),
        (returning(lambda model, x, y: x), "returned a Tensor, expected a Crossing"),
        (
            returning(lambda model, x, y: Crossing.at(x[:3], model, x[:3], y[:3])),
            "returned a Crossing whose point has another shape, expected a Crossing with points of shape (32, 12); "
            "return dmmcheck.Crossing.at(points, model, x, y)",
        ),
        (
            returning(lambda model, x, y: replace(Crossing.at(x, model, x, y), distance=x)),
            "returned a Crossing whose distance has another shape",
        ),
    ],
    ids=["raises", "nothing", "points", "fewer", "other distances"],
)
def test_an_attack_that_raises_or_returns_something_else_is_one_clear_error(attack, words):
    measure = views.view(views.subject(), attacks=(attack,)).measurement
    with pytest.raises(CheckError, match=re.escape(words)):
        measure.crossings(48, "free", "attack")


def everywhere(model, x, y, *, space, bounds=None, generator):
    return dmmcheck.boundary_search(model, x, y, generator=generator)


def test_an_attack_that_leaves_its_search_space_is_one_clear_error():
    measure = views.view(views.subject(), attacks=(everywhere,)).measurement
    assert bool(measure.crossings(48, "free", "everywhere").found.all())
    words = (
        "the attack everywhere left its search space for 32 of 32 inputs (limit 1% of a perturbation's length); move "
        "only by vectors that space.project returned"
    )
    with pytest.raises(CheckError, match=re.escape(words)):
        measure.crossings(48, "tangent", "everywhere")


def test_an_attack_that_writes_into_its_inputs_changes_none():
    def careless(model, x, y, *, space, bounds=None, generator):
        points = dmmcheck.boundary_search(model, x, y, space=space, generator=generator).point
        found = Crossing.at(points, model, x, y)
        x.zero_(), y.zero_()
        return found

    measure = views.view(views.subject(), attacks=(careless,)).measurement
    before = measure.sample.x.clone(), measure.sample.y.clone()
    measure.crossings(48, "free", "careless")
    assert torch.equal(measure.sample.x, before[0])
    assert torch.equal(measure.sample.y, before[1])


def test_an_error_of_dmmcheck_that_an_attack_raises_keeps_its_words():
    def attack(model, x, y, *, space, bounds=None, generator):
        raise AttackError("give it more memory")

    measure = views.view(views.subject(), attacks=(attack,)).measurement
    with pytest.raises(CheckError, match=r"^give it more memory$"):
        measure.crossings(48, "free", "attack")


def test_searches_of_one_effort_have_one_address_whatever_effort_came_before(measure):
    stepwise = measure.with_effort("quick").with_effort("thorough")
    assert stepwise._role == measure.with_effort("thorough")._role


def test_the_crossings_of_a_single_block_are_not_copied():
    x = torch.arange(12.0).reshape(4, 3)
    block = Crossing.at(x + 1, adapt(nn.Linear(3, 2), x), x, torch.zeros(4, dtype=torch.long))
    one, two = joined([block], 3), joined([block, block], 6)
    assert one.point.data_ptr() == block.point.data_ptr()
    assert torch.equal(one.point, block.point[:3])
    assert torch.equal(two.point, torch.cat([block.point, block.point])[:6])
    assert torch.equal(two.distance, torch.cat([block.distance, block.distance])[:6])


@pytest.mark.parametrize("n", [3, 4, 6])
def test_the_points_of_blocks_that_are_joined_in_place_are_in_memory_once(n):
    x, model = torch.arange(18.0).reshape(6, 3), nn.Linear(3, 2)
    separate = [Crossing.at(some + 1, adapt(model, x), some, some[:, 0].long() * 0) for some in (x[:4], x[4:])]
    blocks = [replace(block, point=block.point.clone()) for block in separate]
    whole, expected = joined_in_place(blocks, n), joined(separate, n)
    assert torch.equal(whole.point, expected.point)
    assert torch.equal(whole.distance, expected.distance)
    assert all(torch.equal(one.point, other.point) for one, other in zip(blocks, separate, strict=True))
    assert len({part.point.untyped_storage().data_ptr() for part in (whole, *blocks)}) == 1
    assert torch.equal(joined_in_place(blocks, n).point, whole.point)


def test_large_perturbations_are_not_kept_beside_their_crossings(measure, monkeypatch):
    small = measure.perturbations(32, "free")
    kept = set(measure._latest)
    measure._latest.clear()
    monkeypatch.setattr("dmmcheck.measurement.measure.PIECE_VALUES", small.numel() - 1)
    assert torch.equal(measure.perturbations(32, "free"), small)
    assert kept - set(measure._latest) == {("perturbations", "free", "builtin")}


@pytest.mark.parametrize("is_large", [False, True])
def test_perturbations_are_the_callers_own(measure, monkeypatch, is_large):
    monkeypatch.setattr("dmmcheck.measurement.measure.PIECE_VALUES", 1 if is_large else 1 << 22)
    expected = measure.perturbations(32, "free").clone()
    measure.perturbations(32, "free").zero_()
    assert torch.equal(measure.perturbations(32, "free"), expected)
