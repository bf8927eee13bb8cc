"""What holds for every kind of manifold: bases, projections, batches and dtypes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from dmmcheck import geometry
from dmmcheck.manifolds import (
    PCA,
    Autoencoder,
    ClassPCA,
    Decoder,
    Generator,
    KernelPCA,
    LocalPCA,
    analytic,
    validate_manifold,
)

D, K = 6, 2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


TORUS = analytic.torus(D, generator=seeded())
POINTS = TORUS.sample(300, noise=0.02, generator=seeded(1))
X = POINTS[:12] + 0.05 * torch.randn((12, D), generator=seeded(2), dtype=torch.float64)
LABELS = torch.arange(300) % 3


def curved(seed: int) -> tuple[nn.Module, nn.Module]:
    layers = nn.utils.skip_init(nn.Linear, D, K), nn.utils.skip_init(nn.Linear, K, D)
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter, generator=seeded(seed))
    return layers[0].double(), nn.Sequential(layers[1].double(), nn.Tanh())


KINDS = {
    "pca": lambda: PCA(dim=K).fit(POINTS),
    "local-pca": lambda: LocalPCA(dim=K).fit(POINTS),
    "class-pca": lambda: ClassPCA(dim=K).fit(POINTS, LABELS),
    "kernel-pca": lambda: KernelPCA(dim=K).fit(POINTS),
    "autoencoder": lambda: Autoencoder(dim=K, steps=60).fit(POINTS),
    "decoder": lambda: Decoder(*curved(0)),
    "generator": lambda: Generator(curved(0)[1]),
    "affine": lambda: analytic.affine(K, D, generator=seeded()),
    "sphere": lambda: analytic.sphere(K, D, radius=2.0, generator=seeded()),
    "torus": lambda: TORUS,
    "swiss-roll": lambda: analytic.swiss_roll(D, generator=seeded()),
}


@pytest.fixture(scope="module", params=KINDS)
def manifold(request):
    return KINDS[request.param]()


def span(basis: torch.Tensor) -> torch.Tensor:
    """Projections onto the columns of bases."""
    return (basis @ basis.mT).expand(len(X), -1, -1)


def test_bases_are_orthonormal_and_their_projections_idempotent(manifold):
    basis = validate_manifold(manifold, X)
    assert geometry.orthonormal_residual(basis) < 1e-4
    onto = span(basis)
    torch.testing.assert_close(onto @ onto, onto, rtol=0, atol=1e-4)
    assert manifold.dim == basis.shape[-1] == K


@pytest.mark.parametrize("manifold", sorted({*KINDS} - {"local-pca"}), indirect=True)  # whose planes move with points
def test_projected_points_move_along_the_tangent_space(manifold):
    step = 1e-5 * torch.randn(X.shape, generator=seeded(3), dtype=torch.float64)
    moved = manifold.project_point(X + step) - manifold.project_point(X - step)
    off = moved - geometry.project_tangent(moved, manifold.tangent_basis(X))
    assert float((off.norm(dim=1) / moved.norm(dim=1)).max()) < 1e-3


def test_a_point_has_the_same_answer_in_any_batch(manifold):
    together, apart = manifold.tangent_basis(X), torch.cat([span(manifold.tangent_basis(x[None]))[:1] for x in X])
    torch.testing.assert_close(span(together), apart, rtol=0, atol=1e-6)
    alone = torch.cat([manifold.project_point(x[None]) for x in X])
    torch.testing.assert_close(manifold.project_point(X), alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_answers_have_the_dtype_of_the_points(manifold, dtype):
    assert manifold.project_point(X.to(dtype)).dtype == manifold.tangent_basis(X.to(dtype)).dtype == dtype


@pytest.mark.parametrize("name", ["pca", "local-pca", "class-pca", "kernel-pca", "autoencoder"])
def test_a_fitted_manifold_is_refitted_with_another_dimension_and_on_other_points(name):
    manifold = KINDS[name]()
    assert manifold.name == name
    assert manifold.refit(1).dim == 1
    scaled = manifold.refit_on(2 * POINTS)
    assert scaled.dim == K
    torch.testing.assert_close(scaled.project_point(2 * X), 2 * manifold.project_point(X), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scaled.training_points, 2 * POINTS)


def rotated(name: str, turn: torch.Tensor):
    """A kind of manifold whose points, or whose maps between points and codes, are turned by a matrix (D, D)."""
    points = POINTS @ turn.T
    encode, decode = curved(0)
    fitted = {
        "pca": lambda: PCA(dim=K).fit(points),
        "local-pca": lambda: LocalPCA(dim=K).fit(points),
        "class-pca": lambda: ClassPCA(dim=K).fit(points, LABELS),
        "kernel-pca": lambda: KernelPCA(dim=K).fit(points),
        "decoder": lambda: Decoder(lambda x: encode(x @ turn), lambda z: decode(z) @ turn.T),
        "generator": lambda: Generator(lambda z: decode(z) @ turn.T, dim=K),
    }
    if name in fitted:
        return fitted[name]()
    known = KINDS[name]()
    return replace(known, frame=turn @ known.frame, origin=turn @ known.origin)


@pytest.mark.parametrize("name", sorted({*KINDS} - {"autoencoder"}))  # it draws first weights for each coordinate
def test_a_manifold_of_rotated_points_is_the_rotated_manifold(name):
    turn = geometry.random_basis(D, D, generator=seeded(4), dtype=torch.float64)
    plain, turned = KINDS[name](), rotated(name, turn)
    x = X @ turn.T
    torch.testing.assert_close(turned.project_point(x), plain.project_point(X) @ turn.T, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        span(turned.tangent_basis(x)), turn @ span(plain.tangent_basis(X)) @ turn.T, rtol=0, atol=1e-5
    )
