"""Planes of classes against those of each class alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from dmmcheck.errors import ManifoldError, SubjectError
from dmmcheck.manifolds import PCA, ClassPCA

GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.arange(90) % 3
POINTS = torch.randn((90, 8), generator=GENERATOR) + 20 * torch.eye(3, 8)[LABELS]


def test_at_points_of_a_class_the_manifold_is_the_plane_of_the_class():
    manifold = ClassPCA(dim=2).fit(POINTS, LABELS)
    for label in range(3):
        own = POINTS[label == LABELS]
        alone = PCA(dim=2).fit(own)
        torch.testing.assert_close(manifold.project_point(own), alone.project_point(own), rtol=0, atol=1e-4)
        torch.testing.assert_close(manifold.tangent_basis(own), alone.tangent_basis(own).expand(30, -1, -1))


def test_a_point_belongs_to_the_plane_that_it_is_nearest_to():
    manifold = ClassPCA(dim=2).fit(POINTS, LABELS)
    x = 10 * torch.randn((40, 8), generator=GENERATOR)
    planes = [PCA(dim=2).fit(POINTS[label == LABELS]) for label in range(3)]
    distances = torch.stack([(x - plane.project_point(x)).norm(dim=1) for plane in planes])
    torch.testing.assert_close((x - manifold.project_point(x)).norm(dim=1), distances.amin(0))
    assert len(distances.argmin(0).unique()) > 1


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.tolist(),
        np.array(["b", "c", "a"])[LABELS],
        pd.Series(LABELS + 1),
        torch.eye(3)[LABELS],
        LABELS[:, None],
        LABELS.double(),
    ],
    ids=["list", "texts", "series", "one-hot", "column", "floats"],
)
def test_labels_may_have_any_form(labels):
    expected = ClassPCA(dim=2).fit(POINTS, LABELS).project_point(POINTS)
    torch.testing.assert_close(ClassPCA(dim=2).fit(POINTS.numpy(), labels).project_point(POINTS), expected)


@pytest.mark.parametrize("rows", [[0.5, 0.5, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
def test_rows_of_labels_that_are_not_one_hot_are_refused(rows):
    with pytest.raises(SubjectError, match="one-hot"):
        ClassPCA(dim=2).fit(POINTS, torch.tensor([rows] * len(POINTS)))


def test_a_class_whose_points_are_equal_is_told_so():
    with pytest.raises(ManifoldError, match="have rank 0; its points are equal: give points that differ"):
        ClassPCA(dim=1).fit(torch.ones(12, 3), torch.arange(12) % 2)
