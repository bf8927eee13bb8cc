"""What a report says about the subject: names, sizes, hashes, versions, distances."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
import views
from torch import nn

from dmmcheck import Subject, worlds
from dmmcheck.config.settings import Settings
from dmmcheck.manifolds import PCA
from dmmcheck.measurement.summary import distances_of, summarise_distances, summarise_subject, versions
from dmmcheck.run import Run

SHAPE = {"ambient_dim": 12, "dim": 3, "samples": 64}


def summary(subject):
    return summarise_subject(subject, Run(subject, Settings()).measure)


def linear():
    """A layer that changes nothing."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
        layer.bias.zero_()
    return layer


def test_the_model_the_inputs_and_the_manifold_are_named_and_counted():
    said = summary(worlds.sphere(seed=0, **SHAPE).subject)
    assert (said.model, said.classes, said.inputs, said.input_shape, said.ambient_dim) == ("Ball", 2, 64, (12,), 12)
    assert (said.accuracy, said.manifold.name, said.manifold.dim) == (1.0, "linear", 3)
    assert said.manifold.residual_median == pytest.approx(0, abs=1e-6)
    assert said.manifold.label_agreement == 1.0


def test_distances_have_the_names_of_the_report_and_the_exact_medians():
    world = worlds.sphere(seed=0, **SHAPE)
    found = distances_of(Run(world.subject, Settings()).measure, 64)
    assert set(found) == {"free", "on", "off"}
    assert found["on"].median == pytest.approx(float(world.distance["tangent"].median()), rel=0.1)
    assert found["free"].n == 64


def test_censored_distances_rank_as_infinite():
    found = summarise_distances(np.array([3.0, math.inf, 1.0, 2.0, math.inf]))
    assert (found.median, found.n, found.censored) == (3.0, 5, 2)
    assert found.quantiles == {"0.05": 2.0, "0.25": 2.0, "0.5": 3.0, "0.75": math.inf, "0.95": math.inf}


def test_the_hash_of_a_model_is_that_of_its_weights():
    subject = worlds.sphere(seed=0, **SHAPE).subject
    same, moved = (worlds.sphere(seed=0, **SHAPE).subject.model for _ in range(2))
    moved.centre += 1e-4
    hashes = [summary(replace(subject, model=model)).model_hash for model in (subject.model, same, moved)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_hash_of_a_function_is_that_of_its_logits():
    subject = views.subject()
    network = subject.model
    hashes = [
        summary(replace(subject, model=model)).model_hash
        for model in (network.forward, lambda x: network(x) + 0, lambda x: 2 * network(x))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_hash_of_a_function_does_not_depend_on_the_memory_layout_of_images():
    x = torch.rand((16, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    network = views.pooling_network()
    with torch.no_grad():
        y = network(x).argmax(1)
    subject = Subject(model=network.forward, x=x, y=y, manifold=PCA(dim=2).fit(x))
    assert Run(subject, Settings()).measure.classifier.layout == torch.channels_last
    hashes = [
        summary(replace(subject, model=model)).model_hash for model in (network.forward, lambda x: network(x) + 0)
    ]
    assert hashes[0] == hashes[1]


def test_weights_of_any_dtype_have_a_hash():
    subject = worlds.sphere(seed=0, **SHAPE).subject
    model = nn.Sequential(subject.model, linear())
    model.register_buffer("counter", torch.tensor(3))
    model.register_buffer("scale", torch.ones(2, dtype=torch.bfloat16))
    before = summary(replace(subject, model=model)).model_hash
    model.scale[0] = 2
    assert len(before) == 32
    assert summary(replace(subject, model=model)).model_hash != before


def test_the_hash_of_a_manifold_is_that_of_its_tangent_spaces():
    subject = views.subject()
    other = views.subject(seed=1).manifold
    hashes = [summary(replace(subject, manifold=one)).manifold.hash for one in (subject.manifold, other)]
    assert hashes[0] == summary(subject).manifold.hash != hashes[1]


def test_large_tangent_spaces_are_hashed_without_a_copy():
    run = Run(worlds.sphere(ambient_dim=2000, dim=40, samples=64, seed=0).subject, Settings())
    basis = run.measure.field.basis(slice(0, 8))
    summarise_subject(run.subject, run.measure)
    tracemalloc.start()
    summarise_subject(run.subject, run.measure)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < basis.nbytes / 2


def test_versions_are_those_of_the_packages_that_compute():
    found = versions()
    assert set(found) == {"python", "torch", "numpy", "scipy", "scikit-learn", "pytest"}
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["numpy"] == np.__version__
