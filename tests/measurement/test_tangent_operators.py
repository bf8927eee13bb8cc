"""A run on tangent spaces without bases finds what it finds with bases, and says what it cannot have."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import dmmcheck
from dmmcheck import geometry, worlds
from dmmcheck.attacks.decision_based.search import decision_based_search
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.attacks.torchattacks import TorchAttack
from dmmcheck.checks.wrong_labels import _part
from dmmcheck.config.settings import Settings
from dmmcheck.errors import ManifoldError
from dmmcheck.manifolds import Decoder
from dmmcheck.measurement.nulls import _drawn, _few, why_unavailable
from dmmcheck.measurement.summary import summarise_subject
from dmmcheck.measurement.units import StandardManifold, in_units, scale_of
from dmmcheck.measurement.view import View
from dmmcheck.registry import GATES
from dmmcheck.run import Run
from dmmcheck.soundness.collect import _context
from dmmcheck.soundness.registry import assess
from dmmcheck.strategies import tangent_basis
from dmmcheck.strategies.drawn import ManifoldPoint
from dmmcheck.subject import Subject

D, K, CLAIMS = 12, 3, ("off-manifold-energy", "on-manifold-distance")
SEARCHING = "dmmcheck.soundness.probes"


@cache
def subject(operator: bool) -> Subject:
    """A sphere as the boundary and a slightly curved decoder, with or without bases of its tangent spaces."""
    given = worlds.sphere(ambient_dim=D, dim=K, samples=32, seed=0).subject
    basis = given.manifold.tangent_basis(given.x)
    waves = torch.randn(K, D, generator=torch.Generator().manual_seed(1))
    decoder = Decoder(
        lambda x: x @ basis, lambda z: z @ basis.T + 0.05 * torch.sin(z @ waves), dim=K, operator=operator
    )
    return replace(given, manifold=decoder)


def view(operator: bool, **more: object) -> View:
    return View.of(Run(replace(subject(operator), **more), Settings()).measure)


def compared(**settings: object) -> int:
    """The number of findings of two runs, with and without bases, that are the same."""
    dense, free = (dmmcheck.run(subject(operator), seed=0, **settings) for operator in (False, True))
    for one, other in zip(dense.findings, free.findings, strict=True):
        assert (one.id, one.verdict) == (other.id, other.verdict)
        assert (one.estimate or 0.0) == pytest.approx(other.estimate or 0.0, rel=1e-3)
    with_bases = [item for item in dense.soundness if item.name != "along-manifold"]  # a search of codes needs bases
    for item, other in zip(with_bases, free.soundness, strict=True):
        assert (item.name, item.ok) == (other.name, other.ok), other.message
    return len([finding for finding in dense.findings if finding.estimate is not None])


def test_stated_claims_have_the_same_verdicts_and_estimates(own_registries):
    for name, gate in list(GATES.items()):  # those that search take most of the time
        if gate.ask.__module__ == SEARCHING or name == "effort":
            del GATES._things[name]
    assert compared(checks=CLAIMS, tiers=["stated"], effort="quick") == 2


@pytest.mark.heavy
def test_all_gates_say_the_same():
    assert compared(checks=CLAIMS[:1], tiers=["stated"], effort="quick") == 1


@pytest.mark.parametrize("name", ["rotation", "same-class"])
def test_draws_of_controls_are_the_same(name):
    dense, free = (_drawn(view(operator), name, 0) for operator in (False, True))
    v = torch.randn(dense.x.shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(free.tangent_share(v), dense.tangent_share(v), rtol=1e-3, atol=1e-5)
    few = [replace(_few(drawn, 0), effort="quick") for drawn in (dense, free)]
    torch.testing.assert_close(few[1].distance("tangent"), few[0].distance("tangent"), rtol=1e-3, atol=0)


def test_gates_speak_of_projections_where_there_are_no_bases():
    measure = view(True).measurement
    names = ("orthonormal", "effective-rank", "in-place", "tangent-repeats", "batch-independent-manifold")
    context = replace(_context(subject(True), measure, 8, {}), crossings={"free": measure.crossings(8, "free")})
    items = {item.name: item for item in assess(context, names)}
    assert all(item.ok is not False for item in items.values())
    assert "projections onto the tangent spaces" in items["orthonormal"].message
    assert "not counted" in items["effective-rank"].message
    assert items["effective-rank"].value == pytest.approx(K, rel=0.5)
    assert context.basis is None


def test_standard_units_scale_the_spaces_of_a_decoder_and_refuse_other_projections():
    mapped = [in_units(replace(subject(operator), units="standard")).manifold for operator in (False, True)]
    x, v = in_units(replace(subject(True), units="standard")).x.reshape(-1, D)[:4], torch.randn(4, D)
    basis, spaces = mapped[0].tangent_basis(x), mapped[1].tangent_spaces(x)
    assert mapped[0].tangent_spaces(x) is None
    torch.testing.assert_close(spaces.project(v), geometry.project_tangent(v, basis), rtol=0, atol=1e-4)

    class Own:
        def tangent_spaces(self, x):
            return Everywhere()

    with pytest.raises(ManifoldError, match=r"projection alone, which cannot be mapped.*set units"):
        StandardManifold(Own(), scale_of(subject(True))).tangent_spaces(x)


def test_perturbations_are_split_alike_where_wrong_labels_are_learnt():
    delta = torch.randn(6, D, generator=torch.Generator().manual_seed(2))
    parts = [_part(view(operator), view(operator).x[:6], delta, "tangent") for operator in (False, True)]
    torch.testing.assert_close(parts[0], parts[1], rtol=0, atol=1e-4)


def test_the_hash_of_a_manifold_without_bases_is_that_of_its_projections():
    once, again = (summarise_subject(subject(True), view(True).measurement).manifold for _ in range(2))
    assert once.hash == again.hash
    assert once.hash != summarise_subject(subject(False), view(False).measurement).manifold.hash


def test_measurements_of_a_manifold_without_bases_have_an_address():
    dependencies = view(True).measurement._dependencies()
    assert dependencies[-1][1].shape == (8, D)


def test_steps_of_the_tier_search_need_a_basis():
    with pytest.raises(ManifoldError, match=r"has no bases of them.*tier search"):
        tangent_basis(subject(True), 0)
    with pytest.raises(ManifoldError, match="has no bases of them"):
        _ = ManifoldPoint(subject(True).manifold, subject(True).x, 0).x


def test_subspaces_of_the_covariance_need_more_examples_than_are_combined(monkeypatch):
    monkeypatch.setattr("dmmcheck.measurement.nulls.MAX_EXAMPLES", 2 * K)
    assert "at most 6 examples are combined; choose a smaller dim" in why_unavailable(view(True), "covariance")


def kept(monkeypatch: pytest.MonkeyPatch, inputs: int) -> None:
    """Leaves room for the bases of so many inputs in a run."""
    monkeypatch.setattr("dmmcheck.manifolds.fields._CACHE_BYTES", inputs * D * K * 4)


class Asked:
    """A manifold with a basis an input, which keeps how many bases it was asked for at once."""

    dim, name = K, "asked"

    def __init__(self) -> None:
        self.inner, self.counts = subject(False).manifold, []
        self.project_point = self.inner.project_point

    def tangent_basis(self, x):
        self.counts.append(len(x))
        return self.inner.tangent_basis(x)


def test_bases_that_do_not_fit_together_give_the_same_verdicts_and_estimates(monkeypatch):
    """The gates that compare bases say less, since the bases of some inputs alone are in memory at a time."""
    settings = {"checks": CLAIMS, "effort": "quick", "seed": 0, "cache": False}
    whole = dmmcheck.run(replace(subject(False), manifold=Asked()), **settings)
    kept(monkeypatch, 5)
    manifold = Asked()
    parts = dmmcheck.run(replace(subject(False), manifold=manifold), **settings)
    assert max(manifold.counts) <= 5
    assert len(parts.findings) > 8
    for one, other in zip(whole.findings, parts.findings, strict=True):
        assert (one.id, one.verdict) == (other.id, other.verdict)
        assert (other.estimate or 0.0) == pytest.approx(one.estimate or 0.0, rel=1e-3)
    for item in parts.soundness:
        assert item.ok is not False, item.message
    said = {item.name: item.message for item in parts.soundness}
    assert all("too large to be kept" in said[name] for name in ("tangent-angles", "effective-rank"))


def test_steps_into_all_classes_are_projected_with_each_basis_once(monkeypatch):
    kept(monkeypatch, 5)
    manifold = Asked()
    seen = View.of(Run(replace(subject(False), manifold=manifold), Settings(effort="quick")).measure)
    v = torch.randn((4, seen.n, D), generator=torch.Generator().manual_seed(0))
    manifold.counts.clear()
    projected = seen.project_tangent(v)
    assert sum(manifold.counts) == seen.n
    torch.testing.assert_close(projected, torch.stack([seen.project_tangent(one) for one in v]))


class Changing(Asked):
    """A manifold whose bases are other ones at each call, or that changes the points it gets."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place

    def tangent_basis(self, x):
        if self.in_place:
            basis = super().tangent_basis(x)
            x.mul_(2)
            return basis
        generator = torch.Generator().manual_seed(len(self.counts))
        self.counts.append(len(x))
        return torch.linalg.qr(torch.randn((len(x), D, K), generator=generator)).Q


@pytest.mark.parametrize("room", [3, 5])
@pytest.mark.parametrize(
    ("in_place", "failed"), [(True, {"in-place"}), (False, {"tangent-repeats", "tangent-batch", "orthonormal"})]
)
def test_gates_see_what_a_manifold_with_large_bases_does_wrong(monkeypatch, in_place, failed, room):
    kept(monkeypatch, room)
    manifold = Changing(in_place=in_place)
    measure = View.of(Run(replace(subject(False), manifold=manifold), Settings()).measure).measurement
    names = ("orthonormal", "in-place", "tangent-repeats", "batch-independent-manifold")
    context = replace(_context(subject(False), measure, 8, {}), crossings={}, manifold=manifold)
    context.__dict__["length"] = torch.tensor(1.0)
    manifold.counts.clear()
    items = {item.name: item for item in assess(context, names)}
    assert {name for name, item in items.items() if item.ok is False} == failed
    assert max(manifold.counts) <= room
    assert all("tangent_basis" in items[name].message for name in failed & {"tangent-repeats", "tangent-batch"})


class Held(Asked):
    """A manifold that keeps how many bases were in memory while it computed some."""

    def __init__(self) -> None:
        super().__init__()
        self.most, self.returned = 0, []

    def tangent_basis(self, x):
        alive = [len(basis) for basis in (known() for known in self.returned) if basis is not None]
        self.most = max(self.most, sum(alive) + len(x))
        values = super().tangent_basis(x).numpy().copy()  # a tensor of these keeps the array alive
        self.returned.append(weakref.ref(values))
        return torch.from_numpy(values)


def test_gates_ask_for_few_large_bases_beside_those_that_are_kept(monkeypatch):
    room = 5
    kept(monkeypatch, room)
    manifold = Held()
    measure = View.of(Run(replace(subject(False), manifold=manifold), Settings()).measure).measurement
    context = replace(_context(subject(False), measure, 8, {}), crossings={}, manifold=manifold)
    context.__dict__["length"] = torch.tensor(1.0)
    items = list(assess(context, ("orthonormal", "in-place", "tangent-repeats", "batch-independent-manifold")))
    assert all(item.ok for item in items)
    assert room < manifold.most <= room + room // 3


@pytest.mark.parametrize("search", ["boundary", "decision-based", "torchattacks"])
def test_a_search_computes_each_large_basis_once(monkeypatch, search):
    kept(monkeypatch, 5)
    manifold = Asked()
    measure = View.of(Run(replace(subject(False), manifold=manifold), Settings()).measure).measurement
    x, y, generator = measure.sample.x[:32], measure.sample.y[:32], torch.Generator().manual_seed(0)
    space = spanned(measure.field.spaces(slice(0, 32)), normal=True)
    manifold.counts.clear()
    if search == "boundary":
        crossing = measure.search_in(slice(0, 32), "normal", measure.field, "quick")
    elif search == "decision-based":
        crossing = decision_based_search(
            measure.classifier, x, y, space=space, effort="quick", queries=400, generator=generator
        )
    else:
        crossing = TorchAttack("PGDL2", steps=3)(measure.classifier, x, y, space=space, generator=generator)
    assert len(crossing.found) == 32
    assert manifold.counts == [5, 5, 5, 5, 5, 5, 2]
    assert search != "boundary" or bool(crossing.found.all())


def test_finite_differences_take_large_bases_where_these_fit_together(monkeypatch):
    """Else a gradient in a tangent space would take as many model calls as there are coordinates."""
    rows: list[int] = []

    def scores(x: np.ndarray) -> np.ndarray:
        rows.append(len(x))
        return subject(False).model(torch.as_tensor(np.asarray(x), dtype=torch.float32)).numpy()

    calls = []
    for room in (32, 5):
        kept(monkeypatch, room)
        measure = View.of(Run(replace(subject(False), model=scores, manifold=Asked()), Settings()).measure).measurement
        rows.clear()
        measure.search_in(slice(0, 32), "tangent", measure.field, "quick")
        calls.append(sum(rows))
    assert calls[1] == pytest.approx(calls[0], rel=0.02)
