"""The manifold answers the same question in the same way, and leaves the points that it gets alone."""

from __future__ import annotations

from dataclasses import replace

import contexts
import pytest
import torch
import views

import dmmcheck
from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.models.base import Classifier
from dmmcheck.soundness import model, repeats


class Changed:
    """The plain context's manifold, with one of its methods replaced."""

    def __init__(self, **methods):
        inner = contexts.pca()
        self.dim, self.project_point, self.tangent_basis = inner.dim, inner.project_point, inner.tangent_basis
        vars(self).update(methods)


def with_manifold(**methods):
    return lambda context: replace(context, manifold=Changed(**methods))


def random_basis(x):
    return torch.linalg.qr(torch.randn(len(x), x.shape[1], contexts.DIM)).Q


def of_the_batch(x):
    turned = x - x.mean(0)
    return torch.linalg.qr(contexts.pca().basis + 0.2 * turned[:, :, None]).Q


def slightly_random(x):
    """Tangent spaces that are another by about 1 % at every call."""
    basis = contexts.pca().basis
    return torch.linalg.qr(basis + 0.01 * basis.std() * torch.randn(len(x), *basis.shape)).Q


def slightly_of_the_batch(x):
    return torch.linalg.qr(contexts.pca().basis + 0.01 * x.mean(0)[:, None]).Q


def of_the_first_row(x):
    return torch.linalg.qr(contexts.pca().basis + 5 * x[:1, :, None].expand(1, -1, contexts.DIM).cumsum(2).sin()).Q[0]


def other_bases_of_the_same_spaces(x):
    return contexts.pca().basis @ torch.linalg.qr(torch.randn(contexts.DIM, contexts.DIM)).Q


def centred_in_place(x):
    return contexts.pca().project_point(x.mul_(0.9))


def basis_in_place(x):
    x.zero_()
    return contexts.pca().basis


@pytest.mark.parametrize(
    "basis", [random_basis, lambda x: random_basis(x)[0], slightly_random], ids=["each", "shared", "slightly"]
)
def test_random_tangent_spaces_are_named(basis):
    contexts.assert_fails_for_its_own_reason(
        "tangent-repeats", repeats.tangent_repeats, with_manifold(tangent_basis=basis)
    )


@pytest.mark.parametrize("basis", [of_the_batch, slightly_of_the_batch, of_the_first_row])
def test_tangent_spaces_that_depend_on_the_batch_are_named(basis):
    context = with_manifold(tangent_basis=basis)(contexts.plain())
    items = contexts.asked(repeats.batch_independent_manifold, context)
    assert items["tangent-batch"].ok is False
    assert "change with the other inputs in the batch (limit 5.0%); let tangent_basis treat each point" in (
        items["tangent-batch"].message
    )
    assert items["projection-batch"].ok is True
    assert contexts.asked(repeats.tangent_repeats, context)["tangent-repeats"].ok is True


def test_projections_that_depend_on_the_batch_are_named():
    manifold = with_manifold(project_point=lambda x: contexts.pca().project_point(x - x.mean(0)))
    items = contexts.asked(repeats.batch_independent_manifold, manifold(contexts.plain()))
    assert items["projection-batch"].ok is False
    assert items["tangent-batch"].ok is True


def test_other_bases_of_the_same_spaces_are_no_change():
    context = with_manifold(tangent_basis=other_bases_of_the_same_spaces)(contexts.plain())
    assert contexts.asked(repeats.tangent_repeats, context)["tangent-repeats"].value < 1e-3
    assert contexts.failed(contexts.asked(repeats.batch_independent_manifold, context).values()) == set()


def test_a_basis_that_is_nearly_orthonormal_repeats():
    """The item `orthonormal` lets bases pass that are off by 1e-4; that is no change from call to call."""
    context = with_manifold(tangent_basis=lambda x: 0.99996 * contexts.pca().basis)(contexts.plain())
    assert contexts.asked(repeats.tangent_repeats, context)["tangent-repeats"].value == 0


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"project_point": centred_in_place}, "the manifold's project_point changed the points"),
        ({"tangent_basis": basis_in_place}, "the manifold's tangent_basis changed the points"),
        ({"project_point": centred_in_place, "tangent_basis": basis_in_place}, "project_point and tangent_basis"),
    ],
    ids=["projection", "basis", "both"],
)
def test_a_manifold_that_works_in_place_is_named(methods, words):
    contexts.assert_fails_for_its_own_reason("in-place", repeats.in_place, with_manifold(**methods))
    assert words in contexts.asked(repeats.in_place, with_manifold(**methods)(contexts.plain()))["in-place"].message


class InPlace(views.Local):
    """A manifold that projects in place."""

    def project_point(self, x):
        x[:, 2 * views.K :] = 0
        return x

    def tangent_basis(self, x):
        basis = super().tangent_basis(x)
        x.zero_()
        return basis


def test_a_manifold_in_place_changes_neither_the_inputs_nor_the_estimates():
    x = views.subject().x.numpy().copy()
    given = x.copy()
    reports = [
        dmmcheck.run(views.subject(x=values, manifold=manifold), samples=32, checks=["off-manifold-energy"])
        for values, manifold in ((x, views.Local()), (given, InPlace()))
    ]
    assert (x == given).all()
    assert reports[0].distances == reports[1].distances
    assert reports[0].subject.manifold.residual_median == reports[1].subject.manifold.residual_median
    assert {item.name for item in reports[1].soundness if item.ok is False} == {"in-place"}


class InPlaceClassifier(Classifier):
    """A classifier that changes the inputs that it gets."""

    name, classes, input_shape = "in place", 2, (2,)
    device, dtype = torch.device("cpu"), torch.float32

    def logits(self, x):
        with torch.no_grad():
            x += 1
        return torch.stack([x[:, 0], -x[:, 0]], 1)


def test_a_classifier_in_place_is_named_and_leaves_the_users_inputs_alone():
    contexts.assert_fails_for_its_own_reason(
        "model-in-place", model.model_in_place, lambda context: replace(context, classifier=InPlaceClassifier())
    )
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0)).double().float() + 3
    before = x.clone()
    basis = geometry.random_basis(2, 1, generator=torch.Generator().manual_seed(0))
    subject = dmmcheck.Subject(InPlaceClassifier(), x, torch.zeros(16).long(), dmmcheck.manifolds.Subspace(basis))
    dmmcheck.run(subject, checks=["on-manifold-distance"], tiers=["stated"])
    assert torch.equal(subject.x, before)
    assert torch.equal(x, before)


def test_the_manifold_is_asked_about_the_inputs_no_more_often_than_the_gates_need():
    asked = {"project_point": [], "tangent_basis": []}

    def counted(name):
        def method(x):
            asked[name].append(len(x))
            return getattr(contexts.pca(), name)(x)

        return method

    context = with_manifold(**{name: counted(name) for name in asked})(contexts.plain())
    items = [repeats.in_place(context), repeats.tangent_repeats(context), *repeats.batch_independent_manifold(context)]
    assert all(item.ok for item in items)
    n, alone = len(context.x), repeats.ALONE
    assert sum(asked["tangent_basis"]) == 3 * n + alone  # first, again, in reverse and alone
    assert sum(asked["project_point"]) == 2 * n + alone


@pytest.mark.parametrize("method", ["project_point", "tangent_basis"])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in the batch"])
def test_a_method_that_raises_is_one_clear_error(method, alone):
    context = contexts.plain()
    rows = 1 if alone else len(context.x)

    def raises(x):
        if len(x) == rows:
            raise ValueError("no such point")
        return getattr(contexts.pca(), method)(x)

    broken = with_manifold(**{method: raises})(context)
    with pytest.raises(
        ManifoldError, match=rf"the manifold's {method} raised ValueError on points of shape \({rows}, "
    ):
        list(repeats.batch_independent_manifold(broken))
