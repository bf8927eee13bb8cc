"""Projections by products with a Jacobian: they are those of the dense bases, orthogonal, and errors are clear."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import Decoder, operators, validate_manifold
from dmmcheck.manifolds.fields import FieldPart, PermutedField, RotatedField, TangentField, fingerprint
from dmmcheck.manifolds.rotations import Haar

N, D, K, SHAPE = 6, 48, 5, (3, 4, 4)
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-8}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def network(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module]:
    """An autoencoder of images whose codes have the shape (5, 1, 1)."""
    encode = nn.Sequential(nn.Conv2d(3, K, 4), nn.Tanh())
    decode = nn.Sequential(
        *(nn.ConvTranspose2d(K, 8, 2), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.SiLU(inplace=True)),
        *(nn.ConvTranspose2d(8, 3, 3), nn.Sigmoid()),
    )
    generator = seeded()
    for parameter in [*encode.parameters(), *decode.parameters()]:
        parameter.data.normal_(0, 0.5, generator=generator)
    return encode.to(dtype), decode.to(dtype)


def manifold(dtype: torch.dtype = torch.float64) -> Decoder:
    return Decoder(*network(dtype), input_shape=SHAPE, operator=True)


def linear(matrix: torch.Tensor) -> Decoder:
    """A decoder with this matrix (D, k) as its Jacobian everywhere."""
    return Decoder(lambda x: x[:, : matrix.shape[1]], lambda z: z @ matrix.T, operator=True)


X, V = torch.rand((N, D), generator=seeded(), dtype=torch.float64), normal(N, D, seed=1)
BASIS = manifold().tangent_basis(X)
EXPECTED = geometry.project_tangent(V, BASIS)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_projections_are_those_of_the_dense_bases_in_the_dtype_of_the_vectors(dtype):
    spaces = manifold(dtype).tangent_spaces(X.to(dtype))
    basis = manifold(dtype).tangent_basis(X.to(dtype))
    for seen, tolerance in TOLERANCES.items():
        v = V.to(seen)
        projected = spaces.project(v)
        assert projected.dtype == seen
        assert not projected.requires_grad
        error = (projected - geometry.project_tangent(v, basis.to(v))).norm(dim=1) / projected.norm(dim=1)
        assert float(error.max()) < max(TOLERANCES[dtype], tolerance)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("condition", [1.0, 10.0, 100.0])
def test_an_ill_conditioned_jacobian_is_projected_onto_nearly_as_well(dtype, condition):
    left, right = torch.linalg.qr(normal(200, 40)).Q, torch.linalg.qr(normal(40, 40, seed=1)).Q
    matrix = left * torch.linspace(1, 1 / condition, 40, dtype=torch.float64) @ right
    v = normal(3, 200, seed=2)
    projected = linear(matrix.to(dtype)).tangent_spaces(normal(3, 200).to(dtype)).project(v.to(dtype)).double()
    error = (projected - geometry.project_tangent(v, left)).norm(dim=1) / projected.norm(dim=1)
    assert float(error.max()) < condition * TOLERANCES[dtype]


def test_projections_are_idempotent_and_symmetric():
    spaces, other = manifold().tangent_spaces(X), normal(N, D, seed=2)
    once = spaces.project(V)
    torch.testing.assert_close(spaces.project(once), once, rtol=0, atol=1e-8)
    torch.testing.assert_close((once * other).sum(1), (V * spaces.project(other)).sum(1), rtol=0, atol=1e-8)


def test_vectors_off_the_space_zero_vectors_and_vectors_of_any_length_are_projected():
    spaces, off = manifold(torch.float32).tangent_spaces(X.float()), (V - EXPECTED).float()
    assert float(spaces.project(off).norm(dim=1).max()) < 1e-4
    torch.testing.assert_close(spaces.project(torch.zeros_like(off)), torch.zeros_like(off), rtol=0, atol=0)
    for length in (1e-30, 1e30):
        torch.testing.assert_close(
            spaces.project(length * V.float()) / length, spaces.project(V.float()), rtol=1e-4, atol=1e-5
        )


def test_answers_do_not_depend_on_the_batch(monkeypatch):
    spaces = manifold().tangent_spaces(X)
    alone = torch.cat([spaces.rows(slice(i, i + 1)).project(V[i : i + 1]) for i in range(N)])
    torch.testing.assert_close(alone, EXPECTED, rtol=0, atol=1e-8)
    monkeypatch.setattr(operators, "PIECE_VALUES", 2 * D)
    torch.testing.assert_close(spaces.project(V), EXPECTED, rtol=0, atol=1e-8)


def test_rows_come_in_any_order_and_a_single_space_projects_any_number_of_vectors():
    spaces, order = manifold().tangent_spaces(X), torch.tensor([4, 1, 1])
    torch.testing.assert_close(
        spaces.rows(order).project(V[:3]), geometry.project_tangent(V[:3], BASIS[order]), rtol=0, atol=1e-8
    )
    single = spaces.rows(slice(2, 3)).project(V)
    torch.testing.assert_close(single, geometry.project_tangent(V, BASIS[2]), rtol=0, atol=1e-8)


def test_scaled_spaces_are_those_of_points_with_scaled_coordinates():
    size = torch.linspace(1, 2, D, dtype=torch.float64)
    expected = torch.linalg.qr(BASIS / size[:, None]).Q
    scaled = manifold().tangent_spaces(X).scaled(size)
    torch.testing.assert_close(scaled.project(V), geometry.project_tangent(V, expected), rtol=0, atol=1e-8)


def test_modules_are_in_evaluation_mode_while_vectors_are_projected():
    encode, decode = network()
    spaces = Decoder(encode, decode, input_shape=SHAPE, operator=True).tangent_spaces(X)
    torch.testing.assert_close(spaces.project(V), spaces.project(V), rtol=0, atol=0)  # dropout would differ
    assert decode.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in decode.parameters())


@pytest.mark.parametrize("forced", [None, False, True])
def test_spaces_take_the_place_of_bases_where_these_are_large_or_it_is_asked_for(monkeypatch, forced):
    decoder = Decoder(*network(), input_shape=SHAPE, operator=forced)
    assert (decoder.tangent_spaces(X) is not None) is bool(forced)
    monkeypatch.setattr(operators, "DENSE_BYTES", D * K * 8 - 1)
    assert (decoder.tangent_spaces(X) is not None) is (forced is not False)
    assert decoder.fit(X.reshape(-1, *SHAPE)).operator is forced


def test_a_direction_of_the_codes_that_moves_no_point_among_many_changes_no_projection():
    matrix = torch.cat([normal(400, 199), torch.zeros(400, 1, dtype=torch.float64)], 1)
    v, basis = normal(2, 400, seed=1), torch.linalg.qr(matrix[:, :199]).Q
    spaces = linear(matrix).tangent_spaces(normal(2, 400, seed=2))
    torch.testing.assert_close(spaces.project(v), geometry.project_tangent(v, basis), rtol=0, atol=1e-6)


FAULTS = {
    "rank-deficient": (lambda z: z[:, :1].expand(-1, D), ["rank-deficient", "limit 1%", "smaller codes"]),
    "constant": (lambda z: torch.zeros(len(z), D, dtype=z.dtype) + 0 * z.sum(), ["rank-deficient", "100%"]),
    "infinite": (lambda z: (0 * z).sqrt().repeat(1, D // 2), ["NaN or infinite values", "differentiable"]),
}


@pytest.mark.parametrize(("decode", "words"), FAULTS.values(), ids=FAULTS)
def test_a_jacobian_that_cannot_be_used_is_one_clear_error(decode, words):
    with pytest.raises(ManifoldError) as error:
        validate_manifold(Decoder(lambda x: x[:, :2], decode, operator=True), X)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_projection_that_does_not_converge_is_one_clear_error(monkeypatch):
    spaces = linear(normal(200, 100)).tangent_spaces(normal(2, 200, seed=1))
    monkeypatch.setattr(operators, "MOST_STEPS", 9)
    with pytest.raises(ManifoldError, match=r"after 9 steps \(limit 0.01\).*float64"):
        spaces.project(normal(2, 200, seed=2))
    monkeypatch.setattr(operators, "UNFINISHED", 1.0)
    assert spaces.project(normal(2, 200, seed=2)).shape == (2, 200)


class Diagonal:
    """A manifold that knows its tangent spaces by a projection alone, which keeps the first k coordinates."""

    dim = K

    def __init__(self, keep=lambda v: v * (torch.arange(D) < K), more=1):
        self.keep, self.more = keep, more

    def project_point(self, x):
        return self.keep(x)

    def tangent_spaces(self, x):
        return self if self.more or len(x) == 2 else None

    def project(self, v):
        return self.keep(v)

    def rows(self, index):
        return self


def test_a_manifold_of_your_own_may_know_its_tangent_spaces_by_their_projection():
    field = TangentField(Diagonal(), X)
    assert (field.dim, field.shared) == (K, False)
    torch.testing.assert_close(field.project(V)[:, :K], V[:, :K])
    torch.testing.assert_close(field.share(V), V[:, :K].square().sum(1) / V.square().sum(1))


OWN_FAULTS = {
    "not idempotent": (Diagonal(lambda v: v / 2), ["differs from an orthogonal one by 0.5", "symmetric P"]),
    "raises": (Diagonal(lambda v: v @ v), ["method project of the tangent spaces raised RuntimeError"]),
    "another shape": (Diagonal(lambda v: v[:, :3]), ["method project", "returned (2, 3)", "same shape"]),
    "no tensor": (Diagonal(lambda v: 3), ["method project", "returned int"]),
}


@pytest.mark.parametrize(("own", "words"), OWN_FAULTS.values(), ids=OWN_FAULTS)
def test_a_projection_of_your_own_that_cannot_be_used_is_one_clear_error(own, words):
    with pytest.raises(ManifoldError) as error:
        validate_manifold(own, X[:2])
    assert all(word in str(error.value) for word in words), str(error.value)


def test_spaces_for_some_inputs_alone_are_one_clear_error():
    with pytest.raises(ManifoldError, match="return spaces always, or never"):
        TangentField(Diagonal(more=0), X).project(V)


DENSE, FREE = (TangentField(Decoder(*network(), input_shape=SHAPE, operator=operator), X) for operator in (False, True))
ORDER = torch.tensor([2, 0, 1])
CHANGES = {
    "own": lambda field: field,
    "rotated": lambda field: RotatedField(field, Haar(D, generator=seeded(5))),
    "permuted": lambda field: PermutedField(field, ORDER),
    "permuted and rotated": lambda field: RotatedField(PermutedField(field, ORDER), Haar(D, generator=seeded(5))),
    "part": lambda field: FieldPart(field, slice(2, 5)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fields_without_bases_agree_with_fields_of_bases(change):
    dense, free, v = change(DENSE), change(FREE), V[:3]
    torch.testing.assert_close(free.project(v), dense.project(v), rtol=0, atol=1e-8)
    torch.testing.assert_close(free.share(v), dense.share(v), rtol=0, atol=1e-8)
    assert bool(free.share(torch.zeros_like(v)).isnan().all())
    pair = torch.stack([v, V[3:]])
    torch.testing.assert_close(free.cosines(pair, v), dense.cosines(pair, v), rtol=0, atol=1e-8)
    pair[0, 1] = torch.nan  # an unknown vector is not projected, and changes no other cosine
    torch.testing.assert_close(free.cosines(pair, v), dense.cosines(pair, v), rtol=0, atol=1e-8, equal_nan=True)
    spaces = free.spaces(slice(1, 3))
    leaf = v[1:].clone().requires_grad_(True)
    (spaces.project(leaf) * V[4:]).sum().backward()
    torch.testing.assert_close(leaf.grad, spaces.project(V[4:]), rtol=0, atol=1e-8)
    torch.testing.assert_close(
        spaces.project(v[1:]), geometry.project_tangent(v[1:], dense.basis(slice(1, 3))), rtol=0, atol=1e-8
    )
    torch.testing.assert_close(spaces.rows(slice(1, 2)).project(v[2:]), spaces.project(v[1:])[1:], rtol=0, atol=1e-8)
    assert dense.spaces(slice(0, 2)) is None


def test_fingerprints_of_fields_without_bases_are_projections():
    assert fingerprint(FREE, X[:3]).shape == (3, D)
    assert fingerprint(DENSE, X[:3]).shape == (3, D, K)
