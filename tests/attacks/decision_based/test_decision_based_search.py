"""The search by labels alone against closed forms and the search with gradients, with its model calls counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from dmmcheck.attacks.decision_based.search import decision_based_search
from dmmcheck.attacks.search import search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.errors import AttackError
from dmmcheck.models.torch import adapt

N, WIDTH, QUERIES = 12, 20, 5000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


X = torch.randn((N, WIDTH), generator=seeded(3), dtype=torch.float64)
NORMAL = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)


def half_spaces(x):
    side = x @ NORMAL - 5.0
    return torch.stack([-side, side], 1)


def spheres(x):
    radius = x.norm(dim=1) - 9.0
    return torch.stack([-radius, radius], 1)


BASIS = torch.linalg.qr(torch.randn((WIDTH, 4), generator=seeded(4), dtype=torch.float64)).Q
SPACES = {"anywhere": Everywhere(), "tangent": spanned(BASIS), "normal": spanned(BASIS, normal=True)}


def searched(function, space, **options):
    classifier = adapt(function, X)
    y = classifier.logits(X).argmax(1)
    options = {"generator": seeded(), **options}
    return decision_based_search(classifier, X, y, space=space, queries=QUERIES, **options)


@pytest.mark.parametrize("name", SPACES)
def test_a_plane_is_found_at_its_distance_in_every_space(name):
    found = searched(half_spaces, SPACES[name])
    inside = SPACES[name].project(NORMAL[None])
    true = (X @ NORMAL - 5.0).abs() / inside.norm()
    torch.testing.assert_close(found.distance, true, rtol=5e-3, atol=0)
    assert (found.distance >= true * (1 - 1e-9)).all()
    delta = found.point - X
    torch.testing.assert_close(SPACES[name].project(delta), delta, rtol=1e-6, atol=1e-9)
    assert int(found.forwards.max()) <= QUERIES
    assert not found.backwards.any()


def test_a_sphere_is_found_at_its_distance():
    torch.testing.assert_close(searched(spheres, Everywhere()).distance, 9.0 - X.norm(dim=1), rtol=0.01, atol=0)


def test_steps_along_axes_are_found_exactly():
    """A tree: the label changes where the third or the seventh coordinate exceeds a limit."""
    tree = adapt(lambda x: ((x[:, 3] > 2.5) | (x[:, 7] > 3.0)).astype(int), torch.cat([X, X + 4]))
    y = tree.logits(X).argmax(1)
    found = decision_based_search(tree, X, y, space=Everywhere(), generator=seeded())
    kept = y == 0
    true = torch.minimum(2.5 - X[:, 3], 3.0 - X[:, 7])
    torch.testing.assert_close(found.distance[kept], true[kept], rtol=0.02, atol=0)


def test_nothing_is_found_where_the_label_never_changes():
    flat = spanned(torch.eye(WIDTH, dtype=torch.float64)[:, :2])
    found = searched(lambda x: torch.stack([x[:, 5], -x[:, 5]], 1), flat)
    assert not found.found.any()
    assert torch.isinf(found.distance).all()
    assert (found.radius > 0).all()


def test_a_target_is_reached_and_a_wrong_input_is_at_zero():
    def thirds(x):
        return torch.stack([-(x[:, 0] ** 2), x[:, 0] - 3, -x[:, 0] - 2], 1)

    classifier = adapt(thirds, X)
    y = torch.zeros(N, dtype=torch.long)
    right = classifier.logits(X).argmax(1) == 0
    found = decision_based_search(
        classifier, X, y, space=Everywhere(), targets=torch.full_like(y, 2), generator=seeded()
    )
    assert (classifier.logits(found.point[right]).argmax(1) == 2).all()
    free = decision_based_search(classifier, X, y, space=Everywhere(), generator=seeded())
    assert torch.equal(free.distance == 0, ~right)


def test_the_result_depends_neither_on_the_other_inputs_nor_on_the_scale():
    whole = searched(spheres, SPACES["normal"])
    classifier = adapt(spheres, X)
    alone = decision_based_search(
        classifier, X[5:6], torch.tensor([0]), space=SPACES["normal"].rows(slice(5, 6)), generator=seeded()
    )
    torch.testing.assert_close(whole.distance[5:6], alone.distance)


def test_the_budget_of_model_calls_is_kept():
    counted = []

    def model(x):
        counted.append(len(x))
        return np.stack([-(x**2).sum(1) + 81, (x**2).sum(1) - 81], 1)

    classifier = adapt(model, X)
    counted.clear()
    found = decision_based_search(
        classifier, X, torch.zeros(N, dtype=torch.long), space=Everywhere(), queries=600, generator=seeded()
    )
    assert sum(counted) == int(found.forwards.sum())
    assert int(found.forwards.max()) <= 600


def test_an_unknown_effort_is_one_clear_error():
    with pytest.raises(AttackError, match="effort 'huge' is unknown; choose one of brief, quick, default, thorough"):
        searched(spheres, Everywhere(), effort="huge")


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x = x / 16
    network = MLPClassifier((64, 32), random_state=0, max_iter=200).fit(x[:1200], y[:1200])
    test, labels = torch.tensor(x[1200:]), torch.tensor(y[1200:])
    exact = adapt(network, test)
    correct = exact.logits(test).argmax(1) == labels
    pool = {"x_pool": torch.tensor(x[:1200]), "y_pool": torch.tensor(y[:1200])}
    return network, exact, test[correct][:96], labels[correct][:96], pool


@pytest.mark.filterwarnings("ignore")
def test_medians_are_within_five_per_cent_of_the_search_with_gradients(digits):
    network, exact, x, y, pool = digits
    basis = torch.linalg.svd(pool["x_pool"] - pool["x_pool"].mean(0), full_matrices=False).Vh[:16].T
    spaces = [Everywhere(), spanned(basis), spanned(basis, normal=True)]
    by_labels = adapt(lambda x: network.predict(x * 1.0), pool["x_pool"])
    known = (pool["x_pool"], pool["y_pool"])
    found = search_spaces(by_labels, x, y, spaces, effort="default", generator=seeded(), examples=known, queries=5000)
    best = search_spaces(exact, x, y, spaces, effort="default", generator=seeded())
    for by_label, with_gradients in zip(found, best, strict=True):
        assert int(by_label.forwards.max()) <= 5000
        assert float((by_label.distance / with_gradients.distance).median()) <= 1.01
        assert float(by_label.distance.quantile(0.5) / with_gradients.distance.quantile(0.5)) <= 1.05
