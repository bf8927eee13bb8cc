"""What a check sees of a measurement: closed forms, naive references, draws of controls, costs, and old names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import views

from dmmcheck import geometry, worlds
from dmmcheck.attacks.probe import nothing
from dmmcheck.attacks.search import boundary_search
from dmmcheck.config.settings import Settings
from dmmcheck.errors import CheckError
from dmmcheck.manifolds import Subspace
from dmmcheck.manifolds.fields import RotatedField
from dmmcheck.manifolds.rotations import Haar
from dmmcheck.measurement.measure import ALL_ARMS_INPUTS, arm_space
from dmmcheck.measurement.view import RENAMED, View
from dmmcheck.run import Run
from dmmcheck.seeding import seeded

SAMPLES = 100


@pytest.fixture
def world():
    return worlds.sphere(ambient_dim=12, dim=3, samples=SAMPLES, seed=0)


@pytest.fixture
def counting(world):
    return views.Counting(world.subject.model)


@pytest.fixture
def measure(world, counting):
    return Run(replace(world.subject, model=counting), Settings()).measure


def test_a_view_shows_the_first_inputs_and_what_belongs_to_them(world, measure):
    view = View.of(measure, 40)
    assert torch.equal(view.x, measure.sample.x[:40])
    assert torch.equal(view.y, measure.sample.y[:40])
    assert torch.equal(view.examples.x, world.subject.x_train)
    assert torch.equal(view.examples.y, world.subject.y_train)
    assert (view.classes, view.seed, view.manifold.inner) == (2, 0, world.subject.manifold)
    assert view.classifier is measure.classifier
    assert View.of(measure).n == view.whole().n == SAMPLES


def test_without_training_data_the_examples_are_all_inputs():
    subject = views.subject(x_train=None, y_train=None)
    seen = views.view(subject, 8)
    assert torch.equal(seen.examples.x, subject.x)
    assert torch.equal(seen.examples.y, subject.y)


def test_a_perturbation_leads_to_the_crossing_and_is_nan_where_there_is_none():
    world = worlds.hyperplane(ambient_dim=12, dim=3, angle=0.0, samples=SAMPLES, seed=0)
    view = views.view(world.subject)
    assert bool(torch.isnan(view.delta("normal")).all())  # the normal lies in T
    assert bool(np.isinf(view.distance("normal")).all())
    delta = view.delta("free")
    torch.testing.assert_close(delta.norm(dim=1).double(), torch.from_numpy(view.distance("free")), rtol=1e-5, atol=0)
    assert bool((view.labels(view.x + delta) != view.y).all())


def test_the_boundary_gradient_is_the_normal_of_the_sphere(world, measure):
    view = View.of(measure)
    radial = view.x + view.delta() - world.subject.model.centre
    cosine = torch.cosine_similarity(view.boundary_gradient(), radial, dim=1)
    torch.testing.assert_close(cosine.abs(), torch.ones(SAMPLES), rtol=0, atol=1e-4)


def test_margins_and_gradients_are_those_of_the_logits(world, measure):
    view = View.of(measure)
    with torch.no_grad():
        logits = world.subject.model(view.x)
    expected = torch.where(view.y == 1, logits[:, 1], -logits[:, 1])
    torch.testing.assert_close(view.margins(), expected)
    ball = world.subject.model
    sign = torch.where(view.y == 1, 1.0, -1.0)[:, None]
    torch.testing.assert_close(view.input_gradient(), sign * (view.x - ball.centre) / ball.radius)


def test_shares_and_parts_are_those_of_the_manifold(world, measure):
    view, basis = View.of(measure), world.subject.manifold.basis
    v = view.noise("test")
    assert np.allclose(view.tangent_share(v), geometry.energy_share(v, basis).numpy())
    torch.testing.assert_close(view.project_tangent(v), v @ basis @ basis.T)
    torch.testing.assert_close(view.project_point(view.x + v), world.subject.manifold.project_point(view.x + v))


def test_noise_is_the_same_however_many_inputs_are_in_view_and_differs_by_purpose(measure):
    assert torch.equal(View.of(measure, 10).noise("a"), View.of(measure).noise("a")[:10])
    assert not torch.equal(View.of(measure, 10).noise("a"), View.of(measure, 10).noise("b"))


def test_constant_features_change_nothing_of_the_noise_of_the_others():
    def wider(x):
        return torch.cat([x[:, :5], torch.ones(len(x), 192), x[:, 5:]], 1)

    plain = views.subject()
    own = torch.arange(views.D + 192)
    own = own[(own < 5) | (own >= 197)]
    given = {name: wider(getattr(plain, name)) for name in ("x", "x_train")}
    more = replace(
        plain,
        **given,
        model=lambda x: plain.model(x[:, own]),
        manifold=Subspace(geometry.random_basis(views.D + 192, views.K, generator=torch.Generator().manual_seed(0))),
    )
    noise, expected = (views.view(subject).noise("a") for subject in (more, plain))
    assert torch.equal(noise[:, own], expected)
    assert (noise[:, 5:197].std() - 1).abs() < 0.1


def test_the_nearest_example_of_another_class_is_found_among_the_examples(world, measure):
    view = View.of(measure, 40)
    distance, nearest = view.nearest_other_class()
    for x, y, found, point in zip(view.x, view.y, distance, nearest, strict=True):
        others = world.subject.x_train[world.subject.y_train != y]
        apart = (others - x).norm(dim=1)
        assert found == pytest.approx(float(apart.min()), rel=1e-5)
        assert torch.equal(point, others[apart.argmin()])


def test_the_nearest_examples_of_the_first_inputs_are_not_looked_up_again(measure, monkeypatch):
    asked, lookup = [], View._nearest_other_class
    monkeypatch.setattr(
        View, "_nearest_other_class", lambda view, rows: asked.append((rows.start, rows.stop)) or lookup(view, rows)
    )
    first, more = (View.of(measure, n).nearest_other_class() for n in (20, 40))
    assert np.array_equal(first[0], more[0][:20])
    assert torch.equal(first[1], more[1][:20])
    assert len(first[0]) == len(first[1]) == 20
    assert sorted(set(asked)) == asked


def test_without_an_example_of_another_class_its_distance_is_infinite(world):
    subject = replace(world.subject, y_train=torch.zeros_like(world.subject.y_train))
    view = views.view(subject)
    distance, _ = view.nearest_other_class()
    assert np.array_equal(np.isinf(distance), (view.y == 0).numpy())


def test_the_largest_other_class_leaves_out_the_own_one():
    seen = views.view(views.subject(), 16)
    with torch.no_grad():
        logits = seen.classifier.logits(seen.x).tolist()
    expected = [
        max((value, label) for label, value in enumerate(row) if label != y)[1]
        for row, y in zip(logits, seen.y.tolist(), strict=True)
    ]
    assert seen.largest_other_class(seen.x).tolist() == expected


@pytest.mark.parametrize("effort", ["quick", "default", "thorough", "exhaustive"])
def test_targeted_searches_have_less_effort_than_the_measurement(monkeypatch, effort):
    seen, asked = views.view(views.subject(samples=16)), []

    def search(classifier, x, y, *, effort, **options):
        asked.append(effort)
        return nothing(x, y)

    monkeypatch.setattr("dmmcheck.measurement.measure.boundary_search", search)
    replace(seen, measurement=seen.measurement.with_effort(effort)).targeted("free")
    less = {"quick": "brief", "default": "brief", "thorough": "default", "exhaustive": "thorough"}
    assert set(asked) == {less[effort]}


@pytest.mark.parametrize("arm", ["free", "normal"])
@pytest.mark.parametrize("effort", ["quick", "default"])
def test_the_nearest_crossing_is_the_one_into_the_class_that_it_reaches(arm, effort):
    seen = views.view(views.subject(samples=100), effort=effort)
    assert seen.n > ALL_ARMS_INPUTS
    nearest, number = seen.crossing(arm), torch.arange(seen.n)
    reached = seen.labels(nearest.point)
    classes, found = seen.targeted(arm)
    for label, crossing in zip(classes, found, strict=True):
        into = (reached == label) & (seen.y != label) & nearest.found
        known = into & (number < ALL_ARMS_INPUTS)
        for part in ("point", "distance", "margin"):
            assert torch.equal(getattr(crossing, part)[known], getattr(nearest, part)[known])
        assert bool((crossing.distance[into] >= 0.999 * nearest.distance[into]).all())
        rows = slice(0, 32)
        others = torch.nonzero(~known[rows]).squeeze(1)
        alone = boundary_search(
            seen.classifier,
            seen.x[others],
            seen.y[others],
            space=arm_space(seen.measurement.field, rows, arm).rows(others),
            targets=torch.full_like(others, label),
            examples=(seen.examples.x, seen.examples.y),
            effort="brief",
            generator=seeded(seen.seed, "search"),
        )
        torch.testing.assert_close(crossing.distance[others], alone.distance, rtol=1e-4, atol=0)
    counts = [int((reached[:ALL_ARMS_INPUTS] == label).sum()) for label in classes]
    assert sum(count > 0 for count in counts) >= 2


@pytest.mark.parametrize("effort", ["default", "thorough"])
def test_targeted_searches_leave_out_the_classes_that_nearest_crossings_reach(monkeypatch, effort):
    seen, asked = views.view(views.subject(samples=40), effort=effort), dict.fromkeys(range(views.CLASSES), 0)

    def search(classifier, x, y, *, targets, **options):
        asked[int(targets[0])] += len(x)
        return nothing(x, y)

    monkeypatch.setattr("dmmcheck.measurement.measure.boundary_search", search)
    seen.targeted("free")
    known = torch.bincount(seen.labels(seen.crossing("free").point), minlength=views.CLASSES)
    assert int(known.sum()) == seen.n
    left = seen.n - known if effort == "default" else torch.full_like(known, seen.n)  # more effort finds nearer ones
    assert list(asked.values()) == left.tolist()


@pytest.mark.parametrize("arm", ["free", "tangent"])
def test_perturbations_are_computed_once_and_safe_from_who_changes_them(arm):
    seen = views.view(views.subject(samples=64), 64)
    first = seen.delta(arm)
    crossing = seen.crossing(arm)
    assert crossing is seen.crossing(arm)
    assert torch.equal(first, torch.where(crossing.found[:, None], crossing.point - seen.x, torch.nan).to(first))
    first.zero_()
    assert bool((seen.delta(arm).norm(dim=1) > 0).any())
    few = replace(seen, n=32)
    assert torch.equal(few.delta(arm), seen.delta(arm)[:32])
    assert torch.equal(few.crossing(arm).distance, crossing.distance[:32])


def test_margins_pass_through_the_model_once():
    subject = views.subject(samples=64)
    counting = views.Counting(subject.model)
    seen = views.view(replace(subject, model=counting), 32)
    counting.calls = 0
    first = seen.whole().margins()
    spent = counting.calls
    first.zero_()
    logits = subject.model(seen.whole().x.reshape(-1, *seen.classifier.input_shape))
    own = logits.gather(1, seen.whole().y[:, None]).squeeze(1)
    others = logits.scatter(1, seen.whole().y[:, None], -torch.inf).amax(1)
    assert torch.allclose(seen.whole().margins(), own - others, atol=1e-5)
    assert counting.calls == spent > 0


def test_targeted_crossings_reach_their_class_and_cost_nothing_twice():
    world = worlds.neighbours(ambient_dim=30, dim=4, classes=4, samples=40, seed=0)
    counting = views.Counting(world.subject.model)
    view = views.view(replace(world.subject, model=counting))
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


def test_checkpoints_come_in_the_order_of_steps_unless_a_control_permutes_them():
    world = worlds.training(depths=(0.4, 0.3, 0.2), ambient_dim=12, dim=3, samples=40, seed=0)
    view = views.view(world.subject)
    checkpoints = view.checkpoints()
    assert [step for step, _ in checkpoints] == [0, 100, 200]
    medians = [float(np.median(other.distance("normal"))) for _, other in checkpoints]
    assert medians[0] / medians[2] == pytest.approx(2.0, rel=1e-3)
    permuted = replace(view, order=(2, 0, 1)).checkpoints()
    assert [step for step, _ in permuted] == [0, 100, 200]
    assert [float(np.median(other.distance("normal"))) for _, other in permuted] == [medians[2], medians[0], medians[1]]


def test_training_examples_are_as_many_as_the_inputs_in_view():
    subject = views.subject()
    trained = views.view(subject, 20).training()
    known = {row.tobytes() for row in subject.x_train.numpy()}
    assert trained.n == 20
    assert all(row.tobytes() in known for row in trained.x.numpy())


def test_a_permuted_view_gives_each_input_the_tangent_space_of_another():
    seen = views.view(views.subject(manifold=views.Local()))
    order = torch.arange(seen.n).roll(1)
    own, permuted = (views.bases(one) for one in (seen, seen.permuted(order)))
    assert np.array_equal(permuted, own[order.numpy()])


def test_a_rotated_view_has_the_rotated_tangent_spaces():
    seen = views.view(views.subject())
    rotation = Haar(views.D, generator=torch.Generator().manual_seed(0))
    own, rotated = (views.bases(one)[0] for one in (seen, seen.rotated(rotation)))
    expected = views.array(rotation.apply(torch.from_numpy(own.T.copy()))).T
    assert np.allclose(rotated @ rotated.T, expected @ expected.T, atol=1e-5)


def test_costs_are_those_of_the_blocks_used_each_once(measure):
    view = replace(View.of(measure, 64), _used={})
    for _ in range(3):
        view.distance("free")
        view.distance("normal")
    blocks = measure.cached_blocks(("search",), 64, None)
    searched = sum(int(crossing.backwards.sum()) for block in blocks for crossing in block.values())
    at_inputs = 64  # of the margin between the two classes
    assert view.spent().gradient_evaluations == searched + at_inputs > at_inputs
    assert view.spent().seconds > 0
    targeted = replace(View.of(measure, 32), _used={})
    classes, _ = targeted.targeted("free")
    into = sum(measure.cost(("targeted", "free", label), 32).gradient_evaluations for label in classes)
    first = sum(int(crossing.backwards.sum()) for crossing in blocks[0].values())
    assert targeted.spent().gradient_evaluations == into + first + 32
    nothing = replace(View.of(measure, 64), _used={})
    assert nothing.spent().gradient_evaluations == 0


def test_searches_of_a_view_with_an_effort_all_count(measure):
    view = replace(View.of(measure, 8), effort="thorough", _used={})
    each = []
    for _ in range(2):
        each.append(int(view.crossing("normal").backwards.sum()))
        assert view.spent().gradient_evaluations == sum(each)


def test_the_effort_of_a_view_is_that_of_its_searches(measure):
    spent = {}
    for effort in ("quick", "default", "thorough"):
        view = replace(View.of(measure, 32), effort=effort, _used={})
        view.crossing("normal")
        spent[effort] = view.spent().gradient_evaluations
    assert spent["quick"] < spent["default"] < spent["thorough"]


def test_the_tangent_spaces_of_a_draw_are_searched_only_in_a_view_with_an_effort(measure):
    rotation = Haar(12, generator=torch.Generator().manual_seed(0))
    view = View.of(measure, 16).rotated(rotation)
    words = 'the tangent arm was not searched in the tangent spaces of this draw of a control; declare .*"search"'
    with pytest.raises(CheckError, match=words):
        view.distance("tangent")
    assert np.array_equal(view.distance("free"), View.of(measure, 16).distance("free"))
    searched = replace(view, effort="quick")
    assert not np.allclose(searched.distance("tangent"), View.of(measure, 16).distance("tangent"))


def test_a_draw_of_a_control_is_searched_once_for_all_checks(measure, counting):
    rotation = Haar(12, generator=torch.Generator().manual_seed(0))

    def view():
        field = RotatedField(measure.field, rotation)  # another object each time, the same spaces
        return replace(View.of(measure, 16), field=field, effort="quick", draw=("rotation", 0), _used={})

    first, again = view(), view()
    found = first.distance("tangent")
    calls = counting.calls
    assert np.array_equal(again.distance("tangent"), found)
    assert counting.calls == calls
    assert again.spent() == first.spent()
    assert first.spent().gradient_evaluations > 0
    assert np.array_equal(_distances(replace(view(), draw=None)), found)
    assert counting.calls > calls
    other = replace(view(), draw=("rotation", 1), field=measure.field)
    assert not np.array_equal(other.distance("tangent"), found)
    assert len(replace(view(), n=15).distance("tangent")) == 15


def _distances(view):
    return view.crossing("tangent").distance.double().numpy()


def test_a_cached_result_is_computed_once_and_its_cost_is_noted(measure):
    calls = []

    def compute():
        calls.append(1)
        return "result", 7

    view = replace(View.of(measure), _used={})
    assert [view.cached(("key",), compute) for _ in range(3)] == ["result"] * 3
    assert calls == [1]
    assert view.spent().gradient_evaluations == 7


def test_names_of_version_0_1_work_and_warn():
    seen = views.view(views.subject(robust=views.network(1)), 16)
    assert set(RENAMED) == {"step", "once", "twin", "measure", "rivals"}
    with pytest.warns(DeprecationWarning, match=r"^View.step is now View.delta$") as caught:
        assert torch.equal(seen.step("free"), seen.delta("free"))
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=r"^View.once is now View.cached$"):
        assert seen.once(("key",), lambda: ("result", 0)) == "result"
    with pytest.warns(DeprecationWarning, match=r"^View.twin is now View.paired_model$"):
        assert seen.twin("robust").measurement is seen.paired_model("robust").measurement
    with pytest.warns(DeprecationWarning, match=r"^View.measure is now View.measurement$"):
        assert seen.measure is seen.measurement
    with pytest.warns(DeprecationWarning, match=r"^View.rivals is now View.largest_other_class$"):
        assert torch.equal(seen.rivals(seen.x), seen.largest_other_class(seen.x))


def test_an_unknown_attribute_is_an_attribute_error():
    seen = views.view(views.subject(), 8)
    assert not hasattr(seen, "stride")
    with pytest.raises(AttributeError, match="View has no attribute 'stride'"):
        seen.stride  # noqa: B018
