"""What the parts of a perturbation do, input after input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import views

from dmmcheck.checks import parts
from dmmcheck.manifolds.rotations import Haar

STRETCH = 1.5


@pytest.fixture(scope="module", params=["shared", "local"])
def seen(request):
    manifold = views.Local() if request.param == "local" else None
    return views.view(views.subject(manifold=manifold), 40)


def flips(seen, x, y, part, length):
    size = np.linalg.norm(part)
    return float(size > 0 and views.label(seen, x + length * part / size) != y)


def test_component_flips_counts_inputs_whose_label_one_part_alone_changes(seen):
    def question(x, y, d, basis):
        on = views.tangent_part(d, basis)
        length = STRETCH * np.linalg.norm(d)
        return flips(seen, x, y, d - on, length), flips(seen, x, y, on, length)

    expected = [off for off, on in views.naive(seen, question) if off != on]
    evidence = parts.component_flips(seen)
    assert evidence.values.tolist() == expected
    assert evidence.summary == "mean"
    assert len(expected) > 0


def adversarial(seen, x, y, d):
    far = x + STRETCH * d
    crossing = views.array(seen.crossing("free").point)
    return far if views.label(seen, far) != y else crossing[np.argmin(np.linalg.norm(crossing - x - d, axis=1))]


def test_projection_restores_the_true_label(seen, monkeypatch):
    monkeypatch.setattr(parts, "AGREEMENT", 0.0)

    def projected(point):
        return views.array(seen.manifold.project_point(torch.tensor(point, dtype=torch.float32)[None]))[0]

    def stated(x, y, d, basis):
        return views.label(seen, projected(adversarial(seen, x, y, d))) == y

    def controlled(x, y, d, basis):
        clean = projected(x)
        moved = clean + views.tangent_part(adversarial(seen, x, y, d) - clean, basis)
        return views.label(seen, moved) == y

    assert parts.projection_restores(seen).values.tolist() == views.naive(seen, stated)
    assert parts.projection_restores_controlled(seen).values.tolist() == views.naive(seen, controlled)


def test_a_projection_that_changes_the_labels_of_clean_inputs_says_nothing_of_adversarial_ones(seen):
    keep = int((seen.labels(seen.project_point(seen.x)) == seen.y).sum())
    assert keep < parts.AGREEMENT * seen.n, "the projection of this subject must change labels"
    for evidence in (parts.projection_restores(seen), parts.projection_restores_controlled(seen)):
        assert np.isnan(evidence.values).all()
        assert f"the projections of {keep} of {seen.n} clean inputs keep their label (at least 80%)" in evidence.note


def towards(seen, x, arm):
    examples, labels = views.array(seen.examples.x), seen.examples.y.numpy()
    number = np.argmin(np.linalg.norm(views.array(seen.x) - x, axis=1))
    logits = seen.classifier.logits(seen.crossing(arm).point[number][None])[0].tolist()
    y = int(seen.y[number])
    members = examples[labels == max((z, c) for c, z in enumerate(logits) if c != y)[1]]
    return members[np.argmin(np.linalg.norm(members - x, axis=1))] - x


def test_noise_like_compares_with_the_class_that_each_perturbation_leads_to(seen):
    x = views.array(seen.x)
    likeness = [
        [
            views.cosine(delta, towards(seen, here, arm))
            for here, delta in zip(x, views.array(seen.delta(arm)), strict=True)
        ]
        for arm in ("tangent", "normal")
    ]
    assert parts.noise_like(seen).values == pytest.approx(np.subtract(*likeness), abs=1e-4)


def test_noise_like_compares_the_tangent_part_with_a_random_tangent_direction(seen):
    noise = iter(views.array(seen.noise("noise-like")))

    def question(x, y, d, basis):
        target = towards(seen, x, "free")
        both = (views.tangent_part(v, basis) for v in (d, next(noise)))
        return np.subtract(*(views.cosine(part, target) for part in both))

    assert parts.noise_like_controlled(seen).values == pytest.approx(views.naive(seen, question), abs=1e-4)


@pytest.mark.parametrize("question", [parts.component_flips, parts.projection_restores_controlled])
def test_labels_for_the_tangent_spaces_of_the_manifold_are_asked_once_and_those_of_others_anew(monkeypatch, question):
    monkeypatch.setattr(parts, "AGREEMENT", 0.0)
    given = views.subject()
    counting = views.Counting(given.model)
    seen = views.view(replace(given, model=counting), 40)
    rotated = [seen.rotated(Haar(views.D, generator=torch.Generator().manual_seed(seed))) for seed in range(2)]
    first, others = question(seen), [question(other) for other in rotated]
    counting.calls = 0
    assert np.array_equal(question(seen).values, first.values, equal_nan=True)
    assert counting.calls == 0
    for other, evidence in zip(rotated, others, strict=True):
        assert np.array_equal(question(other).values, evidence.values, equal_nan=True)
        assert counting.calls > 0
        counting.calls = 0
    alone = [question(views.view(given, 40).rotated(Haar(views.D, generator=torch.Generator().manual_seed(0))))]
    assert np.array_equal(alone[0].values, others[0].values, equal_nan=True)
