"""A boxed classifier is never called outside its box, and searches and probes of it stay inside."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmmcheck.attacks.planted import FOUND_WITHIN, planted
from dmmcheck.attacks.probe import along, random_rays
from dmmcheck.attacks.search import boundary_search, search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.measurement.address import address_of
from dmmcheck.models.boxed import BoxedClassifier, box_at, box_of, clipped, is_inside
from dmmcheck.models.conversions import conversion_of
from dmmcheck.models.normalize import folded, normalization_of
from dmmcheck.models.torch import adapt, check_gradient

BOX = (0.0, 1.0)
W = torch.tensor([2.0, 0.8, 0.0])
X = torch.tensor([[0.25, 0.25, 0.5], [0.4, 0.1, 0.9], [0.1, 0.45, 0.2]])
Y = torch.zeros(3, dtype=torch.long)
SPACES = [Everywhere(), spanned(torch.eye(3)[:, 1:]), spanned(torch.eye(3)[:, :1])]


def refuses(x: Tensor) -> None:
    if not bool(((x >= BOX[0]) & (x <= BOX[1])).all()):
        raise ValueError(f"values from {float(x.min())} to {float(x.max())}, expected 0 to 1")


class Plane(nn.Module):
    """Class 1 where 2 x_0 + 0.8 x_1 > 1.6; raises outside of [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        refuses(x)
        z = x @ W - 1.6
        return torch.stack([-z, z], 1)


def labels(x):
    refuses(torch.as_tensor(x))
    return (np.asarray(x) @ W.numpy() > 1.6).astype(int)


def scores(x):
    refuses(torch.as_tensor(x))
    z = np.asarray(x) @ W.numpy() - 1.6
    return np.stack([-z, z], 1)


def boxed(model=None) -> BoxedClassifier:
    pool = torch.cat([X, torch.full((20, 3), 0.5) + torch.linspace(-0.4, 0.4, 20)[:, None]])
    return BoxedClassifier(adapt(model or Plane(), pool, bounds=BOX), BOX)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def nearest_in_box() -> Tensor:
    """Distances to the plane by a fine grid over the first two entries of the box."""
    line = torch.linspace(0, 1, 801, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    beyond = grid[grid @ W[:2].double() >= 1.6]
    return torch.cdist(X[:, :2].double(), beyond).amin(1)


@pytest.mark.parametrize("model", [None, labels, scores], ids=["module", "labels", "scores"])
def test_searches_of_a_boxed_classifier_stay_inside_and_find_the_nearest_point_of_the_box(model):
    classifier = boxed(model)
    crossings = search_spaces(
        classifier, X, Y, SPACES, effort="default", generator=generator(), examples=(1 - X, 1 - Y)
    )
    free = crossings[0]
    assert free.found.all()
    assert torch.allclose(free.distance.double(), nearest_in_box(), rtol=0.02)
    assert all(bool(is_inside(crossing.point, BOX).all()) for crossing in crossings)
    assert not crossings[1].found.any()  # with the first entry as it is, the box holds no other class
    assert crossings[2].found.all()


def test_points_outside_get_the_logits_of_the_nearest_point_of_the_box():
    outside = torch.tensor([[7.0, 0.5, -2.0], [-1.0, 3.0, 0.25]])
    assert torch.equal(boxed().logits(outside), Plane()(outside.clamp(0, 1)))
    assert (box_of(boxed()), box_of(adapt(Plane(), X, bounds=BOX))) == (BOX, None)


def test_a_clipped_point_is_exact_and_outside_its_derivative_is_zero():
    x = torch.tensor([[-1e-7, 1 + 1e-7, 0.5, -0.1, 2.0, torch.inf]], requires_grad=True)
    inside = clipped(x, BOX)
    assert inside.tolist() == [[0.0, 1.0, 0.5, 0.0, 1.0, 1.0]]
    inside.sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("normalize", [None, {"mean": [0.5, 0.2, 0.1], "std": [0.5, 2.0, 0.1]}])
def test_a_function_over_arrays_is_never_called_outside_its_bounds(normalize):
    walls = torch.randint(0, 2, (16, 3), generator=generator()).double()
    scaling = normalization_of(normalize, (3,)) or (lambda x: x)
    ends = [scaling(torch.full((1, 3), end).double()) for end in BOX]

    def strict(a):
        x = torch.as_tensor(a)
        if not bool(((x >= ends[0]) & (x <= ends[1])).all()):
            raise ValueError("a value lies outside")
        z = torch.sin(x).sum(1)
        return torch.stack([-z, z], 1).numpy()

    classifier = adapt(
        folded(strict, normalization_of(normalize, (3,)), walls, role="m", bounds=BOX), walls, bounds=BOX
    )
    assert classifier.differentiable
    assert conversion_of(classifier) == "model: gradients are finite differences"
    leaf = walls.clone().requires_grad_()
    BoxedClassifier(classifier, BOX).logits(leaf)[:, 1].sum().backward()
    exact = walls.clone().requires_grad_()
    torch.sin(scaling(exact)).sum().backward()
    assert torch.allclose(leaf.grad, exact.grad, rtol=1e-3)


def test_the_gradient_of_a_normalised_function_over_arrays_is_not_taken_to_check_it():
    calls = []

    def linear(a):
        calls.append(len(a))
        return np.stack([a[:, 0], -a[:, 0]], 1)

    classifier = adapt(folded(linear, normalization_of({"mean": 0.5, "std": 0.5}, (3,)), X, role="m"), X)
    calls.clear()
    check_gradient(classifier, X)
    assert not calls


def test_a_second_pass_that_reads_the_form_of_the_output_stays_within_bounds():
    seen = []

    def probabilities(x: Tensor) -> Tensor:
        seen.append((float(x.min()), float(x.max())))
        return torch.sigmoid(x[:, 0])

    assert adapt(probabilities, X, bounds=BOX).form == "binary-probability"
    assert min(low for low, _ in seen) >= 0
    assert max(high for _, high in seen) <= 1


def test_an_attribute_of_a_users_own_classifier_that_is_called_box_is_no_box_of_searches():
    own = boxed().inner
    object.__setattr__(own, "box", "a crate")
    assert box_of(own) is None


def test_a_box_of_tensors_is_moved_to_the_inputs():
    classifier = BoxedClassifier(adapt(Plane(), X, bounds=BOX), (torch.zeros(3).double(), torch.ones(3).double()))
    low, high = box_at(classifier, X)
    assert (low.dtype, high.tolist()) == (X.dtype, [1.0, 1.0, 1.0])
    assert is_inside(torch.tensor([[0.0, 1.0 + 1e-7, 0.5], [0.0, 1.01, 0.5]]), (low, high)).tolist() == [True, False]


def test_addresses_tell_boxes_apart():
    inner = adapt(nn.Linear(3, 2), X)
    addresses = {address_of(one) for one in (inner, BoxedClassifier(inner, (0, 1)), BoxedClassifier(inner, (0, 2)))}
    assert len(addresses) == 3


def test_probes_stay_inside_and_count_nothing_outside_in_a_subspace():
    classifier, up = boxed(), torch.tensor([[0.0, 1.0, 0.0]]).expand_as(X)
    assert not along(classifier, X, Y, 9 * up, is_clipped=False).found.any()
    clipped = along(classifier, X, Y, 9 * torch.ones_like(X))
    assert clipped.found.all()
    assert is_inside(clipped.point, BOX).all()
    for space in SPACES:
        rays = random_rays(classifier, X, Y, radius=torch.full((3,), 9.0), space=space, generator=generator())
        assert is_inside(rays.point, BOX).all()


def test_a_boundary_is_planted_inside_the_box_or_not_at_all():
    x = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.0, 0.0]])
    search = partial(searched, x)
    arguments = {"end": torch.tensor([[0.9, 0.9, 0.5], [0.9, 0.9, 0.0]]), "generator": generator()}
    second = spanned(torch.eye(3)[:, 1:2])
    times, has_room = planted(boxed(), x, radius=torch.tensor([0.3, 0.3]), space=second, search=search, **arguments)
    assert (times <= FOUND_WITHIN).all()
    assert has_room.all()  # of the second input, downwards has no room and upwards has
    _, has_room = planted(boxed(), x, radius=torch.tensor([0.6, 1.2]), space=second, search=search, **arguments)
    assert not has_room.any()


def searched(x: Tensor, classifier, rows: Tensor):
    second = spanned(torch.eye(3)[:, 1:2])
    y = torch.zeros(len(rows), dtype=torch.long)
    return boundary_search(classifier, x[rows], y, space=second, effort="quick", generator=generator())
