"""Each kind of search space against a dense projector, and rows in any order."""

from __future__ import annotations

import pytest
import torch

from dmmcheck import geometry
from dmmcheck.attacks import search_space
from dmmcheck.attacks.search_space import Complement, Everywhere, SharedSpan, SpanPerInput, basis_of, spanned
from dmmcheck.errors import AttackError

N, D, K = 6, 9, 3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


V = torch.randn(N, D, generator=seeded(), dtype=torch.float64)
SHARED = geometry.random_basis(D, K, generator=seeded(1), dtype=torch.float64)
BASES = torch.stack([geometry.random_basis(D, K, generator=seeded(2 + i), dtype=torch.float64) for i in range(N)])
SPACES = {
    "everywhere": Everywhere(),
    "shared": SharedSpan(SHARED),
    "per-input": SpanPerInput(BASES),
    "per-input, not copied": SpanPerInput(BASES, torch.arange(N)),
    "complement of shared": Complement(SharedSpan(SHARED)),
    "complement of per-input": Complement(SpanPerInput(BASES)),
    "complement of a complement": Complement(Complement(SpanPerInput(BASES))),
}


def dense(name):
    """The projectors (N, D, D) of a search space."""
    eye = torch.eye(D, dtype=torch.float64).expand(N, -1, -1)
    if name == "everywhere":
        return eye
    basis = BASES if "per-input" in name or "a complement" in name else SHARED.expand(N, -1, -1)
    tangent = basis @ basis.mT
    return eye - tangent if name.startswith("complement of") and "a complement" not in name else tangent


each_kind = pytest.mark.parametrize("name", SPACES)


@each_kind
def test_a_projection_is_that_of_the_dense_projector(name):
    torch.testing.assert_close(SPACES[name].project(V), torch.bmm(dense(name), V[:, :, None]).squeeze(2))


@each_kind
def test_a_projection_is_orthogonal_and_repeating_it_changes_nothing(name):
    once = SPACES[name].project(V)
    torch.testing.assert_close(SPACES[name].project(once), once)
    torch.testing.assert_close(((V - once) * once).sum(1), torch.zeros(N, dtype=V.dtype), rtol=0, atol=1e-12)


@each_kind
def test_a_basis_is_orthonormal_and_spans_the_space(name):
    basis = basis_of(SPACES[name])
    if name == "everywhere":
        assert basis is None
        return
    assert basis.ndim == (2 if "shared" in name else 3)
    assert geometry.orthonormal_residual(basis) < 1e-12
    torch.testing.assert_close((basis @ basis.mT).expand(N, D, D), dense(name))


def test_a_space_has_no_basis_where_it_is_known_by_its_projection_or_the_basis_would_be_empty_or_large(monkeypatch):
    class ProjectionAlone:
        def project(self, v):
            return v

    assert basis_of(ProjectionAlone()) is None
    assert basis_of(Complement(ProjectionAlone())) is None
    assert basis_of(Complement(SharedSpan(torch.eye(D)))) is None
    monkeypatch.setattr(search_space, "COMPLEMENT_VALUES", D * D - 1)
    assert basis_of(SPACES["complement of shared"]) is None
    assert basis_of(SPACES["shared"]) is SHARED


def test_a_single_basis_is_that_of_all_inputs():
    assert torch.equal(basis_of(SpanPerInput(BASES[3:4])), BASES[3])


INDEXES = {
    "one": torch.tensor([4]),
    "order": torch.tensor([5, 0, 3, 1, 2, 4]),
    "repeats": torch.tensor([2, 2, 0, 5, 2, 0, 0]),
    "none": torch.tensor([], dtype=torch.long),
    "slice": slice(2, 5),
    "all": slice(None),
    "one-row slice": slice(3, 4),
}


@pytest.mark.parametrize("copied", [0, search_space.COPIED_VALUES], ids=["too-large-to-copy", "copied"])
@pytest.mark.parametrize("index", INDEXES)
@each_kind
def test_rows_are_the_spaces_of_the_inputs_they_name(name, index, copied, monkeypatch):
    monkeypatch.setattr(search_space, "COPIED_VALUES", copied)
    rows = INDEXES[index]
    part, projector = SPACES[name].rows(rows), dense(name)[rows]
    v = torch.randn(len(projector), D, generator=seeded(9), dtype=torch.float64)
    torch.testing.assert_close(part.project(v), torch.bmm(projector, v[:, :, None]).squeeze(2))


@pytest.mark.parametrize("copied", [0, search_space.COPIED_VALUES], ids=["too-large-to-copy", "copied"])
@each_kind
def test_rows_of_rows_name_the_inputs_of_the_first_rows(name, copied, monkeypatch):
    monkeypatch.setattr(search_space, "COPIED_VALUES", copied)
    order, again = torch.tensor([5, 0, 3, 1]), torch.tensor([2, 0, 2])
    twice, sliced = SPACES[name].rows(order).rows(again), SPACES[name].rows(order).rows(slice(1, 4))
    v = V[:3]
    torch.testing.assert_close(twice.project(v), torch.bmm(dense(name)[order[again]], v[:, :, None]).squeeze(2))
    torch.testing.assert_close(sliced.project(v), torch.bmm(dense(name)[order[1:4]], v[:, :, None]).squeeze(2))


def test_bases_that_are_too_large_are_not_copied(monkeypatch):
    monkeypatch.setattr(search_space, "COPIED_VALUES", 4 * D * K)
    space, repeats = SpanPerInput(BASES), torch.tensor([0, 1, 0, 1, 5])
    assert space.rows(repeats)._bases.data_ptr() == BASES.data_ptr()
    assert space.rows(slice(1, 6))._bases.data_ptr() == BASES[1:].data_ptr()
    assert space.rows(repeats[:4])._bases.shape == (4, D, K)


def test_a_single_basis_projects_any_number_of_vectors():
    space = SpanPerInput(BASES).rows(torch.tensor([3]))
    torch.testing.assert_close(space.project(V), geometry.project_tangent(V, BASES[3]))


@pytest.mark.parametrize("size", [1e-3, 1e-6])
def test_the_complement_of_a_vector_almost_inside_the_span_is_orthogonal_to_it(size):
    inside = geometry.combine(torch.randn(N, K, generator=seeded(3)), BASES.float())
    outside = size * Complement(SpanPerInput(BASES.float())).project(torch.randn(N, D, generator=seeded(4)))
    rest = Complement(SpanPerInput(BASES.float())).project(inside + outside)
    left = geometry.coordinates(rest, BASES.float()).norm(dim=1) / rest.norm(dim=1)
    naive = inside + outside - geometry.project_tangent(inside + outside, BASES.float())
    left_naive = geometry.coordinates(naive, BASES.float()).norm(dim=1) / naive.norm(dim=1)
    assert float(left.max()) < 1e-6
    assert float(left_naive.max()) > 10 * float(left.max())  # what a single projection leaves


def test_a_row_is_projected_twice_only_where_it_cancels():
    calls = []

    class Watched(SharedSpan):
        def project(self, v):
            calls.append(len(v))
            return super().project(v)

    across = V - geometry.project_tangent(V, SHARED)
    torch.testing.assert_close(Complement(Watched(SHARED)).project(across), across)
    assert calls == [N]


@pytest.mark.parametrize(
    ("basis", "normal", "kind"),
    [
        (None, False, Everywhere),
        (SHARED, False, SharedSpan),
        (BASES, False, SpanPerInput),
        (SHARED, True, Complement),
        (BASES, True, Complement),
    ],
)
def test_a_basis_spans_the_space_of_its_kind(basis, normal, kind):
    assert type(spanned(basis, normal=normal)) is kind


def test_the_complement_of_everywhere_is_an_error():
    with pytest.raises(AttackError, match="normal=True needs a subspace whose complement to search; pass subspace="):
        spanned(None, normal=True)
