"""Flat manifolds against scikit-learn and closed forms, and their errors."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from sklearn import decomposition

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import PCA, Subspace, affine
from dmmcheck.measurement.refits import OTHERS, dimensions


def cloud(m: int, ambient_dim: int, scales: list[float], *, offset: float = 0.0, dtype: torch.dtype = torch.float64):
    """Points whose principal directions and standard deviations are known, and these directions (D, k)."""
    generator = torch.Generator().manual_seed(m + ambient_dim)
    basis = geometry.random_basis(ambient_dim, len(scales), generator=generator, dtype=torch.float64)
    points = torch.randn((m, len(scales)), generator=generator, dtype=torch.float64) * torch.tensor(scales)
    return (points @ basis.T + offset).to(dtype), basis


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest sine of an angle between two subspaces of the same dimension, (D, k) each."""
    one, other = one.double(), other.double()
    return float(torch.linalg.matrix_norm(one - other @ (other.T @ one), 2))


@pytest.mark.parametrize(("m", "ambient_dim"), [(300, 12), (12, 300), (40, 40)], ids=["tall", "wide", "square"])
@pytest.mark.parametrize("dim", [1, 5])
def test_pca_is_that_of_scikit_learn(m, ambient_dim, dim):
    points, _ = cloud(m, ambient_dim, [8, 7, 6, 5, 4, 3, 2, 1])
    ours, theirs = PCA(dim=dim).fit(points), decomposition.PCA(dim, svd_solver="full").fit(points.numpy())
    assert apart(ours.basis, torch.from_numpy(theirs.components_.T)) < 1e-9
    expected = theirs.inverse_transform(theirs.transform(points.numpy()))
    np.testing.assert_allclose(ours.project_point(points).numpy(), expected, atol=1e-9)


def test_refit_is_a_fit_with_another_dimension():
    points, _ = cloud(50, 20, [5, 4, 3, 2, 1])
    refitted, fitted = PCA(dim=2).fit(points).refit(4), PCA(dim=4).fit(points)
    torch.testing.assert_close(refitted.basis, fitted.basis, rtol=0, atol=0)
    assert refitted.name == "pca"


@pytest.mark.parametrize("m", [12, 50])  # fewer points than features, and more
def test_a_refit_of_fewer_dimensions_is_that_of_a_new_fit(m):
    points, _ = cloud(m, 20, [5, 4, 3, 2, 1])
    refitted, fitted = PCA(dim=5).fit(points).refit(2), PCA(dim=2).fit(points)
    torch.testing.assert_close(refitted.basis, fitted.basis)
    torch.testing.assert_close(refitted.origin, fitted.origin)
    torch.testing.assert_close(refitted.training_points, fitted.training_points)
    assert (refitted.dim, refitted.name, refitted.note) == (2, "pca", "")


@pytest.fixture
def eigh_calls(monkeypatch):
    """The shapes of the matrices whose eigenvectors were computed, in order."""
    shapes, eigh = [], torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: shapes.append(matrix.shape) or eigh(matrix))
    return shapes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("m", "ambient_dim"), [(300, 60), (60, 300)], ids=["tall", "wide"])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 10])
def test_the_refits_of_a_run_take_the_directions_of_the_first_fit(k, m, ambient_dim, dtype, eigh_calls):
    points = cloud(m, ambient_dim, list(range(50, 0, -1)), offset=3.0, dtype=dtype)[0]
    manifold = PCA(dim=k).fit(points)
    refits = [manifold.refit(dim) for dim in islice(dimensions(k, ambient_dim), OTHERS)]
    refits += [refits[0].refit(one.dim) for one in refits] + [refits[-1].refit(k)]
    assert len(eigh_calls) == 1
    for refitted in refits:
        fitted = PCA(dim=refitted.dim).fit(points)
        assert_directions_equal(refitted.basis, fitted.basis, exactly=m > ambient_dim)
        assert refitted.basis.stride() == fitted.basis.stride()  # so that products with it have the same rounding
        assert torch.equal(refitted.origin, fitted.origin)
        assert refitted.training_points is manifold.training_points
        assert (refitted.name, refitted.note) == ("pca", "")


def assert_directions_equal(one, other, *, exactly):
    """Compare bases; those from inner products of points have a QR decomposition, whose rounding follows its size."""
    assert torch.equal(one, other) if exactly else torch.allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("m", [30, 300], ids=["wide", "tall"])
def test_a_refit_beyond_the_kept_directions_is_a_new_fit(m, eigh_calls):
    points = cloud(m, 120, list(range(80, 0, -1)))[0]
    manifold = PCA(dim=2).fit(points)
    refitted = manifold.refit(manifold.directions.shape[1] + 1)
    assert len(eigh_calls) == 2
    assert_directions_equal(refitted.basis, PCA(dim=refitted.dim).fit(points).basis, exactly=m > 120)


@pytest.mark.parametrize("m", [30, 300], ids=["wide", "tall"])
def test_a_refit_beyond_the_rank_is_the_error_of_a_new_fit(m):
    manifold = PCA(dim=2).fit(cloud(m, 120, [3, 2, 1], dtype=torch.float32)[0])
    assert manifold.directions.shape == (120, 3)
    with pytest.raises(ManifoldError, match=rf"dim is 4, the {m} points have rank 3; choose dim <= 3"):
        manifold.refit(4)


@pytest.mark.parametrize(
    ("m", "ambient_dim", "k", "kept"),
    [(200, 100, 10, 40), (200, 100, 1, 24), (200, 100, 30, 99), (50, 100, 30, 49), (200, 8, 2, 7)],
    ids=["four-times", "at-least", "below-D", "below-m", "few-features"],
)
def test_as_many_directions_are_kept_as_refits_of_a_run_need(m, ambient_dim, k, kept):
    points = torch.randn((m, ambient_dim), generator=torch.Generator().manual_seed(0))
    manifold = PCA(dim=k).fit(points)
    assert manifold.directions.shape == (ambient_dim, kept)
    assert torch.equal(manifold.directions[:, :k], manifold.basis)
    assert manifold.directions.untyped_storage().nbytes() == ambient_dim * kept * 4


@pytest.mark.parametrize("m", [50, 200], ids=["wide", "tall"])
def test_the_kept_directions_are_bounded_in_size(m, monkeypatch):
    monkeypatch.setattr(affine, "MOST_VALUES", 1299)
    points = torch.randn((m, 100), generator=torch.Generator().manual_seed(0))
    assert PCA(dim=10).fit(points).directions.shape == (100, 12)
    assert PCA(dim=20).fit(points).directions.shape == (100, 20)


def test_a_subspace_without_directions_refits_within_its_basis(eigh_calls):
    points = cloud(50, 20, [5, 4, 3, 2, 1])[0]
    manifold = replace(PCA(dim=3).fit(points), directions=None)
    assert torch.equal(manifold.refit(2).basis, manifold.basis[:, :2])
    assert len(eigh_calls) == 1
    assert manifold.refit(4).dim == 4
    assert len(eigh_calls) == 2


def test_a_pickled_manifold_refits_without_a_fit(eigh_calls):
    manifold = PCA(dim=2).fit(cloud(50, 20, [5, 4, 3, 2, 1])[0])
    sent = pickle.loads(pickle.dumps(manifold))
    assert torch.equal(sent.refit(4).basis, manifold.refit(4).basis)
    assert len(eigh_calls) == 1


def test_inputs_of_any_shape_and_kind_are_flattened():
    points, _ = cloud(30, 12, [2, 1])
    expected = PCA(dim=2).fit(points).basis
    torch.testing.assert_close(PCA(dim=2).fit(points.reshape(30, 3, 2, 2)).basis, expected)
    torch.testing.assert_close(PCA(dim=2).fit(points.numpy()).basis, expected)
    torch.testing.assert_close(PCA(dim=2).fit(points.tolist()).basis, expected.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1000.0], ids=["centred", "far-from-zero"])
@pytest.mark.parametrize(("m", "ambient_dim"), [(400, 30), (30, 400)], ids=["tall", "wide"])
def test_rounding_of_the_points_is_no_direction(m, ambient_dim, offset):
    points, _ = cloud(m, ambient_dim, [3, 2, 1], offset=offset, dtype=torch.float32)
    with pytest.raises(ManifoldError, match=rf"dim is 4, the {m} points have rank 3; choose dim <= 3"):
        PCA(dim=4).fit(points)


def test_a_faint_direction_in_many_dimensions_is_one():
    points, basis = cloud(40, 150528, [1, 1e-3], dtype=torch.float32)
    assert apart(PCA(dim=2).fit(points).basis, basis) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_answers_follow_the_dtype_of_the_question(dtype):
    manifold = PCA(dim=2).fit(cloud(30, 6, [2, 1])[0])
    x = torch.ones((3, 6), dtype=dtype)
    assert manifold.tangent_basis(x).dtype == manifold.project_point(x).dtype == dtype


def test_points_of_an_affine_subspace_are_the_nearest():
    _, basis = cloud(2, 7, [1, 1, 1])
    origin, x = torch.arange(7.0).double(), torch.linspace(-1, 1, 14).double().reshape(2, 7)
    coefficients = torch.linalg.lstsq(basis, (x - origin).T).solution
    nearest = Subspace(basis, origin).project_point(x)
    torch.testing.assert_close(nearest, origin + (basis @ coefficients).T)
    torch.testing.assert_close(Subspace(basis).project_point(x), x @ basis @ basis.T)


@pytest.mark.parametrize(
    ("basis", "words"),
    [
        (torch.eye(4), ["(4, 4)", "0 < k < D"]),
        (torch.eye(4)[:, :0], ["(4, 0)"]),
        (torch.eye(4)[0], ["(4,)"]),
        (2 * torch.eye(4)[:, :2], ["off orthonormal by 3", "torch.linalg.qr"]),
        (torch.full((4, 1), torch.nan), ["off orthonormal by nan"]),
    ],
    ids=["k-is-D", "k-is-0", "vector", "long", "nan"],
)
def test_a_basis_that_is_not_one_is_an_error(basis, words):
    with pytest.raises(ManifoldError) as error:
        Subspace(basis)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("x", "dim", "words"),
    [
        ("digits", 2, ["str", "converted to a tensor", "without labels"]),
        (torch.ones(5), 2, ["(5,)", "(m, *input_shape)"]),
        (torch.ones((5, 4), dtype=torch.uint8), 2, ["uint8", "floating-point"]),
        (torch.full((5, 4), torch.inf), 2, ["20 NaN or infinite", "remove"]),
        (torch.ones((9, 4)), 4, ["dim is 4", "D = 4", "below D"]),
        (torch.ones((9, 4)), 0, ["dim is 0", "at least 1"]),
        (torch.eye(3, 9), 3, ["dim is 3", "at least 4 points", "3 were given"]),
        (torch.ones((9, 4)), 1, ["rank 0", "give points that differ"]),
    ],
    ids=["text", "vector", "integers", "infinite", "k-is-D", "k-is-0", "too-few", "constant"],
)
def test_points_that_no_manifold_can_be_fitted_on_are_an_error(x, dim, words):
    with pytest.raises(ManifoldError) as error:
        PCA(dim=dim).fit(x)
    assert all(word in str(error.value) for word in words)
