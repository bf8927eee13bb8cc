"""Random rotations are orthogonal, invertible, seeded and uniform; those of the spectrum keep its sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, stats

from dmmcheck.manifolds.rotations import EXACT_UP_TO, Haar, Spectrum

SIZES = [1, 2, 32, EXACT_UP_TO, EXACT_UP_TO + 1, 300]
SHAPES = [(7, 5), (3, 8, 8), (1, 6, 4)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rotations(seed: int) -> list[tuple[object, int]]:
    haar = [(Haar(size, generator=seeded(seed)), size) for size in SIZES]
    return haar + [(Spectrum(shape, generator=seeded(seed)), int(np.prod(shape))) for shape in SHAPES]


KINDS = range(len(SIZES) + len(SHAPES))
NAMES = [*(f"haar-{size}" for size in SIZES), *(f"spectrum-{shape}" for shape in SHAPES)]


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_rotation_is_orthogonal_and_its_inverse_its_transpose(kind):
    rotation, size = rotations(1)[kind]
    matrix = rotation.apply(torch.eye(size, dtype=torch.float64)).T
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size, dtype=torch.float64))
    torch.testing.assert_close(rotation.inverse(torch.eye(size, dtype=torch.float64)).T, matrix.T)


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**20), a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_a_rotation_is_linear_and_keeps_angles(kind, seed, a, b):
    rotation, size = rotations(seed)[kind]
    u, v = torch.randn((2, 3, size), generator=seeded(seed + 1), dtype=torch.float64)
    torch.testing.assert_close(rotation.apply(a * u + b * v), a * rotation.apply(u) + b * rotation.apply(v))
    torch.testing.assert_close((rotation.apply(u) * rotation.apply(v)).sum(1), (u * v).sum(1))
    torch.testing.assert_close(rotation.inverse(rotation.apply(u)), u)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rotation_follows_the_seed_and_the_dtype_and_not_the_batch(kind, dtype):
    (one, size), (same, _), (other, _) = (rotations(seed)[kind] for seed in (1, 1, 2))
    v = torch.randn((6, size), generator=seeded(0), dtype=dtype)
    assert one.apply(v).dtype == one.inverse(v).dtype == dtype
    torch.testing.assert_close(one.apply(v), same.apply(v), rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([one.apply(row[None]) for row in v]), one.apply(v))
    if size > 2:
        assert not torch.allclose(one.apply(v), other.apply(v), atol=1e-3)


def structured(size: int) -> dict[str, torch.Tensor]:
    """Vectors for which a transform built of cosines could fail to be uniform."""
    t = torch.arange(size, dtype=torch.float64)
    return {
        "first-pixel": (t == 0).double(),
        "one-pixel": (t == 17).double(),
        "constant": torch.ones(size, dtype=torch.float64),
        "cosine": torch.cos(torch.pi * 5 * (2 * t + 1) / (2 * size)),  # a row of the transform itself
        "ramp": t + 1,
    }


def spaces(size: int, dim: int) -> dict[str, torch.Tensor]:
    """Orthonormal bases (D, k): some pixels, the smoothest vectors."""
    smooth = fft.idct(np.eye(size)[:dim], axis=1, norm="ortho").T
    return {"pixels": torch.eye(size, dtype=torch.float64)[:, :dim], "smooth": torch.from_numpy(smooth.copy())}


DRAWS = 1500


@pytest.mark.parametrize(("size", "dim"), [(32, 1), (32, 4), (EXACT_UP_TO + 1, 1), (300, 1), (300, 16)])
def test_shares_are_those_of_a_uniform_rotation_even_for_sparse_and_smooth_vectors(size, dim):
    given = structured(size)
    v = torch.stack([vector / vector.norm() for vector in given.values()])
    turned = torch.stack([Haar(size, generator=seeded(draw)).inverse(v) for draw in range(DRAWS)])
    chance = stats.beta(dim / 2, (size - dim) / 2)
    for space, basis in spaces(size, dim).items():
        share = (turned @ basis).square().sum(2).numpy()
        for place, name in enumerate(given):
            assert stats.kstest(share[:, place], chance.cdf).pvalue > 1e-4, (name, space)
            beyond = int((share[:, place] > chance.ppf(0.99)).sum())  # what p-values are made of
            assert stats.binomtest(beyond, DRAWS, 0.01).pvalue > 1e-4, (name, space)


@pytest.mark.parametrize("size", [32, 300])
def test_shares_of_two_vectors_vary_together_as_under_a_uniform_rotation(size):
    """For cosine c between them, E[(t.Ru)^2 (t.Rv)^2] = (1 + 2 c^2) / (D (D + 2))."""
    t = torch.arange(size, dtype=torch.float64)
    v = torch.stack([(t == 3).double(), (t == 3).double() + (t == 4).double()])
    v = v / v.norm(dim=1, keepdim=True)
    squares = torch.stack([Haar(size, generator=seeded(draw)).inverse(v)[:, 0].square() for draw in range(4 * DRAWS)])
    product = (size * squares).prod(1)
    expected = (1 + 2 * 0.5) * size / (size + 2)
    assert abs(product.mean() - expected) < 4 * product.std() / (4 * DRAWS) ** 0.5


def test_a_spectrum_keeps_the_size_of_every_spatial_frequency():
    images = torch.randn((4, 3, 8, 6), generator=seeded(0), dtype=torch.float64)
    turned = Spectrum((3, 8, 6), generator=seeded(1)).apply(images.flatten(1)).reshape(images.shape)
    before, after = (fft.dctn(part.numpy(), axes=(-2, -1), norm="ortho") for part in (images, turned))
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-12)
    signs = after / before
    np.testing.assert_allclose(signs, np.broadcast_to(signs[:1], signs.shape))  # one sign for all images
    assert 0.3 < (signs[0] < 0).mean() < 0.7


def test_a_spectrum_turns_channels_apart():
    image = torch.randn((1, 1, 8, 8), generator=seeded(0), dtype=torch.float64).expand(1, 3, 8, 8)
    turned = Spectrum((3, 8, 8), generator=seeded(1)).apply(image.reshape(1, -1)).reshape(3, 8, 8)
    assert not torch.allclose(turned[0], turned[1])


def test_a_spectrum_is_its_own_inverse():
    v = torch.randn((2, 35), generator=seeded(0), dtype=torch.float64)
    spectrum = Spectrum((7, 5), generator=seeded(1))
    torch.testing.assert_close(spectrum.apply(spectrum.apply(v)), v)
