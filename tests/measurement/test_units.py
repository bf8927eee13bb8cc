"""A subject in standard units: its numbers do not depend on the units that its inputs come in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import views
from sklearn import datasets
from torch import nn

import dmmcheck
from dmmcheck.config.settings import Settings
from dmmcheck.errors import SubjectError
from dmmcheck.manifolds import PCA, Decoder, LocalPCA, Subspace, validate_manifold
from dmmcheck.measurement.units import Scale, StandardClassifier, StandardManifold, constant_features, in_units
from dmmcheck.models.boxed import BoxedClassifier
from dmmcheck.models.torch import adapt
from dmmcheck.run import Run

pytestmark = pytest.mark.usefixtures("few_plants")
SIZES = torch.logspace(-3, 3, views.D)


class Rescaled(nn.Module):
    """A model of inputs in other units."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x / SIZES - 5)


def pair_of_units(fit=None, **more):
    """The same subject in its own units, and with each feature in another unit."""
    manifold = LocalPCA(dim=3) if fit is None else fit
    one = views.subject(samples=64)
    plain = replace(one, manifold=manifold.fit(one.x_train), units="standard", **more)
    x, x_train = (SIZES * (points + 5) for points in (one.x, one.x_train))
    other = replace(plain, model=Rescaled(one.model), x=x, x_train=x_train, manifold=manifold.fit(x_train))
    return plain, other


@pytest.mark.parametrize("fit", [LocalPCA(dim=3), PCA(dim=2)], ids=["local", "pca"])
def test_distances_do_not_depend_on_the_units_of_the_inputs(fit):
    plain, other = (Run(subject, Settings(effort="quick")).measure for subject in pair_of_units(fit))
    assert torch.allclose(plain.sample.x, other.sample.x, atol=1e-3)
    assert torch.equal(plain.sample.y, other.sample.y)
    for arm in ("free", "tangent", "normal"):
        assert torch.allclose(
            plain.crossings(32, arm).distance, other.crossings(32, arm).distance, rtol=1e-2, atol=1e-4
        )


def test_a_built_in_manifold_is_fitted_again_and_another_keeps_its_note():
    plain, _ = pair_of_units()
    scaled = in_units(plain)
    torch.testing.assert_close(scaled.manifold.training_points, scaled.x_train)
    decoder = Decoder(lambda x: (x[:, :2], x[:, :2]), lambda z: torch.nn.functional.pad(z, (0, plain.x.shape[1] - 2)))
    mapped = in_units(replace(plain, manifold=decoder)).manifold
    mapped.project_point(scaled.x)
    assert mapped.note == "codes are the means of a variational encoder"


def test_verdicts_of_wine_are_the_same_with_the_scaler_inside_the_model_and_outside():
    wine = datasets.load_wine()
    order = np.random.RandomState(0).permutation(len(wine.data))
    raw, y = torch.tensor(wine.data[order]).float(), torch.tensor(wine.target[order])
    mean, size = raw[89:].mean(0), raw[89:].std(0, correction=0)
    scaled = (raw - mean) / size
    centres = torch.stack([scaled[89:][y[89:] == label].mean(0) for label in range(3)])

    def outside(x):
        return -(x[:, None] - centres).square().sum(2)

    def inside(x):
        return outside((x - mean) / size)

    reports = [
        dmmcheck.run(
            dmmcheck.Subject(
                model, x[:89], y[:89], PCA(dim=2).fit(x[89:]), x_train=x[89:], y_train=y[89:], units="standard"
            ),
            tiers=["stated"],
            effort="quick",
        )
        for model, x in ((inside, raw), (outside, scaled))
    ]
    one, other = ([finding.verdict for finding in report.findings] for report in reports)
    assert one == other
    assert {item.name for item in reports[0].soundness if item.ok is False} == set()


def test_at_the_walls_of_a_box_gradients_are_those_of_own_units_times_the_size():
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (64, 5), generator=g).float()
    scale = Scale(torch.rand(5, generator=g).double(), 0.1 + torch.rand(5, generator=g).double())
    model = BoxedClassifier(adapt(lambda x: torch.stack([x.exp().sum(1), -x.sum(1)], 1), x), (0.0, 1.0))

    def gradient(classifier, points):
        leaf = points.clone().requires_grad_()
        return torch.autograd.grad(classifier.logits(leaf)[:, 0].sum(), leaf)[0]

    own, standard = gradient(model, x), gradient(StandardClassifier(model, scale), scale.standard(x))
    assert torch.allclose(own, x.exp())
    assert torch.allclose(standard, own * scale.size.float(), rtol=1e-4)


def test_a_subject_in_its_own_units_stays_as_it_is():
    for units in (None, "input"):
        subject = views.subject(units=units)
        assert in_units(subject) is subject


def test_the_models_get_their_own_units():
    _, given = pair_of_units()
    network = given.model

    def trainer(x, y, seed):
        assert float(x.abs().max()) > 100
        return network

    full = replace(
        given,
        robust=Rescaled(views.network(1)),
        factory=lambda seed: network,
        checkpoints=[(0, network)],
        trainer=trainer,
        bounds=(-1e5, 1e5),
    )
    standard = in_units(full)
    x = standard.x.reshape(len(standard.x), -1)
    logits = full.classifier.logits(full.x)
    assert torch.allclose(standard.classifier.logits(x), logits, atol=1e-2)
    for model in (standard.factory(3), standard.checkpoints[0][1], standard.trainer(standard.x_train, full.y_train, 0)):
        assert torch.allclose(model.logits(x), logits, atol=1e-2)
    assert not torch.allclose(standard.robust.logits(x), logits, atol=1)
    assert standard.bounds is None
    assert standard.x_train.std(0).allclose(torch.ones(views.D), atol=1e-3)


@pytest.mark.parametrize("form", ["list", "function"])
def test_the_models_of_pairs_and_their_alternatives_get_their_own_units(form):
    """Each of them gives the logits in standard units that it gives at the same points in its own."""
    models = [Rescaled(views.network(seed)) for seed in range(3)]
    standard, robust, alternative = models
    _, other = pair_of_units()
    given = (
        {"pairs": [(standard, robust)], "alternative": [alternative]}
        if form == "list"
        else {"pairs": lambda seed: (standard, robust), "alternative": lambda seed: alternative}
    )
    subject = in_units(replace(other, **given))
    if form == "list":
        (pair,), (control,) = subject.pairs, subject.alternative
    else:
        pair, control = subject.pairs(4), subject.alternative(4)
    for model, mapped in zip(models, (*pair, control), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(mapped.logits(subject.x), model(other.x), rtol=1e-3, atol=1e-3)


def test_an_own_manifold_is_mapped():
    scale = Scale(torch.full((views.D,), 5.0).double(), SIZES.double())
    inner = Subspace(torch.linalg.qr(torch.ones(views.D, 2).cumsum(0).double() ** torch.tensor([1, 2])).Q.float())
    mapped = StandardManifold(inner, scale)
    x = torch.randn(6, views.D, generator=torch.Generator().manual_seed(0))
    basis = validate_manifold(mapped, x)
    # a step along a mapped tangent vector is a step along a tangent vector of the manifold itself
    own = (SIZES * basis.T).double()
    assert torch.allclose(own @ inner.basis.double() @ inner.basis.double().T, own, rtol=1e-3, atol=1e-3)
    assert torch.allclose(scale.own(mapped.project_point(x)), inner.project_point(scale.own(x)), rtol=1e-3, atol=1e-2)


def test_a_manifold_of_ones_own_gives_the_estimates_of_the_built_in_one_where_the_plane_is_the_same():
    plain, _ = pair_of_units(PCA(dim=2))
    standard = in_units(plain)
    own = in_units(replace(plain, manifold=Subspace(plain.manifold.basis, plain.manifold.origin)))
    assert own.manifold.dim == standard.manifold.dim == 2
    assert own.manifold.name == "subspace"


def test_constant_features_keep_their_unit():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) + 3
    x[:, 1] = 1e6
    assert constant_features(x).tolist() == [False, True, False]
    assert constant_features(-x).tolist() == [False, True, False]


def test_unknown_units_are_one_clear_error():
    with pytest.raises(SubjectError, match="units is 'metric', expected one of input, standard"):
        views.subject(units="metric")
