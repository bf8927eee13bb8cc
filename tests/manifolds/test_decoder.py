"""The manifold of a decoder against its Jacobian by other means and in closed form, and its errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import Decoder, validate_manifold

D, K, SHAPE = 48, 5, (3, 4, 4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def initialised(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = seeded(seed)
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.5, generator=generator)
    return module


def convolutional() -> tuple[nn.Module, nn.Module]:
    """An autoencoder of images with dropout, batch norm and in-place layers; its codes have the shape (5, 1, 1)."""
    encode = nn.Sequential(nn.Conv2d(3, K, 4), nn.Tanh())
    decode = nn.Sequential(
        *(nn.ConvTranspose2d(K, 8, 2), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.SiLU(inplace=True)),
        *(nn.ConvTranspose2d(8, 3, 3), nn.Sigmoid()),
    )
    return initialised(encode), initialised(decode, 1)


X = torch.rand((6, D), generator=seeded())


def reverse_mode(decode: nn.Module, codes: torch.Tensor) -> torch.Tensor:
    """Jacobians (n, D, k), one output and one code at a time."""
    decode.eval()
    rows = [torch.autograd.functional.jacobian(lambda z: decode(z[None])[0].flatten(), code) for code in codes]
    return torch.stack(rows).reshape(len(codes), -1, codes[0].numel())


def test_tangent_spaces_are_those_of_the_jacobian_by_reverse_mode():
    encode, decode = convolutional()
    basis = Decoder(encode, decode, input_shape=SHAPE).tangent_basis(X)
    codes = encode.eval()(X.reshape(-1, *SHAPE)).detach()
    expected = torch.linalg.qr(reverse_mode(decode, codes)).Q
    torch.testing.assert_close(basis @ basis.mT, expected @ expected.mT, rtol=0, atol=1e-5)
    assert geometry.orthonormal_residual(basis) < 1e-5
    projected = Decoder(encode, decode, input_shape=SHAPE).project_point(X)
    torch.testing.assert_close(projected, decode(codes).flatten(1))


@pytest.mark.parametrize("dim", [1, 3, 7])
def test_a_linear_decoder_has_its_columns_as_the_tangent_space(dim):
    matrix = torch.randn((D, dim), generator=seeded(), dtype=torch.float64)
    inverse = torch.linalg.pinv(matrix)
    manifold = Decoder(lambda x: x @ inverse.T, lambda z: z @ matrix.T)
    basis, x = manifold.tangent_basis(X.double()), X.double()
    onto = matrix @ inverse
    torch.testing.assert_close(basis @ basis.mT, onto.expand(6, -1, -1))
    torch.testing.assert_close(manifold.project_point(x), x @ onto)
    assert manifold.dim == dim


def test_a_circle_has_its_tangent():
    def decode(z):
        return torch.cat([z.cos(), z.sin(), 0 * z], 1)

    angle = torch.linspace(0, 3, 5)[:, None]
    manifold = Decoder(lambda x: torch.atan2(x[:, 1], x[:, 0])[:, None], decode)
    expected = torch.cat([-angle.sin(), angle.cos(), 0 * angle], 1)[:, :, None]
    torch.testing.assert_close(manifold.tangent_basis(3 * decode(angle)), expected)
    torch.testing.assert_close(manifold.project_point(3 * decode(angle)), decode(angle))


@pytest.mark.parametrize("fails", [False, True])
def test_modules_are_in_evaluation_mode_while_called_and_as_they_were_after(fails):
    encode, decode = convolutional()
    decode[1].eval()
    next(decode.parameters()).requires_grad_(False)
    if fails:
        decode.append(nn.Linear(2, 2))
    flags = [(m.training, [p.requires_grad for p in m.parameters()]) for m in [*encode.modules(), *decode.modules()]]
    statistics = decode[1].running_mean.clone()
    if fails:
        with pytest.raises(ManifoldError):
            Decoder(encode, decode, input_shape=SHAPE).tangent_basis(X)
    else:
        manifold = Decoder(encode, decode, input_shape=SHAPE)
        once, twice = manifold.tangent_basis(X), manifold.tangent_basis(X)
        torch.testing.assert_close(once, twice, rtol=0, atol=0)  # dropout would differ
        assert not once.requires_grad
        assert not manifold.project_point(X).requires_grad
    after = [(m.training, [p.requires_grad for p in m.parameters()]) for m in [*encode.modules(), *decode.modules()]]
    assert after == flags
    torch.testing.assert_close(decode[1].running_mean, statistics, rtol=0, atol=0)
    assert all(p.grad is None for m in (encode, decode) for p in m.parameters())


def test_methods_of_one_module_are_put_in_evaluation_mode_too():
    class Autoencoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward, self.outward = convolutional()

        def encode(self, x):
            return self.inward(x)

        def decode(self, z):
            assert not self.training
            return self.outward(z)

    both = Autoencoder()
    apart = Decoder(both.inward, both.outward, input_shape=SHAPE).tangent_basis(X)
    torch.testing.assert_close(Decoder(both.encode, both.decode, input_shape=SHAPE).tangent_basis(X), apart)
    assert both.training


@pytest.mark.parametrize("network", [torch.float32, torch.float64])
@pytest.mark.parametrize("points", [torch.float32, torch.float64])
def test_points_follow_the_dtype_of_the_modules_and_answers_that_of_the_points(network, points):
    encode, decode = (module.to(network) for module in convolutional())
    manifold = Decoder(encode, decode, input_shape=SHAPE)
    assert manifold.tangent_basis(X.to(points)).dtype == manifold.project_point(X.to(points)).dtype == points


def test_rows_do_not_depend_on_the_batch(monkeypatch):
    manifold = Decoder(*convolutional(), input_shape=SHAPE)
    basis, projected = manifold.tangent_basis(X), manifold.project_point(X)
    torch.testing.assert_close(torch.cat([manifold.tangent_basis(x[None]) for x in X]), basis, rtol=0, atol=1e-5)
    monkeypatch.setattr("dmmcheck.manifolds.decoder._PAIR_VALUES", 2 * D)
    monkeypatch.setattr("dmmcheck.manifolds.decoder._BASIS_VALUES", 2 * D * K)
    torch.testing.assert_close(manifold.tangent_basis(X), basis, rtol=0, atol=1e-5)
    torch.testing.assert_close(manifold.project_point(X), projected)


def test_fitting_sets_the_shape_the_training_points_and_the_size_of_the_codes():
    manifold = Decoder(*convolutional()).fit(X.reshape(-1, *SHAPE))
    assert (manifold.dim, manifold.input_shape, manifold.name) == (K, SHAPE, "decoder")
    torch.testing.assert_close(manifold.training_points, X)
    assert validate_manifold(manifold, X).shape == (6, D, K)


def test_the_size_of_the_codes_is_known_once_a_point_was_seen_or_when_given():
    modules = convolutional()
    manifold = Decoder(*modules, input_shape=SHAPE)
    with pytest.raises(ManifoldError, match=r"not known yet; give dim, or call fit\(x\)"):
        _ = manifold.dim
    assert validate_manifold(manifold, X).shape == (6, D, K)
    assert manifold.dim == Decoder(*modules, dim=K).dim == K


def flat(dim: int):
    return lambda x: x[:, :dim]


def fades(z):
    return torch.cat([z[:, :1], 1e-6 * z[:, 1:], torch.zeros((len(z), D - 2))], 1)


@pytest.mark.parametrize(
    ("encode", "decode", "options", "words"),
    [
        (3, flat(2), {}, ["encoder is a int", "cannot be called"]),
        (flat(2), None, {}, ["decoder is a NoneType"]),
        (flat(2), lambda z: z[:, :1].expand(-1, D), {}, ["rank-deficient", "0 of the largest", "smaller codes"]),
        (flat(2), fades, {}, ["1e-06 of the largest", "limit 0.00012", "float64"]),
        (flat(2), lambda z: torch.zeros((len(z), D)) + 0 * z.sum(), {}, ["rank-deficient"]),
        (
            flat(2),
            lambda z: (0 * z[:, :1]).sqrt().expand(-1, D),
            {},
            ["NaN or infinite"],
        ),
        (flat(2), lambda z: z, {}, ["decoder returned shape (2, 2)", f"points of {D} values"]),
        (flat(2), lambda z: z @ torch.ones(3, D), {}, ["decoder raised RuntimeError", "(2, 2)"]),
        (lambda x: x @ torch.ones(3, 2), flat(2), {}, ["encoder raised RuntimeError", "input_shape"]),
        (lambda x: (x, x[:, :3]), flat(2), {}, ["encoder returned a tuple", "variational"]),
        (lambda x: x.sum(), flat(2), {}, ["encoder returned shape ()", "one row for each input"]),
        (lambda x: x.long(), flat(2), {}, ["torch.int64", "floating-point codes"]),
        (lambda x: x, lambda z: z, {}, [f"k = {D} values", f"D = {D}", "fewer than D"]),
        (flat(3), lambda z: z, {"dim": 2}, ["codes have 3 values, dim is 2"]),
        (nn.Linear(D, 2).half(), flat(2), {}, ["encoder computes in torch.float16", "convert it with .float()"]),
        (flat(2), nn.Linear(2, D, device="meta"), {}, ["decoder's parameters are on the meta device"]),
    ],
    ids=[
        *("encoder-no-call", "decoder-no-call", "collapsed", "faint", "constant", "infinite", "decodes-to-other-D"),
        *("decoder-raises", "encoder-raises", "tuple", "no-rows", "integers", "k-is-D", "other-dim", "half", "meta"),
    ],
)
def test_an_encoder_or_decoder_that_cannot_be_used_is_one_clear_error(encode, decode, options, words):
    with pytest.raises(ManifoldError) as error:
        Decoder(encode, decode, **options).tangent_basis(X[:1])
    assert all(word in str(error.value) for word in words), str(error.value)
