"""The cosine transform by torch against SciPy's."""

from __future__ import annotations

import pytest
import torch

from dmmcheck.manifolds.cosine_transform import by_torch, cosine_transform

SHAPES = [(5, 1), (5, 2), (5, 3), (5, 4), (7, 65), (2, 784), (3, 1, 7, 5), (2, 3, 9, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("inverse", [False, True], ids=["forth", "back"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_transform_by_torch_is_that_of_scipy(shape, inverse, dtype):
    v = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    axes = (1,) if len(shape) == 2 else (-2, -1)
    torch.testing.assert_close(by_torch(v, axes, inverse=inverse), cosine_transform(v, axes, inverse=inverse))
