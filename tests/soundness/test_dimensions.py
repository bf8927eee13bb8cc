"""The informational item on the verdict at other dimensions of the manifold."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import views

from dmmcheck import geometry
from dmmcheck.manifolds import PCA, LocalPCA, Subspace
from dmmcheck.soundness.dimensions import dimensions
from dmmcheck.subject import Subject


class Nested:
    """Spans of the leading axes, in an order in which the model's gradient comes at a known dimension."""

    def __init__(self, axes: torch.Tensor, dim: int) -> None:
        self.axes, self.dim, self.asked = axes, dim, []

    def project_point(self, x):
        return geometry.project_tangent(x, self.axes[:, : self.dim])

    def tangent_basis(self, x):
        return self.axes[:, : self.dim]

    def refit(self, dim):
        self.asked.append(dim)
        return Nested(self.axes, dim)


class Plane(torch.nn.Module):
    def forward(self, x):
        return torch.stack([x[:, 4], -x[:, 4]], 1)


def item_of(manifold, model=None, x=None):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, views.D, generator=generator) if x is None else x
    model = Plane() if model is None else model
    with torch.no_grad():
        y = model(x).argmax(1)
    seen = views.view(Subject(model=model, x=x, y=y, manifold=manifold))
    basis = seen.field.basis(slice(0, seen.n))
    return dimensions(
        SimpleNamespace(x=seen.x, basis=basis, manifold=manifold, crossings={"free": seen.crossing("free")})
    )


def test_the_verdict_changes_where_the_gradient_enters_the_manifold():
    manifold = Nested(torch.eye(views.D), 3)  # the gradient is axis 4: in the span from dimension 5 on
    item = item_of(manifold)
    assert manifold.asked == [
        1,
        6,
        2,
        4,
    ]  # 3 // 2 = 1, 2 * 3, then neighbours of 3: 3 // 4 = 0 and 4 * 3 = D are no dimensions
    assert item.ok is None
    assert item.value == 1
    assert "supported at 1, 2, 3, 4, refuted at 6" in item.message
    assert "100% at 4, 0% at 6" in item.message


def test_without_refit_it_is_not_known():
    item = item_of(Subspace(torch.eye(views.D)[:, :3]))
    assert item.value is None
    assert "no refit(dim)" in item.message


@pytest.mark.parametrize("estimator", [PCA, LocalPCA])
def test_fitted_manifolds_are_refitted_at_four_other_dimensions(estimator):
    x_train = torch.randn(300, views.D, generator=torch.Generator().manual_seed(1))
    item = item_of(estimator(dim=3).fit(x_train))
    assert item.message.partition(";")[0].count(" at ") == 5


def test_dimensions_beyond_the_rank_are_left_out():
    flat = torch.randn(300, views.D, generator=torch.Generator().manual_seed(2))
    flat[:, 5:] = 0  # rank 5
    item = item_of(PCA(dim=4).fit(flat), x=flat[:64])
    assert [f" at {dim}" in item.message for dim in (1, 2, 3, 4, 5, 6)] == [True] * 5 + [False]
