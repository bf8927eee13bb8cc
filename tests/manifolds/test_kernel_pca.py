"""Kernel principal component analysis against scikit-learn's, on scaled points."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import KernelPCA as Reference

from dmmcheck.manifolds import PCA, KernelPCA

GENERATOR = torch.Generator().manual_seed(0)
ANGLE = 6.28 * torch.rand(120, generator=GENERATOR, dtype=torch.float64)
CIRCLE = 5 + 3 * torch.stack([ANGLE.cos(), ANGLE.sin(), (2 * ANGLE).cos(), 0 * ANGLE], 1)


def test_projections_are_those_of_scikit_learn_with_the_width_of_the_median_distance():
    points = CIRCLE.numpy()
    squared = ((points[:, None] - points[None]) ** 2).sum(2)[np.triu_indices(120, 1)]
    width = np.quantile(squared, 0.5, method="lower")
    reference = Reference(3, kernel="rbf", gamma=1 / width, alpha=1e-3, eigen_solver="dense").fit(
        points - points.mean(0)
    )
    manifold = KernelPCA(dim=3).fit(CIRCLE)
    codes = manifold.transformer.transform(points)
    np.testing.assert_allclose(np.abs(codes), np.abs(reference.transform(points - points.mean(0))), atol=1e-8)


def test_it_follows_a_curve_better_than_a_plane_of_the_same_dimension():
    lost = [(made.fit(CIRCLE).project_point(CIRCLE) - CIRCLE).norm() for made in (KernelPCA(dim=2), PCA(dim=2))]
    assert lost[0] < 0.5 * lost[1]


def test_a_large_data_set_is_fitted_on_some_of_its_points(monkeypatch):
    monkeypatch.setattr("dmmcheck.manifolds.kernel_pca.MOST_POINTS", 40)
    manifold = KernelPCA(dim=2).fit(CIRCLE)
    assert manifold.transformer.inner.X_fit_.shape == (40, 4)
    assert len(manifold.training_points) == 120


def test_the_dimension_is_estimated_and_is_known_before_a_point_is_seen():
    assert KernelPCA().fit(CIRCLE).dim == 1
