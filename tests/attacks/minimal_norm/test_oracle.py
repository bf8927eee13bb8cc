"""What the search asks of a model, against naive references; every pass is counted and fits the batch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from search_cases import BASES, NET, SPACES, Net, X, Y, baseline, distances, oracle_of, rng

from dmmcheck import geometry
from dmmcheck.attacks.margins import logit_margin, margin_gradient
from dmmcheck.attacks.minimal_norm.effort import EFFORTS
from dmmcheck.attacks.minimal_norm.input_gradients import InputGradients
from dmmcheck.attacks.minimal_norm.search import boundary_search, gradients_at, search_spaces
from dmmcheck.attacks.search_space import spanned
from dmmcheck.models.torch import adapt

NORMAL = spanned(BASES, normal=True)
TARGETS = (Y + 1) % 4


def oracle(targets=None, **options):
    return oracle_of(NET.eval(), X, Y, spaces=SPACES, targets=targets, **options)


@pytest.fixture(autouse=True)
def _training_mode():
    yield
    NET.train()


def test_margins_are_those_of_x_plus_delta_in_any_order_of_rows():
    asked, rows = oracle(), torch.tensor([81, 2, 40, 2])
    delta = torch.randn(4, 12, generator=rng(1), dtype=torch.float64)
    inputs = rows % 40
    with torch.no_grad():
        expected = logit_margin(NET(X[inputs] + delta), Y[inputs])
        torch.testing.assert_close(asked.margin(delta, rows), expected)
        reached = logit_margin(NET(X[inputs] + delta), TARGETS[inputs])
    torch.testing.assert_close(oracle(TARGETS).margin(delta, rows), -reached)


def test_gradients_are_projected_onto_the_space_of_their_row():
    asked = oracle()
    rows = torch.tensor([5, 45, 85, 46])  # input 5 in all three spaces, and input 6 in the tangent space
    delta = torch.randn(4, 12, generator=rng(1), dtype=torch.float64)
    inputs = rows % 40
    expected_margin, raw = margin_gradient(adapt(NET, X), X[inputs] + delta, Y[inputs])
    margin, toward, g = asked.gradient(delta, rows)
    torch.testing.assert_close(margin, expected_margin)
    torch.testing.assert_close(toward, expected_margin)
    tangent = geometry.project_tangent(raw, BASES[inputs])
    torch.testing.assert_close(g, torch.stack([raw[0], tangent[1], raw[2] - tangent[2], tangent[3]]))


def test_a_gradient_toward_a_class_is_that_of_the_difference_of_two_logits():
    asked, rows = oracle(), torch.arange(4)
    classes = torch.tensor([3, -1, 0, 1])
    margin, toward, g = asked.gradient(torch.zeros(4, 12, dtype=torch.float64), rows, classes)
    x = X[:4].clone().requires_grad_(True)
    logits = NET(x)
    for row, other in enumerate(classes.tolist()):
        if other < 0:
            torch.testing.assert_close(toward[row], margin[row])
            continue
        difference = logits[row, Y[row]] - logits[row, other]
        torch.testing.assert_close(toward[row], difference.detach())
        torch.testing.assert_close(g[row], torch.autograd.grad(difference, x, retain_graph=True)[0][row])


def test_nearest_classes_are_in_the_order_of_the_first_order_distance():
    asked = oracle()
    margin, nearest = asked.nearest_classes(asked.rows, 3, 3)
    assert nearest.classes.shape == nearest.distances.shape == (120, 3)
    assert bool((nearest.distances.diff(dim=1) >= 0).all())
    assert bool((nearest.classes != Y.repeat(3)[:, None]).all())
    x = X.clone().requires_grad_(True)
    logits = NET(x)
    torch.testing.assert_close(margin, logit_margin(logits.detach(), Y).repeat(3))
    for input_number in (0, 17):
        for other in set(range(4)) - {int(Y[input_number])}:
            difference = logits[input_number, Y[input_number]] - logits[input_number, other]
            raw = torch.autograd.grad(difference, x, retain_graph=True)[0][input_number]
            for number, space in enumerate(SPACES):
                g = space.rows(torch.tensor([input_number])).project(raw[None])[0]
                row = number * 40 + input_number
                place = int((nearest.classes[row] == other).nonzero())
                torch.testing.assert_close(nearest.distances[row, place], (difference / g.norm()).detach())
                torch.testing.assert_close(nearest.gradients[row, place], g)
    torch.testing.assert_close(nearest.scale[:40], nearest.distances[:40, 0])
    torch.testing.assert_close(nearest.scale[40:80], nearest.distances[:40, 0])  # in any direction, not in the space's


def test_fewer_classes_are_kept_than_are_looked_at():
    asked = oracle()
    every, one = (asked.nearest_classes(asked.rows, 3, kept)[1] for kept in (3, 1))
    torch.testing.assert_close(one.classes, every.classes[:, :1])
    assert asked.backwards.tolist() == [6] * 40 + [0] * 80, "the gradients of an input serve all of its search spaces"


def test_a_projection_that_is_rounding_is_zero():
    asked = oracle_of(NET, X, Y, spaces=[NORMAL])
    inside = geometry.project_tangent(torch.randn(40, 12, generator=rng(3), dtype=torch.float64), BASES)
    assert bool((asked.project(inside, asked.rows) == 0).all())
    broken = inside.clone()
    broken[3, 2] = torch.nan
    assert bool(torch.isfinite(asked.project(broken, asked.rows)).all())


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), None])
def test_a_feasible_perturbation_stays_in_space_and_box(bounds):
    x = X.clamp(-0.9, 0.9)
    asked = oracle_of(NET, x, Y, spaces=SPACES, bounds=bounds)
    delta = torch.randn(120, 12, generator=rng(3), dtype=torch.float64)
    inside = asked.project(delta, asked.rows)
    feasible = asked.feasible(inside, asked.rows)
    if bounds is None:
        assert feasible is inside
        return
    assert float((x.repeat(3, 1) + feasible).abs().max()) <= 1 + 1e-12
    torch.testing.assert_close(asked.project(feasible, asked.rows), feasible)
    assert bool((feasible.norm(dim=1) > 0).all())


def test_a_model_call_has_at_most_as_many_rows_as_the_batch_size():
    seen = []

    class Watched(Net):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    torch.testing.assert_close(distances(model=Watched(), batch_size=5), baseline(), rtol=1e-5, atol=0)
    assert max(seen) == 5


@pytest.mark.parametrize("effort", EFFORTS)
def test_passes_are_counted_as_the_model_sees_them(effort):
    seen = Counter()

    class Watched(Net):
        def forward(self, x):
            z = super().forward(x)
            seen["forwards"] += len(x)
            if z.requires_grad:
                z.register_hook(lambda gradient: seen.update(backwards=len(gradient)))
            return z

    classifier = adapt(Watched(), X)
    seen.clear()
    found = search_spaces(classifier, X, Y, SPACES, effort=effort, generator=rng())
    assert seen["forwards"] == sum(int(crossing.forwards.sum()) for crossing in found)
    assert seen["backwards"] == sum(int(crossing.backwards.sum()) for crossing in found)


def test_logits_may_have_another_dtype_than_the_inputs():
    def model(points):
        return torch.stack([points[:, 0], torch.ones_like(points[:, 0])], 1).float()

    x = torch.tensor([[2.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
    found = boundary_search(model, x, torch.zeros(2, dtype=torch.long), generator=rng())
    assert found.point.dtype == found.distance.dtype == found.margin.dtype == torch.float64
    torch.testing.assert_close(found.distance, torch.tensor([1.0, 2.0], dtype=torch.float64), rtol=0.01, atol=0)


def test_nan_logits_are_never_a_crossing():
    def model(x):
        logits = torch.stack([x[:, 0], -x[:, 0]], 1)
        return torch.where(x[:, :1] < 0, torch.nan, logits)

    x = torch.rand(8, 3, generator=rng(), dtype=torch.float64) + 0.1
    assert not bool(boundary_search(model, x, torch.zeros(8, dtype=torch.long), generator=rng()).found.any())


def test_logits_that_take_no_part_in_the_margin_do_not_raise_its_rounding():
    def model(points):
        return torch.stack([points[:, 0], torch.ones_like(points[:, 0]), torch.full_like(points[:, 0], -1e9)], 1)

    found = boundary_search(model, torch.tensor([[2.0, 0.0]]), torch.zeros(1, dtype=torch.long), generator=rng())
    torch.testing.assert_close(found.distance, torch.tensor([1.0]), rtol=2e-4, atol=0)  # 1e-3 more where they do


def test_running_out_of_memory_halves_the_batch():
    class Small(Net):
        def forward(self, x):
            if len(x) > 6:
                raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return super().forward(x)

    model = Small()
    torch.testing.assert_close(distances(model=model), baseline(), rtol=1e-5, atol=0)
    assert model.training


@pytest.mark.parametrize("targets", [None, TARGETS], ids=["any class", "targets"])
@pytest.mark.parametrize("count", [1, 3])
def test_known_gradients_at_the_inputs_are_those_that_are_computed(targets, count):
    known = gradients_at(NET, X, Y, effort="default")
    asked, anew = oracle(targets, known=known), oracle(targets)
    rows = torch.tensor([81, 2, 40, 3, 42, 119])
    margin, found = asked.nearest_classes(rows, count, 2)
    expected_margin, expected = anew.nearest_classes(rows, count, 2)
    torch.testing.assert_close(margin, expected_margin)
    for name in ("classes", "distances", "margins", "gradients", "scale", "noise"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    assert int(asked.backwards.sum()) == int(asked.forwards.sum()) == 0 < int(anew.backwards.sum())


@pytest.mark.parametrize("targets", [None, TARGETS], ids=["any class", "targets"])
def test_gradients_are_computed_for_the_inputs_alone_that_lack_a_class(targets):
    known = gradients_at(NET, X, Y, effort="default")
    few = InputGradients(known.logits, known.classes[:, :1], known.gradients[:, :1])  # the largest other logit
    asked, anew = oracle(targets, known=few), oracle(targets)
    rows = torch.arange(40)
    for name in ("classes", "distances", "margins", "gradients"):
        found, expected = (getattr(one.nearest_classes(rows, 1, 1)[1], name) for one in (asked, anew))
        torch.testing.assert_close(found, expected)
    lacking = (asked.backwards > 0)[:40]
    largest = NET(X).scatter(1, Y[:, None], -torch.inf).argmax(1)
    assert torch.equal(lacking, torch.zeros_like(lacking) if targets is None else largest != TARGETS)
    assert 0 < int((largest != TARGETS).sum()) < len(rows)


def test_a_difference_of_which_subtraction_leaves_little_is_not_known():
    own = torch.tensor([[1e4, 0.0], [0.0, 1.0]], dtype=torch.float64)  # two inputs, two features
    other = own + torch.tensor([[0.0, 9.0], [0.0, 9.0]], dtype=torch.float64)
    known = InputGradients(torch.zeros(2, 3), torch.tensor([[1, 2]] * 2), torch.stack([own, other], 1))
    y, target = torch.zeros(2, dtype=torch.long), torch.ones(2, dtype=torch.long)
    toward, is_known = known.toward(y, target, torch.tensor([[2], [2]]))
    torch.testing.assert_close(toward[:, 0], other - own)
    assert is_known.tolist() == [False, True]
    assert known.toward(y, y, known.classes)[1].tolist() == [True, True]


def test_a_search_with_known_gradients_finds_the_same_and_takes_fewer_gradients():
    known = gradients_at(NET, X, Y, effort="quick")
    spaces = [spanned(None), spanned(BASES), NORMAL]
    with_known, anew = (
        search_spaces(NET, X, Y, spaces, effort="quick", generator=rng(0), **kept) for kept in ({"known": known}, {})
    )
    for one, other in zip(with_known, anew, strict=True):
        torch.testing.assert_close(one.distance, other.distance)
    saved = sum(int(other.backwards.sum() - one.backwards.sum()) for one, other in zip(with_known, anew, strict=True))
    assert saved == 3 * len(X)  # four classes have three others, once for all spaces
