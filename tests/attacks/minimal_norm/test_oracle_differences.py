"""A model whose gradients are finite differences: the oracle takes them along the directions of a search space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from search_cases import BASES, NET, SPACES, X, Y, oracle_of, rng

from dmmcheck.attacks.minimal_norm.oracle import MarginOracle
from dmmcheck.attacks.minimal_norm.search import search_spaces
from dmmcheck.attacks.planted import PlantedClassifier, Plants
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.measurement.units import Scale, StandardClassifier
from dmmcheck.models.boxed import BoxedClassifier
from dmmcheck.models.normalize import folded, normalization_of
from dmmcheck.models.tally import TALLY, Tally
from dmmcheck.models.torch import adapt

N, D, K = 40, 12, 3
DELTA = 0.1 * torch.randn(3 * N, D, generator=rng(1), dtype=torch.float64)
CLASSES = torch.randint(-1, 4, (3 * N,), generator=rng(2))
CLASSES = torch.where(Y.repeat(3) == CLASSES, -1, CLASSES)


@pytest.fixture(autouse=True)
def _evaluation_mode():
    NET.eval()
    yield
    NET.train()


class OverArrays:
    """The network as a function over arrays, which counts the rows that it is called with."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, x):
        self.rows += len(x)
        with torch.no_grad():
            return NET(torch.as_tensor(np.asarray(x))).numpy()


class ProjectionAlone:
    """A search space that is known by its projection alone."""

    def __init__(self, space):
        self._space = space

    def project(self, v):
        return self._space.project(v)

    def rows(self, index):
        return ProjectionAlone(self._space.rows(index))


def oracles(spaces, **options):
    """The oracle of the function over arrays, that of the network, and the function, with no rows counted yet."""
    function = OverArrays()
    found, exact = oracle_of(function, X, Y, spaces=spaces, **options), oracle_of(NET, X, Y, spaces=spaces, **options)
    function.rows = 0
    return found, exact, function


def assert_same_gradients(found: MarginOracle, exact: MarginOracle, delta, rows, classes):
    for one, other in zip(found.gradient(delta, rows, classes), exact.gradient(delta, rows, classes), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("targets", [None, (Y + 1) % 4], ids=["any class", "target classes"])
@pytest.mark.parametrize("classes", [None, CLASSES], ids=["nearest", "named"])
def test_gradients_in_several_spaces_are_those_of_the_network(classes, targets):
    found, exact, function = oracles(SPACES, targets=targets)
    order = torch.randperm(3 * N, generator=rng(3))
    assert_same_gradients(found, exact, DELTA, order, classes)
    assert function.rows == N * (1 + D) + N * (1 + K) + N * (1 + D - K)


@pytest.mark.parametrize(
    ("space", "directions"),
    [
        (Everywhere(), D),
        (spanned(BASES[0]), K),
        (spanned(BASES), K),
        (spanned(BASES[0], normal=True), D - K),
        (spanned(BASES, normal=True), D - K),
        (ProjectionAlone(spanned(BASES)), D),
    ],
    ids=["everywhere", "shared", "per-input", "normal, shared", "normal", "projection-alone"],
)
def test_a_gradient_takes_one_call_for_each_direction_that_is_known(space, directions):
    found, exact, function = oracles([space])
    assert_same_gradients(found, exact, DELTA[:N], found.rows, CLASSES[:N])
    assert function.rows == int(found.forwards.sum()) == N * (1 + directions)
    assert found.backwards.tolist() == [1] * N


def test_the_gradients_at_the_inputs_are_taken_whole_and_serve_all_search_spaces():
    found, exact, function = oracles(SPACES)
    nearest = [asked.nearest_classes(asked.rows, 3, 3)[1] for asked in (found, exact)]
    torch.testing.assert_close(nearest[0].gradients, nearest[1].gradients, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(nearest[0].scale, nearest[1].scale, rtol=1e-3, atol=0)
    assert function.rows == int(found.forwards.sum()) == N * (1 + D)


def test_passes_and_gradients_of_a_search_are_counted():
    function = OverArrays()
    classifier = adapt(function, X)
    function.rows = 0
    token = TALLY.set(Tally())
    found = search_spaces(classifier, X, Y, SPACES, effort="quick", generator=rng())
    seen = TALLY.get()
    TALLY.reset(token)
    assert seen.forwards == function.rows == sum(int(crossing.forwards.sum()) for crossing in found)
    assert seen.gradients == sum(int(crossing.backwards.sum()) for crossing in found) > 0


def test_gradients_of_a_function_with_normalised_inputs_are_in_the_units_of_the_data():
    normalization = normalization_of({"mean": torch.linspace(-1, 1, D), "std": torch.linspace(0.2, 3, D)}, (D,))
    found = adapt(folded(OverArrays(), normalization, X, role="model"), X)
    exact = adapt(folded(NET, normalization, X, role="model"), X)
    steps = found.forward.function.steps * normalization.std
    torch.testing.assert_close(found.difference_lengths(X, torch.eye(D).to(X)), steps)
    compare_classifiers(found, exact)


def test_gradients_in_standard_units_are_those_of_the_model_in_its_own():
    scale = Scale(torch.zeros(D, dtype=torch.float64), torch.logspace(-1, 1, D, dtype=torch.float64))
    found, exact = (StandardClassifier(adapt(model, X), scale) for model in (OverArrays(), NET))
    axes = torch.eye(D).to(X)
    own = found.inner.difference_lengths(X, axes)
    torch.testing.assert_close(found.difference_lengths(X, axes), own / scale.size)
    assert exact.difference_lengths is None
    compare_classifiers(found, exact)


def test_gradients_before_planted_boundaries_are_those_of_the_network_behind_them():
    direction = torch.nn.functional.normalize(torch.randn(N, D, generator=rng(5), dtype=torch.float64), dim=1)
    radius = torch.linspace(0.1, 0.5, N, dtype=torch.float64)
    plants = Plants(X, direction, radius, end=X + torch.randn(N, D, generator=rng(6), dtype=torch.float64))
    found, exact = (PlantedClassifier(adapt(model, X), plants) for model in (OverArrays(), NET))
    size = 1e-3 * radius[0]
    moved = plants.sheared(X[:, None].add(size * BASES.mT)[:, 1]) - plants.sheared(X)
    torch.testing.assert_close(plants.sheared_directions(X, BASES)[:, :, 1], moved / size)
    own = found._classifier.difference_lengths
    lengths = found.difference_lengths(X, BASES)
    torch.testing.assert_close(lengths[:, 1], torch.minimum(own(X, BASES), own(X, moved[:, :, None] / size))[:, 1])
    compare_classifiers(found, exact)


def test_a_step_in_a_direction_that_a_plant_takes_to_zero_is_no_longer_than_without_the_plant():
    axes = torch.eye(D, dtype=torch.float64)
    plants = Plants(X, axes[:1].expand(N, -1), torch.ones(N, dtype=torch.float64), end=X + axes[1])
    planted = PlantedClassifier(adapt(OverArrays(), X), plants)
    lost = (axes[:, :1] - axes[:, 1:2]) / 2**0.5
    assert float(plants.sheared_directions(X, lost).abs().max()) < 1e-12
    own = planted._classifier.difference_lengths(X, lost)
    torch.testing.assert_close(planted.difference_lengths(X, lost), own.expand(N, 1))


def compare_classifiers(found, exact):
    """Compare the gradients of two classifiers at the inputs, along the bases of the three search spaces."""
    asked = [MarginOracle(classifier, X, Y, targets=None, spaces=SPACES, bounds=None) for classifier in (found, exact)]
    assert_same_gradients(*asked, torch.zeros_like(DELTA), asked[0].rows, CLASSES)


def test_in_a_box_single_features_are_moved_since_a_direction_may_lead_out_on_both_sides():
    low, high = float(X.min()), float(X.max())
    function = OverArrays()
    classifier = BoxedClassifier(adapt(function, X, bounds=(low, high)), (low, high))
    asked = MarginOracle(classifier, X, Y, targets=None, spaces=SPACES[1:2], bounds=(low, high))
    function.rows = 0
    asked.gradient(torch.zeros_like(X), asked.rows)
    assert function.rows == int(asked.forwards.sum()) == N * (1 + D)
