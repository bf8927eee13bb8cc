"""How near the classes are and on which side, against naive references."""

from __future__ import annotations

import numpy as np
import pytest
import views

from dmmcheck import worlds
from dmmcheck.checks import classes
from dmmcheck.measurement.view import View


@pytest.fixture(scope="module", params=["shared", "local"])
def seen(request):
    manifold = views.Local() if request.param == "local" else None
    return views.view(views.subject(manifold=manifold), 40)


def test_every_class_near_leaves_out_the_own_class(seen):
    targets, found = seen.targeted("free")
    assert targets == tuple(range(views.CLASSES))
    table = np.stack([crossing.distance.numpy() for crossing in found])
    expected = []
    for i, y in enumerate(seen.y.tolist()):
        others = [table[c, i] for c in targets if c != y]
        expected.append(max(others) / min(others))
    assert classes.every_class_near(seen).values == pytest.approx(expected)
    assert np.all(classes.every_class_near(seen).values >= 1)


def naive_pairs(x, y):
    """The nearest pair of different labels, again and again, among the inputs that are in no pair yet."""
    free, pairs = set(range(len(x))), []
    while True:
        candidates = [(np.linalg.norm(x[a] - x[b]), a, b) for a in free for b in free if a < b and y[a] != y[b]]
        if not candidates:
            return pairs
        _, a, b = min(candidates)
        pairs.append((a, b))
        free -= {a, b}


def test_shared_sheet_pairs_each_input_once_and_subtracts_the_mean_over_other_classes(seen):
    seen = View.of(seen.measurement, 32)
    x, y, bases = views.array(seen.x), seen.y.tolist(), views.bases(seen)
    targets, found = seen.targeted("free")
    deltas = np.stack([views.array(crossing.point) - x for crossing in found])

    def normal(c, i):
        return deltas[c, i] - views.tangent_part(deltas[c, i], bases[i])

    expected = []
    for a, b in naive_pairs(x, y):
        mutual = views.cosine(normal(y[b], a), normal(y[a], b))
        others = [
            views.cosine(normal(c, a), normal(d, b))
            for c in targets
            for d in targets
            if c != d and c != y[a] and d != y[b] and (c, d) != (y[b], y[a])
        ]
        expected.append(mutual - np.mean(others))
    evidence = classes.shared_sheet(seen)
    assert len(evidence.values) <= 16
    assert evidence.values == pytest.approx(expected, abs=1e-3)


def test_with_two_classes_there_are_no_others_to_subtract():
    seen = views.view(worlds.sheets(seed=0, ambient_dim=16, dim=3, samples=48).subject, 32)
    assert classes.shared_sheet(seen).values == pytest.approx(-1, abs=1e-4)
