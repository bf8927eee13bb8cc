"""The soundness context of a subject's measurement: a fixed part of the sample."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import views
from torch import nn

from dmmcheck.config.settings import Settings
from dmmcheck.run import Run
from dmmcheck.soundness import collect
from dmmcheck.soundness.collect import assess_measurement, soundness_inputs


def collected(monkeypatch, subject, **settings):
    """The context that a subject's measurement gives."""
    seen = []
    monkeypatch.setattr(collect, "assess", lambda context: seen.append(context) or ())
    measure = Run(subject, Settings(**settings)).measure
    assert assess_measurement(subject, measure) == ()
    (context,) = seen
    return context, measure


@pytest.mark.parametrize(("samples", "expected"), [(48, 48), (64, 64), (100, 64)])
def test_it_takes_at_most_64_inputs(monkeypatch, samples, expected):
    context, measure = collected(monkeypatch, views.subject(samples=samples))
    assert soundness_inputs(measure) == len(context.x) == expected
    assert torch.equal(context.x, measure.sample.x[:expected])
    assert all(len(crossing.found) == expected for crossing in context.crossings.values())


def test_everything_comes_from_the_subject_and_its_measurement(monkeypatch):
    subject = replace(views.subject(manifold=views.Local()), bounds=(-9.0, 9.0))
    context, measure = collected(monkeypatch, subject, seed=7, effort="quick")
    assert (context.seed, context.effort, context.bounds) == (7, "quick", (-9.0, 9.0))
    assert (context.accuracy, context.labelled) == (1.0, 48)
    assert context.manifold is subject.manifold
    assert torch.equal(context.basis, views.Local().tangent_basis(context.x))
    assert torch.equal(context.x_pool, subject.x_train)
    assert torch.equal(context.training_points, subject.x_train)
    assert torch.equal(context.crossings["normal"].distance, measure.crossings(48, "normal").distance)


def test_training_points_of_the_manifold_come_before_the_training_data(monkeypatch):
    manifold = views.Local()
    manifold.training_points = torch.zeros(3, views.D)
    context, _ = collected(monkeypatch, views.subject(manifold=manifold))
    assert torch.equal(context.training_points, torch.zeros(3, views.D))
    unknown, _ = collected(monkeypatch, views.subject(x_train=None, y_train=None))
    assert unknown.training_points is None


def test_a_model_given_in_training_mode_is_noted(monkeypatch):
    model = nn.Sequential(views.network(), nn.Identity())
    for training in (True, False):
        context, _ = collected(monkeypatch, views.subject(model=model.train(training)))
        assert context.was_training is training
