"""Tangent fields: bases that are kept equal those computed again; changed fields agree with their explicit bases."""

from __future__ import annotations

import pytest
import torch

from dmmcheck import geometry
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import PCA, LocalPCA, fields
from dmmcheck.manifolds.fields import (
    FieldPart,
    PermutedField,
    RotatedField,
    SharedField,
    TangentField,
    projected_together,
)
from dmmcheck.manifolds.rotations import Haar, Spectrum

N, SHAPE = 12, (2, 9, 8)
D = 144
K = 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X_TRAIN, X, V = (
    torch.randn((n, D), generator=seeded(seed), dtype=torch.float64) for n, seed in ((80, 0), (N, 1), (N, 2))
)
W = torch.randn((2, N, D), generator=seeded(3), dtype=torch.float64)


def cosines(v: torch.Tensor, w: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """The cosines (m, n) of the projected vectors v (m, n, D) with vectors w (n, D)."""
    return torch.cosine_similarity(torch.stack([geometry.project_tangent(one, basis) for one in v]), w[None], dim=2)


class Counted:
    """A manifold that counts the points whose bases are computed."""

    def __init__(self, manifold):
        self.manifold, self.dim, self.asked = manifold, manifold.dim, []
        self.project_point = manifold.project_point

    def tangent_basis(self, x):
        self.asked.append(len(x))
        return self.manifold.tangent_basis(x)


LOCAL, SHARED = LocalPCA(dim=K).fit(X_TRAIN), PCA(dim=K).fit(X_TRAIN)
both = pytest.mark.parametrize("manifold", [LOCAL, SHARED], ids=["per-input", "shared"])


@both
def test_a_field_gives_the_bases_shares_and_parts_of_its_manifold(manifold):
    field, basis = TangentField(manifold, X), manifold.tangent_basis(X)
    torch.testing.assert_close(field.basis(slice(0, N)), basis)
    torch.testing.assert_close(field.share(V), geometry.energy_share(V, basis))
    torch.testing.assert_close(field.project(V), geometry.project_tangent(V, basis))
    torch.testing.assert_close(field.cosines(W, V), cosines(W, V, basis))
    assert (field.dim, field.shared) == (K, manifold is SHARED)


def test_a_shared_basis_is_never_expanded():
    assert TangentField(SHARED, X).basis(slice(2, 7)).shape == (D, K)


def room_for(monkeypatch: pytest.MonkeyPatch, inputs: int) -> None:
    monkeypatch.setattr(fields, "_CACHE_BYTES", inputs * D * K * X.element_size())


@pytest.mark.parametrize("inputs", [0, 1, 5, N - 1, N], ids=lambda inputs: f"room-for-{inputs}")
def test_what_is_kept_changes_no_answer(monkeypatch, inputs):
    room_for(monkeypatch, inputs)
    field, basis = TangentField(LOCAL, X), LOCAL.tangent_basis(X)
    for rows in (slice(3, 5), slice(0, 2), slice(4, N), slice(0, N)):
        torch.testing.assert_close(field.basis(rows), basis[rows])
    for n in (N, 4, 7):
        torch.testing.assert_close(field.share(V[:n]), geometry.energy_share(V[:n], basis[:n]))
        torch.testing.assert_close(field.project(V[:n]), geometry.project_tangent(V[:n], basis[:n]))
        torch.testing.assert_close(field.cosines(W[:, :n], V[:n]), cosines(W[:, :n], V[:n], basis[:n]))


def test_each_basis_is_computed_once_while_there_is_room():
    manifold = Counted(LOCAL)
    field = TangentField(manifold, X)
    manifold.asked.clear()
    for rows in (slice(0, 4), slice(2, 4), slice(0, 10), slice(0, N), slice(3, 7)):
        field.basis(rows)
    assert sum(manifold.asked) == N


def test_no_more_bases_are_held_at_a_time_than_there_is_room_for(monkeypatch):
    room_for(monkeypatch, 5)
    manifold = Counted(LOCAL)
    TangentField(manifold, X).share(V)
    assert max(manifold.asked) <= 5


@pytest.mark.parametrize("room", [5, N], ids=lambda room: f"room-for-{room}")
@pytest.mark.parametrize(
    "changed",
    [
        lambda field: field,
        lambda field: RotatedField(field, Haar(D, generator=seeded(4))),
        lambda field: PermutedField(field, torch.randperm(N - 2, generator=seeded(5))),
        lambda field: FieldPart(field, slice(2, N)),
    ],
    ids=["itself", "rotated", "permuted", "part"],
)
@both
def test_vectors_that_are_projected_together_have_the_projections_of_each(monkeypatch, manifold, changed, room):
    room_for(monkeypatch, room)
    field, n = changed(TangentField(manifold, X)), N - 2
    found = projected_together(field, W[:, :n])
    torch.testing.assert_close(found, torch.stack([field.project(one) for one in W[:, :n]]))


def test_vectors_that_are_projected_together_need_each_basis_once(monkeypatch):
    room_for(monkeypatch, 5)
    manifold = Counted(LOCAL)
    field = TangentField(manifold, X)
    manifold.asked.clear()
    projected_together(field, torch.cat([W, W]))
    assert sum(manifold.asked) == N
    assert max(manifold.asked) <= 5


class Spoiled(Counted):
    """Bases that are right at first, and wrong where they are asked for again."""

    def __init__(self, manifold, spoil):
        super().__init__(manifold)
        self.spoil = spoil

    def tangent_basis(self, x):
        right = super().tangent_basis(x)
        return right if len(self.asked) <= 4 else self.spoil(right)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda basis: 2 * basis, "off orthonormal by 3"),
        (lambda basis: basis * torch.nan, "NaN or infinite"),
        (lambda basis: basis[:, :, 1:], "returned shape"),
    ],
    ids=["longer", "nan", "fewer"],
)
def test_bases_that_are_computed_again_are_checked_again(monkeypatch, spoil, match):
    room_for(monkeypatch, 5)
    field = TangentField(Spoiled(LOCAL, spoil), X)  # asks once to validate, and three times for all inputs
    field.share(V)
    with pytest.raises(ManifoldError, match=match):
        field.share(V)


def test_bases_that_were_not_computed_before_are_checked_to_be_orthonormal(monkeypatch):
    room_for(monkeypatch, 5)
    manifold = Spoiled(LOCAL, lambda basis: basis)
    field = TangentField(manifold, X)
    manifold.asked.extend([0] * 4)
    manifold.spoil = lambda basis: torch.nn.functional.normalize(basis + 0.1, dim=1)
    with pytest.raises(ManifoldError, match="off orthonormal"):
        field.share(V)


class Single(Counted):
    """A manifold that answers one point with a basis (D, k)."""

    def tangent_basis(self, x):
        basis = super().tangent_basis(x)
        return basis[0] if len(x) == 1 else basis


@pytest.mark.parametrize("room", [1, 11, N])
def test_one_basis_for_a_single_point_is_its_basis(monkeypatch, room):
    room_for(monkeypatch, room)
    field, basis = TangentField(Single(LOCAL), X), LOCAL.tangent_basis(X)
    torch.testing.assert_close(field.project(V), geometry.project_tangent(V, basis))
    spaces = field.spaces(slice(0, N))
    assert (spaces is None) == (room == N)
    if spaces is not None:
        torch.testing.assert_close(spaces.project(V), geometry.project_tangent(V, basis))


@both
@pytest.mark.parametrize("room", [5, N])
def test_no_rows_have_no_shares_and_no_projections(monkeypatch, manifold, room):
    room_for(monkeypatch, room)
    field = TangentField(manifold, X)
    assert field.project(V[:0]).shape == (0, D)
    assert field.share(V[:0]).shape == (0,)
    assert field.cosines(W[:, :0], V[:0]).shape == (2, 0)


def test_as_many_inputs_as_fit_have_bases_and_more_have_spaces(monkeypatch):
    room_for(monkeypatch, 5)
    field = TangentField(LOCAL, X)
    assert field.spaces(slice(4, 9)) is None
    assert field.spaces(slice(4, 10)) is not None
    torch.testing.assert_close(field.basis(slice(4, 9)), LOCAL.tangent_basis(X)[4:9])


ROTATIONS = {"haar": lambda: Haar(D, generator=seeded(5)), "spectrum": lambda: Spectrum(SHAPE, generator=seeded(5))}


@both
@pytest.mark.parametrize("kind", ROTATIONS)
def test_a_rotated_field_agrees_with_its_explicit_bases(manifold, kind):
    rotation = ROTATIONS[kind]()
    field = RotatedField(TangentField(manifold, X), rotation)
    matrix = rotation.apply(torch.eye(D, dtype=X.dtype)).T
    basis = field.basis(slice(0, N))
    torch.testing.assert_close(basis, matrix @ manifold.tangent_basis(X))
    assert geometry.orthonormal_residual(basis) < 1e-12
    torch.testing.assert_close(field.share(V), geometry.energy_share(V, basis))
    torch.testing.assert_close(field.project(V), geometry.project_tangent(V, basis))
    torch.testing.assert_close(field.share(V[:5]), field.share(V)[:5])
    torch.testing.assert_close(field.cosines(W, V), cosines(W, V, basis))
    assert field.dim == K


ORDER = torch.tensor([3, 0, 1, 2, 4, 11, 5, 6, 7, 8, 9, 10])


@both
def test_a_permuted_field_agrees_with_its_explicit_bases(manifold):
    field, own = PermutedField(TangentField(manifold, X), ORDER), manifold.tangent_basis(X)
    expected = own if own.ndim == 2 else own[ORDER]
    torch.testing.assert_close(field.basis(slice(0, N)), expected)
    torch.testing.assert_close(field.basis(slice(3, 6)), expected if own.ndim == 2 else expected[3:6])
    torch.testing.assert_close(field.share(V), geometry.energy_share(V, expected))
    torch.testing.assert_close(field.project(V), geometry.project_tangent(V, expected))
    torch.testing.assert_close(field.cosines(W, V), cosines(W, V, expected))
    assert field.dim == K


def test_a_permuted_field_computes_the_bases_that_are_asked_for_and_no_others(monkeypatch):
    room_for(monkeypatch, 1)
    manifold = Counted(LOCAL)
    field = PermutedField(TangentField(manifold, X), ORDER)
    field.basis(slice(0, 2))
    manifold.asked.clear()
    field.basis(slice(4, 7))
    assert sum(manifold.asked) == 3


def test_a_permuted_field_of_the_first_inputs_leaves_the_others_out():
    order = torch.tensor([2, 0, 1])
    field, own = PermutedField(TangentField(LOCAL, X), order), LOCAL.tangent_basis(X[:3])
    torch.testing.assert_close(field.share(V[:3]), geometry.energy_share(V[:3], own[order]))


def test_fields_are_rotated_and_permuted_at_once():
    rotation = Haar(D, generator=seeded(5))
    field = RotatedField(PermutedField(TangentField(LOCAL, X), ORDER), rotation)
    torch.testing.assert_close(field.share(V), geometry.energy_share(V, field.basis(slice(0, N))))
    torch.testing.assert_close(field.project(V), geometry.project_tangent(V, field.basis(slice(0, N))))
    torch.testing.assert_close(field.cosines(W, V), cosines(W, V, field.basis(slice(0, N))))


def test_the_other_fields_give_the_cosines_of_their_bases():
    basis = LOCAL.tangent_basis(X)
    part = FieldPart(TangentField(LOCAL, X), slice(3, 8))
    torch.testing.assert_close(part.cosines(W[:, 3:8], V[3:8]), cosines(W[:, 3:8], V[3:8], basis[3:8]))
    torch.testing.assert_close(SharedField(basis[0]).cosines(W, V), cosines(W, V, basis[0]))


def test_an_unknown_vector_leaves_the_cosines_of_the_others_alone():
    field, unknown = TangentField(LOCAL, X), W.clone()
    unknown[0, 2] = torch.nan
    found, expected = field.cosines(unknown, V), field.cosines(W, V)
    assert bool(found[0, 2].isnan())
    expected[0, 2] = torch.nan
    torch.testing.assert_close(found, expected, equal_nan=True)
