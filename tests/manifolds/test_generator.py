"""The manifold of a generator alone, beside closed forms, and its errors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import Generator, build, generator, validate_manifold
from dmmcheck.manifolds.adapt import as_manifold, is_generator
from dmmcheck.manifolds.generator import latent_shape
from dmmcheck.seeding import seeded

D = 12
X = torch.randn((7, D), generator=seeded(0, "points"), dtype=torch.float64)


def linear(dim: int) -> nn.Linear:
    """A linear generator in float64, with a shift."""
    layer = nn.utils.skip_init(nn.Linear, dim, D, dtype=torch.float64)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, generator=seeded(1, "linear"))
    return layer


@pytest.mark.parametrize("dim", [1, 3, 8])
def test_a_linear_generator_projects_by_least_squares_and_has_its_columns_as_the_tangent_space(dim):
    layer = linear(dim)
    manifold = as_manifold(layer, (D,))
    matrix, shift = layer.weight.detach(), layer.bias.detach()
    onto = matrix @ torch.linalg.pinv(matrix)
    basis = manifold.tangent_basis(X)
    torch.testing.assert_close(basis @ basis.mT, onto.expand(len(X), -1, -1))
    torch.testing.assert_close(manifold.project_point(X), shift + (X - shift) @ onto)
    assert (manifold.name, manifold.dim) == ("generator", dim)


def sphere(z):
    """Points of the sphere of radius 2 in the first three dimensions, at directions z (n, 3) without their length."""
    long, wide = z[:, :1], z[:, 1:]
    on = torch.cat([wide.cos() * long.cos(), wide.cos() * long.sin(), wide.sin()], 1)
    return 2 * torch.cat([on, on.new_zeros(len(z), D - 3)], 1)


def test_a_sphere_has_the_nearest_point_in_the_direction_of_the_point_and_the_plane_across_it_as_the_tangent_space():
    manifold = Generator(sphere, dim=2)
    outward = torch.zeros_like(X)
    outward[:, :3] = X[:, :3]
    outward[:, 2].clamp_(-1, 1)  # away from the poles of the coordinates, where the Jacobian has rank 1
    outward /= outward.norm(dim=1, keepdim=True)
    # At |x| from 1.4 to 2.8, each step leaves less than half of the error, so that the last step bounds it.
    x = outward * torch.linspace(1.4, 2.8, len(X), dtype=torch.float64)[:, None]
    x[:, 3:] = X[:, 3:]
    torch.testing.assert_close(manifold.project_point(x), 2 * outward, rtol=0, atol=1e-5)
    basis = manifold.tangent_basis(x)
    plane = torch.diag(torch.tensor([1.0] * 3 + [0.0] * (D - 3)).double()) - outward[:, :, None] * outward[:, None]
    torch.testing.assert_close(basis @ basis.mT, plane, rtol=0, atol=1e-5)


def test_of_two_minima_the_nearer_one_is_found_from_several_samples():
    def arcs(z):  # a curve that passes the origin at z = -1, and comes nearest to (0, 1) at z = 1
        return torch.cat([z.square() - 1, 0.9 * (z + 1) / 2, z.new_zeros(len(z), D - 2)], 1)

    x = torch.zeros((1, D), dtype=torch.float64)
    x[0, 1] = 1
    grid = arcs(torch.linspace(-3, 3, 60_001, dtype=torch.float64)[:, None])
    nearest = grid[(grid - x).norm(dim=1).argmin()]
    found = Generator(arcs, dim=1).project_point(x)[0]
    torch.testing.assert_close(found, nearest, rtol=0, atol=1e-4)


def test_the_same_seed_gives_the_same_codes_and_no_code_depends_on_the_other_points(monkeypatch):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    manifold = Generator(sphere, dim=2)
    codes = manifold.codes(X)
    assert torch.equal(Generator(sphere, dim=2).codes(X), codes)
    assert not torch.equal(Generator(sphere, dim=2, seed=1).codes(X), codes)
    monkeypatch.setattr(generator, "_VALUES", 2 * D * generator.STARTS)
    torch.testing.assert_close(manifold.codes(X.flip(0)).flip(0), codes)
    assert torch.equal(torch.get_rng_state(), before)
    assert manifold.codes(X[:0]).shape == (0, 2)


def test_a_generator_of_images_is_in_evaluation_mode_and_its_frozen_parameters_stay_so():
    net = nn.Sequential(nn.ConvTranspose2d(2, 4, 2), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 3, 1))
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=seeded(2, "images"))
    next(net.parameters()).requires_grad_(False)
    flags = [parameter.requires_grad for parameter in net.parameters()]
    manifold = as_manifold(net, (3, 2, 2))
    assert manifold.latent_shape == (2, 1, 1)
    basis = validate_manifold(manifold, X.float())
    assert basis.shape == (len(X), D, 2)
    assert basis.dtype == torch.float32
    assert net.training
    assert flags == [parameter.requires_grad for parameter in net.parameters()]
    assert all(parameter.grad is None for parameter in net.parameters())
    assert int(net[1].num_batches_tracked) == 0


def test_samples_that_decode_to_numbers_that_are_not_finite_are_not_chosen():
    manifold = Generator(lambda z: sphere(torch.where(z[:, :1] > 0, z, z * torch.nan)), dim=2)
    assert bool(manifold.project_point(X.abs()).isfinite().all())


def test_the_built_in_name_takes_a_generator_with_and_without_points():
    layer = linear(3)
    fitted = build("generator", {"decode": layer, "dim": 3, "seed": 4}, X)
    assert torch.equal(fitted.training_points, X)
    assert fitted.seed == 4
    torch.testing.assert_close(
        fitted.project_point(X), build("generator", {"decode": layer}).project_point(X), rtol=1e-6, atol=1e-6
    )


class Named(nn.Module):
    """A generator that tells the size of its codes."""

    def __init__(self, **attributes):
        super().__init__()
        self.first = nn.Linear(5, 2)
        for name, value in attributes.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("of", "dim", "shape"),
    [
        (nn.Linear(4, D), None, (4,)),
        (Named(), None, (5,)),
        (Named(latent_dim=3), None, (3,)),
        (Named(z_dim="3", nz=4), None, (4,)),
        (Named(latent_dim=3), 2, (2,)),
        (nn.Sequential(nn.ReLU(), nn.ConvTranspose1d(6, 1, 2)), None, (6, 1)),
        (nn.ConvTranspose2d(6, 1, 2), 7, (7,)),
        (sphere, 2, (2,)),
    ],
)
def test_the_shape_of_a_code_is_given_or_that_of_an_attribute_or_of_the_first_layer(of, dim, shape):
    assert latent_shape(of, dim) == shape


def test_functions_and_modules_without_an_encoder_are_generators():
    assert all(map(is_generator, [sphere, linear(2), torch.sin]))
    both = nn.ModuleDict({"encoder": nn.Linear(D, 2), "decoder": nn.Linear(2, D)})
    own = nn.Linear(2, 2)
    own.project_point = own.forward
    both.encoder, both.decoder = both["encoder"], both["decoder"]
    assert not any(map(is_generator, [both, own, SimpleNamespace(), Generator, X]))


def test_a_search_that_would_hold_too_large_a_jacobian_is_refused(monkeypatch):
    monkeypatch.setattr(generator, "MOST_VALUES", 3 * D - 1)
    with pytest.raises(
        ManifoldError, match=r"needs Jacobians of D k = 36 values \(limit 35\); pass \(encoder, decoder"
    ):
        Generator(linear(3)).project_point(X)
    assert Generator(linear(2)).project_point(X).shape == X.shape


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Generator(3, dim=1), ["the generator is a int", "cannot be called"]),
        (lambda: as_manifold(sphere, (D,)), ["generator (function) is not known", "give it as dim", "latent_dim"]),
        (lambda: as_manifold(nn.Tanh(), (D,)), ["generator (Tanh) is not known"]),
        (
            lambda: as_manifold(nn.Linear(D, D).double(), (D,)),
            [f"k = {D} values, inputs have D = {D}", "(encoder, dec"],
        ),
        (lambda: Generator(linear(3), dim=2), ["the generator raised RuntimeError", "its k as dim"]),
        (lambda: Generator(nn.Bilinear(2, 2, D), dim=2), ["the generator raised TypeError", "lambda z: net(z, label)"]),
        (lambda: Generator(lambda z: z, dim=2), ["the generator returned shape", f"points of {D} values"]),
        (lambda: Generator(lambda z: (z, z), dim=2), ["the generator returned a tuple"]),
        (lambda: Generator(linear(2).half()), ["the generator computes in torch.float16"]),
        (lambda: Generator(lambda z: z[:, :1].expand(-1, D), dim=2), ["rank-deficient"]),
        (lambda: Generator(lambda z: (0 * z[:, :1]).log().expand(-1, D), dim=2), ["NaN or infinite"]),
    ],
)
def test_a_generator_that_cannot_be_used_is_one_clear_error(make, words):
    with pytest.raises(ManifoldError) as error:
        make().tangent_basis(X)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("dim", [0, -3, 64.0, "64", True], ids=repr)
def test_a_size_that_is_no_whole_number_is_refused_whatever_the_module_says(dim):
    with pytest.raises(
        ManifoldError, match=r"dim of the generator is .*; give the size k of one code, a whole number >= 1"
    ):
        Generator(nn.Linear(2, 8), dim=dim)
